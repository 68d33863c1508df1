"""Servers that are up, say AVAILABLE and answer OK, and lie: none is blessed, each for its own reason; the honest twin is blessed."""

from __future__ import annotations

import dataclasses
import pathlib
import shlex
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from component_tests.fakes.saved_models import SavedModels
from component_tests.fakes.servers.half_plus_two import LIES
from infra_validator.api import run_validation
from infra_validator.core.reason_codes import ReasonCode as R
from infra_validator.core.sample_request import SampleRequest
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.protos import tensorflow_serving_pb2 as pb
from infra_validator.report.evidence import CheckOutcome
from infra_validator.report.verdict import ValidationReport, Verdict

ROOT = pathlib.Path(__file__).parents[3]
PREDICT = "/tensorflow.serving.PredictionService/Predict"
MODEL = "half_plus_two_tf2"


def request(*rows: float, label: str = "record 1 of rows") -> SampleRequest:
    message = pb.PredictRequest()
    message.model_spec.name = "m"
    message.model_spec.signature_name = "serving_default"
    message.inputs["x"].dtype = tf.DT_FLOAT
    message.inputs["x"].tensor_shape.dim.add().size = len(rows)
    message.inputs["x"].float_val.extend(rows)
    return SampleRequest(PREDICT, "serving_default", message.SerializeToString(), label, rows=len(rows))


def validate(
    directory: pathlib.Path,
    model: pathlib.Path,
    mode: str,
    answers: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    requests: tuple[SampleRequest, ...] | None = (),
    validation: Mapping[str, Any] | None = None,
) -> ValidationReport:
    """Validate ``model`` on a server of that mode; ``requests`` that are None: it is loaded only."""
    program = directory / "tensorflow_model_server"
    server = shlex.join([sys.executable, "-m", "component_tests.fakes.servers.misbehaving_servers", mode])
    program.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {server} "$@"\n')
    program.chmod(0o755)
    asked = requests or (request(*map(float, range(100))), request(5.0, label="record 2 of rows"))
    return run_validation(
        model,
        {
            "tensorflow_serving": {},
            "local_process": {"binary_path": str(program), "env": dict(env or {})},
            "model_name": "m",
        },
        {
            "num_tries": 1,
            "stop_grace_seconds": 0.3,
            "max_query_time_seconds": 60,
            "answers": dict(answers or {}),
            **(validation or {}),
        },
        requests=None if requests is None else lambda: asked,
    )


EXPECTED = {
    "empty": R.ANSWER_OUTPUTS_DIFFER,
    "garbage": R.ANSWER_UNREADABLE,
    "half": R.ANSWER_UNREADABLE,
    "another_model": R.ANSWER_FROM_ANOTHER_MODEL,
    "another_version": R.ANSWER_FROM_ANOTHER_MODEL,
    "another_signature": R.ANSWER_FROM_ANOTHER_MODEL,
    "missing_output": R.ANSWER_OUTPUTS_DIFFER,
    "extra_output": R.ANSWER_OUTPUTS_DIFFER,
    "wrong_dtype": R.ANSWER_TYPE_DIFFERS,
    "wrong_shape": R.ANSWER_TYPE_DIFFERS,
    "wrong_batch": R.ANSWER_TYPE_DIFFERS,
    "nan": R.ANSWER_NOT_FINITE,
    "infinite": R.ANSWER_NOT_FINITE,
    "huge": R.ANSWER_UNREADABLE,
    "negative": R.ANSWER_UNREADABLE,
    "many_outputs": R.ANSWER_OUTPUTS_DIFFER,
    "endless_strings": R.ANSWER_UNREADABLE,
}

#: Lies that only a check that was asked for can see.
ONLY_ON_REQUEST: dict[str, tuple[dict[str, Any], R]] = {
    "constant": ({"not_constant": ["y"]}, R.ANSWER_CONSTANT),
    "wrong_order": ({"batch_agreement": True}, R.ANSWER_DIFFERS),
}


def test_every_lie_has_a_row() -> None:
    assert {*EXPECTED, *ONLY_ON_REQUEST} == set(LIES)


@pytest.mark.parametrize(("lie", "reason"), EXPECTED.items())
def test_a_lie_is_found(tmp_path: pathlib.Path, saved_models: SavedModels, lie: str, reason: R) -> None:
    report = validate(tmp_path, saved_models.path(MODEL), f"lies_{lie}")
    assert (report.verdict is Verdict.INCONCLUSIVE) == (reason is R.ANSWER_FROM_ANOTHER_MODEL)
    assert report.finding.reason is reason, report.finding
    assert "of rows" in report.finding.detail
    assert any(check.outcome is CheckOutcome.FAILED for check in report.evidence.checks)


@pytest.mark.parametrize(("lie", "answers", "reason"), [(lie, *row) for lie, row in ONLY_ON_REQUEST.items()])
def test_a_lie_is_found_by_the_check_for_it(
    tmp_path: pathlib.Path, saved_models: SavedModels, lie: str, answers: dict[str, Any], reason: R
) -> None:
    report = validate(tmp_path, saved_models.path(MODEL), f"lies_{lie}", answers)
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, reason), report.finding


def test_the_honest_twin_is_blessed_by_every_check(tmp_path: pathlib.Path, saved_models: SavedModels) -> None:
    answers = {
        "batch_agreement": True,
        "not_constant": ["y"],
        "ranges": {"y": [2, 52]},
        "allowed": {"y": [2 + n / 2 for n in range(100)]},
    }
    report = validate(tmp_path, saved_models.path(MODEL), "good", answers)
    assert report.blessed, report.finding
    assert [check.name for check in report.evidence.checks] == [
        "served_model",
        "answer_readable",
        "answer_model",
        "answer_outputs",
        "answer_types",
        "answer_finite",
        "answer_ranges",
        "answer_allowed",
        "answer_not_constant",
        "answer_batch_agreement",
        "answer_over_rest",
        "alive_after_the_last_answer",
    ]
    others = [check for check in report.evidence.checks if check.name != "answer_over_rest"]
    assert {check.outcome for check in others} == {CheckOutcome.PASSED}


