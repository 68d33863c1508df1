"""``infra-validator validate-changed``: the models that hold changed files, each once."""

from __future__ import annotations

import pathlib

import pytest

from component_tests.fakes.saved_models import SavedModels
from infra_validator.cli.git.changed_models import main, models_of

SPEC = ["--serving-spec", "{tensorflow_serving: {}, local_process: {}}", "--quiet"]


def test_a_file_belongs_to_the_nearest_saved_model(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for file in (
        "models/a/1/saved_model.pb",
        "models/a/1/variables/variables.index",
        "models/b/saved_model.pbtxt",
        "README.md",
    ):
        pathlib.Path(file).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(file).touch()
    found = models_of(
        [
            "README.md",
            "models/a/1/variables/variables.index",
            "models/b/saved_model.pbtxt",
            "models/a/1/saved_model.pb",
            "gone/saved_model.pb",
        ]
    )
    assert found == [pathlib.Path("models/a/1"), pathlib.Path("models/b")]


def test_no_model_is_no_fault(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SPEC, "--", str(tmp_path / "README.md")]) == 0
    assert capsys.readouterr().out == ""


def test_files_stand_after_two_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SPEC, "models/a/saved_model.pb"]) == 2
    assert "usage: infra-validator validate-changed" in capsys.readouterr().err


def test_each_is_validated_and_one_that_is_rejected_decides(
    saved_models: SavedModels, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = saved_models.copy("unknown_op", tmp_path / "bad")
    good = saved_models.copy("half_plus_two", tmp_path / "good")
    assert (
        main([*SPEC, "--generate", "--", f"{bad}/saved_model.pb", f"{good}/saved_model.pb", f"{good}/variables/x"]) == 1
    )
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if line in (f"{bad}:", f"{good}:")] == [f"{bad}:", f"{good}:"]
    assert "NOT_BLESSED" in printed
    assert f"{good}:\nBLESSED" in printed
