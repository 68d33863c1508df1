"""Our client against an honest server: what it sends is understood, and what it reads is what the model answered."""

from __future__ import annotations

import pytest

from component_tests.contract.open_inference.test_client import RAW, STRINGS, content, predict, tensor
from component_tests.fakes.servers.embedded_server_process import EmbeddedServerProcess
from infra_validator.core.answer import Answer
from infra_validator.core.datatypes import OPEN_INFERENCE_DATATYPES
from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.core.states import ModelStatus
from infra_validator.model_server_clients.base_client import BaseModelServerClient
from infra_validator.model_server_clients.open_inference.client import OpenInferenceClient

ENOUGH = 60.0


def client(server: EmbeddedServerProcess, model: str, version: str = "", typed: bool = False) -> OpenInferenceClient:
    address = f"127.0.0.1:{server.ports()['grpc']}"
    return OpenInferenceClient(address, model, model_version=version, typed_contents=typed)


def asked(talking: BaseModelServerClient, request: SampleRequest) -> Answer:
    payloads: list[bytes] = []
    talking.on_answer = lambda request, payload: payloads.append(payload)
    assert talking.SendRequests([request], Deadline.after(ENOUGH)) == 1
    (answer,) = talking.ReadAnswer(request, payloads[0]) or ()
    return answer


def test_every_datatype_goes_there_and_back(server: EmbeddedServerProcess) -> None:
    request = predict({name: tensor(name) for name in OPEN_INFERENCE_DATATYPES})
    with client(server, "datatypes", "1") as talking:
        answer = asked(talking, request)
    assert (answer.model, answer.version) == ("datatypes", 1)
    assert {name: content(output) for name, output in answer.outputs.items()} == {**RAW, "BYTES": STRINGS}


@pytest.mark.parametrize("typed", [False, True], ids=["raw", "typed"])
def test_the_same_answers_to_raw_and_typed_contents(server: EmbeddedServerProcess, typed: bool) -> None:
    with client(server, "half_plus_two", typed=typed) as talking:
        number = asked(talking, predict({"x": tensor("FP32")})).outputs["y"]
    with client(server, "vocabulary", typed=typed) as talking:
        words = asked(talking, predict({"text": tensor("BYTES")})).outputs
    assert list(number.content.cast("f")) == [2.75, 2 - 2.0**126]
    assert (words["upper"].shape, list(words["upper"].strings())) == ((2,), [value.upper() for value in STRINGS])
    assert words["id"].element.name == "int64"


@pytest.mark.parametrize(
    ("model", "version", "status"),
    [
        ("half_plus_two", "", ModelStatus.READY),
        ("half_plus_two", "1", ModelStatus.READY),
        ("half_plus_two", "2", ModelStatus.NOT_READY),
        ("nobody", "", ModelStatus.NOT_READY),
    ],
)
def test_ready_is_the_model(server: EmbeddedServerProcess, model: str, version: str, status: ModelStatus) -> None:
    with client(server, model, version) as talking:
        assert talking.GetModelStatus(Deadline.after(ENOUGH)).status is status


def test_metadata_and_a_refusal(server: EmbeddedServerProcess) -> None:
    with client(server, "two_inputs") as talking:
        told = talking.GetSignatures(Deadline.after(ENOUGH))
        with pytest.raises(AttemptFailed, match=r"the input 'a' has the shape \[2\], and the model takes") as caught:
            talking.SendRequests([predict({"a": tensor("FP32")})], Deadline.after(ENOUGH))
    assert told is not None
    assert sorted(told["serving_default"].outputs) == ["names_bytes", "product", "sum"]
    assert caught.value.reason is ReasonCode.REQUEST_FAILED
