"""One plain value to one element of a tensor of a dtype. The conversions are those of TensorFlow Serving's REST API.

Beyond it, half and bfloat16 are converted too, and numbers that do not fit an integer type are errors instead of wrapping round.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Callable
from typing import Any, TypeGuard

from infra_validator.protos import tensorflow_pb2 as tf

INTEGERS = {
    tf.DT_INT8: (-(2**7), 2**7 - 1),
    tf.DT_INT16: (-(2**15), 2**15 - 1),
    tf.DT_INT32: (-(2**31), 2**31 - 1),
    tf.DT_INT64: (-(2**63), 2**63 - 1),
    tf.DT_UINT8: (0, 2**8 - 1),
    tf.DT_UINT16: (0, 2**16 - 1),
    tf.DT_UINT32: (0, 2**32 - 1),
    tf.DT_UINT64: (0, 2**64 - 1),
    tf.DT_QINT8: (-(2**7), 2**7 - 1),
    tf.DT_QINT16: (-(2**15), 2**15 - 1),
    tf.DT_QINT32: (-(2**31), 2**31 - 1),
    tf.DT_QUINT8: (0, 2**8 - 1),
    tf.DT_QUINT16: (0, 2**16 - 1),
}
FLOATS = (tf.DT_FLOAT, tf.DT_DOUBLE, tf.DT_HALF, tf.DT_BFLOAT16)


class ValueMisfit(ValueError):
    """A value cannot become part of the tensor that is needed; the text says why, and never quotes the value itself."""


def name_of(dtype: int) -> str:
    """A dtype for people, e.g. ``float``."""
    return tf.DataType.Name(dtype).removeprefix("DT_").lower() if dtype in tf.DataType.values() else f"dtype {dtype}"  # type: ignore[arg-type]


def converter(dtype: tf.DataType.ValueType) -> Callable[[Any], Any]:
    """What turns one plain value into an element of the list of a dtype; it raises ValueMisfit."""
    if dtype == tf.DT_STRING:
        return bytes_of
    if dtype == tf.DT_BOOL:
        return _boolean
    if dtype in INTEGERS:
        lowest, highest = INTEGERS[dtype]
        return lambda value: _integer(value, name_of(dtype), lowest, highest)
    return {tf.DT_FLOAT: _float32, tf.DT_DOUBLE: _number, tf.DT_HALF: _half, tf.DT_BFLOAT16: _bfloat16}[dtype]


def is_base64(value: object) -> TypeGuard[dict[str, str]]:
    """Whether a JSON value is ``{"b64": "..."}``."""
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def bytes_of(value: object) -> bytes:
    """The bytes of bytes, of a string (as UTF-8), or of JSON's ``{"b64": "..."}``."""
    if isinstance(value, bytes):
        return value
    if is_base64(value):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueMisfit(f"the base64 text cannot be decoded: {error}") from error
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    raise _not_a("string", value)


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise _not_a("boolean", value)


def _integer(value: object, name: str, lowest: int, highest: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _not_a(f"{name} (a number without fraction or exponent)", value)
    if not lowest <= value <= highest:
        raise ValueMisfit(f"{kind_of(value)} does not fit {name}, which holds {lowest} to {highest}")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _not_a("number", value)
    try:
        return float(value)
    except OverflowError:
        raise ValueMisfit(f"the number {kind_of(value)} is too large") from None


def _float32(value: object) -> float:
    number = _number(value)
    try:
        struct.pack("<f", number)
    except OverflowError:
        return math.copysign(math.inf, number)
    return number


def _half(value: object) -> int:
    number = _number(value)
    try:
        packed = struct.pack("<e", number)
    except OverflowError:
        packed = struct.pack("<e", math.copysign(math.inf, number))
    return int.from_bytes(packed, "little")


def _bfloat16(value: object) -> int:
    number = _float32(value)
    if math.isnan(number):
        return 0x7FC0
    bits = int.from_bytes(struct.pack("<f", number), "little")
    return (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16  # round to nearest, ties to even


def _not_a(wanted: str, value: object) -> ValueMisfit:
    return ValueMisfit(f"{kind_of(value)} is no {wanted}")


def kind_of(value: object) -> str:
    """The kind of a value for a message. Not the value: it is a payload."""
    kinds = {
        bool: "a boolean",
        int: "a whole number",
        float: "a number",
        str: "a string",
        bytes: "a string of bytes",
        list: "a list",
        dict: "an object",
    }
    return kinds.get(type(value), "null")
