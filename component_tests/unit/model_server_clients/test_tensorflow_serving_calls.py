"""What the TensorFlow Serving client asks, and what it makes of the answers, against a gRPC server in the test's process."""

from __future__ import annotations

import contextlib
import http.server
import inspect
import socket
import struct
import threading
from collections.abc import Iterator
from typing import cast

import grpc
import pytest

from component_tests.fakes.servers.scripted_server import Handler, serving
from infra_validator.core.answer import Answer, Tensor
from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.core.states import ModelStatus
from infra_validator.model_server_clients.base_client import BaseModelServerClient
from infra_validator.model_server_clients.grpc_channel import close_channel
from infra_validator.model_server_clients.tensorflow_serving import (
    GET_MODEL_METADATA,
    GET_MODEL_STATUS,
    TensorFlowServingClient,
    signatures_in,
    why_not_open,
)
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

PREDICT = "/tensorflow.serving.PredictionService/Predict"
ENOUGH = 60.0  # seconds; a test that needs them fails

STATUS = serving_pb2.GetModelStatusResponse()
STATUS.model_version_status.add(version=7, state=serving_pb2.ModelVersionStatus.AVAILABLE)

SIGNATURES = serving_pb2.SignatureDefMap()
SIGNATURES.signature_def["serve"].method_name = "tensorflow/serving/predict"


def metadata(name: str = "signature_def", value: bytes | None = None) -> bytes:
    made = serving_pb2.GetModelMetadataResponse()
    made.metadata[name].value = SIGNATURES.SerializeToString() if value is None else value
    return made.SerializeToString()


@contextlib.contextmanager
def client_of(handlers: dict[str, Handler], version: int | None = None) -> Iterator[TensorFlowServingClient]:
    with serving(handlers) as (endpoint, _):
        client = TensorFlowServingClient(endpoint, "m", version)
        with client:
            yield client


@pytest.mark.parametrize("version", [None, 7])
def test_status_and_signatures_are_asked_for_by_model_and_version(version: int | None) -> None:
    specs = []

    def status(request: bytes, context: grpc.ServicerContext) -> bytes:
        specs.append(serving_pb2.GetModelStatusRequest.FromString(request).model_spec)
        return STATUS.SerializeToString()

    def signatures(request: bytes, context: grpc.ServicerContext) -> bytes:
        asked = serving_pb2.GetModelMetadataRequest.FromString(request)
        assert list(asked.metadata_field) == ["signature_def"]
        specs.append(asked.model_spec)
        return metadata()

    with client_of({GET_MODEL_STATUS: status, GET_MODEL_METADATA: signatures}, version) as client:
        assert client.GetModelStatus(Deadline.after(ENOUGH)).status is ModelStatus.READY
        assert client.GetSignatures(Deadline.after(ENOUGH)) == dict(SIGNATURES.signature_def)
    assert [(spec.name, spec.HasField("version"), spec.version.value) for spec in specs] == [
        ("m", version is not None, version or 0)
    ] * 2


def test_another_version_than_the_one_under_test_is_not_ready() -> None:
    with client_of({GET_MODEL_STATUS: lambda *_: STATUS.SerializeToString()}, 8) as client:
        report = client.GetModelStatus(Deadline.after(ENOUGH))
    assert (report.status, report.detail) == (ModelStatus.NOT_READY, "the server lists no version 8 of the model")


def test_an_error_is_told_in_the_servers_words_and_one_without_words_by_its_code() -> None:
    for words in ("there is none", ""):

        def refuse(request: bytes, context: grpc.ServicerContext, words: str = words) -> bytes:
            context.set_code(grpc.StatusCode.NOT_FOUND)
            context.set_details(words)
            return b""

        with client_of({GET_MODEL_STATUS: refuse, GET_MODEL_METADATA: refuse}) as client:
            assert client.GetModelStatus(Deadline.after(ENOUGH)).detail == ("NOT_FOUND: " + words).rstrip(": ")
            assert client.GetSignatures(Deadline.after(ENOUGH)) is None


