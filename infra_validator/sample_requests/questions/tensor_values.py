"""Tensors from plain values and back, by dtype; tensors joined and cut along their first dimension. Needs no numpy.

A ``TensorProto`` holds its elements either as bytes (``tensor_content``) or as a list of a field of the dtype's, where a list that
is too short means that its last element is repeated. Both are read; what cannot be a tensor is a ``ValueMisfit``.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from typing import Any

from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.sample_requests.questions.values import ValueMisfit, converter, name_of

#: A message holds no more bytes than this; neither does what we are ready to unpack.
MOST_BYTES = (1 << 31) - 1


#: The field of TensorProto that holds the values of a dtype as a list.
_LIST = {
    tf.DT_FLOAT: "float_val",
    tf.DT_DOUBLE: "double_val",
    tf.DT_HALF: "half_val",
    tf.DT_BFLOAT16: "half_val",
    tf.DT_INT8: "int_val",
    tf.DT_INT16: "int_val",
    tf.DT_INT32: "int_val",
    tf.DT_UINT8: "int_val",
    tf.DT_UINT16: "int_val",
    tf.DT_QINT8: "int_val",
    tf.DT_QINT16: "int_val",
    tf.DT_QINT32: "int_val",
    tf.DT_QUINT8: "int_val",
    tf.DT_QUINT16: "int_val",
    tf.DT_INT64: "int64_val",
    tf.DT_UINT32: "uint32_val",
    tf.DT_UINT64: "uint64_val",
    tf.DT_BOOL: "bool_val",
    tf.DT_STRING: "string_val",
}

#: struct's letter of one element in tensor_content.
_CONTENT = {
    tf.DT_FLOAT: "f",
    tf.DT_DOUBLE: "d",
    tf.DT_HALF: "e",
    tf.DT_BFLOAT16: "H",
    tf.DT_INT8: "b",
    tf.DT_INT16: "h",
    tf.DT_INT32: "i",
    tf.DT_INT64: "q",
    tf.DT_UINT8: "B",
    tf.DT_UINT16: "H",
    tf.DT_UINT32: "I",
    tf.DT_UINT64: "Q",
    tf.DT_QINT8: "b",
    tf.DT_QINT16: "h",
    tf.DT_QINT32: "i",
    tf.DT_QUINT8: "B",
    tf.DT_QUINT16: "H",
    tf.DT_BOOL: "?",
}


def has_values(dtype: int) -> bool:
    """Whether tensors of a dtype can be made of plain values."""
    return dtype in _LIST


def shape_of(tensor: tf.TensorProto) -> list[int]:
    """The sizes of a tensor's dimensions."""
    return [dim.size for dim in tensor.tensor_shape.dim]


def tensor_of_values(dtype: tf.DataType.ValueType, shape: Sequence[int], values: Iterable[object]) -> tf.TensorProto:
    """The tensor of ``values`` in row-major order, each converted to ``dtype``.

    Raises:
      ValueMisfit: a value is of another type or does not fit, or tensors of this dtype cannot be made of values.
    """
    if dtype not in _LIST:
        raise ValueMisfit(f"a {name_of(dtype)} tensor cannot be made of values")
    tensor = _empty(dtype, shape)
    convert = converter(dtype)
    getattr(tensor, _LIST[dtype]).extend(convert(value) for value in values)
    return tensor


def tensor_of_bytes(dtype: tf.DataType.ValueType, shape: Sequence[int], content: bytes) -> tf.TensorProto:
    """The tensor whose elements are ``content``, little-endian and row-major."""
    tensor = _empty(dtype, shape)
    tensor.tensor_content = content
    return tensor


def _empty(dtype: tf.DataType.ValueType, shape: Sequence[int]) -> tf.TensorProto:
    tensor = tf.TensorProto(dtype=dtype)
    for size in shape:
        tensor.tensor_shape.dim.add().size = size
    return tensor


