"""The messages of the protocol's REST form beside those of gRPC: JSON, and the binary data extension where contents are raw.

Source: kserve/open-inference-protocol, inference_rest.md; the binary data extension as Triton documents it (extension_binary_data.md).
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from infra_validator.core.answer import ELEMENT_TYPES, STRING, UnreadableAnswer
from infra_validator.model_server_clients.open_inference.datatypes import BY_NAME, Datatype, raw_strings
from infra_validator.protos import open_inference_pb2 as pb

#: The header that says where the JSON of a body ends and its binary data begin.
HEADER_LENGTH = "Inference-Header-Content-Length"

_ENVELOPE = struct.Struct("<q")  # before an answer's body: the length of its JSON; -1: all of it
_FLOAT, _BFLOAT16 = struct.Struct("<f"), "BF16"

#: What reading JSON of another form raises.
_NOT_READ = (ValueError, KeyError, TypeError, AttributeError, struct.error, OverflowError, RecursionError)


class NotInJson(ValueError):
    """A request that JSON has no words for; the text says why."""


def rest_request(message: pb.ModelInferRequest) -> tuple[dict[str, str], bytes]:
    """The headers and the body that ask what ``message`` asks: typed contents as JSON, raw contents as binary data.

    Raises:
      NotInJson: a value is not finite, or a string is not UTF-8.
    """
    told: dict[str, Any] = {"inputs": [_input(message, place) for place in range(len(message.inputs))]}
    if message.id:
        told["id"] = message.id
    if message.outputs:
        told["outputs"] = [{"name": output.name} for output in message.outputs]
    parameters = _parameters(message.parameters)
    if message.raw_input_contents:
        parameters["binary_data_output"] = True
    if parameters:
        told["parameters"] = parameters
    try:
        head = json.dumps(told, allow_nan=False).encode()
    except ValueError as error:
        raise NotInJson("a number that is not finite, which JSON does not have") from error
    if not message.raw_input_contents:
        return {"Content-Type": "application/json"}, head
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(head))}
    return headers, b"".join((head, *message.raw_input_contents))


def _input(message: pb.ModelInferRequest, place: int) -> dict[str, Any]:
    tensor = message.inputs[place]
    told: dict[str, Any] = {"name": tensor.name, "shape": list(tensor.shape), "datatype": tensor.datatype}
    parameters = _parameters(tensor.parameters)
    filled = [values for _, values in tensor.contents.ListFields()]
    if place < len(message.raw_input_contents):
        parameters["binary_data_size"] = len(message.raw_input_contents[place])
    if filled or (tensor.HasField("contents") and not message.raw_input_contents):
        told["data"] = [_json_value(value) for values in filled for value in values]
    if parameters:
        told["parameters"] = parameters
    return told


def _json_value(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise NotInJson("an element of BYTES that is not UTF-8, which JSON does not have") from error


def _parameters(given: Mapping[str, pb.InferParameter]) -> dict[str, Any]:
    return {name: getattr(value, str(value.WhichOneof("parameter_choice"))) for name, value in given.items()}


def envelope(header_length: str | None, body: bytes) -> bytes:
    """An answer as bytes that ``rest_response`` reads.

    Args:
      header_length: what the header HEADER_LENGTH says; None where there is none.
    """
    length = -1 if header_length is None else int(header_length) if header_length.isdecimal() else 1 << 62
    return _ENVELOPE.pack(min(length, 1 << 62)) + body


def rest_response(payload: bytes) -> pb.ModelInferResponse:
    """The answer in an envelope, with raw contents.

    Raises:
      UnreadableAnswer: it is no such answer, or a tensor in it is not what its shape and its datatype say.
    """
    (length,) = _ENVELOPE.unpack_from(payload)
    body = payload[_ENVELOPE.size :]
    if length > len(body):
        raise UnreadableAnswer(f"a {HEADER_LENGTH} that is no length in a body of {len(body)} octets")
    head, binary = (body, b"") if length < 0 else (body[:length], body[length:])
    try:
        told = json.loads(head)
        message = pb.ModelInferResponse(
            model_name=told.get("model_name") or "",
            model_version=told.get("model_version") or "",
            id=told.get("id") or "",
        )
        at = 0
        for output in told["outputs"]:
            added = message.outputs.add(name=output["name"], datatype=output["datatype"], shape=output["shape"])
            size = (output.get("parameters") or {}).get("binary_data_size")
            if size is None:
                message.raw_output_contents.append(_raw(added, output["data"]))
                continue
            if type(size) is not int or not 0 <= size <= len(binary) - at or "data" in output:
                raise UnreadableAnswer(f"the output {added.name!r} with binary data that are not there, or twice")
            message.raw_output_contents.append(binary[at : at + size])
            at += size
    except UnreadableAnswer:
        raise
    except _NOT_READ as error:
        raise UnreadableAnswer(f"JSON of another form ({type(error).__name__})") from error
    if at != len(binary):
        raise UnreadableAnswer(f"{len(binary) - at} octets of binary data that belong to no output")
    return message


def _raw(output: pb.ModelInferResponse.InferOutputTensor, data: Any) -> bytes:
    """JSON data, nested or flat, as raw content."""
    datatype = BY_NAME.get(output.datatype)
    if datatype is None:
        return b""  # whoever reads the answer says so
    if not isinstance(data, list):
        raise UnreadableAnswer(f"the output {output.name!r} with data that are no list")
    shape = list(output.shape)
    nested = bool(data) and isinstance(data[0], list)
    values = list(_nested(data, shape) if nested else data)
    if len(values) != math.prod(shape):
        raise UnreadableAnswer(f"the output {output.name!r} of {datatype.name} {shape} with {len(values)} elements")
    try:
        if datatype.number == STRING:
            return raw_strings(value.encode() for value in values)
        return _packed(datatype, values)
    except _NOT_READ as error:
        raise UnreadableAnswer(f"the output {output.name!r} of {datatype.name} with a value that is none") from error


def _nested(data: Any, shape: list[int]) -> Iterator[Any]:
    """The values in lists of the sizes ``shape``, and in no others."""
    if not shape:
        yield data
        return
    if not isinstance(data, list) or len(data) != shape[0]:
        raise UnreadableAnswer(f"nested data that are not of their shape {shape}")
    for item in data:
        yield from _nested(item, shape[1:])


def _packed(datatype: Datatype, values: list[Any]) -> bytes:
    element = ELEMENT_TYPES[datatype.number]
    if element.is_float:
        numbers = [math.nan if value is None else _number(value) for value in values]  # many encoders write NaN as null
        if datatype.name == _BFLOAT16:
            return b"".join(_FLOAT.pack(number)[2:] for number in numbers)
        return struct.pack(f"<{len(numbers)}{element.code}", *numbers)
    kind = bool if datatype.name == "BOOL" else int
    if any(type(value) is not kind for value in values):
        raise TypeError("values of another type")
    return struct.pack(f"<{len(values)}{element.code}", *values)


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError("no number")
    return float(value)


def ready_in(body: bytes) -> bool:
    """What a 200 to a question of readiness says: yes, unless the body says otherwise.

    Raises:
      ValueError: the body is no JSON, as of a page that answers everything.
    """
    told = json.loads(body) if body.strip() else {}
    return not (isinstance(told, dict) and told.get("ready", told.get("live", True)) is False)


def metadata_in(body: bytes) -> pb.ModelMetadataResponse:
    """A model's metadata. Raises ValueError."""
    try:
        told = json.loads(body)
        message = pb.ModelMetadataResponse(
            name=told["name"], versions=told.get("versions") or (), platform=told.get("platform") or ""
        )
        for tensors, given in ((message.inputs, told.get("inputs")), (message.outputs, told.get("outputs"))):
            for each in given or ():
                tensors.add(name=each["name"], datatype=each["datatype"], shape=each["shape"])
    except _NOT_READ as error:
        raise ValueError(f"metadata of another form ({type(error).__name__})") from error
    return message


def index_in(body: bytes) -> pb.RepositoryIndexResponse:
    """A repository's index. Raises ValueError."""
    message = pb.RepositoryIndexResponse()
    try:
        for each in json.loads(body):
            message.models.add(**{name: each.get(name) or "" for name in ("name", "version", "state", "reason")})
    except _NOT_READ as error:
        raise ValueError(f"an index of another form ({type(error).__name__})") from error
    return message


def extensions_in(body: bytes) -> list[str]:
    """The names of a server's extensions. Raises ValueError."""
    try:
        return [str(name) for name in json.loads(body).get("extensions") or ()]
    except _NOT_READ as error:
        raise ValueError(f"metadata of another form ({type(error).__name__})") from error


def words_in(body: bytes) -> str:
    """A server's words for an error: ``error``, FastAPI's ``detail``, or the body itself."""
    try:
        told = json.loads(body)
        said = told.get("error") or told.get("detail") or told.get("message")
        if isinstance(said, list):  # FastAPI's: one object for each field that is wrong
            said = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in said)
        return str(said or told)
    except _NOT_READ:
        return body.decode(errors="replace").strip()
