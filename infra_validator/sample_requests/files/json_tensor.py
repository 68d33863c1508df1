"""JSON values to tensors, by the dtype that a signature declares. The conversions are those of TensorFlow Serving's REST API.

Beyond it, half and bfloat16 are converted too, and numbers that do not fit an integer type are errors instead of wrapping round.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.sample_requests.questions.tensor_values import has_values, tensor_of_values
from infra_validator.sample_requests.questions.values import ValueMisfit, kind_of, name_of

#: The dtypes of which REST knows no values, though lists of them could be written.
_NOT_WRITTEN = (tf.DT_QINT8, tf.DT_QUINT8, tf.DT_QINT16, tf.DT_QUINT16, tf.DT_QINT32)


def tensor_of(value: object, dtype: tf.DataType.ValueType) -> tf.TensorProto:
    """The tensor that nested JSON lists (or one scalar) mean.

    Args:
      value: what ``json.loads`` returned. Its nesting is the shape; the first element at each depth decides.
      dtype: a ``DataType``.

    Raises:
      ValueMisfit: ragged lists, a value of another type, or a dtype that JSON cannot express.
    """
    if dtype in _NOT_WRITTEN or not has_values(dtype):
        name = tf.DataType.Name(dtype) if dtype in tf.DataType.values() else name_of(dtype)
        raise ValueMisfit(f"a {name} tensor cannot be written as JSON; send a TFRecord of PredictionLog instead")
    shape = _shape(value)
    return tensor_of_values(dtype, shape, _scalars(value, shape))


def _shape(value: object) -> tuple[int, ...]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _scalars(value: object, shape: tuple[int, ...], depth: int = 0) -> Iterator[Any]:
    if depth == len(shape):
        if isinstance(value, list):
            raise ValueMisfit("the lists are ragged: one is nested deeper than the first")
        yield value
        return
    if not isinstance(value, list):
        raise ValueMisfit(f"the lists are ragged: {kind_of(value)} stands where a list of {shape[depth]} is expected")
    if len(value) != shape[depth]:
        raise ValueMisfit(f"the lists are ragged: one has {len(value)} elements where the first has {shape[depth]}")
    for element in value:
        yield from _scalars(element, shape, depth + 1)
