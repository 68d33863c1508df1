"""The numbers in a tensor. With numpy where there is one and the tensor is large, without it otherwise: the same results."""

from __future__ import annotations

import array
import functools
import math
import struct
from collections.abc import Iterable, Sequence
from typing import Any

from infra_validator.core.answer import Tensor

_WORTH_NUMPY = 2048  # elements; below that its import (0.1 s) and its calls cost more than they save
_MOST_DIFFERENCES = 100_000  # that are looked at one by one; of more, those that are farthest apart
_BFLOAT16 = "bfloat16"


@functools.cache
def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        return None
    return numpy


def numbers(tensor: Tensor) -> Sequence[float]:
    """The elements in their order; the real and the imaginary part of a complex one stand as two numbers. Not for strings."""
    element = tensor.element
    if element.name == _BFLOAT16:
        widened = array.array("I", (bits << 16 for bits in tensor.content.cast("H")))
        return memoryview(widened).cast("B").cast("f")
    if element.code == "e":
        return struct.unpack(f"<{len(tensor.content) // 2}e", tensor.content)
    values: Sequence[float] = tensor.content.cast(element.code)  # type: ignore[call-overload]
    return values


def as_array(tensor: Tensor) -> Any:
    """The numbers as a flat numpy array, where the tensor is large and numpy is there; None otherwise."""
    element = tensor.element
    if len(tensor.content) < _WORTH_NUMPY * max(1, element.size):
        return None
    numpy = _numpy()
    if numpy is None:
        return None
    if element.name == _BFLOAT16:
        bits = numpy.frombuffer(tensor.content, "<u2").astype("<u4") << 16
        return bits.view("<f4")
    return numpy.frombuffer(tensor.content, numpy.dtype(element.code).newbyteorder("<"))


class NotFinite:
    """What in a tensor is no finite number.

    Attributes:
      nans, infinities: how many numbers are NaN, and infinite.
      first_nan, first_infinity: the position of the first element; -1 where there is none.
    """

    __slots__ = ("first_infinity", "first_nan", "infinities", "nans")

    def __init__(self) -> None:
        self.nans = self.infinities = 0
        self.first_nan = self.first_infinity = -1


def not_finite(tensor: Tensor) -> NotFinite | None:
    """What is NaN or infinite; None where all is finite."""
    if not tensor.element.is_float:
        return None
    values = as_array(tensor)
    if values is None:
        return _not_finite_without_numpy(tensor)
    numpy = _numpy()
    if numpy.isfinite(values).all():
        return None
    found = NotFinite()
    parts = tensor.element.parts
    nans, infinities = numpy.flatnonzero(numpy.isnan(values)), numpy.flatnonzero(numpy.isinf(values))
    found.nans, found.infinities = len(nans), len(infinities)
    found.first_nan = int(nans[0]) // parts if len(nans) else -1
    found.first_infinity = int(infinities[0]) // parts if len(infinities) else -1
    return found


def _not_finite_without_numpy(tensor: Tensor) -> NotFinite | None:
    values = numbers(tensor)
    if all(map(math.isfinite, values)):
        return None
    found = NotFinite()
    parts = tensor.element.parts
    for position, value in enumerate(values):
        if math.isnan(value):
            found.nans += 1
            if found.first_nan < 0:
                found.first_nan = position // parts
        elif math.isinf(value):
            found.infinities += 1
            if found.first_infinity < 0:
                found.first_infinity = position // parts
    return found


def outside(tensor: Tensor, low: float, high: float) -> tuple[int, float] | None:
    """(position, value) of the number farthest outside ``low`` to ``high``, NaN first; None where all lie within."""
    values = as_array(tensor)
    if values is not None:
        numpy = _numpy()
        if ((values >= low) & (values <= high)).all():
            return None
        beyond = numpy.maximum(low - values.astype("f8"), values.astype("f8") - high)
        worst = int(numpy.nanargmax(numpy.where(numpy.isnan(beyond), numpy.inf, beyond)))
        return worst // tensor.element.parts, float(values[worst])
    worst, by = -1, 0.0
    every = numbers(tensor)
    for position, value in enumerate(every):
        if low <= value <= high:
            continue
        far = math.inf if math.isnan(value) else max(low - value, value - high)
        if worst < 0 or far > by:
            worst, by = position, far
    return None if worst < 0 else (worst // tensor.element.parts, every[worst])


def farthest(expected: Tensor, got: Tensor, absolute: float, relative: float) -> tuple[int, float, float] | None:
    """(position, expected, got) of the worst difference between two tensors of one type and shape; None where all is within
    ``absolute + relative * |expected|``. NaN equals NaN, an infinity itself."""
    ours, theirs = as_array(expected), as_array(got)
    parts = expected.element.parts
    differ: Iterable[tuple[int, float, float]]
    if ours is None or theirs is None:
        pairs = enumerate(zip(numbers(expected), numbers(got), strict=True))
        differ = ((position, a, b) for position, (a, b) in pairs if a != b)
    else:
        numpy = _numpy()
        unequal = numpy.flatnonzero((ours != theirs) & ~((ours != ours) & (theirs != theirs)))
        if len(unequal) > _MOST_DIFFERENCES:
            with numpy.errstate(all="ignore"):
                over = numpy.abs(ours[unequal] - theirs[unequal].astype("f8"))
            unequal = unequal[numpy.argpartition(numpy.nan_to_num(over), -_MOST_DIFFERENCES)[-_MOST_DIFFERENCES:]]
        differ = zip(unequal.tolist(), ours[unequal].tolist(), theirs[unequal].tolist(), strict=True)
    worst, by = None, 0.0
    for position, a, b in differ:
        if a != a and b != b:
            continue
        over = abs(a - b) - (absolute + relative * abs(a))
        over = math.inf if over != over else over
        if over > by:
            worst, by = (position // parts, a, b), over
    return worst
