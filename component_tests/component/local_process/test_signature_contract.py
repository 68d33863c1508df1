"""The signature contract, with real SavedModels: what breaks callers is rejected before a server is started."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from component_tests.fakes.saved_models import SavedModels
from infra_validator import ReasonCode, Verdict, run_validation
from infra_validator.cli.main import main
from infra_validator.core.errors import SpecError
from infra_validator.specs import ServingSpec, ValidationSpec
from infra_validator.specs.named_files import named_files

EMBEDDED: dict[str, Any] = {"tensorflow_serving": {}, "local_process": {}, "model_name": "m"}


def test_what_breaks_callers_is_rejected_and_nothing_is_started(saved_models: SavedModels) -> None:
    expected = str(saved_models.path("half_plus_two_tf2"))
    said: list[str] = []
    report = run_validation(
        saved_models.path("two_inputs"), EMBEDDED, {"expected_signature": expected}, on_progress=said.append
    )
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, ReasonCode.SIGNATURE_BROKE)
    assert expected in report.finding.detail
    breaking = [change.what for change in report.signature_changes if change.breaking]
    assert breaking == ["input a", "input b", "input x", "output y"]
    assert all(change.detail in report.finding.detail for change in report.signature_changes if change.breaking)
    assert [binary.attempts for binary in report.serving_binaries] == [()]
    assert not any("start" in line for line in said)


def test_a_verdict_is_what_the_next_model_is_held_against(
    saved_models: SavedModels, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def validate(name: str, output: str, **spec: str) -> int:
        model, folder = str(saved_models.path(name)), str(tmp_path / output)
        arguments = ["--model", model, "--serving-spec", json.dumps(EMBEDDED), "--output", folder, "--quiet"]
        return main(["validate", *arguments, "--validation-spec", json.dumps(spec)])

    first = str(tmp_path / "first" / "verdict.json")
    assert validate("half_plus_two_tf2", "first") == 0
    written = json.loads(pathlib.Path(first).read_text())
    assert written["signatures"]["serving_default"] == {
        "method": "tensorflow/serving/predict",
        "inputs": {"x": {"dtype": "float", "shape": [-1]}},
        "outputs": {"y": {"dtype": "float", "shape": [-1]}},
    }
    assert written["signature_changes"] == []

    assert validate("defaults", "second", expected_signature=first) == 0
    told = "Input 'x' of 'serving_default' may be left out now."
    assert told in capsys.readouterr().out
    second = json.loads((tmp_path / "second" / "verdict.json").read_text())
    assert [change["detail"] for change in second["signature_changes"]] == [told]

    back = str(tmp_path / "second" / "verdict.json")
    assert validate("half_plus_two_tf2", "third", expected_signature=back) == 1
    assert "NOT_BLESSED SIGNATURE_BROKE" in capsys.readouterr().out


def test_what_is_expected_must_be_readable(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    model = saved_models.path("half_plus_two_tf2")
    for expected, told in (
        (tmp_path / "gone", "No such file"),
        (tmp_path, "holds no saved_model.pb"),
        (saved_models.path("other_tags"), "no graph tagged {serve}"),
        (saved_models.path("garbage_pb"), "damaged or no SavedModel"),
    ):
        with pytest.raises(SpecError, match="validation_spec.expected_signature: .*" + told):
            run_validation(model, EMBEDDED, {"expected_signature": str(expected)})


def test_the_cache_key_of_a_pipeline_holds_what_is_expected(saved_models: SavedModels) -> None:
    expected = str(saved_models.path("half_plus_two_tf2"))
    spec = ValidationSpec.of({"expected_signature": expected})
    files = named_files(serving_spec=ServingSpec.of(EMBEDDED), validation_spec=spec)
    assert files == {"validation_spec.expected_signature": f"{expected}/saved_model.pb"}
