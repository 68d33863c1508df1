"""``infra-validator verify``: a verdict of a real validation held against models."""

from __future__ import annotations

import json
import pathlib

import pytest

from component_tests.fakes.saved_models import SavedModels
from infra_validator import run_validation
from infra_validator.cli.verify import main
from infra_validator.saved_model.digest import model_digest


@pytest.fixture(scope="module")
def verdict(saved_models: SavedModels, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The verdict on half_plus_two, as the artifact holds it."""
    report = run_validation(saved_models.path("half_plus_two"), {"tensorflow_serving": {}, "local_process": {}})
    file = tmp_path_factory.mktemp("blessing") / "verdict.json"
    file.write_text(report.to_json())
    return file


def test_the_blessed_model_and_a_copy_of_it(
    saved_models: SavedModels, verdict: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = saved_models.copy("half_plus_two", tmp_path)
    for model in (saved_models.path("half_plus_two"), copy):
        assert main(["--model", str(model), "--verdict", str(verdict.parent)]) == 0
        assert capsys.readouterr().out.startswith("blessed: sha256:")


def test_another_byte_is_another_model(
    saved_models: SavedModels, verdict: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = saved_models.copy("half_plus_two", tmp_path)
    (copy / "one_more_file").write_bytes(b"x")
    assert main(["--model", str(copy), "--verdict", str(verdict)]) == 1
    assert "not the blessed model" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"verdict": "BLESSED", "model_digest": ""}'])
def test_what_is_no_verdict_is_wrong_usage(saved_models: SavedModels, tmp_path: pathlib.Path, text: str) -> None:
    file = tmp_path / "verdict.json"
    file.write_text(text)
    assert main(["--model", str(saved_models.path("half_plus_two")), "--verdict", str(file)]) == 2


def test_a_rejection_blesses_nothing(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "verdict.json"
    file.write_text('{"verdict": "NOT_BLESSED", "model_digest": ""}')
    assert main(["--model", str(saved_models.path("half_plus_two")), "--verdict", str(file)]) == 1


def test_a_model_that_is_not_there_cannot_be_verified(verdict: pathlib.Path, tmp_path: pathlib.Path) -> None:
    assert main(["--model", str(tmp_path / "none"), "--verdict", str(verdict)]) == 3


def verdict_file(folder: pathlib.Path, model: pathlib.Path, **evidence: object) -> pathlib.Path:
    file = folder / "verdict.json"
    report: dict[str, object] = {"verdict": "BLESSED", "model_digest": model_digest(str(model))}
    if evidence:
        report |= {"schema_version": 2, "evidence": evidence}
    file.write_text(json.dumps(report))
    return file


@pytest.mark.parametrize(
    ("evidence", "required", "code", "said"),
    [
        ({"level": "ANSWERED", "digest_verified": True}, "answered", 0, "blessed: sha256:"),
        ({"level": "LOADED", "digest_verified": True}, "loaded", 0, "blessed: sha256:"),
        ({"level": "LOADED", "digest_verified": True}, "answered", 1, "the model was only loaded"),
        ({"level": "ANSWERED", "digest_verified": False}, "answered", 1, "digest_verified is false"),
        ({}, "loaded", 0, "blessed: sha256:"),
        ({}, "answered", 1, "does not say what it rests on"),
    ],
)
def test_a_blessing_that_rests_on_less_than_is_required_is_refused(
    saved_models: SavedModels,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    evidence: dict[str, object],
    required: str,
    code: int,
    said: str,
) -> None:
    model = saved_models.path("half_plus_two")
    file = verdict_file(tmp_path, model, **evidence)
    assert main(["--model", str(model), "--verdict", str(file), "--require", required]) == code
    assert said in capsys.readouterr().out


def test_a_real_verdict_says_that_the_model_was_only_loaded(
    saved_models: SavedModels, verdict: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = saved_models.path("half_plus_two")
    assert main(["--model", str(model), "--verdict", str(verdict), "--require", "answered"]) == 1
    assert "only loaded" in capsys.readouterr().out
