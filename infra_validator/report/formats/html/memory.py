"""The server's memory over time."""

from __future__ import annotations

from collections.abc import Sequence

from infra_validator.report.formats.fields import Fields
from infra_validator.report.formats.html.chart import Chart, even_axis, figure, legend
from infra_validator.report.formats.html.markup import Content, Markup, element, join
from infra_validator.report.formats.html.timeline import phases_of
from infra_validator.report.formats.quantities import figures, octets

_POINTS = 300

Point = tuple[float, float]


def memory(measured: Fields, attempt: Fields) -> Markup | None:
    """The curve with the phases of its attempt, and the figures."""
    use = measured.fields("memory")
    size, first = measured.number("model_size_bytes"), measured.number("first_answer_ms")
    other = measured.fields("baseline").fields("memory")
    tiles: list[Content] = [
        _tile("After loading", use, other, "after_load_bytes"),
        _tile("Peak under load", use, other, "under_load_peak_bytes"),
        _tile("Peak", use, other, "peak_bytes"),
    ]
    if size is not None:
        tiles.append(element("div", element("dt", "Model’s files"), element("dd", octets(size))))
    if not use and size is None and first is None:
        return None
    source = element("p", f"Read from: {use.text('source')}.", class_="quiet") if use.text("source") else None
    return join(element("dl", tiles, class_="tiles"), _curve(use, other, attempt), source)


def _tile(name: str, use: Fields, other: Fields, field: str) -> Markup | None:
    value, before = use.number(field), other.number(field)
    if value is None:
        return None
    beside = element("small", f"baseline {octets(before)}", class_="quiet") if before is not None else None
    return element("div", element("dt", name), element("dd", octets(value), beside))


def _curve(use: Fields, other: Fields, attempt: Fields) -> Markup | None:
    points = thinned(use.points("curve"), _POINTS)
    if len(points) < 2:
        return None
    beside = thinned(other.points("curve"), _POINTS)
    end = max(at for at, _ in points)
    peak = max(most for _, most in [*points, *beside])
    x = even_axis(0, end, figures, "seconds since the attempt began", ends_there=True)
    y = even_axis(0, peak, octets, "", step_of=2)
    chart = Chart(
        x, y, f"Memory of the server over {figures(end)} seconds; the most was {octets(max(m for _, m in points))}."
    )
    at = 0.0
    for name, taken in phases_of(attempt):
        if name in ("load", "query", "measure") and at < end:
            chart.upright(at, "phase-begins", name if taken > end / 10 else "")
        at += taken
    chart.area(points)
    chart.line([(at, most) for at, most in beside if at <= end], "line other")
    chart.line(points)
    loaded = use.number("after_load_bytes")
    if loaded is not None and loaded <= y.high:
        chart.level(loaded, "upright", "after loading")
    lines = legend([("l-own", "this model"), ("l-other", "baseline")]) if beside else None
    return element("div", figure("Memory over time", chart.drawn(), lines), class_="charts")


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """At most ``most`` points; of those that make way for one, the highest stays, so that no peak is lost."""
    ordered = sorted(points)
    if len(ordered) <= most:
        return ordered
    length = -(-len(ordered) // most)
    return [max(ordered[i : i + length], key=lambda point: point[1]) for i in range(0, len(ordered), length)]
