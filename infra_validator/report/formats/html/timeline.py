"""The phases of each attempt on one common scale."""

from __future__ import annotations

from infra_validator.report.formats.fields import Fields
from infra_validator.report.formats.html.markup import Content, Markup, element, mark, section
from infra_validator.report.formats.html.summary import outcome_of
from infra_validator.report.formats.quantities import seconds

_PHASES = ("prepare", "start", "schedule", "load", "query", "measure", "unload", "stop")
_MEANINGS = {
    "wait": "for a slot among the model servers of this machine",
    "prepare": "pulls, copies",
    "start": "the order to start",
    "schedule": "until the process runs",
    "load": "until the model is ready",
    "query": "requests",
    "measure": "limits held against what is measured",
    "unload": "the model is taken out again",
    "stop": "taking everything down",
}
_SCALE = 1000.0  # units over the whole width


def timeline(verdict: Fields) -> Markup | None:
    """One bar for each attempt, one stretch for each phase; attempts of one serving binary follow one another."""
    binaries = verdict.rows("serving_binaries")
    longest = max((sum(_total(attempt) for attempt in b.rows("attempts")) for b in binaries), default=0.0)
    if not longest > 0:
        return None
    rows: list[Content] = []
    for binary in binaries:
        _, word = outcome_of(binary)
        advisory = " · advisory" if binary.flag("advisory") else ""
        rows.append(
            element("h3", binary.text("label").partition("@")[0], element("span", f"{word}{advisory}", class_="aside"))
        )
        begins = 0.0
        for attempt in binary.rows("attempts"):
            rows.append(_attempt(attempt, begins, longest))
            begins += _total(attempt)
    return section("timeline", "Timeline", element("div", rows, class_="timeline"))


def phases_of(attempt: Fields) -> list[tuple[str, float]]:
    """(name, seconds) of each phase."""
    phases = [(phase.text("name", 40), phase.number("seconds") or 0.0) for phase in attempt.rows("phases")]
    return [(name, max(0.0, taken)) for name, taken in phases]


def _total(attempt: Fields) -> float:
    return sum(taken for _, taken in phases_of(attempt))


def _attempt(attempt: Fields, begins: float, longest: float) -> Markup:
    phases = phases_of(attempt)
    good = attempt.text("reason_code") == "BLESSED"
    number = attempt.number("number")
    title = f"Attempt {number:.0f}" if number is not None else "Attempt"
    total = sum(taken for _, taken in phases)
    ended = next((name for name, _ in reversed(phases) if name != "stop"), "")
    shapes, entries = [], []
    at = begins
    for name, taken in phases:
        kind = f"p{_PHASES.index(name)}" if name in _PHASES else "p0"
        failed = not good and name == ended
        shape = {"x": at / longest * _SCALE, "width": max(1.0, taken / longest * _SCALE), "y": 0, "height": 20}
        shapes.append(element("rect", element("title", f"{name}: {seconds(taken)}"), class_=f"phase {kind}", **shape))
        if failed:
            shapes.append(element("rect", class_="phase-ended", x=shape["x"], width=shape["width"], y=16, height=4))
        end = element("strong", " ended here") if failed else None
        entries.append(
            element(
                "li",
                element("span", class_=f"sample {kind}", aria_hidden="true"),
                element("span", name, title=_MEANINGS.get(name)),
                " ",
                element("b", seconds(taken)),
                end,
            )
        )
        at += taken
    bar = element(
        "svg",
        element("rect", x=0, y=0, width=_SCALE, height=20, class_="rail"),
        shapes,
        class_="bar-line",
        viewBox=f"0 0 {_SCALE:.0f} 20",
        preserveAspectRatio="none",
        aria_hidden="true",
        focusable="false",
    )
    code = attempt.text("reason_code")
    outcome = mark("good", "succeeded") if good else mark("bad", code or "failed")
    told = None if good else element("p", attempt.text("reason"), class_="quiet")
    left = [element("li", one) for one in attempt.texts("left_behind")]
    behind = element("div", element("p", "Left behind:"), element("ul", left), class_="quiet") if left else None
    head = element(
        "p", element("span", title, class_="label"), outcome, element("span", seconds(total), class_="aside")
    )
    return element("div", head, bar, element("ul", entries, class_="phases"), told, behind, class_="attempt")
