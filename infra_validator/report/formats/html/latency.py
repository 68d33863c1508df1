"""Latency under load: the percentiles as a curve, the histogram, the windows of the run, and what the measuring itself took."""

from __future__ import annotations

import math

from infra_validator.report.formats.fields import Fields
from infra_validator.report.formats.html.chart import Axis, Chart, even_axis, figure, legend
from infra_validator.report.formats.html.markup import Content, Markup, element, join, mark, table
from infra_validator.report.formats.latency_counts import LatencyCounts, counts_of
from infra_validator.report.formats.quantities import NOTHING, count, figures, milliseconds, seconds, share

_SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_BINS = 44


def latency(measured: Fields, level: int = 3) -> Markup | None:
    """Every load run, beside the baseline's of the same kind; ``level`` is that of their headings."""
    runs = measured.rows("load")
    if not runs:
        return None
    baseline = {_kind(run): run for run in measured.fields("baseline").rows("load")}
    return join([_run(run, baseline.get(_kind(run)), level) for run in runs])


def name_of(run: Fields) -> str:
    """A kind of request in words."""
    rows = run.number("batch_size")
    return (run.text("signature", 200) or "requests") + (f", batch size {rows:.0f}" if rows is not None else "")


def percentile(run: Fields, name: str) -> float | None:
    """A percentile of a load run, in milliseconds."""
    return next((one.number("ms") for one in run.rows("percentiles") if one.text("name") == name), None)


def _kind(run: Fields) -> tuple[str, float | None]:
    return run.text("signature"), run.number("batch_size")


def _run(run: Fields, baseline: Fields | None, level: int) -> Markup:
    counts = counts_of(run.text("histogram", 400_000))
    beside = counts_of(baseline.text("histogram", 400_000)) if baseline else None
    charts = [_curve(run, counts, baseline, beside), _histogram(run, counts) if counts else None, _windows(run)]
    return element(
        "div",
        element(f"h{level}", name_of(run), class_="kind"),
        _how(run),
        element("div", charts, class_="charts"),
        _table(run, baseline),
        _client(run),
        class_="run",
    )


def _how(run: Fields) -> Markup:
    mode = run.text("mode")
    if mode == "open":
        how = f"open loop, {figures(run.number('rate_rps') or 0)} requests per second on schedule"
    else:
        callers = run.number("concurrency") or 1
        how = f"closed loop, {callers:.0f} caller{'s' if callers != 1 else ''}"
    facts: list[Content] = [
        how,
        f"{count(run.number('requests'))} answers in {seconds(run.number('seconds'))}",
        f"{figures(run.number('throughput_rps') or 0)} per second",
    ]
    errors = run.number("errors") or 0
    if errors:
        first = run.text("error", 300)
        facts.append(f"{count(errors)} failed ({share(run.number('error_rate'))}){': ' + first if first else ''}")
    steady = mark("good", "steady") if run.flag("steady") else mark("unsure", "not steady")
    why = run.text("why_not_steady")
    return element("ul", [element("li", fact) for fact in facts], element("li", steady, " ", why), class_="facts")


def _curve(run: Fields, counts: LatencyCounts | None, baseline: Fields | None, beside: LatencyCounts | None) -> Content:
    points = _points(run, counts)
    if len(points) < 2:
        return None
    others = _points(baseline, beside) if baseline else []
    total = counts.total if counts else (run.number("requests") or 100)
    end = min(0.99999, max(0.99, 1 - 1 / max(total, 2)))
    decades = math.log10(1 / (1 - end))
    ticks = [tick for tick in (0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999) if tick <= end]
    x = Axis(0, end, ticks, _percent, "percentile of the answers", lambda value: _depth(value) / decades)
    y = even_axis(0, max(ms for _, ms in [*points, *others]), _plain_ms, "")
    known = ", ".join(f"{name} {milliseconds(percentile(run, name))}" for name in ("p50", "p90", "p99", "max"))
    chart = Chart(x, y, f"Percentiles of the latency of {name_of(run)}: {known}.")
    chart.line([(at, ms) for at, ms in others if at <= end], "line other")
    chart.line([(at, ms) for at, ms in points if at <= end], "line")
    for one in run.rows("percentiles"):
        at, ms = _SHARES.get(one.text("name")), one.number("ms")
        if at is None or ms is None:
            continue
        low, high = one.number("low_ms"), one.number("high_ms")
        if low is not None and high is not None:
            chart.whisker(at, low, high)
        chart.dot(at, ms, f"{one.text('name')}: {milliseconds(ms)}")
        if one.text("name") != "p95":
            chart.word(at, ms, one.text("name"), anchor="middle", dx=0, dy=-9)
    lines = legend([("l-own", "this model"), ("l-other", "baseline")]) if others else None
    return figure("Percentiles, in milliseconds", chart.drawn(), lines)


