"""JSON objects to tf.Example, as TensorFlow Serving's REST API reads ``examples``."""

from __future__ import annotations

from infra_validator.protos import tensorflow_pb2
from infra_validator.sample_requests.questions.values import ValueMisfit, bytes_of, is_base64

_INT64 = (-(2**63), 2**63 - 1)


def example_of(value: object) -> tensorflow_pb2.Example:
    """The tf.Example of ``{"feature": value or flat list, ...}``.

    Strings and ``{"b64": ...}`` become bytes, numbers with a fraction or exponent floats, whole numbers and booleans int64.

    Raises:
      ValueMisfit: no object, a nested list, or one feature with values of several kinds.
    """
    if not isinstance(value, dict):
        raise ValueMisfit("an example must be an object of features")
    example = tensorflow_pb2.Example()
    for name, given in value.items():
        values = given if isinstance(given, list) else [given]
        feature = example.features.feature[name]
        kinds = {_kind(name, element) for element in values}
        if len(kinds) > 1:
            raise ValueMisfit(f"feature {name!r} mixes values of the kinds {' and '.join(sorted(kinds))}")
        if kinds == {"bytes"}:
            feature.bytes_list.value.extend(bytes_of(element) for element in values)
        elif kinds == {"float"}:
            feature.float_list.value.extend(values)
        elif kinds == {"int64"}:
            feature.int64_list.value.extend(int(element) for element in values)
    return example


def _kind(name: str, value: object) -> str:
    if isinstance(value, str) or is_base64(value):
        return "bytes"
    if isinstance(value, float):
        return "float"
    if isinstance(value, int) and _INT64[0] <= value <= _INT64[1]:
        return "int64"
    raise ValueMisfit(f"feature {name!r} holds something other than strings, numbers within int64, and booleans")
