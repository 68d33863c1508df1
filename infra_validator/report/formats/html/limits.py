"""The limits as a table with bars: what was measured, beside what was allowed."""

from __future__ import annotations

from infra_validator.report.formats.fields import Fields
from infra_validator.report.formats.html.markup import Content, Markup, element, mark, section, table
from infra_validator.report.formats.quantities import NOTHING, in_unit

_WIDTH = 300.0
_ORDER = {"exceeded": 0, "not_measured": 1, "kept": 2}
_WORDS = {"exceeded": ("bad", "exceeded"), "not_measured": ("unsure", "not measured"), "kept": ("good", "kept")}


def limits(verdict: Fields) -> Markup | None:
    """Every limit of a verdict, the exceeded ones first."""
    rows = sorted(verdict.rows("limits"), key=lambda one: _ORDER.get(one.text("outcome"), 1))
    return section("limits", "Limits", limits_table("Limits", rows)) if rows else None


def limits_table(label: str, rows: list[Fields]) -> Markup:
    """A table of limits as they are."""
    cells: list[list[Content]] = []
    several = len({row.text("binary") for row in rows} - {""}) > 1
    for row in rows:
        binary = row.text("binary").partition("@")[0]
        outcome, word = _WORDS.get(row.text("outcome"), ("none", row.text("outcome", 40)))
        advisory = not row.flag("decides")
        bound = "at most" if row.flag("at_most") else "at least"
        unit = row.text("unit")
        told = outcome != "good" or advisory or row.flag("within_noise")  # else the row says it all
        notes = [row.text("detail")] if told else []
        if row.flag("within_noise"):
            notes.insert(0, "Within the noise: the point decided.")
        cells.append(
            [
                [row.text("name"), element("small", binary, class_="quiet") if several and binary else None],
                [
                    mark("none" if advisory and outcome == "bad" else outcome, word),
                    element("span", "advisory", class_="aside") if advisory else None,
                ],
                [element("b", in_unit(row.number("measured"), unit)), _interval(row, unit)],
                [element("span", bound, class_="quiet"), " ", in_unit(row.number("limit"), unit)],
                _bar(row, outcome),
                " ".join(filter(None, notes)),
            ]
        )
    heads = ("Limit", "Outcome", "Measured", "Allowed", element("span", "Bar", class_="unseen"), "Note")
    return table(label, heads, cells, "words limits")


def _interval(row: Fields, unit: str) -> Markup | None:
    low, high = row.number("low"), row.number("high")
    if low is None and high is None:
        return None
    left = NOTHING if low is None else in_unit(low, unit)
    right = "?" if high is None else in_unit(high, unit)
    return element("small", f"{left} … {right}", class_="quiet")


def _bar(row: Fields, outcome: str) -> Markup | None:
    """What was measured as a bar, its interval as a line on it, the limit as a mark across."""
    limit, measured = row.number("limit"), row.number("measured")
    if limit is None or measured is None or limit < 0 or measured < 0:
        return None
    high = row.number("high")
    most = max(limit, measured, high or 0.0) * 1.08 or 1.0

    def at(value: float) -> float:
        return value / most * _WIDTH

    parts = [
        element("rect", x=0, y=6, width=_WIDTH, height=8, class_="rail"),
        element("rect", x=0, y=6, width=at(measured), height=8, class_=f"filled {outcome}"),
    ]
    low = row.number("low")
    if low is not None and high is not None and 0 <= low <= high:
        parts.append(element("rect", x=at(low), y=9, width=max(1.0, at(high) - at(low)), height=2, class_="span"))
    parts.append(element("rect", x=at(limit) - 1.5, y=1, width=3, height=18, class_="allowed"))
    return element(
        "svg",
        parts,
        class_="limit-bar",
        viewBox=f"0 0 {_WIDTH:.0f} 20",
        preserveAspectRatio="none",
        aria_hidden="true",
        focusable="false",
    )
