"""The numbers in a tensor. With numpy where there is one and the tensor is large, without it otherwise: the same results."""

from __future__ import annotations

import array
import functools
import math
import struct
from collections.abc import Sequence
from typing import Any

from infra_validator.core.answer import ElementType, Tensor

_WORTH_NUMPY = 2048  # elements; below that its import (0.1 s) and its calls cost more than they save
BFLOAT16 = "bfloat16"  # the element type that neither struct nor numpy knows


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
    if element.name == BFLOAT16:
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
    if element.name == BFLOAT16:
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
        beyond_it = numpy.flatnonzero(~((values >= low) & (values <= high)))
        if not len(beyond_it):
            return None
        far = values[beyond_it].astype("f8")
        far = numpy.maximum(low - far, far - high)
        place = int(beyond_it[numpy.argmax(numpy.where(numpy.isnan(far), numpy.inf, far))])
        return place // tensor.element.parts, float(values[place])
    every = numbers(tensor)
    beyond_it = (position for position, value in enumerate(every) if not low <= value <= high)
    worst = max(beyond_it, key=lambda position: _beyond(every[position], low, high), default=None)
    return None if worst is None else (worst // tensor.element.parts, every[worst])


def _beyond(value: float, low: float, high: float) -> float:
    return math.inf if math.isnan(value) else max(low - value, value - high)


def farthest(expected: Tensor, got: Tensor, absolute: float, relative: float) -> tuple[int, float, float] | None:
    """(position, expected, got) of the worst difference between two tensors of one type and shape; None where all is within
    ``absolute + relative * |expected|``. NaN equals NaN, an infinity itself."""
    ours = as_array(expected)
    if ours is not None:
        return _farthest_with_numpy(expected.element, (ours, as_array(got)), absolute, relative)
    worst, by = None, 0.0
    for position, (a, b) in enumerate(zip(numbers(expected), numbers(got), strict=True)):
        if a == b or (a != a and b != b):
            continue
        over = abs(a - b) - (absolute + relative * abs(a))
        over = math.inf if over != over else over
        if over > by:
            worst, by = (position // expected.element.parts, a, b), over
    return worst


def _farthest_with_numpy(
    element: ElementType, arrays: tuple[Any, Any], absolute: float, relative: float
) -> tuple[int, float, float] | None:
    numpy, (ours, theirs) = _numpy(), arrays
    differ = numpy.flatnonzero((ours != theirs) & ~((ours != ours) & (theirs != theirs)))
    if not len(differ):
        return None
    ours, theirs = ours[differ], theirs[differ]
    with numpy.errstate(all="ignore"):
        if element.is_float:
            apart = numpy.abs(ours.astype("f8") - theirs.astype("f8"))
        else:  # exact, also where a float would round: a difference of 64 bits, which wraps rightly
            apart = numpy.maximum(ours, theirs).astype("u8") - numpy.minimum(ours, theirs).astype("u8")
        over = apart - (absolute + relative * numpy.abs(ours.astype("f8")))
    worst = int(numpy.argmax(numpy.where(numpy.isnan(over), numpy.inf, over)))
    if over[worst] <= 0:
        return None
    return int(differ[worst]) // element.parts, ours[worst].item(), theirs[worst].item()
