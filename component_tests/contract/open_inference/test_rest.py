"""The Open Inference client over REST: against a server that speaks the protocol strictly, and against answers that are none."""

from __future__ import annotations

import gzip
import json
import struct
from typing import Any

import grpc
import pytest

from component_tests.contract.open_inference.test_client import RAW, STRINGS, content, predict, tensor
from component_tests.fakes.kubernetes_pods import ROOT
from component_tests.fakes.servers.open_inference_rest import RestServer, serving_rest
from component_tests.fakes.servers.open_inference_server import DATATYPES, Model
from component_tests.fakes.servers.scripted_server import serving
from infra_validator.core.answer import Answer, UnreadableAnswer
from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed, SpecError, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.states import ModelStatus
from infra_validator.model_server_clients.open_inference import rest_channel
from infra_validator.model_server_clients.open_inference.client import OpenInferenceClient
from infra_validator.model_server_clients.open_inference.datatypes import BY_NAME
from infra_validator.model_server_clients.open_inference.errors import ERRORS
from infra_validator.model_server_clients.open_inference.infer_answer import read_rest_response
from infra_validator.model_server_clients.open_inference.rest_channel import RestChannel, RestError
from infra_validator.model_server_clients.open_inference.rest_messages import envelope
from infra_validator.protos import open_inference_pb2 as pb
from infra_validator.protos import tensorflow_pb2 as tf

ENOUGH = 30.0


def client_of(endpoint: str, **more: Any) -> OpenInferenceClient:
    return OpenInferenceClient(endpoint, "m", protocol="rest", typed_contents=not more.pop("binary", False), **more)


def asked(endpoint: str, inputs: dict[str, Any], *outputs: str, **more: Any) -> Answer:
    """What the client makes of the server's answer to one request."""
    seen: list[bytes] = []
    request = predict(inputs, *outputs)
    with client_of(endpoint, **more) as client:
        client.on_answer = lambda original, payload: seen.append(payload)
        assert client.SendRequests([request], Deadline.after(ENOUGH)) == 1
        (answer,) = client.ReadAnswer(request, seen[0]) or ()
    return answer


# ------------------------------------------------------------------------------------------------------- there and back


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_goes_there_and_back(datatype: str, binary: bool, nested: bool) -> None:
    given, expected = tensor(datatype), RAW.get(datatype)
    with serving_rest(Model(), nested=nested) as (endpoint, server):
        if not binary and (datatype == "BYTES" or not DATATYPES[datatype][2]):
            why = "not UTF-8" if datatype == "BYTES" else "raw content only"
            with pytest.raises(UsageError, match=why) as caught:
                asked(endpoint, {"x": given})
            assert caught.value.reason is ReasonCode.BAD_REQUESTS
            return
        answer = asked(endpoint, {"x": given}, binary=binary)
    output = answer.outputs["x"]
    assert (answer.model, answer.version, output.dtype, output.shape) == ("m", 1, BY_NAME[datatype].number, (2,))
    assert content(output) == (STRINGS if datatype == "BYTES" else expected)
    assert server.asked[-1] == ("POST", "/v2/models/m/infer")


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_matrices_texts_and_tensors_without_elements(binary: bool) -> None:
    matrix = tf.TensorProto(dtype=tf.DT_INT64, tensor_content=struct.pack("<6q", *range(6)))
    for size in (3, 2):
        matrix.tensor_shape.dim.add(size=size)
    text = tf.TensorProto(dtype=tf.DT_STRING, string_val=["ä".encode(), b'"'])
    text.tensor_shape.dim.add(size=2)
    empty = tf.TensorProto(dtype=tf.DT_FLOAT)
    empty.tensor_shape.dim.add(size=0)
    scalar = tf.TensorProto(dtype=tf.DT_BOOL, bool_val=[True])
    given = {"matrix": matrix, "text": text, "empty": empty, "scalar": scalar}
    with serving_rest(Model(), nested=True) as (endpoint, _):
        answer = asked(endpoint, given, "matrix", "text", "empty", "scalar", binary=binary, model_version="1")
    assert {name: each.shape for name, each in answer.outputs.items()} == {
        "matrix": (3, 2), "text": (2,), "empty": (0,), "scalar": ()
    }  # fmt: skip
    assert content(answer.outputs["text"]) == ["ä".encode(), b'"']
    assert content(answer.outputs["matrix"]) == struct.pack("<6q", *range(6))


