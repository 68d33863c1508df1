"""Two answers that must be the same: how far the numbers of each type may be apart, and what is said where they are not."""

from __future__ import annotations

from typing import Any

import pytest

from component_tests.unit.validation.answers.made_answers import read_tensor, request
from infra_validator.core.answer import Tensor
from infra_validator.core.errors import AttemptFailed
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.specs import AnswersSpec
from infra_validator.validation.answers.compared.comparison import Comparison


def difference(expected: Tensor, got: Tensor, **spec: Any) -> str:
    """What is said of two outputs; empty where they are the same."""
    said = ""
    try:
        Comparison(AnswersSpec(**spec)).check(request(), {"y": expected}, {"y": got}, "the golden file")
    except AttemptFailed as error:
        failure, said = error, error.detail
    if not said:
        return ""
    before, after = "record 1 of f, signature 'serving_default': output 'y'", " in the golden file."
    assert failure.reason is ReasonCode.ANSWER_DIFFERS
    assert said.startswith(before)
    assert said.endswith(after)
    return said.removeprefix(before).removesuffix(after)


@pytest.mark.parametrize(
    ("dtype", "absolute", "relative"),
    [
        (tf.DT_FLOAT, 1e-6, 1e-4),
        (tf.DT_COMPLEX64, 1e-6, 1e-4),
        (tf.DT_DOUBLE, 1e-12, 1e-7),
        (tf.DT_COMPLEX128, 1e-12, 1e-7),
        (tf.DT_HALF, 1e-3, 1e-2),
        (tf.DT_BFLOAT16, 1e-2, 2e-2),
    ],
)
def test_what_rounding_may_do_to_each_type(dtype: int, absolute: float, relative: float) -> None:
    def one(number: float) -> Tensor:
        return read_tensor(dtype, (1,), [number] * (2 if dtype in (tf.DT_COMPLEX64, tf.DT_COMPLEX128) else 1))

    for number, tolerance in ((0.0, absolute), (100.0, absolute + 100.0 * relative)):
        assert difference(one(number), one(number + 0.6 * tolerance)) == ""
        assert "but" in difference(one(number), one(number + 1.6 * tolerance))


@pytest.mark.parametrize(
    ("spec", "got", "same"),
    [
        ({}, 3, False),
        ({"absolute_tolerance": {"y": 1.0}}, 3, True),
        ({"absolute_tolerance": {"y": 1.0}}, 4, False),
        ({"relative_tolerance": {"y": 0.5}}, 3, True),
        ({"relative_tolerance": {"y": 0.5}}, 4, False),
        ({"absolute_tolerance": {"z": 9.0}, "relative_tolerance": {"z": 9.0}}, 3, False),
    ],
)
def test_whole_numbers_are_equal_unless_the_spec_says_how_far_they_may_be_apart(
    spec: dict[str, Any], got: int, same: bool
) -> None:
    expected, answered = read_tensor(tf.DT_INT64, (2,), [1, 2]), read_tensor(tf.DT_INT64, (2,), [1, got])
    assert difference(expected, answered, **spec) == ("" if same else f"[1] is {got}, but 2")


def test_the_spec_decides_instead_of_the_type() -> None:
    expected, got = read_tensor(tf.DT_FLOAT, (), [0.0]), read_tensor(tf.DT_FLOAT, (), [5e-7])
    assert difference(expected, got) == ""
    assert difference(expected, got, absolute_tolerance={"y": 0.0}) == " is 4.99999999e-07, but 0"
    expected, got = read_tensor(tf.DT_FLOAT, (), [100.0]), read_tensor(tf.DT_FLOAT, (), [100.005])
    assert difference(expected, got) == ""
    assert difference(expected, got, relative_tolerance={"y": 0.0}) == " is 100.004997, but 100"


def test_texts_are_equal_and_not_shown() -> None:
    expected = read_tensor(tf.DT_STRING, (2, 1), [b"a", b"b"])
    assert difference(expected, read_tensor(tf.DT_STRING, (2, 1), [b"a", b"b"])) == ""
    assert difference(expected, read_tensor(tf.DT_STRING, (2, 1), [b"a", b"c"])) == "[1, 0] is another text than"


def test_another_type_or_shape_is_a_difference() -> None:
    expected = read_tensor(tf.DT_FLOAT, (2,), [1.0, 2.0])
    assert difference(expected, read_tensor(tf.DT_DOUBLE, (2,), [1.0, 2.0])) == " is double [2], but float [2]"
    assert difference(expected, read_tensor(tf.DT_FLOAT, (2, 1), [1.0, 2.0])) == " is float [2, 1], but float [2]"


def test_other_outputs_are_a_difference_and_every_output_is_compared() -> None:
    one, two = read_tensor(tf.DT_FLOAT, (), [1.0]), read_tensor(tf.DT_FLOAT, (), [2.0])
    comparison = Comparison(AnswersSpec())
    with pytest.raises(AttemptFailed) as caught:
        comparison.check(request(), {"b": one, "a": one}, {"c": one, "a": one}, "its batch")
    assert caught.value.reason is ReasonCode.ANSWER_DIFFERS
    assert caught.value.detail.endswith(": its outputs are a, c, in its batch a, b.")
    with pytest.raises(AttemptFailed, match=r": output 'b' is 2, but 1 in its batch\."):
        comparison.check(request(), {"c": one, "b": one, "a": one}, {"a": one, "b": two, "c": two}, "its batch")
