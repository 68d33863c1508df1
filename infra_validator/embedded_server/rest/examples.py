"""JSON examples -> serialized tensorflow.Example (contract 6.6)."""

from __future__ import annotations

from typing import Any

from infra_validator.embedded_server.rest import json as rest_json
from infra_validator.embedded_server.rest.tensors import is_base64, string_bytes
from infra_validator.embedded_server.status import invalid_argument
from infra_validator.protos import tensorflow_pb2


def examples_of(document: dict[str, Any]) -> list[bytes]:
    """The serialized examples of a classify or regress request, the context merged into each.

    Raises:
      StatusError: INVALID_ARGUMENT.
    """
    if "examples" not in document:
        # The real server says classify for regress, too.
        raise invalid_argument(
            f"JSON Value: {rest_json.shown(document)} "
            "When method is classify, key 'examples' is expected and was not found"
        )
    examples = document["examples"]
    context = _example(document["context"]) if "context" in document else b""
    if not isinstance(examples, list):
        raise invalid_argument(
            f"JSON Value: {rest_json.shown(document)} Expecting 'examples' value to be an list/array"
        )
    if not examples:
        raise invalid_argument(f"JSON Value: {rest_json.shown(document)} 'examples' value is an empty array")
    return [context + _example(example) for example in examples]


def _example(value: Any) -> bytes:
    if not isinstance(value, dict):
        raise invalid_argument(f"Example must be JSON object but got JSON {rest_json.kind(value)}")
    example = tensorflow_pb2.Example()
    for name, content in value.items():
        try:
            feature = example.features.feature[name]
        except UnicodeEncodeError as error:
            raise invalid_argument(f"Feature: {rest_json.quoted(name)} has a name that is no UTF-8") from error
        _fill(name, content, feature)
    return example.SerializeToString()


def _fill(name: str, content: Any, feature: tensorflow_pb2.Feature) -> None:
    elements = content if isinstance(content, list) else [content]
    chosen = ""
    for element in elements:
        kind = _kind(name, element)
        if chosen and kind != chosen:
            raise invalid_argument(f"Unexpected element type in feature: {name} expecting type: {chosen}")
        chosen = kind
    if chosen == "bytes":
        feature.bytes_list.value.extend(map(string_bytes, elements))
    elif chosen == "float":
        feature.float_list.value.extend(map(float, elements))
    elif chosen == "int64":
        feature.int64_list.value.extend(map(int, elements))


def _kind(name: str, element: Any) -> str:
    if isinstance(element, str) or is_base64(element):
        return "bytes"
    if isinstance(element, bool):
        return "int64"
    if rest_json.is_integer(element):
        if element >= 2**63:
            raise invalid_argument(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
        return "int64"
    if isinstance(element, (int, float)):
        return "float"
    raise invalid_argument(f"Feature: {name} has element with unexpected JSON type: {rest_json.kind(element)}")
