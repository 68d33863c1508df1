"""The embedded server's answers in the Open Inference Protocol are what its TensorFlow Serving protocol answers."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from component_tests.contract.open_inference.embedded_server.requests import (
    FIELDS,
    binary,
    infer,
    infer_request,
    outputs,
    post,
    raw,
    tensor,
    typed,
)
from component_tests.contract.tensorflow_serving.requests import predict_request, spec
from component_tests.contract.tensorflow_serving.requests import tensor as predict_tensor
from component_tests.contract.tensorflow_serving.rest.http_client import ask, predictions
from component_tests.fakes.servers.embedded_server_process import EmbeddedServerProcess
from infra_validator.core.datatypes import OPEN_INFERENCE_DATATYPES
from infra_validator.protos import tensorflow_pb2

#: datatype -> three values, the ends of the range among them.
VALUES: dict[str, list[Any]] = {
    "BOOL": [True, False, True],
    "UINT8": [0, 255, 7],
    "UINT16": [0, 65535, 7],
    "UINT32": [0, 2**32 - 1, 7],
    "UINT64": [0, 2**64 - 1, 7],
    "INT8": [-128, 127, 7],
    "INT16": [-32768, 32767, 7],
    "INT32": [-(2**31), 2**31 - 1, 7],
    "INT64": [-(2**63), 2**63 - 1, 7],
    "FP32": [1.5, -(2.0**127), 0.1],
    "FP64": [1e300, -0.0, 0.1],
    "BYTES": [b"", b'a\n"\\', "\u00e4\u20ac".encode()],
}
CODES = dict(zip(VALUES, "?BHIQbhiqfd", strict=False))
BITS = {"FP16": b"\x00\x38\xff\xfb\x01\x00", "BF16": b"\x80\x3f\x00\xc0\x01\x00"}


def raw_of(datatype: str) -> bytes:
    if datatype in BITS:
        return BITS[datatype]
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(value)) + value for value in VALUES["BYTES"])
    return struct.pack(f"<3{CODES[datatype]}", *VALUES[datatype])


def rounded(datatype: str, values: list[Any]) -> list[Any]:
    return list(struct.unpack("<3f", struct.pack("<3f", *values))) if datatype == "FP32" else values


@pytest.mark.parametrize("datatype", OPEN_INFERENCE_DATATYPES)
def test_raw_contents_come_back_as_they_went(server: EmbeddedServerProcess, datatype: str) -> None:
    request = raw(infer_request("datatypes", id="7"), datatype, datatype, [3], raw_of(datatype))
    for other in OPEN_INFERENCE_DATATYPES:
        if other != datatype:
            raw(request, other, other, [0], b"")
    request.outputs.add(name=datatype)
    answer = infer(server, request)
    assert (answer.model_name, answer.model_version, answer.id) == ("datatypes", "1", "7")
    ((output,), (content,)) = answer.outputs, answer.raw_output_contents
    assert (output.name, output.datatype, list(output.shape)) == (datatype, datatype, [3])
    assert content == raw_of(datatype)
    assert not output.contents.ListFields()


NAMES = {"BF16": "bfloat16", "BYTES": "string", "FP16": "half", "FP32": "float", "FP64": "double"}


def signature(datatype: str) -> str:
    """The signature of ``identity`` that takes a datatype."""
    return NAMES.get(datatype, datatype.lower())


@pytest.mark.parametrize("datatype", FIELDS)
def test_typed_contents_are_answered_in_kind(server: EmbeddedServerProcess, datatype: str) -> None:
    request = typed(infer_request("identity", signature(datatype)), "x", datatype, [3, 1], VALUES[datatype])
    answer = infer(server, request)
    (output,) = answer.outputs
    assert (output.datatype, list(output.shape), len(answer.raw_output_contents)) == (datatype, [3, 1], 0)
    assert list(getattr(output.contents, FIELDS[datatype])) == rounded(datatype, VALUES[datatype])


@pytest.mark.parametrize("datatype", FIELDS)
def test_json_comes_back_as_it_went(server: EmbeddedServerProcess, datatype: str) -> None:
    values = [value.decode() if isinstance(value, bytes) else value for value in VALUES[datatype]]
    asked = {"inputs": [tensor("x", datatype, [3], values)], "parameters": {"signature_name": signature(datatype)}}
    reply = post(server, "identity", asked)
    told, shape, data = outputs(reply)["y"]
    assert (told, shape) == (datatype, [3])
    assert rounded(datatype, data) == rounded(datatype, values)  # the shortest digits that read back as the same float
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.parametrize("datatype", OPEN_INFERENCE_DATATYPES)
def test_binary_data_come_back_as_they_went(server: EmbeddedServerProcess, datatype: str) -> None:
    content = raw_of(datatype)
    asked = {
        "id": "\ud800 7",
        "inputs": [binary("x", datatype, [3], len(content))],
        "parameters": {"signature_name": signature(datatype), "binary_data_output": True},
    }
    reply = post(server, "identity", asked, [content])
    assert outputs(reply)["y"] == (datatype, [3], content)
    assert reply.headers["content-type"] == "application/octet-stream"


def test_some_outputs_binary_and_some_not(server: EmbeddedServerProcess) -> None:
    content = struct.pack("<4f", 1, 2, 3, 4)
    asked = {
        "inputs": [tensor("a", "FP32", [2, 2], [[1, 2], [3, 4]]), binary("b", "FP32", [2, 2], 16)],
        "outputs": [{"name": "product", "parameters": {"binary_data": True}}, {"name": "sum"}],
    }
    found = outputs(post(server, "two_inputs", asked, [content]))
    assert found == {
        "product": ("FP32", [2, 2], struct.pack("<4f", 1, 4, 9, 16)),
        "sum": ("FP32", [2, 2], [2, 4, 6, 8]),
    }
    asked["parameters"] = {"binary_data_output": True}
    asked["outputs"] = [{"name": "sum", "parameters": {"binary_data": False}}]
    assert outputs(post(server, "two_inputs", asked, [content]))["sum"][2] == [2, 4, 6, 8]


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ([2, 3], [[1, 2, 3], [4, 5, 6]]),
        ([2, 3], [1, 2, 3, 4, 5, 6]),
        ([1, 2, 3], [[[1, 2, 3], [4, 5, 6]]]),
        ([], [5]),
        ([2, 0], [[], []]),
        ([0, 3], []),
    ],
)
def test_data_are_nested_or_flat(server: EmbeddedServerProcess, shape: list[int], data: list[Any]) -> None:
    asked = {"inputs": [tensor("x", "INT64", shape, data)], "parameters": {"signature_name": "int64"}}
    flat = [5] if not shape else list(range(1, 7)) if 0 not in shape else []
    assert outputs(post(server, "identity", asked))["y"] == ("INT64", shape, flat)


def test_what_predict_answers(server: EmbeddedServerProcess) -> None:
    """The same values over TensorFlow Serving's gRPC and REST, and over this protocol's."""
    numbers = [1.0, -2.5, 1e30, 0.1]
    answer = server.predict(predict_request(spec("half_plus_two"), x=predict_tensor(numbers)))
    expected = list(answer.outputs["y"].float_val)
    assert len(expected) == 4
    content = struct.pack("<4f", *numbers)
    (got,) = infer(server, raw(infer_request("half_plus_two"), "x", "FP32", [4], content)).raw_output_contents
    assert list(struct.unpack("<4f", got)) == expected
    got_typed = infer(server, typed(infer_request("half_plus_two"), "x", "FP32", [4], numbers))
    assert list(got_typed.outputs[0].contents.fp32_contents) == expected
    over_rest = outputs(post(server, "half_plus_two", {"inputs": [tensor("x", "FP32", [4], numbers)]}))["y"][2]
    assert over_rest == predictions(server, "half_plus_two:predict", {"inputs": numbers})
    assert list(struct.unpack("<4f", struct.pack("<4f", *over_rest))) == expected


def test_strings_and_integers_as_predict_answers_them(server: EmbeddedServerProcess) -> None:
    words = ["b", "nobody", "a"]
    asked = {"inputs": [tensor("text", "BYTES", [3], words)]}
    found = outputs(post(server, "vocabulary", asked))
    expected = predictions(server, "vocabulary:predict", {"inputs": words})
    assert {name: data for name, (_, _, data) in found.items()} == expected


def test_a_large_tensor_and_many_words(server: EmbeddedServerProcess) -> None:
    content = bytes(range(256)) * 2**16  # 16 MiB
    request = raw(infer_request("identity", "uint8"), "x", "UINT8", [2**24], content)
    assert infer(server, request).raw_output_contents[0] == content
    words = [b"%d" % number for number in range(100_000)]
    strings = b"".join(struct.pack("<I", len(word)) + word for word in words)
    request = raw(infer_request("identity", "string"), "x", "BYTES", [1000, 100], strings)
    assert infer(server, request).raw_output_contents[0] == strings


def test_another_signature_and_a_version(server: EmbeddedServerProcess) -> None:
    request = raw(infer_request("signatures", "scalar", "1"), "number", "FP32", [], struct.pack("<f", 4))
    answer = infer(server, request)
    assert (answer.model_version, answer.outputs[0].name) == ("1", "double")
    assert answer.raw_output_contents[0] == struct.pack("<f", 8)
    asked = {"inputs": [tensor("number", "FP32", [], [4])], "parameters": {"signature_name": "scalar"}}
    reply = post(server, "signatures/versions/1", asked)
    assert outputs(reply)["double"] == ("FP32", [], [8])


def test_half_floats_twice(server: EmbeddedServerProcess) -> None:
    request = raw(infer_request("signatures", "halves"), "half", "FP16", [1, 2], b"\x00\x38\x00\x3c")  # 0.5, 1
    raw(request, "brain", "BF16", [1, 2], b"\x80\x3f\x00\xc0")  # 1, -2
    answer = infer(server, request)
    found = dict(zip([o.name for o in answer.outputs], answer.raw_output_contents, strict=True))
    assert found == {"half": b"\x00\x3c\x00\x40", "brain": b"\x00\x40\x80\xc0"}  # 1, 2 and 2, -4


def test_an_input_with_a_default_may_be_left_out(server: EmbeddedServerProcess) -> None:
    assert outputs(post(server, "defaults", {"inputs": []}))["y"] == ("FP32", [1], [6])
    assert infer(server, infer_request("defaults")).raw_output_contents[0] == struct.pack("<f", 6)


def test_numbers_that_json_has_no_word_for(server: EmbeddedServerProcess) -> None:
    reply = post(server, "nan", {"inputs": [tensor("x", "FP32", [1], [1])]})
    assert b'"data": [NaN]' in reply.body
    request = raw(infer_request("nan"), "x", "FP32", [1], struct.pack("<f", 1))
    (number,) = struct.unpack("<f", infer(server, request).raw_output_contents[0])
    assert number != number


def test_metrics_count_it(server: EmbeddedServerProcess) -> None:
    infer(server, raw(infer_request("half_plus_two"), "x", "FP32", [1], b"\0" * 4))
    post(server, "half_plus_two", {"inputs": [tensor("x", "FP32", [1], [1])]})
    post(server, "half_plus_two", {"inputs": []})
    told = ask(server, "GET", "/monitoring/prometheus/metrics").body.decode()
    for entrypoint in ("GRPC", "REST"):
        assert f'model_name="half_plus_two",API="ModelInfer",entrypoint="{entrypoint}"' in told
    assert 'request_count{model_name="half_plus_two",status="INVALID_ARGUMENT"}' in told


def test_types_that_only_tensorflow_has(server: EmbeddedServerProcess) -> None:
    """The values of every datatype above are read from TensorFlow's table of types by these numbers."""
    for name, number in OPEN_INFERENCE_DATATYPES.items():
        assert tensorflow_pb2.DataType.Name(number) == f"DT_{signature(name).upper()}"  # type: ignore[arg-type]
