"""The numbers in a tensor: the same with numpy and without, few or many."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence

import pytest

from component_tests.unit.validation.answers.made_answers import read_tensor
from infra_validator.core.answer import Tensor
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.validation.answers import elements
from infra_validator.validation.answers.elements import as_array, farthest, not_finite, numbers, outside

NAN, INF = math.nan, math.inf
FLOATS = [tf.DT_FLOAT, tf.DT_DOUBLE, tf.DT_HALF, tf.DT_BFLOAT16]
COMPLEX = [tf.DT_COMPLEX64, tf.DT_COMPLEX128]
MANY = 3000  # elements that numpy is worth

Triple = tuple[int, float, float]


@pytest.fixture(params=["few numbers", "with numpy", "numpy is not installed"])
def least(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """How many elements a tensor is to have at least."""
    elements._numpy.cache_clear()
    if request.param == "numpy is not installed":
        monkeypatch.setitem(sys.modules, "numpy", None)
    yield 0 if request.param == "few numbers" else MANY
    elements._numpy.cache_clear()


def padded(dtype: int, values: Sequence[float], least: int, padding: float = 0.0) -> Tensor:
    """A tensor of these numbers, and then of others until there are enough."""
    every = [*values, *[padding] * (least * 2 - len(values))]
    if dtype in (tf.DT_INT64, tf.DT_UINT64, tf.DT_INT32, tf.DT_UINT8):
        every = [int(value) for value in every]
    parts = 2 if dtype in COMPLEX else 1
    return read_tensor(dtype, (len(every) // parts,), every)


@pytest.mark.parametrize("dtype", [*FLOATS, *COMPLEX])
def test_the_numbers_of_every_type_with_fractions(dtype: int) -> None:
    values = [1.0, -2.5, 0.0, INF]
    assert list(numbers(padded(dtype, values, 0))) == values
    array = as_array(padded(dtype, values, MANY))
    assert array[:4].tolist() == values
    assert len(array) == 2 * MANY


@pytest.mark.parametrize(
    ("dtype", "value"), [(tf.DT_INT64, -(2**62) - 1), (tf.DT_UINT64, 2**64 - 1), (tf.DT_INT32, -7), (tf.DT_UINT8, 255)]
)
def test_whole_numbers_are_exact(dtype: int, value: int) -> None:
    assert list(numbers(read_tensor(dtype, (2,), [value, 1]))) == [value, 1]
    assert as_array(read_tensor(dtype, (MANY,), [value] * MANY)).tolist() == [value] * MANY


@pytest.mark.parametrize("dtype", [tf.DT_FLOAT, tf.DT_UINT8, tf.DT_BFLOAT16])
def test_numpy_is_for_large_tensors_of_numbers(dtype: int) -> None:
    assert as_array(padded(dtype, [1] * 2047, 0)) is None
    assert as_array(padded(dtype, [1] * 2048, 0)).tolist() == [1] * 2048
    assert as_array(read_tensor(tf.DT_STRING, (MANY,), [b"text"] * MANY)) is None


def test_a_large_tensor_without_numpy_is_no_array(least: int) -> None:
    installed = sys.modules.get("numpy", ...) is not None
    assert (as_array(padded(tf.DT_FLOAT, [], MANY)) is not None) == installed


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([1.0, 2.0], None),
        ([NAN, 1.0, NAN, NAN], (3, 0, 0, -1)),
        ([1.0, NAN, INF, -INF], (1, 2, 1, 2)),
        ([-INF, 1.0, INF, 1.0], (0, 2, -1, 0)),
    ],
)
def test_what_is_not_finite_is_counted(
    dtype: int, values: list[float], found: tuple[int, int, int, int] | None, least: int
) -> None:
    seen = not_finite(padded(dtype, values, least))
    told = None if seen is None else (seen.nans, seen.infinities, seen.first_nan, seen.first_infinity)
    assert told == found


@pytest.mark.parametrize("dtype", COMPLEX)
def test_a_complex_element_is_not_finite_with_either_of_its_parts(dtype: int, least: int) -> None:
    seen = not_finite(padded(dtype, [1.0, 1.0, 1.0, NAN, 1.0, 1.0, INF, 1.0], least))
    assert seen is not None
    assert (seen.nans, seen.infinities, seen.first_nan, seen.first_infinity) == (1, 1, 1, 3)


def test_whole_numbers_and_texts_are_finite(least: int) -> None:
    assert not_finite(padded(tf.DT_INT64, [2**62], least)) is None
    assert not_finite(read_tensor(tf.DT_STRING, (1,), [b"nan"])) is None


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("values", "low", "high", "found"),
    [
        ([10.0, 20.0, 15.0], 10.0, 20.0, None),
        ([10.0, 4.0, 25.0], 10.0, 20.0, (1, 4.0)),
        ([25.0, 5.0, 12.0], 10.0, 20.0, (0, 25.0)),  # two equally far: the first
        ([12.0, 5.0, 26.0], 10.0, 20.0, (2, 26.0)),
        ([30.0, NAN, 40.0], 10.0, 20.0, (1, NAN)),
        ([10.5, 9.5], 10.0, 20.0, (1, 9.5)),
        ([INF, 1.0], -INF, 20.0, (0, INF)),
        ([-INF, 1.0, 21.0], -INF, 20.0, (2, 21.0)),
    ],
)
def test_the_number_farthest_outside(
    dtype: int, values: list[float], low: float, high: float, found: tuple[int, float] | None, least: int
) -> None:
    seen = outside(padded(dtype, values, least, padding=12.0), low, high)
    assert repr(seen) == repr(found)


def test_of_a_complex_number_the_element_is_named(least: int) -> None:
    tensor = padded(tf.DT_COMPLEX64, [1.0, 1.0, 1.0, 1.0, 1.0, 7.0], least, padding=1.0)
    assert outside(tensor, 0.0, 2.0) == (2, 7.0)
    other = padded(tf.DT_COMPLEX64, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], least, padding=1.0)
    assert farthest(tensor, other, 0.0, 0.0) == (2, 7.0, 1.0)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("expected", "got", "absolute", "relative", "found"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0, 0.0, None),
        ([1.0, 2.0], [1.0, 2.25], 0.0, 0.0, (1, 2.0, 2.25)),
        ([2.0, 2.0, 2.0], [2.5, 1.0, 3.0], 0.0, 0.0, (1, 2.0, 1.0)),  # two equally far: the first
        ([2.0, -2.0], [3.0, -2.5], 1.0, 0.0, None),
        ([2.0, -2.0], [2.0, -3.25], 1.0, 0.0, (1, -2.0, -3.25)),
        ([8.0, -8.0], [10.0, -6.0], 0.0, 0.25, None),
        ([8.0, -8.0], [10.0, -5.5], 0.0, 0.25, (1, -8.0, -5.5)),
        ([8.0, 1.0], [11.0, 1.0], 1.0, 0.25, None),
        ([8.0, 1.0], [10.0, 2.0], 0.0, 0.25, (1, 1.0, 2.0)),  # the farther one is within its share
        ([NAN, INF, -INF], [NAN, INF, -INF], 0.0, 0.0, None),
        ([1.0, NAN, 9.0], [3.0, 1.0, 1.0], 5.0, 0.0, (1, NAN, 1.0)),
        ([1.0, 1.0, 9.0], [3.0, NAN, 1.0], 5.0, 0.0, (1, 1.0, NAN)),
        ([1.0, INF], [1.0, 1.0], 5.0, 0.5, (1, INF, 1.0)),
        ([1.0, INF], [1.0, -INF], 5.0, 0.0, (1, INF, -INF)),
        ([1.0, 1.0], [1.0, INF], 5.0, 0.5, (1, 1.0, INF)),
    ],
)
def test_the_worst_difference(
    dtype: int,
    expected: list[float],
    got: list[float],
    absolute: float,
    relative: float,
    found: Triple | None,
    least: int,
) -> None:
    seen = farthest(padded(dtype, expected, least), padded(dtype, got, least), absolute, relative)
    assert repr(seen) == repr(found)


@pytest.mark.parametrize(
    ("dtype", "expected", "got", "absolute", "found"),
    [
        (tf.DT_INT64, [2**53, 0], [2**53 + 1, 0], 0.0, (0, 2**53, 2**53 + 1)),
        (tf.DT_INT64, [2**63 - 1, 5], [-(2**63), 1], 4.0, (0, 2**63 - 1, -(2**63))),
        (tf.DT_INT64, [0, -1], [0, -5], 4.0, None),
        (tf.DT_INT64, [0, -1], [1, -5], 3.5, (1, -1, -5)),
        (tf.DT_UINT64, [2**64 - 1, 3], [2**64 - 2, 1], 1.0, (1, 3, 1)),
        (tf.DT_UINT8, [3, 255], [250, 0], 0.0, (1, 255, 0)),
    ],
)
def test_whole_numbers_are_compared_exactly(
    dtype: int, expected: list[int], got: list[int], absolute: float, found: Triple | None, least: int
) -> None:
    assert farthest(padded(dtype, expected, least), padded(dtype, got, least), absolute, 0.0) == found


def test_of_very_many_differences_the_worst_beyond_the_tolerance_is_found() -> None:
    """It need not be the largest one: what a difference may be depends on what is expected."""
    many = 150_000
    expected = read_tensor(tf.DT_DOUBLE, (many,), [1e6] * (many - 1) + [1.0])
    within = [1e6 + 1.0] * (many - 1)
    assert farthest(expected, read_tensor(tf.DT_DOUBLE, (many,), [*within, 1.001]), 0.0, 0.01) is None
    got = read_tensor(tf.DT_DOUBLE, (many,), [*within, 1.5])
    assert farthest(expected, got, 0.0, 0.01) == (many - 1, 1.0, 1.5)
    spoilt = read_tensor(tf.DT_DOUBLE, (many,), [*within, NAN])
    assert repr(farthest(expected, spoilt, 0.0, 0.01)) == repr((many - 1, 1.0, NAN))
