"""Limits on the command line: what is printed, and what a dry run finds."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from component_tests.component.cli.test_command_line import validate
from component_tests.fakes.saved_models import SavedModels


@pytest.fixture
def scratch(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def run(saved_models: SavedModels, scratch: pathlib.Path, spec: Any, *more: str) -> tuple[int, str, str]:
    model = saved_models.path("half_plus_two")
    return validate(scratch, model, "--validation-spec", json.dumps(spec), *more).end()


def test_what_was_measured_is_printed_limit_by_limit(saved_models: SavedModels, scratch: pathlib.Path) -> None:
    limits = {"latency": [{"percentile": "p50", "at_most_ms": 60000}], "memory": {"under_load": "1m"}}
    spec = {"limits": limits, "load": {"requests": 20, "warm_up_seconds": 0}}
    code, output, errors = run(saved_models, scratch, spec, "--generate")
    assert code == 1, output + errors
    assert "load of serving_default" in output
    assert "20 requests in" in output
    lines = [line.split() for line in output.splitlines() if line.startswith("  limit ")]
    assert [line[1:3] for line in lines] == [
        ["kept", "latency.p50"],
        ["kept", "error_rate"],
        ["EXCEEDED", "memory.under_load"],
    ]
    assert "NOT_BLESSED LIMIT_EXCEEDED" in output
    assert "Traceback" not in output + errors


@pytest.mark.parametrize(
    ("spec", "more", "code", "words"),
    [
        ({"load": {}}, (), 2, "nothing to ask it with"),
        (
            {"limits": {"latency": [{"at_most_ms": 5}]}, "load": {"requests": 9}},
            ("--generate",),
            2,
            "p99 needs at least 368",
        ),
        (
            {"limits": {"latency": [{"percentile": "p50", "at_most_ms": 5, "signature": "serving"}]}},
            ("--generate",),
            2,
            "'serving_default'",
        ),
        ({"limits": {"throughput_at_least_times": 0.9}}, ("--generate",), 2, "there is no baseline"),
        ({"limits": {"model_size": "1k"}}, (), 1, "model_size: "),
    ],
)
def test_a_dry_run_finds_what_would_be_refused(
    saved_models: SavedModels, scratch: pathlib.Path, spec: Any, more: tuple[str, ...], code: int, words: str
) -> None:
    got, output, errors = run(saved_models, scratch, spec, "--dry-run", *more)
    assert got == code, output + errors
    assert words in output + errors
    assert "Traceback" not in output + errors
