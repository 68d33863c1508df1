"""Protocol buffers as the real server prints them over REST: every field, set or not, and protobuf's layout (contract 6.6)."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf import json_format

from infra_validator.protos import tensorflow_pb2


def protobuf_json(value: dict[str, Any]) -> bytes:
    """JSON in protobuf's layout: one blank of indentation, a newline at the end."""
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "surrogateescape")


def signature_json(definition: tensorflow_pb2.SignatureDef) -> dict[str, Any]:
    return {
        "inputs": {alias: _tensor_info_json(info) for alias, info in definition.inputs.items()},
        "outputs": {alias: _tensor_info_json(info) for alias, info in definition.outputs.items()},
        "method_name": definition.method_name,
        "defaults": {
            alias: json_format.MessageToDict(value, preserving_proto_field_name=True)
            for alias, value in definition.defaults.items()
        },
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
        found[encoding] = json_format.MessageToDict(value, preserving_proto_field_name=True)
    return found
