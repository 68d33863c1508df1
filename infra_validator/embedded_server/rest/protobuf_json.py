"""Protocol buffers as the real server prints them over REST: every field, set or not, and protobuf's layout (contract 6.7)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from infra_validator.protos import tensorflow_pb2

#: Fields of TensorProto that no constant has, and that our own message therefore lacks.
_NOT_OURS: dict[str, Any] = {"resource_handle_val": [], "variant_val": []}


def protobuf_json(value: dict[str, Any]) -> bytes:
    """JSON in protobuf's layout: one blank of indentation, a newline at the end."""
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "surrogateescape")


def _every_field(message: Message) -> dict[str, Any]:
    """A message as JSON, with the fields that are not set."""
    convert: Callable[..., dict[str, Any]] = json_format.MessageToDict
    try:
        return convert(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    except TypeError:  # protobuf before 5.26 has another name for it
        return convert(message, preserving_proto_field_name=True, including_default_value_fields=True)


def signature_json(definition: tensorflow_pb2.SignatureDef) -> dict[str, Any]:
    """A signature as the metadata shows it."""
    return {
        "inputs": {alias: _tensor_info_json(info) for alias, info in definition.inputs.items()},
        "outputs": {alias: _tensor_info_json(info) for alias, info in definition.outputs.items()},
        "method_name": definition.method_name,
        "defaults": {alias: _every_field(value) | _NOT_OURS for alias, value in definition.defaults.items()},
    }


def _tensor_info_json(info: tensorflow_pb2.TensorInfo) -> dict[str, Any]:
    found: dict[str, Any] = {"dtype": tensorflow_pb2.DataType.Name(info.dtype)}
    if info.HasField("tensor_shape"):
        found["tensor_shape"] = {
            "dim": [{"size": str(dim.size), "name": dim.name} for dim in info.tensor_shape.dim],
            "unknown_rank": info.tensor_shape.unknown_rank,
        }
    encoding = info.WhichOneof("encoding")
    if encoding == "name":
        found["name"] = info.name
    elif encoding is not None:
        value = getattr(info, encoding)
        found[encoding] = _every_field(value)
    return found
