"""Answers against the limits of ``validation_spec.answers``: ranges, probabilities, allowed values, and that a model answers at all."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from infra_validator.core.answer import STRING, Answer, Tensor
from infra_validator.core.errors import AttemptFailed
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.validation.answers.check import Check, asked, failed
from infra_validator.validation.answers.elements import BFLOAT16, numbers, outside
from infra_validator.validation.answers.expected_outputs import ExpectedOutput

#: How far from 1 a sum of rounded shares may be, by the octets of one number.
_SUM_TOLERANCE = {2: 0.02, 4: 0.001, 8: 0.000001}


class Ranges(Check):
    """Outputs lie within ``[low, high]``."""

    name = "answer_ranges"

    def __init__(self, ranges: Mapping[str, Sequence[float]]) -> None:
        super().__init__()
        self._ranges = ranges

    def look(self, request: SampleRequest, answer: Answer, expected: Mapping[str, ExpectedOutput]) -> None:
        for name, (low, high) in self._ranges.items():
            tensor = answer.outputs.get(name)
            if tensor is None or tensor.dtype == STRING:
                continue
            self.applied += 1
            worst = outside(tensor, low, high)
            if worst is not None:
                place, value = worst
                problem = f"output {name!r}{tensor.index(place)} is {value:g}, allowed is {low:g} to {high:g}"
                raise failed(ReasonCode.ANSWER_OUT_OF_RANGE, request, problem)


class SumsToOne(Check):
    """The last dimension of outputs sums to 1."""

    name = "answer_sums_to_one"

    def __init__(self, outputs: Iterable[str]) -> None:
        super().__init__()
        self._outputs = tuple(outputs)

    def look(self, request: SampleRequest, answer: Answer, expected: Mapping[str, ExpectedOutput]) -> None:
        for name in self._outputs:
            tensor = answer.outputs.get(name)
            if tensor is None or tensor.dtype == STRING:
                continue
            self.applied += 1
            values = numbers(tensor)
            width = tensor.shape[-1] if tensor.shape else len(values)
            tolerance = _SUM_TOLERANCE.get(tensor.element.size, 0.0)
            for start in range(0, len(values), max(1, width)):
                total = math.fsum(values[start : start + width])
                if not abs(total - 1.0) <= tolerance:
                    row = Tensor(tensor.dtype, tensor.shape[:-1]).index(start // width)
                    problem = f"output {name!r}{row} sums to {total:.7g}, not to 1"
                    raise failed(ReasonCode.ANSWER_OUT_OF_RANGE, request, problem)


class AllowedValues(Check):
    """Outputs have no values but those that are listed. Numbers are compared as the output's own type holds them."""

    name = "answer_allowed"

    def __init__(self, allowed: Mapping[str, Sequence[Any]]) -> None:
        super().__init__()
        self._allowed = allowed

    def look(self, request: SampleRequest, answer: Answer, expected: Mapping[str, ExpectedOutput]) -> None:
        for name, values in self._allowed.items():
            tensor = answer.outputs.get(name)
            if tensor is None:
                continue
            self.applied += 1
            if tensor.dtype == STRING:
                texts = {value.encode() for value in values if isinstance(value, str)}
                place = next((at for at, text in enumerate(tensor.strings()) if text not in texts), None)
                shown = "a text that is not listed"  # an answer's content is not shown
            else:
                known = {_rounded(value, tensor) for value in values if not isinstance(value, str)}
                found = next(((at, value) for at, value in enumerate(numbers(tensor)) if value not in known), None)
                place, shown = (found[0], f"{found[1]:g}, which is not listed") if found else (None, "")
            if place is not None:
                problem = f"output {name!r}{tensor.index(place)} is {shown}"
                raise failed(ReasonCode.ANSWER_OUT_OF_RANGE, request, problem)


def _rounded(value: float, tensor: Tensor) -> float:
    """The number that the tensor's type holds in a value's place."""
    is_bfloat16 = tensor.element.name == BFLOAT16
    code = "f" if is_bfloat16 else tensor.element.code
    if code not in ("f", "e"):
        return value
    try:
        held = struct.pack(f"<{code}", value)
    except OverflowError:
        return value
    if is_bfloat16:  # the upper half of a float, to nearest, ties to even
        bits = int.from_bytes(held, "little")
        held = bytes(2) + ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).to_bytes(2, "little")
    (number,) = struct.unpack(f"<{code}", held)
    return float(number)


class NotConstant(Check):
    """Outputs differ between different requests. Nothing is kept but a digest of the first answer of each signature."""

    name = "answer_not_constant"

    def __init__(self, outputs: Iterable[str]) -> None:
        super().__init__()
        self._outputs = tuple(outputs)
        self._first: dict[
            tuple[str, str], tuple[bytes, bytes]
        ] = {}  # (signature, output) -> digests of request, answer
        self._same: dict[tuple[str, str], tuple[int, SampleRequest]] = {}
        self._differ: set[tuple[str, str]] = set()

    def look(self, request: SampleRequest, answer: Answer, expected: Mapping[str, ExpectedOutput]) -> None:
        for name in self._outputs:
            key = (request.signature, name)
            tensor = answer.outputs.get(name)
            if tensor is None or key in self._differ:
                continue
            row = _only_row(tensor, request.rows)
            if row is None:
                self.applied += 1
                self._differ.add(key)
                self._same.pop(key, None)
                continue
            request_digest, answer_digest = _digest(request.payload), row
            first = self._first.setdefault(key, (request_digest, answer_digest))
            if first[0] == request_digest:
                continue
            self.applied += 1
            if first[1] != answer_digest:
                self._differ.add(key)
                self._same.pop(key, None)
            else:
                self._same[key] = (self._same.get(key, (0, request))[0] + 1, request)

    def finish(self) -> None:
        for (_, name), (count, request) in self._same.items():
            raise AttemptFailed(
                ReasonCode.ANSWER_CONSTANT,
                f"Output {name!r} was the same for {count + 1} different requests, the last of them {asked(request)}.",
                fingerprint="ANSWER_CONSTANT",
            )


def _digest(data: bytes | memoryview) -> bytes:
    return hashlib.blake2b(data).digest()


def _only_row(tensor: Tensor, rows: int | None) -> bytes | None:
    """A digest of the row that all rows are equal to; None where rows differ."""
    if not rows or rows < 2 or not tensor.shape or tensor.shape[0] != rows:
        return content_digest(tensor)
    if tensor.dtype != STRING:
        row = tensor.content[: len(tensor.content) // rows]
        return _digest(row) if tensor.content == bytes(row) * rows else None
    width = tensor.size // rows
    first: list[bytes] = []
    for place, text in enumerate(tensor.strings()):
        if place < width:
            first.append(text)
        elif text != first[place % width]:
            return None
    return content_digest(Tensor(STRING, (width,), strings=lambda: first))


def content_digest(tensor: Tensor) -> bytes:
    """What is equal for equal elements of one type and shape."""
    if tensor.dtype != STRING:
        return _digest(tensor.content)
    made = hashlib.blake2b()
    for text in tensor.strings():
        made.update(_digest(text))
    return made.digest()
