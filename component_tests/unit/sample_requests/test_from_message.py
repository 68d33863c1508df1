"""Requests that the caller made as messages."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message

from infra_validator.core.errors import UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.protos import tensorflow_pb2
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2
from infra_validator.sample_requests.from_message import request_from_message
from infra_validator.sample_requests.questions import methods


@pytest.mark.parametrize(
    ("message", "method"),
    [
        (serving_pb2.PredictRequest(), methods.PREDICT),
        (serving_pb2.ClassificationRequest(), methods.CLASSIFY),
        (serving_pb2.RegressionRequest(), methods.REGRESS),
        (serving_pb2.MultiInferenceRequest(), methods.MULTI_INFERENCE),
    ],
)
def test_each_kind_goes_to_its_method(message: Message, method: str) -> None:
    assert request_from_message(message, "mine").method == method


def test_the_message_is_carried_as_it_is() -> None:
    message = serving_pb2.PredictRequest()
    message.model_spec.name = "m"
    message.model_spec.signature_name = "score"
    request = request_from_message(message, "mine")
    assert (request.signature, request.label, request.payload) == ("score", "mine", message.SerializeToString())
    message.model_spec.signature_name = ""
    assert request_from_message(message, "mine").signature == "serving_default"


@pytest.mark.parametrize("message", [tensorflow_pb2.Example(), serving_pb2.GetModelStatusRequest()])
def test_other_messages_are_told(message: Message) -> None:
    with pytest.raises(UsageError, match="is none of PredictRequest") as caught:
        request_from_message(message, "mine")
    assert caught.value.reason is ReasonCode.BAD_REQUESTS
