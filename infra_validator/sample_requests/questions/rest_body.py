"""The JSON bodies of TensorFlow Serving's REST API for tensors and examples."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.sample_requests.questions.signature_inputs import declared_shape
from infra_validator.sample_requests.questions.tensor_values import shape_of, values_of
from infra_validator.sample_requests.questions.values import ValueMisfit


def inputs_body(name: str, signature: tf.SignatureDef, inputs: Mapping[str, tf.TensorProto], rows: int | None) -> bytes:
    """The body of a predict: rows where every input and output can have a batch dimension, else columns.

    Raises:
      ValueMisfit: an input has values that JSON has no words for.
    """
    columns = {}
    for key, tensor in inputs.items():
        try:
            columns[key] = _nested([_plain(value) for value in values_of(tensor)], shape_of(tensor))
        except ValueMisfit as error:
            raise ValueMisfit(f"input {key!r} cannot be written for REST: {error}") from error
    by_row = rows is not None and rows > 0 and all(_has_rows(info) for info in signature.outputs.values())
    if by_row and all(isinstance(column, list) and len(column) == rows for column in columns.values()):
        body: Any = {"instances": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]}
    else:
        body = {"inputs": columns}
    return _written({"signature_name": name, **body})


def examples_body(name: str, examples: Sequence[tf.Example], context: tf.Example | None) -> bytes:
    """The body of a classify or a regress."""
    body: dict[str, Any] = {"signature_name": name, "examples": [_features(example) for example in examples]}
    if context is not None:
        body["context"] = _features(context)
    return _written(body)


def _has_rows(info: tf.TensorInfo) -> bool:
    return declared_shape(info) != []


def _features(example: tf.Example) -> dict[str, Any]:
    features = {}
    for key, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        if kind is not None:
            features[key] = [_plain(value) for value in getattr(feature, kind).value]
    return features


def _plain(value: object) -> Any:
    """A value for JSON: bytes that are UTF-8 as a string, other bytes in base64."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def _nested(values: list[Any], shape: Sequence[int]) -> Any:
    if not shape:
        return values[0]
    if len(shape) == 1:
        return values
    size = len(values) // shape[0] if shape[0] else 0
    return [_nested(values[n * size : (n + 1) * size], shape[1:]) for n in range(shape[0])]


def _written(body: dict[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
