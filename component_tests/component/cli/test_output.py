"""``--output`` and ``--verdict-file``: what lies there is of the last run, whatever its outcome."""

from __future__ import annotations

import json
import pathlib
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from component_tests.fakes.saved_models import SavedModels
from infra_validator.cli.validate import main

SPEC = '{"tensorflow_serving": {}, "local_process": {}, "model_name": "m"}'


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """A command that is called in somebody's process leaves the signals there as they were."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    assert {number: signal.getsignal(number) for number in before} == before


@pytest.fixture
def output(tmp_path: pathlib.Path) -> pathlib.Path:
    """A directory with the result of an earlier run, and somebody else's file."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "verdict.json").write_text('{"verdict": "BLESSED"}')
    (folder / "server-0-attempt-7.log").write_text("earlier")
    (folder / "notes.txt").write_text("not ours")
    return folder


def validate(model: object, output: pathlib.Path, *more: str, spec: str = SPEC) -> int:
    return main(["--model", str(model), "--serving-spec", spec, "--output", str(output), "--quiet", *more])


def verdict(output: pathlib.Path) -> Any:
    return json.loads((output / "verdict.json").read_text())


@pytest.mark.parametrize(
    ("model", "spec", "code", "reason"),
    [
        ("half_plus_two", SPEC, 0, "BLESSED"),
        ("missing_variables", SPEC, 1, "MODEL_FILES_INCOMPLETE"),
        ("half_plus_two", "{}", 2, "BAD_SPEC"),
        ("half_plus_two", SPEC.replace("{},", '{"model_config_file": "/absent"},', 1), 2, "BAD_SPEC"),
        ("half_plus_two", SPEC.replace('"local_process": {}', '"local_process": {"binary_path": "/absent"}'), 3, "BINARY_NOT_FOUND"),
    ],
)  # fmt: skip
def test_every_outcome_replaces_all_that_was_written_before(
    saved_models: SavedModels, output: pathlib.Path, model: str, spec: str, code: int, reason: str
) -> None:
    assert validate(saved_models.path(model), output, spec=spec) == code
    assert verdict(output)["reason_code"] == reason
    assert verdict(output)["schema_version"] == 3
    assert not (output / "server-0-attempt-7.log").exists()
    assert (output / "notes.txt").read_text() == "not ours"


def test_a_command_line_that_makes_no_sense_leaves_no_old_verdict(
    saved_models: SavedModels, output: pathlib.Path
) -> None:
    with pytest.raises(SystemExit) as ended:
        validate(saved_models.path("half_plus_two"), output, "--no-such-flag")
    assert ended.value.code == 2
    assert verdict(output)["reason_code"] == "WRONG_USAGE"


def test_an_output_in_the_model_is_refused_and_the_model_stays_as_it_is(
    saved_models: SavedModels, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = saved_models.copy("half_plus_two", tmp_path)
    before = sorted(model.rglob("*"))
    for inside in (model, model / "results"):
        assert validate(model, inside) == 2
        assert "lies in the model" in capsys.readouterr().out
    assert sorted(model.rglob("*")) == before


def test_an_output_that_is_a_file_cannot_be_written(
    saved_models: SavedModels, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert validate(saved_models.path("half_plus_two"), file) == 3
    assert "OUTPUT_NOT_WRITABLE" in capsys.readouterr().out
    assert file.read_text() == "mine"


def test_a_verdict_file_of_an_earlier_run_is_gone_when_there_is_no_verdict(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    file = tmp_path / "verdict"
    file.write_text("BLESSED")
    assert validate(saved_models.path("half_plus_two"), tmp_path / "out", "--verdict-file", str(file), spec="{}") == 2
    assert not file.exists()


def test_a_place_where_not_even_root_may_write(capsys: pytest.CaptureFixture[str], saved_models: SavedModels) -> None:
    code = main(["--model", str(saved_models.path("half_plus_two")), "--serving-spec", SPEC, "--output", "/proc/out"])
    assert code == 3
    assert "OUTPUT_NOT_WRITABLE" in capsys.readouterr().out
