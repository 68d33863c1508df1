"""``--prefer_tflite_model``: a server that can serve ``model.tflite`` is not kept from it; the embedded one, which cannot, is not begun."""

from __future__ import annotations

import pathlib
import shlex
import sys
from typing import Any

import pytest

from component_tests.fakes.saved_models import SavedModels
from infra_validator.api import run_validation
from infra_validator.core.errors import SpecError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.verdict import ValidationReport, Verdict

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture
def model(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "model" / "1"
    path.mkdir(parents=True)
    (path / "model.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3")
    return path


@pytest.fixture
def program(tmp_path: pathlib.Path) -> str:
    path = tmp_path / "tensorflow_model_server"
    server = shlex.join([sys.executable, "-m", "component_tests.fakes.servers.misbehaving_servers", "good"])
    path.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {server} "$@"\n')
    path.chmod(0o755)
    return str(path)


def validate(model: pathlib.Path, arguments: list[str], platform: dict[str, Any]) -> ValidationReport:
    spec = {"tensorflow_serving": {"extra_args": arguments}, "local_process": platform, "model_name": "m"}
    return run_validation(model, spec, {"num_tries": 1, "max_loading_time_seconds": 30, "stop_grace_seconds": 0.3})


@pytest.mark.parametrize("given", ["1", "."])
def test_a_real_server_is_handed_the_model(model: pathlib.Path, program: str, given: str) -> None:
    path = model if given == "1" else model.parent
    report = validate(path, ["--prefer_tflite_model=true"], {"binary_path": program})
    assert report.verdict is Verdict.BLESSED, report.finding
    assert any("model.tflite" in warning and "unchecked" in warning for warning in report.warnings)


@pytest.mark.parametrize(
    "arguments", [[], ["--prefer_tflite_model=false"], ["--prefer_tflite_model", "--prefer_tflite_model=false"]]
)
def test_without_the_flag_it_is_no_model(model: pathlib.Path, program: str, arguments: list[str]) -> None:
    report = validate(model, arguments, {"binary_path": program})
    assert report.finding.reason is ReasonCode.MODEL_NOT_A_SAVED_MODEL


def test_the_embedded_server_refuses_it_before_it_is_started(
    model: pathlib.Path, saved_models: SavedModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SpecError, match="serves SavedModels only"):
        validate(model, ["--prefer_tflite_model"], {})
    assert validate(saved_models.path("half_plus_two"), ["--prefer_tflite_model"], {}).verdict is Verdict.BLESSED
