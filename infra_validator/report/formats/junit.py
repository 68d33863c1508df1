"""``junit.xml``: a test suite for the model and one for each serving binary, a case for each verdict, check, limit and signature.

As the readers of CI systems take it (Jenkins, GitLab, Azure): what rejects the model is a failure, what could not be tested an error, and
what does not apply or does not decide is skipped.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from infra_validator.report.formats.characters import one_line, printable
from infra_validator.report.formats.fields import Fields, Room
from infra_validator.report.formats.quantities import in_unit

_ROOM = Room(text=4_000, rows=2_000, log=50_000)
_LONGEST_NAME = 300


@dataclasses.dataclass(frozen=True)
class _Case:
    """One test case. ``kind``: empty (passed), failure, error or skipped; ``code``: the type that it is given."""

    name: str
    kind: str = ""
    message: str = ""
    code: str = ""
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class _Suite:
    name: str
    cases: tuple[_Case, ...]
    log: str = ""


def junit(verdict: Mapping[str, Any]) -> str:
    """``junit.xml`` of one verdict."""
    return junit_of_several([("", verdict)])


def junit_of_several(verdicts: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """``junit.xml`` of several verdicts: (a name for it, its data)."""
    root = ElementTree.Element("testsuites", name="infra-validator")
    suites = [
        (f"{name}: {suite.name}" if name else suite.name, suite, Fields(verdict, _ROOM))
        for name, verdict in verdicts
        for suite in _suites(Fields(verdict, _ROOM))
    ]
    cases = [case for _, suite, _ in suites for case in suite.cases]
    root.set("tests", str(len(cases)))
    root.set("failures", str(_how_many(cases, "failure")))
    root.set("errors", str(_how_many(cases, "error")))
    root.set("time", _time(sum(case.seconds for case in cases)))
    for number, (name, suite, verdict) in enumerate(suites):
        root.append(_suite_element(number, name, suite, verdict))
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _suites(verdict: Fields) -> list[_Suite]:
    model = verdict.text("model_name") or verdict.text("model") or "model"
    limits = [_limit(row) for row in verdict.rows("limits") if not row.text("binary")]
    changes = [_change(row) for row in verdict.rows("signature_changes")]
    suites = [_Suite(f"{model}: the model", (_outcome("verdict", verdict, advisory=False), *limits, *changes))]
    labels = set()
    for binary in verdict.rows("serving_binaries"):
        advisory = binary.flag("advisory")
        label = binary.text("label")
        of_it = [] if label in labels else [row for row in verdict.rows("limits") if row.text("binary") == label]
        labels.add(label)
        checks = [_check(row, binary, advisory) for row in binary.fields("evidence").rows("checks")]
        cases = (_outcome("serves", binary, advisory), *checks, *(_limit(row) for row in of_it))
        suites.append(_Suite(f"{model}: {label.partition('@')[0] or 'server'}", cases, _log(binary)))
    return suites


def _outcome(name: str, told: Fields, advisory: bool) -> _Case:
    """The case of a verdict."""
    verdict, code = told.text("verdict"), told.text("reason_code")
    seconds = _seconds(told)
    if verdict == "BLESSED":
        return _Case(name, seconds=seconds)
    step = told.text("next_step")
    message = f"{told.text('reason') or verdict}" + (f"\nNext step: {step}" if step else "")
    return _Case(name, _kind("failure" if verdict == "NOT_BLESSED" else "error", advisory), message, code, seconds)


def _check(check: Fields, binary: Fields, advisory: bool) -> _Case:
    name, detail = f"check: {check.text('name')}", check.text("detail")
    outcome = check.text("outcome")
    if outcome == "passed":
        return _Case(name)
    if outcome == "not_applicable":
        return _Case(name, "skipped", detail or "Not applicable.")
    kind = "error" if binary.text("verdict") == "INCONCLUSIVE" else "failure"
    return _Case(
        name, _kind(kind, advisory), detail or "The check failed.", binary.text("reason_code") or "CHECK_FAILED"
    )


def _limit(row: Fields) -> _Case:
    name, unit, outcome = f"limit: {row.text('name')}", row.text("unit"), row.text("outcome")
    if outcome == "kept":
        return _Case(name)
    bound = "at most" if row.flag("at_most") else "at least"
    numbers = f"{in_unit(row.number('measured'), unit)} measured, {bound} {in_unit(row.number('limit'), unit)} allowed."
    message = " ".join(filter(None, (numbers, row.text("detail"))))
    advisory = not row.flag("decides")
    if outcome == "exceeded":
        return _Case(name, _kind("failure", advisory), message, "LIMIT_EXCEEDED")
    return _Case(name, _kind("error", advisory), message, "LIMIT_NOT_MEASURED")


def _change(row: Fields) -> _Case:
    name = f"signature: {row.text('signature')} {row.text('what')} {row.text('kind')}"
    return _Case(name, "failure", row.text("detail"), "SIGNATURE_BROKE") if row.flag("breaking") else _Case(name)


def _kind(kind: str, advisory: bool) -> str:
    """What does not decide fails nobody's build."""
    return "skipped" if advisory else kind


