"""Requests that are wrong, by mistake or on purpose: each is answered with an error that says what, and the server serves on."""

from __future__ import annotations

import json
import random
import signal
import socket
import struct
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from component_tests.contract.open_inference.embedded_server.conftest import FLAG
from component_tests.contract.open_inference.embedded_server.requests import (
    SERVICE,
    binary,
    infer,
    infer_request,
    outputs,
    post,
    raw,
    refused,
    tensor,
    typed,
)
from component_tests.contract.tensorflow_serving.requests import INVALID_ARGUMENT, NOT_FOUND, UNIMPLEMENTED
from component_tests.contract.tensorflow_serving.rest.http_client import ask
from component_tests.fakes.saved_models import SavedModels
from component_tests.fakes.servers.embedded_server_process import EmbeddedServerProcess, embedded_server
from infra_validator.protos import open_inference_pb2 as pb


def good() -> pb.ModelInferRequest:
    return raw(infer_request("two_inputs"), "a", "FP32", [1, 2], bytes(8))


def x(datatype: str, shape: list[int], content: bytes, signature: str = "") -> pb.ModelInferRequest:
    return raw(infer_request("identity", signature), "x", datatype, shape, content)


def both() -> pb.ModelInferRequest:
    request = typed(infer_request("half_plus_two"), "x", "FP32", [1], [1.0])
    request.raw_input_contents.append(bytes(4))
    return request


def one_more_output(*names: str) -> pb.ModelInferRequest:
    request = x("FP32", [1], bytes(4))
    for name in names:
        request.outputs.add(name=name)
    return request


def signature_as_a_number() -> pb.ModelInferRequest:
    request = x("FP32", [1], bytes(4))
    request.parameters["signature_name"].int64_param = 3
    return request


OVER_GRPC: list[tuple[Callable[[], pb.ModelInferRequest | bytes], str]] = [
    (lambda: x("FP32", [2], bytes(7)), "the input 'x' has 7 bytes of raw content, and FP32 of the shape [2] takes 8"),
    (lambda: x("FP32", [2**62, 4], b""), "that is more than fits any memory"),
    (lambda: x("FP32", [2**62, 2**62, 0], b""), "that is more than fits any memory"),
    (lambda: x("BYTES", [2**62, 0], b"", "string"), "that is more than fits any memory"),
    (lambda: x("FP32", [2**40], b""), "has 0 bytes of raw content, and FP32 of the shape [1099511627776] takes"),
    (lambda: x("FP32", [-1], bytes(4)), "the input 'x' has the shape [-1]: a size is negative"),
    (lambda: x("FP32", [-(2**63), -1], b""), "a size is negative"),
    (lambda: x("FP32", [1] * 300, bytes(4)), "the input 'x' has 300 dimensions, of at most 254"),
    (lambda: x("FP12", [1], bytes(4)), "the input 'x' is of 'FP12', which is no datatype of the protocol"),
    (lambda: x("", [1], bytes(4)), "the input 'x' is of '', which is no datatype of the protocol"),
    (lambda: x("FP64", [1], bytes(8)), "the input 'x' is of FP64, and the model takes FP32"),
    (lambda: x("BOOL", [2], b"\1\2", "bool"), "a byte of raw content that is neither 0 nor 1"),
    (lambda: x("BYTES", [1], b"\x05\0\0\0abc", "string"), "raw content of BYTES whose element 0 is cut off"),
    (lambda: x("BYTES", [1], b"\x05\0", "string"), "raw content of BYTES whose element 0 is cut off"),
    (lambda: x("BYTES", [1], b"\xff\xff\xff\xff", "string"), "raw content of BYTES whose element 0 is cut off"),
    (lambda: x("BYTES", [2], bytes(4), "string"), "has 1 elements in its raw content, and the shape [2] has 2 elements"),
    (both, "the input 'x' has typed contents beside the request's raw contents"),
    (lambda: raw(good(), "a", "FP32", [1, 2], bytes(8)), "the input 'a' was sent twice"),
    (good, "the input 'b' is missing; the signature 'serving_default', which has: a, b"),
    (lambda: raw(good(), "c", "FP32", [1, 2], bytes(8)), "the input 'c' is not in the signature 'serving_default'"),
    (lambda: raw(good(), "b", "FP32", [1, 3], bytes(12)), "'b' has the shape [1,3], and the model takes [-1,2]"),
    (lambda: raw(good(), "b", "FP32", [2], bytes(8)), "'b' has the shape [2], and the model takes [-1,2]"),
    (lambda: typed(infer_request("identity", "int8"), "x", "INT8", [1], [128]), "the input 'x' has a value that is no INT8"),
    (lambda: typed(infer_request("identity"), "x", "FP32", [2], [1.0]), "has 1 values, and the shape [2] has 2 elements"),
    (lambda: one_more_output("z"), "the output 'z' is not in the signature 'serving_default', which has: y"),
    (lambda: one_more_output("y", "y"), "the output 'y' is asked for twice"),
    (lambda: infer_request(""), "The request names no model."),
    (lambda: infer_request("identity", "int9"), "the model has no signature 'int9'; it has: bfloat16, bool,"),
    (lambda: infer_request("signatures"), "the model has no signature 'serving_default'; it has: flags, halves,"),
    (signature_as_a_number, "the parameter signature_name is no string"),
    (lambda: b"\xff\xff\xff", "these bytes are no request of ModelInfer"),
    (lambda: b"\x0a\x02\xff\xfe", "these bytes are no request of ModelInfer"),
    (lambda: x("FP32", [1], bytes(4)).SerializeToString() + b"\x2a\x05ab", "these bytes are no request of ModelInfer"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "text"), OVER_GRPC, ids=[text for _, text in OVER_GRPC])
