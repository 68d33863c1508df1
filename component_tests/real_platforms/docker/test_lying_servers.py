"""Lying servers in containers: none is blessed, each for its own reason, and the honest twin is blessed. All lies: local_process."""

from __future__ import annotations

import dataclasses
import json

import pytest

from component_tests.fakes.planners import misbehaving_container
from component_tests.fakes.saved_models import SavedModels
from component_tests.real_platforms.docker.validations import Binary
from component_tests.real_platforms.docker_images import build
from infra_validator.core.reason_codes import ReasonCode as R
from infra_validator.core.sample_request import SampleRequest
from infra_validator.model_server_clients.tensorflow_serving import TensorFlowServingClient
from infra_validator.model_server_runners.local_docker.runner import LocalDockerRunner
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.protos import tensorflow_serving_pb2 as pb
from infra_validator.saved_model.graph import read_graph
from infra_validator.specs import ServingSpec, ValidationSpec
from infra_validator.validation.answers.standards import AnswerStandards
from infra_validator.validation.attempt import Candidate
from infra_validator.validation.validation import Validation

pytestmark = pytest.mark.docker


def request(*rows: float) -> SampleRequest:
    message = pb.PredictRequest()
    message.model_spec.name = "m"
    message.model_spec.signature_name = "serving_default"
    message.inputs["x"].dtype = tf.DT_FLOAT
    message.inputs["x"].tensor_shape.dim.add().size = len(rows)
    message.inputs["x"].float_val.extend(rows)
    method = "/tensorflow.serving.PredictionService/Predict"
    body = json.dumps({"instances": rows}).encode()
    return SampleRequest(
        method, "serving_default", message.SerializeToString(), "record 1 of rows", len(rows), rest_body=body
    )


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("good", R.BLESSED),
        ("lies_empty", R.ANSWER_OUTPUTS_DIFFER),
        ("lies_half", R.ANSWER_UNREADABLE),
        ("lies_another_model", R.ANSWER_FROM_ANOTHER_MODEL),
        ("lies_wrong_dtype", R.ANSWER_TYPE_DIFFERS),
        ("lies_nan", R.ANSWER_NOT_FINITE),
        ("lies_wrong_order", R.ANSWER_DIFFERS),
        ("good_over_rest", R.BLESSED),
        ("lies_over_rest_wrong_order", R.ANSWER_DIFFERS),
        ("lies_over_rest_refused", R.ANSWER_DIFFERS),
    ],
)
def test_what_a_server_in_a_container_answers(saved_models: SavedModels, mode: str, reason: R) -> None:
    model = str(saved_models.path("half_plus_two_tf2"))
    over_rest = "over_rest" in mode
    planner = misbehaving_container(mode, build.fake())
    if over_rest:
        planner = dataclasses.replace(planner, args=(*planner.args, "--rest_api_port=${rest_port}"))
    spec = ServingSpec.of({"tensorflow_serving": {"tags": ["1"]}, "local_docker": {}, "model_name": "m"})
    candidate = Candidate(
        Binary(planner),
        "local_docker",
        lambda: LocalDockerRunner(model, Binary(planner), spec),
        lambda endpoint: TensorFlowServingClient(endpoint, "m", 1),
    )
    limits = ValidationSpec.of({"num_tries": 1, "stop_grace_seconds": 0.3, "answers": {"batch_agreement": True}})
    standards = AnswerStandards(limits.answers, read_graph(model).signatures, over_rest=over_rest)
    validation = Validation([candidate], limits, standards=standards, requests=lambda: [request(0.0, 1.0, 4.0)])
    report = validation.run(model, "m")
    assert report.finding.reason is reason, report.finding
    assert report.blessed == (reason is R.BLESSED)
