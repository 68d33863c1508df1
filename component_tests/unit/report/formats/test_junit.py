"""``junit.xml``: valid for those who read it, whatever a verdict holds, and red, yellow and grey where it should be."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from component_tests.fakes.rich_reports import could_not_test, every_kind, rejected
from component_tests.unit.report.formats.test_html import HOSTILE, with_every_text
from infra_validator.report.formats.junit import junit, junit_of_several
from infra_validator.report.verdict import Verdict

SCHEMA = etree.XMLSchema(etree.parse(str(pathlib.Path(__file__).parent / "junit.xsd")))


def read(text: str) -> Any:
    """The file, read strictly; the numbers at its top are those of what is in it."""
    root = etree.fromstring(text.encode("utf-8"))
    SCHEMA.assertValid(root)
    for element in (root, *root.iter("testsuite")):
        for attribute, name in (
            ("tests", "testcase"),
            ("failures", "failure"),
            ("errors", "error"),
            ("skipped", "skipped"),
        ):
            if attribute in element.attrib:
                assert int(element.attrib[attribute]) == len(list(element.iter(name)))
    return root


def cases(root: Any) -> dict[str, list[str]]:
    """What became of each case, by its name: one outcome for each suite."""
    found: dict[str, list[str]] = {}
    for case in root.iter("testcase"):
        found.setdefault(case.attrib["name"], []).append(case[0].tag if len(case) else "passed")
    return found


def data(report: Any) -> Any:
    return json.loads(report.to_json())


def test_a_case_for_each_verdict_check_limit_and_signature() -> None:
    found = cases(read(junit(data(rejected()))))
    assert found["verdict"] == ["failure"]
    assert found["serves"] == ["failure", "passed"]
    assert found["check: golden"] == ["failure", "skipped"]  # the second server is advisory
    assert found["check: finite"] == ["passed", "passed"]
    assert found["check: over_rest"] == ["skipped", "skipped"]
    assert found["limit: latency.p99 (serving_default, batch size 1)"] == ["failure"]
    assert found["limit: memory.after_load"] == ["skipped"]  # advisory, not measured
    assert found["limit: model_size"] == ["passed"]
    assert found["signature: predict_v0 removed"] == ["failure"]
    assert found["signature: serving_default input country added"] == ["passed"]


def test_what_could_not_be_tested_is_an_error_and_no_failure() -> None:
    root = read(junit(data(could_not_test())))
    assert cases(root) == {"verdict": ["error"], "serves": ["error"]}
    assert (root.attrib["failures"], root.attrib["errors"]) == ("0", "2")
    (first, _) = root.iter("error")
    assert first.attrib["type"] == "DOCKER_NOT_RUNNING"
    assert "Next step: " in first.text


def test_an_advisory_server_fails_nobodys_build() -> None:
    report = rejected()
    failing = dataclasses.replace(report.serving_binaries[0], advisory=True)
    good = dataclasses.replace(report.serving_binaries[1], advisory=False)
    blessed = dataclasses.replace(
        report, verdict=Verdict.BLESSED, serving_binaries=(failing, good), signature_changes=()
    )
    told = data(blessed)
    for check in told["serving_binaries"][1]["evidence"]["checks"]:
        check["outcome"] = "passed"
    root = read(junit(told))
    assert (root.attrib["failures"], root.attrib["errors"]) == ("0", "0")


@pytest.mark.parametrize("kind", sorted(every_kind()))
def test_every_kind_is_valid(kind: str) -> None:
    read(junit(data(every_kind()[kind])))


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda text: ascii(text)[:24])
def test_hostile_texts_stay_texts(hostile: str) -> None:
    told = with_every_text(data(rejected()), hostile)
    read(junit(told))
    read(junit_of_several([(hostile, told), ("b", told)]))


def test_every_control_character_leaves_valid_xml() -> None:
    told = data(rejected())
    every = "".join(map(chr, [*range(0x100), 0x202E, 0xD800, 0xDFFF, 0xFFFE, 0xFFFF, 0x1F600])) + "]]>"
    told["reason"] = told["serving_binaries"][0]["attempts"][1]["server_log_tail"] = every
    root = read(junit(told))
    assert "]]>" in next(root.iter("failure")).text


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.characters(), max_size=60))
def test_any_text_leaves_valid_xml(text: str) -> None:
    read(junit({"verdict": "NOT_BLESSED", "reason": text, "model_name": text, "started_at": text, "reason_code": text}))
