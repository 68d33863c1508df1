"""The values in a request: strings, numbers and octets, each with the name of the input or feature that it stands in."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

from google.protobuf import message

from infra_validator.core.answer import ELEMENT_TYPES, UnreadableAnswer
from infra_validator.core.datatypes import OPEN_INFERENCE_DATATYPES
from infra_validator.core.sample_request import SampleRequest
from infra_validator.core.wire import LENGTH, WireError, fields
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.protos import tensorflow_serving_pb2 as serving
from infra_validator.validation.redaction.search import SHORTEST, Search

if TYPE_CHECKING:
    from infra_validator.protos import open_inference_pb2 as pb

_INPUTS: dict[str, type[serving.ClassificationRequest | serving.RegressionRequest | serving.MultiInferenceRequest]] = {
    "Classify": serving.ClassificationRequest,
    "Regress": serving.RegressionRequest,
    "MultiInference": serving.MultiInferenceRequest,
}
_NUMBERS = (
    "float_val",
    "double_val",
    "int_val",
    "int64_val",
    "uint32_val",
    "uint64_val",
    "scomplex_val",
    "dcomplex_val",
)
_CONTENTS = (
    "int_contents",
    "int64_contents",
    "uint_contents",
    "uint64_contents",
    "fp32_contents",
    "fp64_contents",
)
_HALVES = (tf.DT_HALF, tf.DT_BFLOAT16)
_DEEPEST = 8  # levels of messages in octets that nobody knows the type of
_NAMELESS = "a request"


def look_for_values(search: Search, request: SampleRequest) -> None:
    """Have a search look for every value of a request."""
    if request.rest_body and search.numbers_matter:
        search.written_numbers(_NAMELESS, request.rest_body)  # what a tensor holds of them may be rounded
    try:
        name = request.method.rpartition("/")[2]
        if name == "Predict":
            for key, tensor in serving.PredictRequest.FromString(request.payload).inputs.items():
                _tensor(search, f"input {key}", tensor)
            return
        if name in _INPUTS:
            given = _INPUTS[name].FromString(request.payload).input
            shared = given.example_list_with_context
            for example in (*given.example_list.examples, *shared.examples, shared.context):
                _example(search, example)
            return
        if name == "ModelInfer":
            from infra_validator.protos import open_inference_pb2 as pb

            _infer(search, pb.ModelInferRequest.FromString(request.payload))
            return
    except (message.DecodeError, UnreadableAnswer):
        pass  # somebody's own request
    _unknown(search, request.payload, 0)


def _tensor(search: Search, name: str, tensor: tf.TensorProto) -> None:
    for value in tensor.string_val:
        search.value(name, value)
        if len(value) >= SHORTEST and value[0] == 0x0A:  # how a tf.Example begins
            _serialized(search, name, value)
    search.octets(name, tensor.tensor_content or _packed(tensor))
    if search.numbers_matter:
        search.numbers(name, _content(tensor))
        for field in _NUMBERS:
            search.numbers(name, getattr(tensor, field))
        if tensor.half_val:
            search.numbers(name, _halves(tensor.dtype, struct.pack(f"<{len(tensor.half_val)}H", *tensor.half_val)))


def _infer(search: Search, asked: pb.ModelInferRequest) -> None:
    """A request of the Open Inference Protocol: the values as TensorFlow's tensors have them."""
    from infra_validator.model_server_clients.open_inference.datatypes import read_raw_strings

    if len(asked.raw_input_contents) > 1:
        search.octets("all inputs", b"".join(asked.raw_input_contents))  # as they stand behind the JSON of REST
    for tensor, raw in itertools.zip_longest(asked.inputs, asked.raw_input_contents):
        if tensor is None:
            raise UnreadableAnswer("more raw contents than inputs")
        name = f"input {tensor.name}"
        strings = read_raw_strings(raw) if raw and tensor.datatype == "BYTES" else tensor.contents.bytes_contents
        number = OPEN_INFERENCE_DATATYPES.get(tensor.datatype, 0)
        content = tf.TensorProto(string_val=strings)
        content.dtype = number  # type: ignore[assignment]
        if raw and tensor.datatype != "BYTES":
            content.tensor_content = raw
        _tensor(search, name, content)
        if search.numbers_matter:
            for field in _CONTENTS:
                search.numbers(name, getattr(tensor.contents, field))


def _packed(tensor: tf.TensorProto) -> bytes:
    """Values that stand one by one as the octets that another protocol sends them as; none of types that it does not have."""
    element = ELEMENT_TYPES.get(tensor.dtype)
    if tensor.half_val:
        return struct.pack(f"<{len(tensor.half_val)}H", *tensor.half_val)
    if element is None or not element.code or element.parts > 1:
        return b""
    values = next((found for field in _NUMBERS if (found := getattr(tensor, field))), ())
    try:
        return struct.pack(f"<{len(values)}{element.code}", *values)
    except (struct.error, OverflowError):  # no value of the type that is named
        return b""


def _content(tensor: tf.TensorProto) -> Sequence[float]:
    """The numbers in a tensor's octets; none where they are no whole tensor, or have too few digits to name anybody."""
    content, element = tensor.tensor_content, ELEMENT_TYPES.get(tensor.dtype)
    if element is None or element.size < 2 or not content:
        return ()
    if tensor.dtype in _HALVES:
        return _halves(tensor.dtype, content)
    size = element.size // element.parts
    return memoryview(content[: len(content) // size * size]).cast(element.code)  # type: ignore[call-overload, no-any-return]


def _halves(dtype: int, content: bytes) -> Sequence[float]:
    content = content[: len(content) // 2 * 2]
    if dtype == tf.DT_HALF:
        return struct.unpack(f"<{len(content) // 2}e", content)
    wide = b"".join(b"\0\0" + content[at : at + 2] for at in range(0, len(content), 2))
    return memoryview(wide).cast("f")


def _serialized(search: Search, name: str, value: bytes) -> None:
    """A string that may be a serialized tf.Example, or another message."""
    try:
        example = tf.Example.FromString(value)
    except message.DecodeError:
        return
    if example.features.feature:
        _example(search, example)
    else:
        _unknown(search, value, 0, name)


def _example(search: Search, example: tf.Example) -> None:
    for key, feature in example.features.feature.items():
        name = f"feature {key}"
        for value in feature.bytes_list.value:
            search.value(name, value)
        if search.numbers_matter:
            search.numbers(name, feature.float_list.value)
            search.numbers(name, feature.int64_list.value)


def _unknown(search: Search, data: bytes, depth: int, name: str = _NAMELESS) -> None:
    """The fields of a message of no known type: each is a string, or a message again."""
    try:
        found = [(start, end) for _, kind, start, end in fields(data) if kind == LENGTH]
    except WireError:
        return
    for start, end in found:
        search.value(name, data[start:end])
        if depth < _DEEPEST:
            _unknown(search, data[start:end], depth + 1, name)
