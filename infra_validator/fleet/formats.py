"""The report of a fleet as a page, JUnit and Markdown: pure functions of the data of ``fleet.json``."""

from __future__ import annotations

import dataclasses
import posixpath
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree

from infra_validator.report.formats.characters import one_line, printable
from infra_validator.report.formats.fields import Fields, Room
from infra_validator.report.formats.html.markup import Content, Markup, element, mark, section, table
from infra_validator.report.formats.html.page import document, in_room
from infra_validator.report.formats.html.summary import OUTCOMES, outcome_of
from infra_validator.report.formats.markdown import plain
from infra_validator.report.formats.quantities import seconds

_SIGNS = {"BLESSED": "✅", "NOT_BLESSED": "❌", "INCONCLUSIVE": "⚠️"}
_ORDER = ("NOT_BLESSED", "INCONCLUSIVE", "BLESSED")
_ROOM = Room(text=600)
_MOST_ROWS = 500  # of Markdown: CI systems cut longer summaries


@dataclasses.dataclass(frozen=True)
class FleetFormat:
    """One format.

    Attributes:
      file: the name of the file beside ``fleet.json``.
      make: makes it of the data.
    """

    file: str
    make: Callable[[Mapping[str, Any]], str]


def markdown(fleet: Mapping[str, Any]) -> str:
    """``summary.md``: a table with what is not blessed first."""
    lines = _lines(fleet, _ROOM)
    told = Fields(fleet, _ROOM)
    text = [f"### {_SIGNS.get(told.text('verdict'), '')} {plain(told.text('reason'))}", ""]
    text += ["| model | verdict | reason | time |", "|---|---|---|---|"]
    for line in lines[:_MOST_ROWS]:
        word = line.text("verdict")
        kept = " (kept)" if line.text("state") == "kept" else ""
        why = "" if word == "BLESSED" else f"{plain(line.text('reason_code'))}: {plain(line.text('reason'))}"
        row = (
            plain(line.text("name")),
            f"{_SIGNS.get(word, '')} {plain(word)}{kept}",
            why,
            seconds(line.number("seconds")),
        )
        text.append(f"| {' | '.join(row)} |")
    if len(lines) > _MOST_ROWS:
        text += ["", f"{len(lines) - _MOST_ROWS} more models are in fleet.json."]
    return "\n".join(text) + "\n"


def junit(fleet: Mapping[str, Any]) -> str:
    """``junit.xml``: one test case for each model; not blessed is a failure, could not be tested an error."""
    lines = _lines(fleet, Room())
    kinds = {"NOT_BLESSED": "failure", "INCONCLUSIVE": "error"}
    counts = {
        "tests": str(len(lines)),
        "failures": str(sum(line.text("verdict") == "NOT_BLESSED" for line in lines)),
        "errors": str(sum(line.text("verdict") == "INCONCLUSIVE" for line in lines)),
        "time": f"{sum(line.number('seconds') or 0.0 for line in lines):.3f}",
    }
    root = ElementTree.Element("testsuites", {"name": "infra-validator", **counts})
    suite = ElementTree.SubElement(root, "testsuite", {"name": "models", "skipped": "0", **counts})
    for line in lines:
        took = f"{line.number('seconds') or 0.0:.3f}"
        case = ElementTree.SubElement(
            suite, "testcase", classname="models", name=one_line(line.text("name")), time=took
        )
        kind = kinds.get(line.text("verdict"))
        if kind:
            reason, step = line.text("reason"), line.text("next_step")
            told = ElementTree.SubElement(case, kind, message=one_line(reason), type=one_line(line.text("reason_code")))
            told.text = printable(f"{reason}\nNext step: {step}")
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def html(fleet: Mapping[str, Any]) -> str:
    """``report.html``: one line for each model, which leads to the model's own report."""
    return in_room(lambda room: _page(fleet, room))


def _page(fleet: Mapping[str, Any], room: Room) -> Markup:
    told, lines = Fields(fleet, room), _lines(fleet, room)
    shown = lines[: 20 * room.rows]
    outcome, word = outcome_of(told)
    counts = told.fields("counts")
    head = element(
        "header",
        element("p", "Infrastructure validation of a fleet of models", class_="kicker"),
        element("h1", mark(outcome, word), class_="verdict"),
        element("p", told.text("reason"), class_="reason"),
        element(
            "ul",
            [element("li", mark(*OUTCOMES[one]), f" {counts.number(one) or 0:.0f}") for one in _ORDER],
            class_="facts",
        ),
        element("p", f"{len(lines) - len(shown)} models have no room here.", class_="quiet")
        if shown != lines
        else None,
        class_=f"head {outcome}",
    )
    rows = table("All models", ("Model", "Verdict", "Reason", "Requests", "Time"), [_row(line) for line in shown])
    return document(f"{word}: a fleet of models", outcome, head, section("models", "Models", rows))


def _row(line: Fields) -> list[Content]:
    name: Content = line.text("name", 200)
    verdict = line.text("report")
    if verdict:
        page = urllib.parse.quote(posixpath.join(posixpath.dirname(verdict), "report.html"), errors="replace")
        name = element("a", name, href=page if page.startswith("/") else f"./{page}")
    code = line.text("reason_code", 80)
    why: Content = "" if code == "BLESSED" else [element("code", code), " ", element("small", line.text("reason", 400))]
    kept = element("small", " kept") if line.text("state") == "kept" else None
    requests = f"{line.number('requests') or 0:.0f}"
    return [name, [mark(*outcome_of(line)), kept], why, requests, seconds(line.number("seconds"))]


def _lines(fleet: Mapping[str, Any], room: Room) -> list[Fields]:
    """What is not blessed first, each kind in the list's order."""
    lines = [Fields(line, room) for line in fleet["models"]]
    places = {word: place for place, word in enumerate(_ORDER)}
    return sorted(lines, key=lambda line: places.get(line.text("verdict"), 0))


FLEET_FORMATS = {
    "html": FleetFormat("report.html", html),
    "junit": FleetFormat("junit.xml", junit),
    "markdown": FleetFormat("summary.md", markdown),
}