def test_a_number_that_json_has_not_is_a_wrong_request() -> None:
    nan = tf.TensorProto(dtype=tf.DT_FLOAT, float_val=[float("nan")])
    with serving_rest(Model()) as (endpoint, _):
        with pytest.raises(UsageError, match="record 1: a number that is not finite") as caught:
            asked(endpoint, {"x": nan})
        assert "binary_data" in str(caught.value.next_step)
        answer = asked(endpoint, {"x": nan}, binary=True)
    assert answer.outputs["x"].shape == ()


# ---------------------------------------------------------------------------------------------------- is the model ready


@pytest.mark.parametrize(
    ("modes", "version", "status", "detail"),
    [
        ([], "", ModelStatus.READY, "the model m is ready"),
        ([], "2", ModelStatus.NOT_READY, "NOT_FOUND: HTTP 404: Model m with version 2 not found"),
        (["never_ready"], "", ModelStatus.NOT_READY, "version 1 is LOADING"),
        (["never_ready", "no_index"], "", ModelStatus.NOT_READY, "INVALID_ARGUMENT: HTTP 400: not ready"),
        (["fails_to_load"], "", ModelStatus.UNAVAILABLE, "version 1 is UNAVAILABLE (Internal: failed to load model.pt: no such file)"),
    ],
)  # fmt: skip
def test_ready_is_the_model_not_the_server(modes: list[str], version: str, status: ModelStatus, detail: str) -> None:
    with serving_rest(Model("m", *modes)) as (endpoint, _), client_of(endpoint, model_version=version) as client:
        seen = client.GetModelStatus(Deadline.after(ENOUGH))
    assert (seen.status, seen.detail, seen.answered, seen.foreign) == (status, detail, True, False)


@pytest.mark.parametrize(
    ("status", "body", "ready", "foreign"),
    [
        (200, b"", True, False),
        (200, b'{"name": "m", "ready": true}', True, False),
        (200, b'{"name": "m", "ready": false}', False, False),
        (200, b"<html>Welcome</html>", False, True),  # a page that answers everything
        (503, b'{"error": "Model m is not ready yet"}', False, False),
        (301, b"", False, False),
        (500, b"\xff\xfe no UTF-8", False, True),
        (418, b"", False, False),
    ],
)
def test_what_answers_a_question_of_readiness(status: int, body: bytes, ready: bool, foreign: bool) -> None:
    def change(path: str, *_: Any) -> tuple[int, dict[str, str], bytes]:
        return (404 if "repository" in path else status), {"Content-Length": str(len(body)), "Location": "/v1"}, body

    with serving_rest(Model(), change=change) as (endpoint, _), client_of(endpoint) as client:
        seen = client.GetModelStatus(Deadline.after(ENOUGH))
    assert (seen.status is ModelStatus.READY, seen.foreign, seen.answered) == (ready, foreign, True), seen
    assert status != 301 or "redirects to /v1, which is not followed" in seen.detail


def test_metadata_may_be_there_empty_or_nonsense() -> None:
    with serving_rest(Model("m", inputs={"x": ("FP32", [-1, 4])})) as (endpoint, server), client_of(endpoint) as client:
        told = client.GetSignatures(Deadline.after(ENOUGH))
        assert told is not None
        assert [dim.size for dim in told["serving_default"].inputs["x"].tensor_shape.dim] == [-1, 4]
        for body in (b'{"name": "m"}', b"[]", b'{"name": "m", "inputs": [{"name": 1}]}', b"<html>"):
            server.change = lambda *_, body=body: (200, {"Content-Length": str(len(body))}, body)
            assert client.GetSignatures(Deadline.after(ENOUGH)) is None


# ------------------------------------------------------------------------------------------------------ load and unload


def test_a_model_is_loaded_where_the_spec_asks_and_unloaded_in_the_end() -> None:
    with serving_rest(Model()) as (endpoint, server):
        server.needs_load = True
        with client_of(endpoint) as client, pytest.raises(AttemptFailed, match="the model is not loaded"):
            client.WaitUntilModelLoaded(Deadline.after(0.3))
        with client_of(endpoint, load=True) as client:
            client.WaitUntilModelLoaded(Deadline.after(ENOUGH))
            assert client.GetModelStatus(Deadline.after(ENOUGH)).status is ModelStatus.READY
        with client_of(endpoint) as client:
            assert client.GetModelStatus(Deadline.after(ENOUGH)).status is ModelStatus.NOT_READY
    assert server.asked.count(("POST", "/v2/repository/models/m/load")) == 1