def test_nan_is_told_with_its_place_and_share(tmp_path: pathlib.Path, saved_models: SavedModels) -> None:
    asked = (request(*map(float, range(100))),)
    report = validate(tmp_path, saved_models.path(MODEL), "lies_nan", requests=asked)
    assert "output 'y' is NaN in 1 of 100 numbers, first at [57]" in report.finding.detail


def test_infinity_may_be_allowed(tmp_path: pathlib.Path, saved_models: SavedModels) -> None:
    refused = validate(tmp_path, saved_models.path(MODEL), "lies_infinite")
    assert "validation_spec.answers.infinite: [y]" in refused.finding.next_step
    assert validate(tmp_path, saved_models.path(MODEL), "lies_infinite", {"infinite": ["y"]}).blessed


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({"ranges": {"y": [2, 51]}}, "output 'y'[99] is 51.5, allowed is 2 to 51"),
        ({"allowed": {"y": [2, 2.5]}}, "output 'y'[2] is 3, which is not listed"),
    ],
)
def test_what_lies_outside_the_limits(
    tmp_path: pathlib.Path, saved_models: SavedModels, answers: dict[str, Any], told: str
) -> None:
    asked = (request(*map(float, range(100))),)
    report = validate(tmp_path, saved_models.path(MODEL), "good", answers, requests=asked)
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, R.ANSWER_OUT_OF_RANGE)
    assert told in report.finding.detail


def test_a_server_that_dies_after_the_last_answer(tmp_path: pathlib.Path, saved_models: SavedModels) -> None:
    report = validate(tmp_path, saved_models.path(MODEL), "dies_after_the_last_answer", requests=(request(1.0),))
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, R.SERVER_KILLED)


@pytest.mark.parametrize("requests", [(), None], ids=["with requests", "loaded only"])
def test_a_server_that_tells_of_another_model(
    tmp_path: pathlib.Path, saved_models: SavedModels, requests: tuple[SampleRequest, ...] | None
) -> None:
    another = {"ANOTHER_MODEL": str(saved_models.base_path("two_inputs"))}
    report = validate(tmp_path, saved_models.path(MODEL), "another_models_metadata", env=another, requests=requests)
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, R.ANOTHER_MODEL_SERVED)
    assert "the server tells" in report.finding.detail
    assert report.evidence.requests == 0


@pytest.mark.parametrize("requests", [(), None], ids=["with requests", "loaded only"])
def test_a_server_that_dies_once_and_then_works(
    tmp_path: pathlib.Path, saved_models: SavedModels, requests: tuple[SampleRequest, ...] | None
) -> None:
    died = {"DIED": str(tmp_path / "died")}
    twice = {"num_tries": 2}
    report = validate(tmp_path, saved_models.path(MODEL), "dies_once", env=died, requests=requests, validation=twice)
    assert report.blessed, report.finding
    assert report.to_dict()["flaky"] is True
    attempts = report.serving_binaries[0].attempts
    assert [attempt.finding.reason for attempt in attempts] == [R.SERVER_KILLED, R.BLESSED]
    (warning,) = report.warnings
    assert "is flaky: attempt 1 failed with SERVER_KILLED" in warning
    assert "attempt 2 succeeded" in warning


def test_a_flaky_server_is_rejected_where_the_spec_says_so(tmp_path: pathlib.Path, saved_models: SavedModels) -> None:
    died = {"DIED": str(tmp_path / "died")}
    reject = {"num_tries": 2, "on_flaky": "reject"}
    report = validate(tmp_path, saved_models.path(MODEL), "dies_once", env=died, validation=reject)
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, R.SERVER_KILLED), report.finding
    assert "SIGSEGV" in report.finding.detail
    assert report.to_dict()["flaky"] is True


def test_the_rows_of_a_batch_in_the_wrong_order_are_told_with_both_numbers(
    tmp_path: pathlib.Path, saved_models: SavedModels
) -> None:
    asked = (request(0.0, 1.0, 4.0),)
    report = validate(tmp_path, saved_models.path(MODEL), "lies_wrong_order", {"batch_agreement": True}, requests=asked)
    assert report.finding.reason is R.ANSWER_DIFFERS
    assert "of record 1 of rows, alone" in report.finding.detail
    assert "output 'y'[0] is " in report.finding.detail
    assert "in its batch" in report.finding.detail


def test_batch_agreement_without_a_batch_is_wrong_usage(tmp_path: pathlib.Path, saved_models: SavedModels) -> None:
    asked = (request(0.0),)
    report = validate(tmp_path, saved_models.path(MODEL), "good", {"batch_agreement": True}, requests=asked)
    assert report.finding.reason is R.WRONG_USAGE
    assert "request_spec.batch_sizes" in report.finding.next_step


def test_a_server_without_a_rest_port_is_asked_over_grpc_only(
    tmp_path: pathlib.Path, saved_models: SavedModels
) -> None:
    asked = (dataclasses.replace(request(1.0), rest_body=b'{"instances": [1.0]}'),)
    report = validate(tmp_path, saved_models.path(MODEL), "good", requests=asked)
    assert report.blessed, report.finding
    assert {check.name: check.outcome for check in report.evidence.checks}["answer_over_rest"] is (
        CheckOutcome.NOT_APPLICABLE
    )
