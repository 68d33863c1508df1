"""Rows joined to batches, declared shapes that are contradicted, and requests written for REST."""

from __future__ import annotations

import json
import math
import pathlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from component_tests.unit.sample_requests.examples_on_disk import example, signature, tfrecord, write_split
from infra_validator.core.errors import UsageError
from infra_validator.core.sample_request import SampleRequest
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2
from infra_validator.sample_requests.examples.example_files import requests_from_examples_dir
from infra_validator.sample_requests.files.requests_file import requests_from_file
from infra_validator.sample_requests.questions import tensor_values
from infra_validator.sample_requests.questions.tensor_values import (
    shape_of,
    tensor_of_bytes,
    tensor_of_values,
    values_of,
)
from infra_validator.sample_requests.questions.values import ValueMisfit
from infra_validator.specs.request_spec import RequestSpec

X = {"s": signature("predict", x=(tf.DT_FLOAT, [-1]))}


def asked(**fields: Any) -> RequestSpec:
    return RequestSpec.of(fields)


def x_of(request: SampleRequest) -> tuple[list[int], list[Any]]:
    tensor = serving_pb2.PredictRequest.FromString(request.payload).inputs["x"]
    return shape_of(tensor), values_of(tensor)


def split_of(folder: pathlib.Path, *values: float) -> str:
    return write_split(folder, [example(value) for value in values])


def test_rows_are_joined_to_each_size_and_the_last_batch_is_filled_up(tmp_path: pathlib.Path) -> None:
    spec = asked(batch_sizes=[1, 2, 5])
    made = list(requests_from_examples_dir(split_of(tmp_path, 1, 2, 3), X, "m", 9, asked=spec))
    assert [x_of(request)[1] for request in made] == [[1], [2], [3], [1, 2], [3, 1], [1, 2, 3, 1, 2]]
    assert [request.rows for request in made] == [1, 1, 1, 2, 2, 5]
    assert made[-1].label == "a batch of 5 from record 1 of data_tfrecord-00000-of-00001.gz"


def test_a_signature_with_a_fixed_batch_is_asked_in_its_size(tmp_path: pathlib.Path) -> None:
    fixed = {"s": signature("predict", x=(tf.DT_FLOAT, [4]))}
    (request,) = requests_from_examples_dir(split_of(tmp_path, 1, 2), fixed, "m", 9)
    assert x_of(request) == ([4], [1, 2, 1, 2])
    assert request.contradicts == ""


def test_rows_for_classify_are_examples(tmp_path: pathlib.Path) -> None:
    classify = {"s": signature("classify", inputs=(tf.DT_STRING, [-1]))}
    spec = asked(batch_sizes=[2])
    (request,) = requests_from_examples_dir(split_of(tmp_path, 1, 2), classify, "m", 2, asked=spec)
    given_examples = serving_pb2.ClassificationRequest.FromString(request.payload).input.example_list.examples
    assert [one.SerializeToString() for one in given_examples] == [example(1), example(2)]
    assert request.rows == 2


