"""JSON values to tensors, by the dtype that a signature declares. The conversions are those of TensorFlow Serving's REST API.

Beyond it, half and bfloat16 are converted too, and numbers that do not fit an integer type are errors instead of wrapping round.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Callable, Iterator
from typing import Any

from infra_validator.protos import tensorflow_pb2 as tf

_INTEGERS = {
    tf.DT_INT8: (-(2**7), 2**7 - 1),
    tf.DT_INT16: (-(2**15), 2**15 - 1),
    tf.DT_INT32: (-(2**31), 2**31 - 1),
    tf.DT_INT64: (-(2**63), 2**63 - 1),
    tf.DT_UINT8: (0, 2**8 - 1),
    tf.DT_UINT16: (0, 2**16 - 1),
    tf.DT_UINT32: (0, 2**32 - 1),
    tf.DT_UINT64: (0, 2**64 - 1),
}

#: The field of TensorProto that holds the values of a dtype.
_VALUE_FIELD = {
    tf.DT_FLOAT: "float_val",
    tf.DT_DOUBLE: "double_val",
    tf.DT_HALF: "half_val",
    tf.DT_BFLOAT16: "half_val",
    tf.DT_INT8: "int_val",
    tf.DT_INT16: "int_val",
    tf.DT_INT32: "int_val",
    tf.DT_UINT8: "int_val",
    tf.DT_UINT16: "int_val",
    tf.DT_INT64: "int64_val",
    tf.DT_UINT32: "uint32_val",
    tf.DT_UINT64: "uint64_val",
    tf.DT_BOOL: "bool_val",
    tf.DT_STRING: "string_val",
}


class JsonValueError(ValueError):
    """A JSON value cannot become the tensor that is needed; the text says why."""


def tensor_of(value: Any, dtype: tf.DataType.ValueType) -> tf.TensorProto:
    """The tensor that nested JSON lists (or one scalar) mean.

    Args:
      value: what ``json.loads`` returned. Its nesting is the shape; the first element at each depth decides.
      dtype: a ``DataType``.

    Raises:
      JsonValueError: ragged lists, a value of another type, or a dtype that JSON cannot express.
    """
    if dtype not in _VALUE_FIELD:
        name = tf.DataType.Name(dtype) if dtype in tf.DataType.values() else f"dtype {dtype}"
        raise JsonValueError(f"a {name} tensor cannot be written as JSON; send a TFRecord of PredictionLog instead")
    shape = _shape(value)
    convert = _converter(dtype)
    tensor = tf.TensorProto(dtype=dtype)
    for size in shape:
        tensor.tensor_shape.dim.add().size = size
    getattr(tensor, _VALUE_FIELD[dtype]).extend(convert(scalar) for scalar in _scalars(value, shape))
    return tensor


def is_base64(value: Any) -> bool:
    """Whether a JSON value is ``{"b64": "..."}``."""
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def bytes_of(value: Any) -> bytes:
    """The bytes of a JSON string (as UTF-8) or of ``{"b64": "..."}``."""
    if is_base64(value):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise JsonValueError(f"the base64 text cannot be decoded: {error}") from error
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    raise _not_a("string", value)


def _shape(value: Any) -> tuple[int, ...]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _scalars(value: Any, shape: tuple[int, ...], depth: int = 0) -> Iterator[Any]:
    if depth == len(shape):
        if isinstance(value, list):
            raise JsonValueError("the lists are ragged: one is nested deeper than the first")
        yield value
        return
    if not isinstance(value, list):
        raise JsonValueError(f"the lists are ragged: {_shown(value)} stands where a list of {shape[depth]} is expected")
    if len(value) != shape[depth]:
        raise JsonValueError(f"the lists are ragged: one has {len(value)} elements where the first has {shape[depth]}")
    for element in value:
        yield from _scalars(element, shape, depth + 1)


def _converter(dtype: tf.DataType.ValueType) -> Callable[[Any], Any]:
    if dtype == tf.DT_STRING:
        return bytes_of
    if dtype == tf.DT_BOOL:
        return _boolean
    if dtype in _INTEGERS:
        lowest, highest = _INTEGERS[dtype]
        name = tf.DataType.Name(dtype).removeprefix("DT_").lower()
        return lambda value: _integer(value, name, lowest, highest)
    return {tf.DT_FLOAT: _float32, tf.DT_DOUBLE: _number, tf.DT_HALF: _half, tf.DT_BFLOAT16: _bfloat16}[dtype]


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _not_a("boolean", value)


def _integer(value: Any, name: str, lowest: int, highest: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _not_a(f"{name} (a number without fraction or exponent)", value)
    if not lowest <= value <= highest:
        raise JsonValueError(f"{value} does not fit {name}, which holds {lowest} to {highest}")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _not_a("number", value)
    try:
        return float(value)
    except OverflowError:
        raise JsonValueError(f"the number {_shown(value)} is too large") from None


def _float32(value: Any) -> float:
    number = _number(value)
    try:
        struct.pack("<f", number)
    except OverflowError:
        return math.copysign(math.inf, number)
    return number


def _half(value: Any) -> int:
    number = _number(value)
    try:
        packed = struct.pack("<e", number)
    except OverflowError:
        packed = struct.pack("<e", math.copysign(math.inf, number))
    return int.from_bytes(packed, "little")


def _bfloat16(value: Any) -> int:
    number = _float32(value)
    if math.isnan(number):
        return 0x7FC0
    bits = int.from_bytes(struct.pack("<f", number), "little")
    return (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16  # round to nearest, ties to even


def _not_a(wanted: str, value: Any) -> JsonValueError:
    return JsonValueError(f"{_shown(value)} is no {wanted}")


def _shown(value: Any) -> str:
    """The kind of a value for a message. Not the value: it is a payload."""
    kinds = {
        bool: "a boolean",
        int: "a whole number",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return kinds.get(type(value), "null")
