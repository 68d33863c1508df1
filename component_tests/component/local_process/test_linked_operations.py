"""Operations that TensorFlow Serving's binary has and TensorFlow's wheel has not, on the embedded server."""

from __future__ import annotations

import importlib.util
import pathlib
import shutil
from typing import Any

import pytest

from component_tests.fakes.saved_models import SavedModels
from infra_validator.api import run_validation
from infra_validator.core.errors import SpecError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.verdict import ValidationReport, Verdict
from infra_validator.serving_binaries.linked_operations import extra_with

FEW: dict[str, Any] = {"num_tries": 2, "max_loading_time_seconds": 60}
TEXTS = {"generate": {"texts": {"text": ["Straße", "ABC"]}}, "num_examples": 2}


@pytest.fixture
def without_the_package(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that finds an empty package in the place of tensorflow_text."""
    package = tmp_path / "tensorflow_text"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def library() -> pathlib.Path:
    found = importlib.util.find_spec("tensorflow_text")
    assert found is not None
    assert found.submodule_search_locations
    return pathlib.Path(found.submodule_search_locations[0], "python", "ops", "_normalize_ops.so")


def validated(saved_models: SavedModels, **config: Any) -> ValidationReport:
    spec = {"tensorflow_serving": {}, "local_process": config, "model_name": "m"}
    return run_validation(saved_models.path("words"), spec, FEW, TEXTS)


def test_the_operations_of_an_installed_package_are_there(saved_models: SavedModels) -> None:
    report = validated(saved_models)
    assert report.verdict is Verdict.BLESSED, report.finding
    assert report.evidence.requests == 2


def test_the_python_of_an_installed_package_is_not_run(
    saved_models: SavedModels, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "tensorflow_text"
    (package / "python" / "ops").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('imported')\n")
    shutil.copy(library(), package / "python" / "ops")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    report = validated(saved_models)
    assert report.verdict is Verdict.BLESSED, report.finding


@pytest.mark.usefixtures("without_the_package")
def test_where_the_package_is_not_installed_the_model_is_not_blamed(saved_models: SavedModels) -> None:
    report = validated(saved_models)
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, ReasonCode.OP_NOT_IN_STAND_IN)
    assert "CaseFoldUTF8" in report.finding.detail
    assert "infra-validator[text]" in report.finding.detail
    assert len(report.serving_binaries[0].attempts) == 1


@pytest.mark.usefixtures("without_the_package")
def test_a_library_of_the_users_own(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    own = shutil.copy(library(), tmp_path / "our_ops.so")
    report = validated(saved_models, op_libraries=[str(own)])
    assert report.verdict is Verdict.BLESSED, report.finding


def test_a_library_that_is_none(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    own = tmp_path / "our_ops.so"
    own.write_text("no library")
    report = validated(saved_models, op_libraries=[str(own)])
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, ReasonCode.BAD_SPEC)
    assert "our_ops.so" in report.finding.detail


@pytest.mark.parametrize("path", ["/no/such/file.so", "a,b.so", ""])
def test_a_path_that_cannot_be_handed_over_is_refused(path: str, saved_models: SavedModels) -> None:
    with pytest.raises(SpecError) as refused:
        validated(saved_models, op_libraries=[path])
    assert "local_process.op_libraries" in str(refused.value)


def test_a_real_server_has_its_own(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    program = tmp_path / "tensorflow_model_server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    with pytest.raises(SpecError) as refused:
        validated(saved_models, op_libraries=[str(library())], binary_path=str(program))
    assert "op_libraries" in str(refused.value)


def test_an_operation_that_nobody_has_is_the_models_fault(saved_models: SavedModels) -> None:
    spec: dict[str, Any] = {"tensorflow_serving": {}, "local_process": {}}
    report = run_validation(saved_models.path("unknown_op"), spec, FEW)
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, ReasonCode.OP_NOT_REGISTERED)


@pytest.mark.parametrize(
    ("operation", "extra"),
    [
        ("SentencepieceTokenizeOp", "text"),
        ("TFText>NgramsStringJoin", "text"),
        ("FastWordpieceTokenizeWithOffsets", "text"),
        ("SimpleMLInferenceOpWithHandle", "decision_forests"),
        ("SimpleMLModelTrainer", ""),
        ("MatMul", ""),
        ("OpThatNobodyHas", ""),
    ],
)
def test_what_the_real_binary_has(operation: str, extra: str) -> None:
    assert extra_with(operation) == extra
