"""One page of several verdicts: how latency, load, memory and size went over time."""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from infra_validator.report.formats.fields import Fields, Room
from infra_validator.report.formats.figures_of_verdict import VerdictFigures, figures_of
from infra_validator.report.formats.html.chart import Axis, Chart, even_axis, figure
from infra_validator.report.formats.html.markup import Content, Markup, element, mark, section, table
from infra_validator.report.formats.html.page import document, in_room
from infra_validator.report.formats.html.summary import outcome_of
from infra_validator.report.formats.quantities import milliseconds, octets, seconds

_SERIES: tuple[tuple[str, Callable[[VerdictFigures], float | None], Callable[[float | None], str], int], ...] = (
    ("p99 of the slowest kind of request", lambda found: found.p99_ms, milliseconds, 10),
    ("Load", lambda found: found.load_seconds, seconds, 10),
    ("Memory of the server", lambda found: found.memory_bytes, octets, 2),
    ("Model’s files", lambda found: found.model_bytes, octets, 2),
)


def html_of_several(verdicts: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """One page of several verdicts.

    Args:
      verdicts: in any order: (a name for it, its data). A name that ends with ``verdict.json`` is the path of that file, as the page
        is to link to the report beside it.
    """
    return in_room(lambda room: _page(verdicts, room))


def _page(verdicts: Sequence[tuple[str, Mapping[str, Any]]], room: Room) -> Markup:
    told = sorted(
        ((name, Fields(verdict, room)) for name, verdict in verdicts), key=lambda one: one[1].text("started_at", 40)
    )
    left_out = max(0, len(told) - 2 * room.rows)
    told = told[-2 * room.rows :]
    found = [figures_of(verdict) for _, verdict in told]
    last = told[-1][1] if told else Fields(None)
    outcome, word = outcome_of(last)
    counts: dict[tuple[str, str], int] = {}
    for _, verdict in told:
        counts[outcome_of(verdict)] = counts.get(outcome_of(verdict), 0) + 1
    head = element(
        "header",
        element("p", "Infrastructure validation over time", class_="kicker"),
        element("h1", f"{len(told)} verdicts", class_="verdict"),
        element("p", "The last one: ", mark(outcome, word), class_="reason"),
        element("ul", [element("li", mark(*kind), f" {number}") for kind, number in counts.items()], class_="facts"),
        element("p", f"{left_out:,} earlier verdicts have no room here.", class_="quiet") if left_out else None,
        class_=f"head {outcome}",
    )
    charts = [_chart(title, told, [pick(one) for one in found], write, step) for title, pick, write, step in _SERIES]
    drawn = [chart for chart in charts if chart]
    trend = section("trend", "Trend", element("div", drawn, class_="charts")) if drawn else None
    rows = [_row(name, verdict, one) for (name, verdict), one in zip(reversed(told), reversed(found), strict=True)]
    heads = ("Started", "Verdict", "Model", "Reason", "p99", "Load", "Memory", "Size")
    return document(
        "Verdicts over time", outcome, head, trend, section("all", "All verdicts", table("All verdicts", heads, rows))
    )


def _row(name: str, verdict: Fields, found: VerdictFigures) -> list[Content]:
    outcome, word = outcome_of(verdict)
    started = verdict.text("started_at", 40)[:16].replace("T", " ") or name
    first: Content = started
    if os.path.basename(name) == "verdict.json":
        report = urllib.parse.quote(os.path.join(os.path.dirname(name), "report.html"), errors="replace")
        first = element("a", started, href=report if report.startswith("/") else f"./{report}")
    model = [verdict.text("model", 200), element("small", verdict.text("model_digest", 23))]
    code = verdict.text("reason_code", 80)
    return [
        first,
        mark(outcome, word),
        model,
        element("code", code) if code and code != "BLESSED" else "",
        milliseconds(found.p99_ms),
        seconds(found.load_seconds),
        octets(found.memory_bytes),
        octets(found.model_bytes),
    ]


def _chart(
    title: str,
    told: Sequence[tuple[str, Fields]],
    values: Sequence[float | None],
    write: Callable[[float | None], str],
    step_of: int,
) -> Markup | None:
    known = [(number, value) for number, value in enumerate(values) if value is not None]
    if not known:
        return None
    days = [verdict.text("started_at", 40)[:10] for _, verdict in told]
    y = even_axis(0, max(value for _, value in known), write, step_of=step_of)
    ticks = sorted({0, (len(told) - 1) // 2, len(told) - 1})
    x = Axis(-0.5, len(told) - 0.5, ticks, lambda at: days[round(at)])
    chart = Chart(x, y, f"{title} over {len(told)} verdicts; the last one measured is {write(known[-1][1])}.")
    chart.line([(float(number), value) for number, value in known])
    for number, value in known:
        outcome, word = outcome_of(told[number][1])
        chart.dot(number, value, f"{days[number]}: {write(value)}, {word}", f"dot {outcome}")
    return figure([title, element("span", f" {write(known[-1][1])}", class_="aside")], chart.drawn())