def test_requests_of_a_file_are_cut_into_rows(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "f.json"
    file.write_text('{"instances": [1, 2, 3]}\n4\n')
    made = requests_from_file(str(file), X, "m", ["s"], asked(batch_sizes=[2]))
    assert [x_of(request)[1] for request in made] == [[1, 2], [3, 4]]


def test_rows_of_several_lengths_want_padding(tmp_path: pathlib.Path) -> None:
    ragged = {"s": signature("predict", x=(tf.DT_INT64, [-1, -1]))}
    file = tmp_path / "f.json"
    file.write_text("[1]\n[2, 3]\n")
    with pytest.raises(UsageError, match=r"input 'x': .* cannot be joined \(request_spec\.padding: \{x: 0\}"):
        list(requests_from_file(str(file), ragged, "m", ["s"], asked(batch_sizes=[2])))
    (request,) = requests_from_file(str(file), ragged, "m", ["s"], asked(batch_sizes=[2], padding={"x": 0}))
    assert x_of(request) == ([2, 2], [1, 0, 2, 3])


def test_inputs_beside_the_batch_are_those_of_the_first_row(tmp_path: pathlib.Path) -> None:
    beside = {"s": signature("predict", x=(tf.DT_FLOAT, [-1]), t=(tf.DT_FLOAT, []))}
    file = tmp_path / "f.json"
    file.write_text('{"inputs": {"x": [1, 2], "t": 0.5}}')
    (request,) = requests_from_file(str(file), beside, "m", ["s"], asked(batch_sizes=[3]))
    inputs = serving_pb2.PredictRequest.FromString(request.payload).inputs
    assert (values_of(inputs["x"]), values_of(inputs["t"])) == ([1, 2, 1], [0.5])


def test_a_batch_that_no_message_can_hold_is_told(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match="larger than the 2 GiB"):
        list(requests_from_examples_dir(split_of(tmp_path, 1), X, "m", asked=asked(batch_sizes=[2**31 - 1])))


@pytest.mark.parametrize(
    ("declared", "given_shape"), [([-1], [1, 1]), ([-1, 2], [1, 3]), ([3], [2]), ([], [1]), ([-1, -1], [1])]
)
def test_a_contradiction_names_input_and_both_shapes(
    declared: list[int], given_shape: list[int], tmp_path: pathlib.Path
) -> None:
    log = serving_pb2.PredictionLog()
    request = log.predict_log.request
    request.inputs["x"].CopyFrom(tensor_of_values(tf.DT_FLOAT, given_shape, [0.0] * math.prod(given_shape)))
    (tmp_path / "f").write_bytes(tfrecord([log.SerializeToString()]))
    (made,) = requests_from_file(
        str(tmp_path / "f"), {"s": signature("predict", x=(tf.DT_FLOAT, declared))}, "m", ["s"]
    )
    assert made.contradicts == (
        f"The input 'x' is declared with the shape {declared} and was given with the shape {given_shape}."
    )


# ------------------------------------------------------------------------------------------------------- REST


def body(request: SampleRequest) -> Any:
    assert request.rest_body is not None
    return json.loads(request.rest_body)


def test_every_request_has_a_body_where_rest_is_asked_for(tmp_path: pathlib.Path) -> None:
    signatures = {
        "s": signature("predict", x=(tf.DT_FLOAT, [-1])),
        "c": signature("classify", inputs=(tf.DT_STRING, [-1])),
        "t": signature("predict", examples=(tf.DT_STRING, [-1])),
    }
    spec = asked(protocols=["grpc", "rest"])
    numbers, classify, texts = requests_from_examples_dir(split_of(tmp_path, 1.5), signatures, "m", asked=spec)
    assert body(numbers) == {"signature_name": "s", "instances": [{"x": 1.5}]}
    assert body(classify) == {"signature_name": "c", "examples": [{"x": [1.5]}]}
    (instance,) = body(texts)["instances"]
    assert instance.keys() == {"examples"}


def test_columns_are_written_where_an_output_has_no_batch_dimension(tmp_path: pathlib.Path) -> None:
    scalar = signature("predict", x=(tf.DT_FLOAT, [-1]))
    scalar.outputs["total"].dtype = tf.DT_FLOAT
    spec = asked(protocols=["rest"])
    (request,) = requests_from_examples_dir(split_of(tmp_path, 1.5), {"s": scalar}, "m", asked=spec)
    assert body(request) == {"signature_name": "s", "inputs": {"x": [1.5]}}


def test_what_json_has_no_words_for_is_told(tmp_path: pathlib.Path) -> None:
    log = serving_pb2.PredictionLog()
    log.predict_log.request.inputs["x"].CopyFrom(tensor_of_bytes(tf.DT_COMPLEX64, [1], bytes(8)))
    (tmp_path / "f").write_bytes(tfrecord([log.SerializeToString()]))
    signatures = {"s": signature("predict", x=(tf.DT_COMPLEX64, [-1]))}
    with pytest.raises(
        UsageError, match="input 'x' cannot be written for REST: a complex64 tensor has no plain values"
    ):
        list(requests_from_file(str(tmp_path / "f"), signatures, "m", ["s"], asked(protocols=["rest"])))


# ---------------------------------------------------------------------------------------------------- tensors

PLAIN = {
    tf.DT_FLOAT: st.floats(width=32, allow_nan=False),
    tf.DT_DOUBLE: st.floats(allow_nan=False),
    tf.DT_HALF: st.floats(width=16, allow_nan=False),
    tf.DT_INT8: st.integers(-128, 127),
    tf.DT_INT64: st.integers(-(2**63), 2**63 - 1),
    tf.DT_UINT64: st.integers(0, 2**64 - 1),
    tf.DT_BOOL: st.booleans(),
    tf.DT_STRING: st.binary(max_size=4),
}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_values_come_back_and_rows_join_to_what_they_were_cut_from(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(sorted(PLAIN)))
    shape = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    count = math.prod(shape)
    values = data.draw(st.lists(PLAIN[dtype], min_size=count, max_size=count))
    tensor = tensor_of_values(dtype, shape, values)
    assert values_of(tensor) == values
    again = tensor_values.joined(tensor_values.rows_of(tensor))
    assert (shape_of(again), values_of(again)) == (shape, values)


def test_content_and_lists_say_the_same() -> None:
    content = tensor_of_bytes(tf.DT_BFLOAT16, [2], b"\x80\x3f\x00\xc0")
    assert values_of(content) == [1.0, -2.0]
    mixed = tensor_values.joined([content, tensor_of_values(tf.DT_BFLOAT16, [1], [0.5])])
    assert values_of(mixed) == [1.0, -2.0, 0.5]


def test_a_list_that_is_too_short_repeats_its_last_element() -> None:
    assert values_of(tensor_of_values(tf.DT_FLOAT, [3], [7.0])) == [7.0, 7.0, 7.0]


@pytest.mark.parametrize(
    "tensor",
    [
        tensor_of_bytes(tf.DT_FLOAT, [2], b"1234"),
        tensor_of_values(tf.DT_FLOAT, [2**40], [1.0]),
        tensor_of_values(tf.DT_FLOAT, [-1], [1.0]),
        tensor_of_values(tf.DT_FLOAT, [1], [1.0, 2.0]),
        tensor_of_values(tf.DT_FLOAT, [1], []),
        tensor_of_bytes(tf.DT_RESOURCE, [1], b"1"),
    ],
)
def test_a_tensor_that_is_none_has_no_values(tensor: tf.TensorProto) -> None:
    with pytest.raises(ValueMisfit):
        values_of(tensor)
