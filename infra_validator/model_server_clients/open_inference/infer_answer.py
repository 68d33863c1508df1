"""Reads the answer to a ModelInfer: raw or typed contents, held against the shape that it says."""

from __future__ import annotations

import array
import functools
import math
import re

from google.protobuf import message

from infra_validator.core.answer import ELEMENT_TYPES, STRING, Answer, Tensor, UnreadableAnswer
from infra_validator.model_server_clients.open_inference.datatypes import (
    BY_NAME,
    Datatype,
    count_raw_strings,
    read_raw_strings,
)
from infra_validator.model_server_clients.open_inference.rest_messages import rest_response
from infra_validator.protos import open_inference_pb2 as pb

_Output = pb.ModelInferResponse.InferOutputTensor


def read_infer_response(payload: bytes) -> Answer:
    """The answer in a ModelInferResponse.

    Raises:
      UnreadableAnswer: the bytes are none, or a tensor in it is not what its shape and its datatype say.
    """
    try:
        response = pb.ModelInferResponse.FromString(payload)
    except message.DecodeError as error:
        raise UnreadableAnswer("octets that are no ModelInferResponse") from error
    return answer_in(response)


def read_rest_response(payload: bytes) -> Answer:
    """The answer that came over REST, in its envelope (./rest_messages.py). Raises as read_infer_response."""
    return answer_in(rest_response(payload))


def answer_in(response: pb.ModelInferResponse) -> Answer:
    """The answer in a message. Raises as read_infer_response."""
    raw = response.raw_output_contents
    if raw and len(raw) != len(response.outputs):
        raise UnreadableAnswer(f"{len(response.outputs)} outputs and {len(raw)} raw contents")
    outputs: dict[str, Tensor] = {}
    for place, output in enumerate(response.outputs):
        if output.name in outputs:
            raise UnreadableAnswer(f"the output {output.name!r} twice")
        outputs[output.name] = _tensor(output, raw[place] if raw else None)
    version = int(response.model_version) if re.fullmatch(r"[0-9]{1,18}", response.model_version) else None
    return Answer(outputs, "predict", response.model_name, version)


def _tensor(output: _Output, raw: bytes | None) -> Tensor:
    datatype = BY_NAME.get(output.datatype)
    what = f"the output {output.name!r}"
    if datatype is None:
        raise UnreadableAnswer(f"{what} of the datatype {output.datatype!r}, which the protocol does not have")
    shape = tuple(output.shape)
    if any(size < 0 for size in shape):
        raise UnreadableAnswer(f"{what} with the shape {list(shape)}")
    filled = {field.name for field, _ in output.contents.ListFields()}
    if raw is not None and filled:
        raise UnreadableAnswer(f"{what} with raw and typed contents")
    if filled - {datatype.field}:
        raise UnreadableAnswer(f"{what} of {datatype.name} with contents in {sorted(filled)[0]}")
    size = math.prod(shape)
    if datatype.number == STRING:
        return _strings(output, shape, size, raw, what)
    content = raw if raw is not None else _from_values(output, datatype, what)
    if len(content) != size * ELEMENT_TYPES[datatype.number].size:
        raise UnreadableAnswer(f"{what} of {datatype.name} {list(shape)} with {len(content)} octets of content")
    return Tensor(datatype.number, shape, memoryview(content))


def _from_values(output: _Output, datatype: Datatype, what: str) -> bytes:
    if not datatype.field:
        return b""
    values = getattr(output.contents, datatype.field)
    try:
        return array.array(ELEMENT_TYPES[datatype.number].code, values).tobytes()
    except OverflowError as error:
        raise UnreadableAnswer(f"{what} of {datatype.name} with a value that does not fit") from error


def _strings(output: _Output, shape: tuple[int, ...], size: int, raw: bytes | None, what: str) -> Tensor:
    count = len(output.contents.bytes_contents) if raw is None else count_raw_strings(raw)
    if count != size:
        raise UnreadableAnswer(f"{what} of BYTES {list(shape)} with {count} elements")
    if raw is None:
        return Tensor(STRING, shape, strings=lambda: output.contents.bytes_contents)
    return Tensor(STRING, shape, strings=functools.partial(read_raw_strings, raw))
