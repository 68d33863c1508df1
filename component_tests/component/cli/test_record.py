"""``infra-validator record`` and what its file is good for: the next model must answer as the one that was recorded."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from component_tests.fakes.saved_models import SavedModels
from infra_validator.api import run_validation
from infra_validator.cli.main import main
from infra_validator.core.errors import SpecError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.verdict import ValidationReport, Verdict

SERVING = {"tensorflow_serving": {}, "local_process": {}, "model_name": "m"}


def record(folder: pathlib.Path, model: pathlib.Path, rows: list[Any]) -> tuple[int, pathlib.Path]:
    requests, golden = folder / "requests.json", folder / "golden.json"
    requests.write_text(json.dumps(rows))
    arguments = ["--model", str(model), "--requests", str(requests), "--output", str(golden), "--quiet"]
    return main(["record", *arguments, "--serving-spec", json.dumps(SERVING)]), golden


def against(model: pathlib.Path, golden: pathlib.Path, name: str = "m", **answers: Any) -> ValidationReport:
    return run_validation(
        model, {**SERVING, "model_name": name}, {"num_tries": 1, "answers": {"golden": str(golden), **answers}}
    )


def check(report: ValidationReport) -> str:
    return {found.name: found.outcome.value for found in report.evidence.checks}["answer_golden"]


def test_the_recorded_model_and_its_double_pass(
    tmp_path: pathlib.Path, saved_models: SavedModels, capsys: pytest.CaptureFixture[str]
) -> None:
    code, golden = record(tmp_path, saved_models.path("half_plus_two_tf2"), [1.0, 2.0, 10.0])
    assert code == 0
    assert f"3 requests and answers were recorded in {golden}." in capsys.readouterr().out
    written = json.loads(golden.read_text())
    assert written["schema_version"] == 1
    assert written["model_digest"].startswith("sha256:")
    report = against(saved_models.path("half_plus_two_tf2"), golden, name="another_name")
    assert report.blessed, report.finding
    assert report.evidence.requests == 3
    assert check(report) == "passed"


def test_a_model_that_answers_otherwise_is_told_with_the_worst_difference(
    tmp_path: pathlib.Path, saved_models: SavedModels
) -> None:
    code, golden = record(tmp_path, saved_models.path("half_plus_two_tf2"), [1.0, 2.0])
    assert code == 0
    written = json.loads(golden.read_text())
    written["answers"][0]["answer"] = written["answers"][1]["answer"]
    golden.write_text(json.dumps(written))
    report = against(saved_models.path("half_plus_two_tf2"), golden)
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, ReasonCode.ANSWER_DIFFERS)
    assert "golden request " in report.finding.detail
    assert " is 2.5, but 3 in the golden file" in report.finding.detail or " is 3, but 2.5 in" in report.finding.detail
    assert check(report) == "failed"
    assert against(saved_models.path("half_plus_two_tf2"), golden, absolute_tolerance={"y": 0.5}).blessed


def test_a_golden_file_that_does_not_fit_is_a_spec_error(tmp_path: pathlib.Path, saved_models: SavedModels) -> None:
    model = saved_models.path("half_plus_two_tf2")
    code, golden = record(tmp_path, model, [1.0])
    assert code == 0
    with pytest.raises(SpecError, match="is for another signature"):
        against(saved_models.path("two_inputs"), golden)
    written = json.loads(golden.read_text())
    for spoilt, told in (
        ({**written, "schema_version": 2}, "of schema version 2"),
        ({**written, "answers": []}, "holds no answers"),
        ({**written, "answers": [{}]}, "is damaged"),
        ({**written, "answers": [{**written["answers"][0], "request": "\u00e9"}]}, "is damaged"),
        ({**written, "answers": [{**written["answers"][0], "rows": "1"}]}, "is damaged"),
        ({"a": 1}, "is no golden file"),
        ([], "is no golden file"),
    ):
        golden.write_text(json.dumps(spoilt))
        with pytest.raises(SpecError, match=told):
            against(model, golden)
    golden.write_text("{")
    with pytest.raises(SpecError, match="it is no JSON"):
        against(model, golden)
    with pytest.raises(SpecError, match="No such file"):
        against(model, tmp_path / "nowhere.json")


def test_a_model_that_is_not_blessed_is_not_recorded(tmp_path: pathlib.Path, saved_models: SavedModels) -> None:
    code, golden = record(tmp_path, saved_models.path("nan"), [1.0])
    assert code == 1
    assert not golden.exists()