def _points(run: Fields | None, counts: LatencyCounts | None) -> list[tuple[float, float]]:
    """(share of the answers, milliseconds), ascending."""
    if counts is not None:
        return counts.curve()
    if run is None:
        return []
    named = [
        (_SHARES[one.text("name")], one.number("ms")) for one in run.rows("percentiles") if one.text("name") in _SHARES
    ]
    return sorted((at, ms) for at, ms in named if ms is not None)


def _histogram(run: Fields, counts: LatencyCounts) -> Content:
    low, high = counts.at(0.0), max(min(counts.at(0.995), 3 * counts.at(0.9)), counts.at(0.0) + 0.001)
    bins, beyond = counts.bins(low, high, _BINS)
    x = even_axis(low, high, _plain_ms, "milliseconds", ends_there=True)
    y = even_axis(0, max(bins), lambda value: figures(value), "")
    p50, p99 = percentile(run, "p50"), percentile(run, "p99")
    chart = Chart(
        x,
        y,
        f"Histogram of the latency of {name_of(run)}: {counts.total:,} answers, half of them below {milliseconds(p50)}.",
    )
    width = (high - low) / _BINS
    for number, answers in enumerate(bins):
        if answers:
            left = low + number * width
            title = f"{figures(left)} to {figures(left + width)} ms: {answers:,} answers"
            chart.bar(left, left + width, answers, title=title)
    for value, word in ((p50, "p50"), (p99, "p99")):
        if value is not None and x.low <= value <= x.high:
            chart.upright(value, "upright", word)
    more = element(
        "p", f"{beyond:,} slower answers, up to {milliseconds(counts.at(1.0))}, are not drawn.", class_="quiet"
    )
    return figure("How often each latency came", chart.drawn(), more if beyond else None)


def _windows(run: Fields) -> Content:
    windows = [
        (start, length or 0.0, p50, p99, window.flag("warm_up"))
        for window in run.rows("windows")
        for start, length, p50, p99 in [[window.number(n) for n in ("starts_at", "seconds", "p50_ms", "p99_ms")]]
        if start is not None and p50 is not None and p99 is not None
    ]
    if len(windows) < 2:
        return None
    end = max(start + length for start, length, *_ in windows)
    x = even_axis(0, end, figures, "seconds since the load began", ends_there=True)
    y = even_axis(0, max(p99 for *_, p99, _ in windows), _plain_ms, "")
    chart = Chart(x, y, f"Latency over time of {name_of(run)}, in {len(windows)} windows.")
    warm = [start + length for start, length, _, _, warm_up in windows if warm_up]
    if warm:
        chart.band(0, max(warm))
        chart.word(0, y.high, "warm-up, not counted", dx=5, dy=12)
    middles = [(start + length / 2, p50, p99) for start, length, p50, p99, _ in windows]
    chart.line([(at, p99) for at, _, p99 in middles], "line second")
    chart.line([(at, p50) for at, p50, _ in middles], "line")
    return figure(
        "Latency while the load ran, in milliseconds", chart.drawn(), legend([("l-own", "p50"), ("l-second", "p99")])
    )


def _table(run: Fields, baseline: Fields | None) -> Markup | None:
    rows: list[list[Content]] = []
    for one in run.rows("percentiles"):
        low, high, ms = one.number("low_ms"), one.number("high_ms"), one.number("ms")
        interval = NOTHING if low is None and high is None else f"{milliseconds(low)} … {milliseconds(high)}"
        row: list[Content] = [one.text("name"), milliseconds(ms), interval]
        if baseline:
            other = percentile(baseline, one.text("name"))
            ratio = f"{figures(ms / other)} ×" if ms is not None and other else NOTHING
            row += [milliseconds(other), ratio]
        rows.append(row)
    if not rows:
        return None
    heads = ["Percentile", "Latency", "95 % interval", *(["Baseline", "Ratio"] if baseline else [])]
    return table(f"Percentiles of {name_of(run)}", heads, rows, "numbers")


def _client(run: Fields) -> Markup | None:
    client = run.fields("client")
    if not client:
        return None
    return element(
        "p",
        f"The measuring itself took {share(client.number('processor_share'))} of one processor; requests left"
        f" {milliseconds(client.number('delay_p50_ms'))} (half of them) and {milliseconds(client.number('delay_p99_ms'))}"
        " (p99) after they were due.",
        class_="quiet",
    )


def _depth(value: float) -> float:
    """How many nines a share has: 0.9 is 1, 0.99 is 2."""
    return math.log10(1 / (1 - min(value, 0.9999999)))


def _percent(value: float) -> str:
    return f"{value * 100:.6g} %"


def _plain_ms(value: float) -> str:
    return figures(value)
