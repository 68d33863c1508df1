"""Requests made up from a signature: every dtype, every field of request_spec.generate, and what cannot be made up."""

from __future__ import annotations

from typing import Any

import pytest

from component_tests.unit.sample_requests.examples_on_disk import signature
from infra_validator.core.errors import SpecError, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.sample_requests.generated.made_up import questions_made_up
from infra_validator.sample_requests.questions.tensor_values import shape_of, values_of
from infra_validator.specs import RequestSpec


def made(signature_def: tf.SignatureDef, count: int = 1, **fields: Any) -> list[dict[str, tf.TensorProto]]:
    """The inputs of so many questions."""
    spec = RequestSpec.of({"generate": fields}).generate
    assert spec is not None
    return [dict(question.inputs) for question in questions_made_up({"s": signature_def}, count, spec)]


@pytest.mark.parametrize(
    "dtype",
    [
        tf.DT_FLOAT,
        tf.DT_DOUBLE,
        tf.DT_HALF,
        tf.DT_BFLOAT16,
        tf.DT_INT8,
        tf.DT_INT64,
        tf.DT_UINT64,
        tf.DT_BOOL,
        tf.DT_QINT8,
    ],
)
@pytest.mark.parametrize(("values", "expected"), [("zeros", 0), ("ones", 1)])
def test_zeros_and_ones_of_every_dtype(dtype: tf.DataType.ValueType, values: str, expected: int) -> None:
    (inputs,) = made(signature("predict", x=(dtype, [-1, 2])), values=values)
    assert (shape_of(inputs["x"]), values_of(inputs["x"])) == ([1, 2], [expected] * 2)


def test_random_values_are_the_same_for_the_same_seed_and_differ_between_requests() -> None:
    x = signature("predict", x=(tf.DT_FLOAT, [-1, 3]))
    first, second = made(x, 2, seed=7)
    assert [first, second] == made(x, 2, seed=7)
    assert first != second
    assert first != made(x, 1, seed=8)[0]
    assert all(0 <= value <= 1 for value in values_of(first["x"]))


def test_ranges_hold_both_ends() -> None:
    x = signature("predict", x=(tf.DT_INT32, [-1, 200]), y=(tf.DT_FLOAT, [-1, 50]))
    (inputs,) = made(x, ranges={"x": [3, 5], "y": [-2.0, -1.0]})
    assert set(values_of(inputs["x"])) == {3, 4, 5}
    assert all(-2 <= value <= -1 for value in values_of(inputs["y"]))


def test_unknown_dimensions_are_one_unless_a_shape_is_given() -> None:
    x = signature("predict", x=(tf.DT_FLOAT, [-1, -1, 4]), y=(tf.DT_FLOAT, []))
    (inputs,) = made(x)
    assert (shape_of(inputs["x"]), shape_of(inputs["y"])) == ([1, 1, 4], [])
    (inputs,) = made(x, shapes={"x": [2, 3, 4]})
    assert shape_of(inputs["x"]) == [2, 3, 4]


def test_texts_are_taken_in_turn() -> None:
    x = signature("predict", x=(tf.DT_STRING, [-1]))
    assert [values_of(inputs["x"]) for inputs in made(x, 3, texts={"x": ["a", "b"]})] == [[b"a"], [b"b"], [b"a"]]


def test_inputs_of_one_name_may_be_of_several_dtypes() -> None:
    spec = RequestSpec.of({"generate": {"texts": {"x": ["a"]}}}).generate
    assert spec is not None
    signatures = {
        "text": signature("predict", x=(tf.DT_STRING, [-1])),
        "number": signature("predict", x=(tf.DT_UINT8, [-1])),
    }
    text, number = questions_made_up(signatures, 1, spec)
    assert (values_of(text.inputs["x"]), number.inputs["x"].dtype) == ([b"a"], tf.DT_UINT8)


def test_complex_numbers_are_zero() -> None:
    (inputs,) = made(signature("predict", x=(tf.DT_COMPLEX64, [-1])))
    assert inputs["x"].tensor_content == bytes(8)


def test_an_input_with_a_default_is_left_to_it() -> None:
    x = signature("predict", x=(tf.DT_FLOAT, [-1]), y=(tf.DT_STRING, []))
    x.defaults["y"].dtype = tf.DT_STRING
    assert list(made(x)[0]) == ["x"]


@pytest.mark.parametrize(
    ("x", "fields", "said"),
    [
        (
            (tf.DT_STRING, [-1]),
            {},
            r"texts\.x: the input x \(string, shape \[-1\]\) of signature 's' takes strings, which cannot",
        ),
        ((tf.DT_FLOAT, [-1]), {"texts": {"x": ["a"]}}, "takes no strings"),
        ((tf.DT_INT8, [-1]), {"ranges": {"x": [0, 300]}}, "holds -128 to 127"),
        (
            (tf.DT_INT8, [-1]),
            {"ranges": {"x": [0.2, 0.8]}},
            "takes whole numbers, of which there is none from 0.2 to 0.8",
        ),
        ((tf.DT_BOOL, [-1]), {"ranges": {"x": [0, 1]}}, "takes no range"),
        ((tf.DT_RESOURCE, [-1]), {}, "cannot be made up"),
        ((tf.DT_FLOAT, [-1]), {"shapes": {"x": [2**30, 2**30]}}, "more elements than a message can hold"),
    ],
)
def test_what_cannot_be_made_up_is_told(x: tuple[Any, list[int]], fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        made(signature("predict", x=x), **fields)


def test_examples_are_not_made_up() -> None:
    with pytest.raises(UsageError, match="can only be made up for predict") as caught:
        made(signature("classify", inputs=(tf.DT_STRING, [-1])))
    assert caught.value.reason is ReasonCode.SIGNATURE_NOT_SUPPORTED


@pytest.mark.parametrize(
    ("generate", "said"),
    [
        ({"values": "twos"}, r"generate\.values: must be one of zeros, ones, random"),
        ({"ranges": {"x": [2, 1]}}, r"generate\.ranges\.x: the low end 2 is above the high end 1"),
        ({"ranges": {"x": [1]}}, r"must be \[low, high\], not 1 numbers"),
        ({"values": "ones", "ranges": {"x": [1, 2]}}, r"generate\.ranges: has no effect on values: ones"),
        ({"shapes": {"x": [-1]}}, "from 0 to"),
        ({"shapes": {"x": [2**31]}}, "from 0 to"),
        ({"texts": {"x": []}}, "at least one text"),
        ({"seeds": 1}, "Did you mean 'seed'"),
    ],
)
def test_a_spec_that_makes_no_sense_is_told(generate: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        RequestSpec.of({"generate": generate})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"batch_sizes": [1, 0]}, r"batch_sizes\[1\]: must be from 1 to 2147483647, not 0"),
        ({"batch_sizes": [2**31]}, "not 2147483648"),
        ({"protocols": ["http"]}, r"protocols\[0\]: must be one of grpc, rest"),
        ({"images": {"x": "decoded"}}, r"images\.x: must be one of decode"),
        ({"padding": {"x": [0]}}, r"padding\.x: must be a number"),
        ({"tensorflow_serving": {"signature_names": ["*", "a"]}}, "stands alone"),
    ],
)
def test_fields_of_the_request_spec_are_checked(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        RequestSpec.of(fields)


def test_the_spec_comes_back_from_json() -> None:
    spec = RequestSpec.of({"generate": {}, "batch_sizes": [1, 2], "features": {"x": "y"}, "padding": {"x": 0}})
    assert RequestSpec.of(spec.to_dict()) == spec
    assert spec.generate is not None