def test_over_grpc(server: EmbeddedServerProcess, make: Callable[[], pb.ModelInferRequest | bytes], text: str) -> None:
    code, said = refused(server, make())
    assert code is INVALID_ARGUMENT, (code, said)
    assert text in said
    assert infer(server, x("FP32", [1], bytes(4))).raw_output_contents[0] == bytes(4)


def test_more_raw_contents_than_inputs_and_fewer(server: EmbeddedServerProcess) -> None:
    for count in (0, 1, 3):
        request = raw(good(), "b", "FP32", [1, 2], bytes(8))
        del request.raw_input_contents[:]
        request.raw_input_contents.extend([bytes(8)] * count)
        code, said = refused(server, request)
        assert code is INVALID_ARGUMENT
        assert (f"{count} raw contents were sent for 2 inputs" if count else "the input 'a' has 0 values") in said


def test_typed_half_floats_and_contents_of_another_type(server: EmbeddedServerProcess) -> None:
    request = infer_request("identity", "half")
    request.inputs.add(name="x", datatype="FP16", shape=[1]).contents.fp32_contents.append(1)
    assert "the input 'x' is of 'FP16' and has contents in fp32_contents" in refused(server, request)[1]
    request.inputs[0].ClearField("contents")
    assert "which can be sent as raw content only" in refused(server, request)[1]


def test_what_the_protocol_has_no_datatype_for(server: EmbeddedServerProcess) -> None:
    code, said = refused(server, x("FP64", [1], bytes(8), "complex64"))
    assert (code, "is of complex64, for which the protocol has no datatype" in said) == (UNIMPLEMENTED, True)
    assert ask(server, "GET", "/v2/models/identity").status == 200


def test_a_model_that_nobody_has(server: EmbeddedServerProcess) -> None:
    assert refused(server, infer_request("nobody"))[0] is NOT_FOUND
    assert refused(server, infer_request("identity", version="x"))[0] is NOT_FOUND


def test_names_of_any_length_do_not_fill_the_answer(server: EmbeddedServerProcess) -> None:
    name = "n" * 1_000_000
    request = raw(infer_request("identity"), name, name, [1] * 100, b"")
    assert "999900 more characters" in refused(server, request)[1]
    reply = post(server, "identity", {"inputs": [tensor(name, "FP32", [1], [1])]})
    assert (reply.status, len(reply.body) < 1000) == (400, True)