def test_a_load_that_fails_is_the_models_and_no_extension_is_the_specs() -> None:
    with serving_rest(Model("another")) as (endpoint, server):
        server.needs_load = True
        with client_of(endpoint, load=True) as client:
            with pytest.raises(AttemptFailed, match="failed to load m: no such model") as caught:
                client.WaitUntilModelLoaded(Deadline.after(ENOUGH))
        assert caught.value.reason is ReasonCode.MODEL_UNAVAILABLE
    with serving(Model().handlers()) as (endpoint, _), OpenInferenceClient(endpoint, "m", load=True) as client:
        with pytest.raises(SpecError, match=r"open_inference\.load: the server has no model repository extension"):
            client.WaitUntilModelLoaded(Deadline.after(ENOUGH))


def test_load_and_unload_over_grpc() -> None:
    asked: list[tuple[str, str]] = []

    def note(verb: str) -> Any:
        def handler(request: bytes, context: Any) -> bytes:
            asked.append((verb, pb.ModelReadyRequest.FromString(request).version))
            return b""

        return handler

    handlers = {
        **Model().handlers(),
        **{f"/inference.GRPCInferenceService/RepositoryModel{verb}": note(verb) for verb in ("Load", "Unload")},
    }
    with serving(handlers) as (endpoint, _), OpenInferenceClient(endpoint, "m", load=True) as client:
        client.WaitUntilModelLoaded(Deadline.after(ENOUGH))
        client.Close()
    assert asked == [("Load", "m"), ("Unload", "m")]


# ----------------------------------------------------------------------------------------------------- what goes wrong


def changed(status: int, body: bytes, **headers: str) -> Any:
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda *_: (status, {"Content-Length": str(len(body)), **more}, body)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (changed(400, b'{"error": "wrong shape"}'), "INVALID_ARGUMENT: HTTP 400: wrong shape"),
        (changed(400, b'{"detail": "no such input"}'), "HTTP 400: no such input"),
        (changed(422, b'{"detail": [{"loc": ["body", "inputs"], "msg": "field required"}]}'), "HTTP 422: body.inputs: field required"),
        (changed(500, b"<html><h1>Oops</h1></html>"), "INTERNAL: HTTP 500: <html>"),
        (changed(500, b""), "INTERNAL: HTTP 500"),
        (changed(500, b'{"error": nul'), 'HTTP 500: {"error": nul'),
        (changed(500, b"\xff\xfe"), "HTTP 500: \ufffd"),
        (changed(500, b"x" * 3_000_000), "HTTP 500: xxx"),
        (changed(307, b"", Location="http://elsewhere.example.com/"), "redirects to http://elsewhere.example.com/, which is not followed"),
        (changed(429, b'{"error": "queue is full"}'), "RESOURCE_EXHAUSTED: HTTP 429: queue is full"),
        (changed(200, b"x", Content_Encoding="br"), "an answer in the coding 'br'"),
        (changed(200, b"no gzip", Content_Encoding="gzip"), "not packed as it says"),
        (changed(200, gzip.compress(b"{}" * 99)[:-9], Content_Encoding="gzip"), "a packed answer that is cut off"),
    ],
)  # fmt: skip
def test_an_error_is_told_in_the_servers_words(change: Any, said: str) -> None:
    with serving_rest(Model(), change=change) as (endpoint, _):
        with pytest.raises(AttemptFailed) as caught:
            asked(endpoint, {"x": tensor("FP32")})
    assert said in caught.value.detail
    assert len(caught.value.detail) < 2000


