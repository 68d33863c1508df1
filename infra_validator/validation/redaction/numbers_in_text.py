"""The numbers that stand in a text, each with the values that would be written so."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Sequence

_NUMBER = re.compile(r"(?<![\w.])[-+]?(\d+)(?:\.(\d+))?(?:[eE]([-+]?\d{1,3}))?(?!\d|\.\d)")

#: A number of fewer digits names nobody: 1, 0.5 and 404 stand in every log.
_FEWEST_DIGITS = 4
_MOST_DIGITS = 300  # what is longer is no number

_HIGHEST_EXPONENT = 300  # what is larger or smaller overflows


class NumbersInText:
    """Finds those numbers of a text that are, rounded or cut off, numbers that were sent.

    Args:
      text: the text.
    """

    def __init__(self, text: str) -> None:
        found = sorted(_numbers(text))
        self._written: dict[bytes, list[tuple[int, int]]] = {}
        for _, _, start, end in found:
            self._written.setdefault(text[start:end].lstrip("+").encode(), []).append((start, end))
        self._lowest = [lowest for lowest, *_ in found]
        self._found = found
        self._widest = max((highest - lowest for lowest, highest, *_ in found), default=0)

    def __bool__(self) -> bool:
        return bool(self._found)

    def look_for_written(self, body: bytes) -> Iterator[tuple[int, int]]:
        """Where (start, end) a number stands in the text as it is written in ``body``."""
        for number, places in self._written.items():
            if number in body:
                yield from places

    def look_for(self, values: Sequence[float]) -> Iterator[tuple[int, int]]:
        """Where (start, end) one of ``values`` stands in the text."""
        if not self._found or not values:
            return
        smallest, largest = min(values), max(values)
        if smallest != smallest or largest != largest:
            values = [value for value in values if value == value]
            yield from self.look_for(values)
            return
        in_order: list[float] | None = None
        end = bisect.bisect_right(self._lowest, largest)
        begin = bisect.bisect_left(self._lowest, smallest - self._widest)
        for lowest, highest, first, last in self._found[begin:end]:
            if highest < smallest:
                continue
            if in_order is None:
                in_order = sorted(values)
            at = bisect.bisect_left(in_order, lowest)
            if at < len(in_order) and in_order[at] <= highest:
                yield first, last


def _numbers(text: str) -> Iterator[tuple[float, float, int, int]]:
    """(lowest, highest value that would be written so, start, end)."""
    for found in _NUMBER.finditer(text):
        whole, fraction, exponent = found.groups()
        digits = (whole + (fraction or "").rstrip("0")).lstrip("0")
        if not _FEWEST_DIGITS <= len(digits) <= _MOST_DIGITS:
            continue
        if fraction is None and exponent is None:
            value: float = int(found.group())
            yield value, value, found.start(), found.end()
            continue
        place = int(exponent or 0) - len(fraction or "")
        if abs(place) > _HIGHEST_EXPONENT:
            continue
        value, unit = float(found.group()), 10.0**place
        towards_zero, away = abs(value) - unit * 0.501, abs(value) + unit
        ends = (towards_zero, away) if value >= 0 else (-away, -towards_zero)
        yield *ends, found.start(), found.end()