def test_signatures_that_are_none() -> None:
    assert signatures_in(metadata()) == dict(SIGNATURES.signature_def)
    assert signatures_in(metadata("something_else")) is None
    assert signatures_in(b"\xff") is None
    assert signatures_in(metadata(value=b"\xff")) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_the_port_is_looked_at_until_it_was_seen_open(host: str) -> None:
    family = socket.AF_INET6 if host == "[::1]" else socket.AF_INET
    with socket.socket(family) as bound:
        try:
            bound.bind((host.strip("[]"), 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
        endpoint = f"{host}:{bound.getsockname()[1]}"
        with TensorFlowServingClient(endpoint, "m") as client:
            report = client.GetModelStatus(Deadline.after(ENOUGH))
        assert (report.status, report.answered, report.foreign) == (ModelStatus.NOT_READY, False, False)
        assert report.detail == f"{endpoint}: Connection refused"
        bound.listen()
        assert why_not_open(endpoint, Deadline.after(ENOUGH)) == ""


def test_a_port_that_was_open_once_is_grpcs_matter_from_then_on() -> None:
    with contextlib.ExitStack() as stack:
        with serving({GET_MODEL_STATUS: lambda *_: STATUS.SerializeToString()}) as (endpoint, _):
            client = stack.enter_context(TensorFlowServingClient(endpoint, "m"))
            assert client.GetModelStatus(Deadline.after(ENOUGH)).status is ModelStatus.READY
        report = client.GetModelStatus(Deadline.after(ENOUGH))
    assert (report.status, report.answered) == (ModelStatus.NOT_READY, False)
    assert report.detail.startswith("UNAVAILABLE: ")


def test_what_is_no_address_is_not_looked_at() -> None:
    for endpoint in ("127.0.0.1.example.com:1", "[::1", "127.0.0.1:http", "::1:x", "127.1:1"):
        assert why_not_open(endpoint, Deadline.after(ENOUGH)) == ""


def test_requests_are_sent_and_their_answers_handed_on() -> None:
    with client_of({PREDICT: lambda request, _: request + b"!"}) as client:
        answers: dict[str, bytes] = {}
        took: list[float] = []
        client.on_answer = lambda request, payload: answers.update({request.label: payload})
        client.on_latency = took.append
        requests = [SampleRequest(PREDICT, "serve", name.encode(), name) for name in ("one", "two")]
        assert client.SendRequests(requests, Deadline.after(ENOUGH)) == 2
        assert answers == {"one": b"one!", "two": b"two!"}
        assert len(took) == 2
        load = client.OpenLoad(requests)
        assert load.ask(0, ENOUGH) is None
        load.close()


def test_an_answer_is_read_by_the_method_that_was_asked() -> None:
    request = SampleRequest(PREDICT, "serve", b"", "one")
    with TensorFlowServingClient("127.0.0.1:1", "m") as client:
        answers = client.ReadAnswer(request, b"")
        assert answers is not None
        assert [answer.kind for answer in answers] == ["predict"]
        assert client.ReadAnswer(SampleRequest("/another/Method", "serve", b"", "one"), b"") is None


def test_the_same_is_asked_over_rest() -> None:
    asked: list[tuple[str, bytes]] = []

    class Rest(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            body = b'{"predictions": [2.5]}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    request = SampleRequest(PREDICT, "serve", b"", "one", rest_body=b'{"instances": [1.0]}')
    answer = Answer({"y": Tensor(1, (1,), memoryview(struct.pack("<f", 2.5)))})
    with http.server.HTTPServer(("127.0.0.1", 0), Rest) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with TensorFlowServingClient("127.0.0.1:1", "m", 7) as client:
            assert client.has_rest
            found = client.AskOverRest(f"127.0.0.1:{server.server_port}", request, answer, Deadline.after(ENOUGH))
        server.shutdown()
    assert asked == [("/v1/models/m/versions/7:predict", b'{"instances": [1.0]}')]
    assert found is not None
    assert found["y"].content.cast("f").tolist() == [2.5]


def test_a_client_that_is_closed_asks_nothing_more() -> None:
    with client_of({GET_MODEL_METADATA: lambda *_: metadata()}) as client:
        client.Close()
        with pytest.raises(ValueError, match="closed channel"):
            client.GetSignatures(Deadline.after(ENOUGH))


def test_it_is_called_as_every_client() -> None:
    ours, everyones = (
        inspect.signature(kind.SendRequests) for kind in (TensorFlowServingClient, BaseModelServerClient)
    )
    assert ours == everyones


def given_up(request: bytes, context: grpc.ServicerContext) -> bytes:
    return context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")


@pytest.mark.parametrize("early", [1, 2])
def test_a_request_that_grpc_gives_up_before_its_limit_is_asked_once_more(early: int) -> None:
    asked = []

    def predict(request: bytes, context: grpc.ServicerContext) -> bytes:
        asked.append(request)
        return given_up(request, context) if len(asked) <= early else b""

    request = SampleRequest(PREDICT, "serve", b"", "the request")
    with client_of({PREDICT: predict}) as client:
        if early == 1:
            assert client.SendRequests([request], Deadline.after(ENOUGH)) == 1
        else:
            with pytest.raises(AttemptFailed) as caught:
                client.SendRequests([request], Deadline.after(ENOUGH))
            assert caught.value.reason is ReasonCode.QUERY_TIMEOUT
    assert len(asked) == 2


def test_a_server_that_says_in_its_own_words_that_time_is_up_is_believed() -> None:
    def predict(request: bytes, context: grpc.ServicerContext) -> bytes:
        return context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the batch took too long")

    with client_of({PREDICT: predict}) as client, pytest.raises(AttemptFailed) as caught:
        client.SendRequests([SampleRequest(PREDICT, "serve", b"", "the request")], Deadline.after(ENOUGH))
    assert caught.value.reason is ReasonCode.QUERY_TIMEOUT


def test_a_channel_that_does_not_close_is_not_waited_for() -> None:
    let_go = threading.Event()

    class Stuck:
        close = staticmethod(let_go.wait)

    close_channel(cast("grpc.Channel", Stuck()), seconds=0.01)
    assert [thread for thread in threading.enumerate() if thread.name == "closing a channel"]
    let_go.set()