# ------------------------------------------------------------------------------------------------------------- REST


def rest(*inputs: Any, **more: Any) -> dict[str, Any]:
    return {"inputs": list(inputs), **more}


def of(datatype: str, shape: list[Any], data: Any) -> dict[str, Any]:
    """A request of ``identity``."""
    names = {"FP32": "float", "FP64": "double", "FP16": "half", "BYTES": "string"}
    signature = names.get(datatype, datatype.lower())
    return rest(tensor("x", datatype, shape, data), parameters={"signature_name": signature})


OVER_REST: list[tuple[Any, str]] = [
    (b"", "the body is no JSON"),
    (b"{", "the body is no JSON"),
    (b"[]", "the body's JSON is no object"),
    (b"{} x", "the body is no JSON: Extra data"),
    (b"[" * 200_000, "the body is no JSON"),
    (b'{"inputs": ' + b"[" * 200_000, "the body is no JSON"),
    ('{"inputs": []}'.encode("utf-16"), "the JSON of the body is no UTF-8 at byte 0"),
    (b'{"id": "\xff"}', "the JSON of the body is no UTF-8 at byte 8"),
    (b'{"inputs": [NaN]}', "NaN is no number of JSON; send it as binary data"),
    (b'{"inputs": [-Infinity]}', "-Infinity is no number of JSON"),
    ({}, 'the request has no list of objects "inputs"'),
    (rest(3), 'the request has no list of objects "inputs"'),
    (rest(tensor("x", "FP32", [1], [1]), outputs=3), 'the request has no list of objects "outputs"'),
    (rest(tensor("x", "FP32", [1], [1]), outputs=[{}]), 'an output has no string "name"'),
    (rest(tensor("x", "FP32", [1], [1]), id=7), 'the request has no string "id"'),
    (rest(tensor("x", "FP32", [1], [1]), parameters=[]), '"parameters" of the request are no object'),
    (rest(tensor("x", "FP32", [1], [1]), parameters={"signature_name": 3}), "the parameter signature_name is no string"),
    (rest(tensor("x", "FP32", [1], [1]), parameters={"binary_data_output": 1}), '"binary_data_output" is neither true nor false'),
    (rest({"name": 3}), 'an input has no string "name"'),
    (rest({"name": "x"}), "the input 'x' has no string \"datatype\""),
    (rest({"name": "x", "datatype": "FP32", "shape": [1.0], "data": [1]}), "the input 'x' has no list of integers \"shape\""),
    (rest(tensor("x", "FP32", [True], [1])), "the input 'x' has no list of integers \"shape\""),
    (rest({"name": "x", "datatype": "FP32", "shape": [1]}), 'has neither a list "data" nor a parameter "binary_data_size"'),
    (of("FP32", [2], [1]), "has 1 values, and the shape [2] has 2 elements"),
    (of("FP32", [-1], [1]), "a size is negative"),
    (of("FP32", [10**300, 10**300], []), "that is more than fits any memory"),
    (of("FP32", [2, 2], [[1, 2], [3]]), "data that are nested otherwise than the shape [2,2]"),
    (of("FP32", [2, 2], [[1, 2], 3]), "data that are nested otherwise than the shape [2,2]"),
    (of("FP32", [2, 2], [[1], [2], [3], [4]]), "data that are nested otherwise than the shape [2,2]"),
    (of("FP32", [4], [[1, 2], [3, 4]]), "data that are nested otherwise than the shape [4]"),
    (of("FP32", [2], [1, [2]]), "the input 'x' is of FP32 and has a list in its data"),
    (of("FP32", [1], ["1"]), "the input 'x' is of FP32 and has a string in its data"),
    (of("FP32", [1], [None]), "the input 'x' is of FP32 and has null in its data"),
    (of("FP32", [1], [True]), "the input 'x' is of FP32 and has a boolean in its data"),
    (of("FP32", [1], [1e39]), "the input 'x' has a number that is too large for FP32"),
    (of("FP32", [1], [10**400]), "the input 'x' has a number that is too large for FP32"),
    (of("INT32", [1], [1.5]), "the input 'x' is of INT32 and has a fraction in its data"),
    (of("INT32", [1], [2**31]), "the input 'x' has a value that is no INT32"),
    (of("UINT64", [1], [-1]), "the input 'x' has a value that is no UINT64"),
    (of("INT64", [1], [10**400]), "the input 'x' has a value that is no INT64"),
    (of("BOOL", [1], [1]), "the input 'x' is of BOOL and has an integer in its data"),
    (of("BYTES", [1], [{"b64": "YQ=="}]), "the input 'x' is of BYTES and has an object in its data"),
    (of("BYTES", [1], ["\ud800"]), "the input 'x' has a string with half of a surrogate pair"),
    (of("FP16", [1], [1]), "which can be sent as raw content only (over REST: as binary data)"),
    (rest(tensor("x\ud800", "FP32", [1], [1])), "the input 'x\\ud800' is not in the signature"),
]  # fmt: skip


