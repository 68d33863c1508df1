"""JSON values to tensors of every dtype."""

from __future__ import annotations

import math
from typing import Any

import pytest

from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.sample_requests.files.json_tensor import tensor_of
from infra_validator.sample_requests.questions.values import ValueMisfit


@pytest.mark.parametrize(
    ("dtype", "value", "field", "values"),
    [
        (tf.DT_FLOAT, [1, 2.5], "float_val", [1.0, 2.5]),
        (tf.DT_FLOAT, [1e39, -1e39], "float_val", [math.inf, -math.inf]),
        (tf.DT_FLOAT, [math.inf], "float_val", [math.inf]),
        (tf.DT_DOUBLE, [1e39], "double_val", [1e39]),
        (tf.DT_HALF, [1.0, -2.0, 1e9], "half_val", [0x3C00, 0xC000, 0x7C00]),
        (tf.DT_BFLOAT16, [1.0, -2.0, 1.005859375], "half_val", [0x3F80, 0xC000, 0x3F81]),
        (tf.DT_INT8, [-128, 127], "int_val", [-128, 127]),
        (tf.DT_INT16, [-32768], "int_val", [-32768]),
        (tf.DT_INT32, [-(2**31)], "int_val", [-(2**31)]),
        (tf.DT_UINT8, [255], "int_val", [255]),
        (tf.DT_UINT16, [65535], "int_val", [65535]),
        (tf.DT_INT64, [2**63 - 1], "int64_val", [2**63 - 1]),
        (tf.DT_UINT32, [2**32 - 1], "uint32_val", [2**32 - 1]),
        (tf.DT_UINT64, [2**64 - 1], "uint64_val", [2**64 - 1]),
        (tf.DT_BOOL, [True, False], "bool_val", [True, False]),
        (tf.DT_STRING, ["a", {"b64": "YQ=="}, ""], "string_val", [b"a", b"a", b""]),
    ],
)
def test_values_go_where_tensorflow_looks_for_them(
    dtype: tf.DataType.ValueType, value: Any, field: str, values: list[Any]
) -> None:
    tensor = tensor_of(value, dtype)
    assert tensor.dtype == dtype
    assert [dim.size for dim in tensor.tensor_shape.dim] == [len(value)]
    assert list(getattr(tensor, field)) == values


@pytest.mark.parametrize(
    ("value", "shape"), [(1.0, []), ([], [0]), ([[]], [1, 0]), ([[1, 2, 3]], [1, 3]), ([[[1]], [[2]]], [2, 1, 1])]
)
def test_the_nesting_is_the_shape(value: Any, shape: list[int]) -> None:
    assert [dim.size for dim in tensor_of(value, tf.DT_FLOAT).tensor_shape.dim] == shape


@pytest.mark.parametrize("dtype", [tf.DT_FLOAT, tf.DT_DOUBLE, tf.DT_HALF, tf.DT_BFLOAT16])
def test_not_a_number_is_a_number(dtype: tf.DataType.ValueType) -> None:
    tensor = tensor_of(math.nan, dtype)
    values = [*tensor.float_val, *tensor.double_val]
    assert math.isnan(values[0]) if values else tensor.half_val[0] in (0x7E00, 0x7FC0)


@pytest.mark.parametrize(
    ("dtype", "value", "said"),
    [
        (tf.DT_INT8, 128, "does not fit int8, which holds -128 to 127"),
        (tf.DT_UINT8, -1, "does not fit uint8"),
        (tf.DT_UINT64, 2**64, "does not fit uint64"),
        (tf.DT_INT32, 1.0, "a number is no int32"),
        (tf.DT_INT32, True, "a boolean is no int32"),
        (tf.DT_BOOL, 1, "a whole number is no boolean"),
        (tf.DT_FLOAT, "1", "a string is no number"),
        (tf.DT_FLOAT, {"b64": "YQ=="}, "an object is no number"),
        (tf.DT_DOUBLE, 10**400, "too large"),
        (tf.DT_FLOAT, 10**400, "too large"),
        (tf.DT_STRING, {"b64": "YQ"}, "cannot be decoded"),
        (tf.DT_STRING, {"b64": 1}, "an object is no string"),
        (tf.DT_COMPLEX64, [1], "DT_COMPLEX64 tensor cannot be written as JSON"),
        (tf.DT_INVALID, [1], "DT_INVALID"),
    ],
)
def test_what_does_not_fit_is_told(dtype: tf.DataType.ValueType, value: Any, said: str) -> None:
    with pytest.raises(ValueMisfit, match=said):
        tensor_of(value, dtype)
