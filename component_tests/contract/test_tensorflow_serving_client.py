"""What the TensorFlow Serving client does beyond every client's contract."""

from __future__ import annotations

import itertools

import grpc
import pytest

from component_tests.fakes.servers.scripted_server import serving
from infra_validator.core.deadline import Deadline
from infra_validator.core.states import ModelStatus
from infra_validator.model_server_clients.tensorflow_serving import GET_MODEL_STATUS, TensorFlowServingClient
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

ENOUGH = 30.0  # seconds; a test that needs them fails

AVAILABLE = serving_pb2.GetModelStatusResponse()
AVAILABLE.model_version_status.add(version=1, state=serving_pb2.ModelVersionStatus.AVAILABLE)


def test_a_proxy_that_answers_before_the_server_behind_it_is_waited_for() -> None:
    asked = itertools.count()

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        if next(asked) < 5:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "no route")
        return AVAILABLE.SerializeToString()

    with serving({GET_MODEL_STATUS: answer}) as (endpoint, _), TensorFlowServingClient(endpoint, "m") as client:
        client.WaitUntilModelLoaded(Deadline.after(ENOUGH))
    assert next(asked) == 6


@pytest.mark.parametrize("version", [None, 7])
def test_the_model_and_the_version_under_test_are_asked_for(version: int | None) -> None:
    asked = []

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        asked.append(serving_pb2.GetModelStatusRequest.FromString(request).model_spec)
        return AVAILABLE.SerializeToString()

    with (
        serving({GET_MODEL_STATUS: answer}) as (endpoint, _),
        TensorFlowServingClient(endpoint, "m", version) as client,
    ):
        report = client.GetModelStatus(Deadline.after(ENOUGH))
    assert asked[0].name == "m"
    assert asked[0].HasField("version") == (version is not None)
    assert asked[0].version.value == (version or 0)
    assert report.status is (ModelStatus.READY if version is None else ModelStatus.NOT_READY)


def test_a_model_that_is_not_there_is_not_ready_in_the_servers_words() -> None:
    text = "Could not find any versions of model m"

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.NOT_FOUND, text)

    with serving({GET_MODEL_STATUS: answer}) as (endpoint, _), TensorFlowServingClient(endpoint, "m") as client:
        report = client.GetModelStatus(Deadline.after(ENOUGH))
    assert (report.status, report.answered, report.foreign) == (ModelStatus.NOT_READY, True, False)
    assert text in report.detail
