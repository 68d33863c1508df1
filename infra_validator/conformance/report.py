"""The results of a conformance run as text, JSON and JUnit XML."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from infra_validator.conformance.points import Outcome, Result, S

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def line(result: Result[S], who: str = "model-mesh") -> str:
    """One result in a line or, when it departs, a few.

    Args:
      who: whom a departure hurts.
    """
    text = f"{result.outcome.value:<10}  {result.point.name}: {result.point.title}"
    if result.outcome is Outcome.PASSED:
        return text
    text += f"\n            {result.detail}."
    if result.outcome in (Outcome.FAILED, Outcome.ADVICE):
        text += f"\n            {who}: {result.point.consequence}"
    return text


def summary(results: Sequence[Result[S]]) -> str:
    """How many came out how, in one line."""
    counts = {outcome: sum(result.outcome is outcome for result in results) for outcome in Outcome}
    return ", ".join(f"{count} {outcome.value}" for outcome, count in counts.items())


def as_json(target: str, results: Sequence[Result[S]]) -> str:
    """All results as a JSON document."""
    points = [
        {
            "name": result.point.name,
            "title": result.point.title,
            "must": result.point.must,
            "outcome": result.outcome.value,
            "detail": result.detail,
            "consequence": result.point.consequence,
            "seconds": round(result.seconds, 3),
        }
        for result in results
    ]
    conforms = not any(result.outcome is Outcome.FAILED for result in results)
    return json.dumps({"schema": 1, "target": target, "conforms": conforms, "points": points}, indent=2)


def as_junit(
    target: str, results: Sequence[Result[S]], protocol: str = "mmesh.ModelRuntime", who: str = "model-mesh"
) -> str:
    """All results as JUnit XML: advice and what was not judged stand there as skipped.

    Args:
      protocol: what is tested.
      who: whom a departure hurts.
    """
    failed = sum(result.outcome is Outcome.FAILED for result in results)
    skipped = sum(result.outcome in (Outcome.ADVICE, Outcome.NOT_JUDGED) for result in results)
    suite = ET.Element(
        "testsuite",
        name=protocol,
        hostname=_clean(target),
        tests=str(len(results)),
        failures=str(failed),
        errors="0",
        skipped=str(skipped),
        time=f"{sum(result.seconds for result in results):.3f}",
    )
    for result in results:
        case = ET.SubElement(
            suite, "testcase", classname=protocol, name=result.point.name, time=f"{result.seconds:.3f}"
        )
        if result.outcome is Outcome.PASSED:
            continue
        kind = "failure" if result.outcome is Outcome.FAILED else "skipped"
        found = ET.SubElement(case, kind, message=_clean(f"{result.outcome.value}: {result.detail}"))
        found.text = _clean(f"{result.point.title}\n{result.detail}\n{who}: {result.point.consequence}")
    return ET.tostring(suite, encoding="unicode", xml_declaration=True)


def _clean(text: str) -> str:
    return _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text)