def _seconds(told: Fields) -> float:
    """How long a serving binary's attempts took together; 0 for the verdict on all of them, so that nothing is counted twice."""
    return sum(phase.number("seconds") or 0.0 for attempt in told.rows("attempts") for phase in attempt.rows("phases"))


def _log(binary: Fields) -> str:
    attempts = binary.rows("attempts") or [binary]
    return "\n".join(
        filter(None, (attempt.tail("server_log_tail", _ROOM.log // len(attempts))[0] for attempt in attempts))
    )


def _suite_element(number: int, name: str, suite: _Suite, verdict: Fields) -> ElementTree.Element:
    started = verdict.text("started_at")[:19]
    element = ElementTree.Element(
        "testsuite",
        {
            "name": one_line(name, _LONGEST_NAME),
            "id": str(number),
            "package": "infra_validator",
            "hostname": "localhost",
            "timestamp": started if _is_moment(started) else "1970-01-01T00:00:00",
            "tests": str(len(suite.cases)),
            "failures": str(_how_many(suite.cases, "failure")),
            "errors": str(_how_many(suite.cases, "error")),
            "skipped": str(_how_many(suite.cases, "skipped")),
            "time": _time(sum(case.seconds for case in suite.cases)),
        },
    )
    properties = ElementTree.SubElement(element, "properties")
    for field in ("model", "model_digest", "tool", "verdict", "reason_code"):
        value = verdict.text(field)
        if value:
            ElementTree.SubElement(properties, "property", name=field, value=one_line(value))
    for case in suite.cases:
        element.append(_case_element(one_line(name, _LONGEST_NAME), case))
    ElementTree.SubElement(element, "system-out").text = ""
    ElementTree.SubElement(element, "system-err").text = printable(suite.log)
    return element


def _case_element(suite: str, case: _Case) -> ElementTree.Element:
    element = ElementTree.Element(
        "testcase", classname=suite, name=one_line(case.name, _LONGEST_NAME), time=_time(case.seconds)
    )
    if case.kind:
        told = ElementTree.SubElement(element, case.kind, message=one_line(case.message))
        if case.kind != "skipped":
            told.set("type", one_line(case.code) or "INCONCLUSIVE")
            told.text = printable(case.message)
    return element


def _how_many(cases: Sequence[_Case], kind: str) -> int:
    return sum(case.kind == kind for case in cases)


def _time(seconds: float) -> str:
    return f"{max(0.0, seconds):.3f}"


def _is_moment(text: str) -> bool:
    try:
        return len(text) == 19 and text.isascii() and bool(datetime.datetime.fromisoformat(text))
    except ValueError:
        return False