@pytest.mark.parametrize(("document", "text"), OVER_REST, ids=[f"{n} {text}" for n, (_, text) in enumerate(OVER_REST)])
def test_over_rest(server: EmbeddedServerProcess, document: Any, text: str) -> None:
    reply = post(server, "identity", document)
    assert (reply.status, text in reply.error) == (400, True), reply.body
    assert outputs(post(server, "identity", of("FP32", [1], [1])))["y"][2] == [1]


def test_a_number_of_many_digits_and_one_that_json_makes_infinite(server: EmbeddedServerProcess) -> None:
    for number in (b"1e999", b"-1e999", b"9" * 100_000):
        body = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [%s]}]}' % number
        assert post(server, "identity", body).status == 400


@pytest.mark.parametrize(
    ("inputs", "contents", "length", "text"),
    [
        ([binary("x", "FP32", [1], 5)], [bytes(4)], None, "the input 'x' has 5 bytes of binary data, and 4 are left in the body"),
        ([binary("x", "FP32", [1], 4)], [bytes(5)], None, "1 bytes of binary data are left when every input has its own"),
        ([binary("x", "FP32", [2], 4)], [bytes(4)], None, "has 4 bytes of raw content, and FP32 of the shape [2] takes 8"),
        ([binary("x", "FP32", [1], -4)], [bytes(4)], None, '"binary_data_size" that is no number of bytes'),
        ([binary("x", "FP32", [1], 10**400)], [bytes(4)], None, "has more than 2^63 bytes of binary data"),
        ([binary("x", "FP32", [1], 4)], [], None, "and 0 are left in the body"),
        ([{**binary("x", "FP32", [1], 4), "data": [1]}], [bytes(4)], None, 'has "data" beside binary data'),
        ([binary("x", "FP32", [1], 4)], [bytes(4)], "99999", "Inference-Header-Content-Length is 99999, and the body has"),
        ([binary("x", "FP32", [1], 4)], [bytes(4)], "-1", "the header Inference-Header-Content-Length is no number"),
        ([binary("x", "FP32", [1], 4)], [bytes(4)], "9" * 5000, "the header Inference-Header-Content-Length is no number"),
        ([binary("x", "FP32", [1], 4)], [bytes(4)], "0", "the body is no JSON"),
    ],
)  # fmt: skip
def test_binary_data(
    server: EmbeddedServerProcess, inputs: list[Any], contents: list[bytes], length: str | None, text: str
) -> None:
    reply = post(server, "identity", rest(*inputs), contents, length)
    assert (reply.status, text in reply.error) == (400, True), reply.body


def test_outputs_that_json_has_no_form_for(server: EmbeddedServerProcess) -> None:
    for datatype, signature, content in (("FP16", "half", bytes(2)), ("BYTES", "string", b"\x01\0\0\0\xff")):
        asked = rest(binary("x", datatype, [1], len(content)), parameters={"signature_name": signature})
        reply = post(server, "identity", asked, [content])
        assert (reply.status, "for which JSON has no form: ask for binary data" in reply.error) == (400, True)