@pytest.mark.parametrize("rule", [rule for rule in ERRORS if rule.statuses], ids=lambda rule: rule.code.name)
def test_a_status_and_its_code_have_one_meaning(rule: Any) -> None:
    def refuse(request: bytes, context: Any) -> bytes:
        context.abort(rule.code, "so it is")
        raise AssertionError

    handlers = {**Model().handlers(), "/inference.GRPCInferenceService/ModelInfer": refuse}
    found = []
    with serving(handlers) as (endpoint, _), OpenInferenceClient(endpoint, "m") as client:
        with pytest.raises(AttemptFailed) as caught:
            client.SendRequests([predict({"x": tensor("FP32")})], Deadline.after(ENOUGH))
        found.append(caught.value)
    for status in rule.statuses:
        with serving_rest(Model(), change=changed(status, b'{"error": "so it is"}')) as (endpoint, _):
            with pytest.raises(AttemptFailed) as caught:
                asked(endpoint, {"x": tensor("FP32")})
            found.append(caught.value)
    assert {error.reason for error in found} == {rule.reason}
    if rule.reason is ReasonCode.REQUEST_FAILED:
        too_large = [error for error in found if "HTTP 413" in error.detail]  # which is the request's matter
        assert all(getattr(error, "refused", None) for error in too_large)
        others = {getattr(error, "refused", None) for error in found if error not in too_large}
        assert others == {rule.blames == "the request"}


