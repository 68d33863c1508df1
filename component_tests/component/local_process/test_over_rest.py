"""Requests asked over REST and over gRPC, on the embedded server: the same outputs, or a difference that is told."""

from __future__ import annotations

import json
import pathlib
import shlex
import sys
from typing import Any

import pytest

from component_tests.fakes.saved_models import SavedModels
from infra_validator.api import run_validation
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.verdict import ValidationReport, Verdict

BOTH = {"protocols": ["grpc", "rest"]}


def validate(
    model: pathlib.Path, requests: pathlib.Path, body: Any, request_spec: Any = None, serving: Any = None
) -> ValidationReport:
    requests.write_text(json.dumps(body))
    spec = {"tensorflow_serving": {}, "local_process": {}, "model_name": "m", **(serving or {})}
    return run_validation(model, spec, {"num_tries": 1}, request_spec, requests=str(requests))


def over_rest(report: ValidationReport) -> str:
    return {check.name: check.outcome.value for check in report.evidence.checks}["answer_over_rest"]


@pytest.mark.parametrize(
    ("model", "body"),
    [
        ("half_plus_two_tf2", {"instances": [1.0, 2.0]}),
        ("half_plus_two_tf2", {"inputs": [1.0, 2.0]}),
        ("half_plus_two", {"signature_name": "classify_x_to_y", "examples": [{"x": 1.0}, {"x": 2.0}]}),
        ("half_plus_two", {"signature_name": "regress_x_to_y", "examples": [{"x": 1.0}]}),
        ("two_inputs", {"instances": [{"a": [1.0, 2.0], "b": [3.0, 4.0]}]}),
        ("two_inputs", {"inputs": {"a": [[1.0, 2.0]], "b": [[3.0, 4.0]]}}),
        ("vocabulary", {"instances": ["a", "zebra"]}),
    ],
)
def test_what_was_written_for_rest_is_answered_alike(
    tmp_path: pathlib.Path, saved_models: SavedModels, model: str, body: Any
) -> None:
    report = validate(saved_models.path(model), tmp_path / "requests.json", body)
    assert report.blessed, report.finding
    assert over_rest(report) == "passed"


def test_what_rest_refuses_is_a_difference(tmp_path: pathlib.Path, saved_models: SavedModels) -> None:
    """REST has no half; asked over gRPC alone the model would pass."""
    body = {"signature_name": "half", "instances": [1.0]}
    report = validate(saved_models.path("identity"), tmp_path / "requests.json", body)
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, ReasonCode.ANSWER_DIFFERS)
    assert "over gRPC it was answered, over REST not: HTTP 400" in report.finding.detail


def test_both_protocols_for_rows_of_any_source(tmp_path: pathlib.Path, saved_models: SavedModels) -> None:
    report = run_validation(
        saved_models.path("half_plus_two_tf2"),
        {"tensorflow_serving": {}, "local_process": {}},
        {"num_tries": 1},
        {**BOTH, "generate": {"values": "ones"}},
    )
    assert report.blessed, report.finding
    assert over_rest(report) == "passed"


def test_a_server_without_a_rest_port_is_not_the_models_fault(
    tmp_path: pathlib.Path, saved_models: SavedModels
) -> None:
    """Its REST port never opens although the spec wants REST: nothing was refused, so nothing is known of the model."""
    server = tmp_path / "server.sh"
    server.write_text(
        "#!/bin/bash\n"
        'for argument; do case $argument in --rest_api_port=*) ;; *) kept+=("$argument") ;; esac; done\n'
        f'exec {shlex.quote(sys.executable)} -m infra_validator.embedded_server "${{kept[@]}}"\n'
    )
    server.chmod(0o755)
    report = run_validation(
        saved_models.path("half_plus_two_tf2"),
        {"tensorflow_serving": {}, "local_process": {"binary_path": str(server)}},
        {"num_tries": 1},
        {**BOTH, "generate": {"values": "ones"}},
    )
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, ReasonCode.SERVER_NOT_REACHABLE)
    assert "over REST no answer came" in report.finding.detail
