"""Servers that are honest over gRPC and lie over REST: none is blessed, and the honest twin is blessed."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shlex
import sys

import pytest

from component_tests.component.local_process.test_lying_servers import MODEL, ROOT, request
from component_tests.fakes.saved_models import SavedModels
from component_tests.fakes.servers.half_plus_two_rest import REST_LIES
from infra_validator.api import run_validation
from infra_validator.core.reason_codes import ReasonCode as R
from infra_validator.report.evidence import CheckOutcome
from infra_validator.report.verdict import ValidationReport, Verdict

ROWS = list(map(float, range(100)))

#: What the sentence says of each lie.
EXPECTED = {
    "empty": "over REST not: JSON of another form",
    "garbage": "over REST not: JSON of another form",
    "half": "over REST not: JSON of another form",
    "endless_lists": "over REST not: JSON of another form",
    "another_form": "over REST not: JSON of another form",
    "missing_output": "over REST not: JSON of another form",
    "extra_output": "over REST not: JSON of another form",
    "wrong_shape": "output 'y' is float [100, 1], but float [100] in the answer over gRPC",
    "wrong_batch": "output 'y' is float [101], but float [100] in the answer over gRPC",
    "ragged": "over REST not: JSON of another form",
    "texts": "over REST not: JSON of another form",
    "booleans": "over REST not: JSON of another form",
    "nan": "output 'y'[57] is nan, but 30.5 in the answer over gRPC",
    "infinite": "output 'y'[99] is inf, but 51.5 in the answer over gRPC",
    "constant": "output 'y'[99] is 2.5, but 51.5 in the answer over gRPC",
    "wrong_order": "in the answer over gRPC",
    "one_off": "output 'y'[57] is 30.6",
    "refused": "over REST not: HTTP 400: no such thing",
    "broken": "over REST not: HTTP 500",
}

#: Lies that are no answer at all: what was asked for could not be seen, so the model is not blamed.
NOT_ANSWERED = {"hangs_up"}


def validate(
    directory: pathlib.Path, model: pathlib.Path, mode: str, body: dict[str, object] | None = None
) -> ValidationReport:
    program = directory / "tensorflow_model_server"
    server = shlex.join([sys.executable, "-m", "component_tests.fakes.servers.misbehaving_servers", mode])
    program.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {server} "$@"\n')
    program.chmod(0o755)
    asked = dataclasses.replace(request(*ROWS), rest_body=json.dumps(body or {"inputs": {"x": ROWS}}).encode())
    return run_validation(
        model,
        {"tensorflow_serving": {}, "local_process": {"binary_path": str(program)}, "model_name": "m"},
        {"num_tries": 1, "stop_grace_seconds": 0.3, "max_query_time_seconds": 60},
        {"protocols": ["grpc", "rest"]},
        requests=lambda: (asked,),
    )


def over_rest(report: ValidationReport) -> CheckOutcome:
    return {check.name: check.outcome for check in report.evidence.checks}["answer_over_rest"]


def test_every_lie_has_a_row() -> None:
    assert {*EXPECTED, *NOT_ANSWERED} == set(REST_LIES)


@pytest.mark.parametrize(("lie", "told"), EXPECTED.items())
def test_a_lie_over_rest_is_found(tmp_path: pathlib.Path, saved_models: SavedModels, lie: str, told: str) -> None:
    report = validate(tmp_path, saved_models.path(MODEL), f"lies_over_rest_{lie}")
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, R.ANSWER_DIFFERS), report.finding
    assert told in report.finding.detail
    assert over_rest(report) is CheckOutcome.FAILED


@pytest.mark.parametrize(
    "body",
    [{"inputs": {"x": ROWS}}, {"inputs": ROWS}, {"instances": ROWS}, {"instances": [{"x": row} for row in ROWS]}],
)
def test_the_honest_twin_is_blessed(tmp_path: pathlib.Path, saved_models: SavedModels, body: dict[str, object]) -> None:
    report = validate(tmp_path, saved_models.path(MODEL), "good_over_rest", body)
    assert report.blessed, report.finding
    assert over_rest(report) is CheckOutcome.PASSED


@pytest.mark.parametrize("mode", ["good", *(f"lies_over_rest_{lie}" for lie in NOT_ANSWERED)])
def test_a_rest_port_that_was_asked_for_and_does_not_answer(
    tmp_path: pathlib.Path, saved_models: SavedModels, mode: str
) -> None:
    report = validate(tmp_path, saved_models.path(MODEL), mode)
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, R.SERVER_NOT_REACHABLE), report.finding