def values_of(tensor: tf.TensorProto) -> list[Any]:
    """A tensor's elements in row-major order: numbers, booleans or bytes.

    Raises:
      ValueMisfit: its dtype has no plain values, or its elements do not make up its shape.
    """
    dtype, count = tensor.dtype, _count(tensor)
    if dtype not in _LIST:
        raise ValueMisfit(f"a {name_of(dtype)} tensor has no plain values")
    if tensor.tensor_content and dtype != tf.DT_STRING:
        packed = f"<{count}{_CONTENT[dtype]}"
        if struct.calcsize(packed) != len(tensor.tensor_content):
            raise ValueMisfit(f"its shape says {count} elements, but it holds {len(tensor.tensor_content)} bytes")
        values: list[Any] = list(struct.unpack(packed, tensor.tensor_content))
        return [_of_bfloat16(bits) for bits in values] if dtype == tf.DT_BFLOAT16 else values
    values = list(getattr(tensor, _LIST[dtype]))
    if len(values) > count or (count and not values):
        raise ValueMisfit(f"its shape says {count} elements, but it holds {len(values)}")
    values += values[-1:] * (count - len(values))
    if dtype == tf.DT_HALF:
        return [struct.unpack("<e", struct.pack("<H", bits & 0xFFFF))[0] for bits in values]
    return [_of_bfloat16(bits) for bits in values] if dtype == tf.DT_BFLOAT16 else values


def _count(tensor: tf.TensorProto) -> int:
    count = 1
    for size in shape_of(tensor):
        if size < 0:
            raise ValueMisfit(f"a dimension has the size {size}")
        count *= size
    if count > MOST_BYTES:
        raise ValueMisfit(f"its shape says {count} elements, more than a message can hold")
    return count


def _of_bfloat16(bits: int) -> float:
    number: float = struct.unpack("<f", struct.pack("<I", (bits & 0xFFFF) << 16))[0]
    return number


def joined(tensors: Sequence[tf.TensorProto]) -> tf.TensorProto:
    """The tensors one after the other along the first dimension.

    Raises:
      ValueMisfit: dtypes or the other dimensions differ, or a tensor has no dimension.
    """
    first = tensors[0]
    rest = shape_of(first)[1:]
    for tensor in tensors:
        if not tensor.tensor_shape.dim or tensor.dtype != first.dtype or shape_of(tensor)[1:] != rest:
            raise ValueMisfit(f"a {_shown(first)} and a {_shown(tensor)} cannot be joined")
    shape = [sum(shape_of(tensor)[0] for tensor in tensors), *rest]
    if all(tensor.tensor_content for tensor in tensors):
        return tensor_of_bytes(first.dtype, shape, b"".join(tensor.tensor_content for tensor in tensors))
    return tensor_of_values(first.dtype, shape, (value for tensor in tensors for value in values_of(tensor)))


def rows_of(tensor: tf.TensorProto) -> list[tf.TensorProto]:
    """A tensor cut along its first dimension: as many tensors with a first dimension of 1.

    Raises:
      ValueMisfit: it has no dimension, or its elements do not make up its shape.
    """
    if not tensor.tensor_shape.dim:
        raise ValueMisfit("it has no dimension to be cut along")
    count, *rest = shape_of(tensor)
    shape = [1, *rest]
    if tensor.tensor_content:
        content = tensor.tensor_content
        size = len(content) // max(1, count)
        return [tensor_of_bytes(tensor.dtype, shape, content[n * size : (n + 1) * size]) for n in range(count)]
    values = values_of(tensor)
    size = len(values) // max(1, count)
    return [tensor_of_values(tensor.dtype, shape, values[n * size : (n + 1) * size]) for n in range(count)]


def padded(tensor: tf.TensorProto, shape: Sequence[int], filler: object) -> tf.TensorProto:
    """The tensor in a larger shape of the same rank; what is new holds ``filler``.

    Raises:
      ValueMisfit: ``filler`` is no value of the dtype.
    """
    old = shape_of(tensor)
    if old == list(shape):
        return tensor
    values = _padded(values_of(tensor), old, shape, filler)
    return tensor_of_values(tensor.dtype, shape, values)


def _padded(values: list[object], old: Sequence[int], new: Sequence[int], filler: object) -> list[object]:
    if not old:
        return values
    inner = math.prod(old[1:])
    made: list[object] = []
    for n in range(old[0]):
        made += _padded(values[n * inner : (n + 1) * inner], old[1:], new[1:], filler)
    return made + [filler] * ((new[0] - old[0]) * math.prod(new[1:]))


def _shown(tensor: tf.TensorProto) -> str:
    return f"{name_of(tensor.dtype)} tensor of shape {shape_of(tensor)}"