@pytest.mark.parametrize("path", ["index", "models/half_plus_two/load", "models/half_plus_two/unload"])
def test_the_repository(server: EmbeddedServerProcess, path: str) -> None:
    for body in (b"[]", b"\xff", b"{"):
        assert ask(server, "POST", f"/v2/repository/{path}", body).status == 400
    assert ask(server, "POST", "/v2/repository/index", '{"ready": 3}').status == 400


# ------------------------------------------------------------------------------------------------ by chance, and too large


def test_damaged_requests_never_fail_otherwise(server: EmbeddedServerProcess) -> None:
    """Bytes changed, cut and repeated by chance: an answer, or one of the codes for a caller's mistake."""
    chance = random.Random(7)
    request = raw(raw(infer_request("two_inputs"), "a", "FP32", [1, 2], bytes(8)), "b", "FP32", [1, 2], bytes(8))
    request.parameters["signature_name"].string_param = "serving_default"
    typed_one = typed(infer_request("vocabulary"), "text", "BYTES", [2], [b"a", b"\xff"])
    document = json.dumps(rest(tensor("a", "FP32", [1, 2], [[1, 2]]), binary("b", "FP32", [1, 2], 8))).encode()
    codes = set()
    for _ in range(400):
        for whole in (request.SerializeToString(), typed_one.SerializeToString()):
            try:
                infer(server, damaged(whole, chance))
            except grpc.RpcError as error:
                codes.add(error.code())
        body = damaged(document, chance)
        assert post(server, "two_inputs", body, [bytes(8)]).status in (200, 400, 404)
    assert codes == {INVALID_ARGUMENT, NOT_FOUND}
    assert "Traceback" not in server.stderr


def damaged(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(changed))
        what = chance.randrange(4)
        if what == 0:
            changed[at] = chance.randrange(256)
        elif what == 1:
            del changed[at : at + chance.randint(1, 8)]
        elif what == 2:
            changed[at:at] = changed[at : at + chance.randint(1, 8)]
        else:
            changed[at] ^= 1 << chance.randrange(8)
        changed = changed or bytearray(b"x")
    return bytes(changed)


def test_a_message_that_is_too_large(saved_models: SavedModels) -> None:
    limit = "--grpc_channel_arguments=grpc.max_receive_message_length=1000"
    with embedded_server(f"--model_base_path={saved_models.base_path('identity')}", FLAG, limit) as server:
        code, said = refused(server, raw(infer_request("default"), "x", "FP32", [1000], bytes(4000)))
        assert (code, "larger than max" in said) == (grpc.StatusCode.RESOURCE_EXHAUSTED, True)
        assert infer(server, raw(infer_request("default"), "x", "FP32", [1], bytes(4))).outputs[0].name == "y"
        assert "Traceback" not in server.stderr


def test_a_body_that_is_announced_and_does_not_come_holds_up_nobody(server: EmbeddedServerProcess) -> None:
    head = f"POST /v2/models/identity/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {10**15}\r\n\r\n"
    silent = [socket.create_connection(("127.0.0.1", server.ports()["rest"])) for _ in range(50)]
    try:
        for each in silent:
            each.sendall(head.encode() + b"{")
        assert outputs(post(server, "identity", of("FP32", [1], [1])))["y"][2] == [1]
    finally:
        for each in silent:
            each.close()


def test_what_is_undone_at_once_is_undone(server: EmbeddedServerProcess) -> None:
    """Requests whose deadlines are over before they are answered cost themselves only: the server gets each with its end."""
    content = struct.pack("<I", 1) + b"a"
    request = raw(infer_request("vocabulary"), "text", "BYTES", [1], content)
    assert len(infer(server, request).outputs) == 2
    codes = set()
    server.process.send_signal(signal.SIGSTOP)
    try:
        for _ in range(20):
            with pytest.raises(grpc.RpcError) as raised:
                server.call(SERVICE + "ModelInfer", request, pb.ModelInferResponse, timeout=0.02)
            codes.add(raised.value.code())
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert codes == {grpc.StatusCode.DEADLINE_EXCEEDED}
    assert len(infer(server, request).outputs) == 2