def test_an_answer_that_is_packed_or_comes_in_chunks_is_read() -> None:
    def pack(path: str, status: int, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        body = gzip.compress(body)
        return status, {**headers, "Content-Length": str(len(body)), "Content-Encoding": "gzip"}, body

    def chunk(path: str, status: int, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        headers = {name: value for name, value in headers.items() if name != "Content-Length"}
        pieces = b"".join(b"%x\r\n%s\r\n" % (1, body[at : at + 1]) for at in range(len(body)))
        return status, {**headers, "Transfer-Encoding": "chunked"}, pieces + b"0\r\n\r\n"

    for change in (pack, chunk):
        for binary in (False, True):
            with serving_rest(Model(), change=change) as (endpoint, _):
                answer = asked(endpoint, {"x": tensor("FP32")}, binary=binary)
            assert content(answer.outputs["x"]) == RAW["FP32"]


def test_an_answer_that_is_cut_off_is_a_broken_connection() -> None:
    def cut(path: str, status: int, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        return status, {**headers, "Content-Length": str(len(body) + 10), "Connection": "close"}, body

    with serving_rest(Model(), change=cut) as (endpoint, _):
        channel = RestChannel(endpoint)
        with pytest.raises(RestError) as caught:
            channel.unary_unary("/x/ServerLive")(b"", timeout=ENOUGH)
        channel.close()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_an_answer_beyond_all_sizes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_channel, "LARGEST_ANSWER", 1000)
    body = gzip.compress(b" " * 10_000_000)
    with serving_rest(Model(), change=changed(200, body, Content_Encoding="gzip")) as (endpoint, _):
        with pytest.raises(AttemptFailed, match="the answer is larger than 1000 octets"):
            asked(endpoint, {"x": tensor("FP32")})


def test_nobody_there_and_a_server_that_speaks_grpc() -> None:
    channel = RestChannel("127.0.0.1:1")
    with pytest.raises(RestError, match="refused") as caught:
        channel.unary_unary("/x/ServerLive")(b"", timeout=ENOUGH)
    assert (caught.value.code(), caught.value.answered) == (grpc.StatusCode.UNAVAILABLE, False)
    with serving(Model().handlers()) as (endpoint, _), client_of(endpoint) as client:
        assert client.GetModelStatus(Deadline.after(ENOUGH)).status is ModelStatus.NOT_READY


def test_a_load_asks_over_rest_on_connections_that_stay_open() -> None:
    with serving_rest(Model()) as (endpoint, server), client_of(endpoint) as client:
        load = client.OpenLoad([predict({"x": tensor("FP32")})])
        assert load is not None
        assert [load.ask(number, ENOUGH) for number in range(20)] == [None] * 20
        server.change = changed(500, b'{"error": "tired"}')
        failure = load.ask(0, ENOUGH)
        load.close()
        load.close()
        assert failure is not None
        assert "tired" in failure.text
        gone = load.ask(0, ENOUGH)
        assert gone is not None
        assert gone.lost


# ------------------------------------------------------------------------------------------------ answers that are none


def body_of(datatype: str = "FP32", shape: Any = (2,), **more: Any) -> dict[str, Any]:
    output = {"name": "y", "datatype": datatype, "shape": list(shape), **more}
    return {"model_name": "m", "outputs": [output]}


@pytest.mark.parametrize(
    ("told", "binary", "problem"),
    [
        (body_of(data=[1.0]), b"", "of FP32 [2] with 1 elements"),
        (body_of(data=[[1.0], [2.0]]), b"", "with a value that is none"),
        (body_of(shape=[2, 2], data=[[1.0], [2.0]]), b"", "nested data that are not of their shape"),
        (body_of(data=["1", "2"]), b"", "of FP32 with a value that is none"),
        (body_of("INT8", data=[1, 128]), b"", "of INT8 with a value that is none"),
        (body_of("INT32", data=[1, True]), b"", "of INT32 with a value that is none"),
        (body_of("INT32", data=[1, 1.5]), b"", "of INT32 with a value that is none"),
        (body_of("BOOL", data=[1, 0]), b"", "of BOOL with a value that is none"),
        (body_of("BYTES", data=[1, 0]), b"", "of BYTES with a value that is none"),
        (body_of("FP8", data=[1, 0]), b"", "of the datatype 'FP8'"),
        (body_of(data=3), b"", "data that are no list"),
        (body_of(), b"", "JSON of another form"),
        (body_of(shape=["a"], data=[]), b"", "JSON of another form"),
        (body_of(shape=[-1], data=[1.0]), b"", "with 1 elements"),
        (body_of(parameters={"binary_data_size": 8}), b"1234567", "binary data that are not there"),
        (body_of(parameters={"binary_data_size": -8}), b"12345678", "binary data that are not there"),
        (body_of(parameters={"binary_data_size": True}), b"1", "binary data that are not there"),
        (body_of(parameters={"binary_data_size": 8}, data=[1.0, 2.0]), b"12345678", "or twice"),
        (body_of(parameters={"binary_data_size": 7}), b"1234567", "with 7 octets of content"),
        (body_of(parameters={"binary_data_size": 8}), b"123456789", "1 octets of binary data that belong to no output"),
        ([], b"", "JSON of another form"),
        ({"model_name": 3, "outputs": []}, b"", "JSON of another form"),
    ],
)
def test_an_answer_that_says_more_than_it_brings_is_unreadable(told: Any, binary: bytes, problem: str) -> None:
    head = json.dumps(told).encode()
    with pytest.raises(UnreadableAnswer) as caught:
        read_rest_response(envelope(str(len(head)) if binary else None, head + binary))
    assert problem in str(caught.value)


@pytest.mark.parametrize("length", ["99", "x", "-1", "9" * 30])
def test_a_length_of_the_header_that_is_none(length: str) -> None:
    with pytest.raises(UnreadableAnswer, match="that is no length"):
        read_rest_response(envelope(length, b"{}"))


@pytest.mark.parametrize("text", ["NaN", "null"])
def test_nan_is_read_as_encoders_write_it(text: str) -> None:
    body = b'{"outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [%s]}]}' % text.encode()
    (value,) = read_rest_response(envelope(None, body)).outputs["y"].content.cast("f")
    assert value != value


@pytest.mark.parametrize(("datatype", "raw"), [("FP16", b"\x00\x3e"), ("BF16", b"\xc0\x3f")])
def test_16_bit_floats_in_json_answers(datatype: str, raw: bytes) -> None:
    body = json.dumps(body_of(datatype, [1], data=[1.5])).encode()
    assert content(read_rest_response(envelope(None, body)).outputs["y"]) == raw


def test_the_strict_server_refuses_what_the_protocol_forbids() -> None:
    with serving_rest(Model()) as (endpoint, server):
        assert isinstance(server, RestServer)
        channel = RestChannel(endpoint)
        message = pb.ModelInferRequest(model_name="m")
        message.inputs.add(name="x", datatype="FP32", shape=[2]).contents.fp32_contents.append(1.0)
        with pytest.raises(RestError, match="1 elements for the shape"):
            channel.unary_unary("/x/ModelInfer")(message.SerializeToString(), timeout=ENOUGH)
        assert channel.extensions(ENOUGH) == ["binary_tensor_data"]
        channel.close()


def test_the_table_of_the_page_is_the_one_in_the_code() -> None:
    page = (ROOT / "docs" / "open_inference.md").read_text()
    for rule in ERRORS:
        statuses = ", ".join(map(str, rule.statuses)) or "any other"
        waits = "waited for" if rule.waits else "SERVER_UNHEALTHY"
        row = (rule.code.name, statuses, waits, rule.reason.name, rule.blames, "yes" if rule.retried else "no")
        assert f"| {' | '.join(row)} |" in page
