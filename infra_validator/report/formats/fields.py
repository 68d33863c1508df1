"""A verdict's JSON as it is read: old files lack fields, and others may hold anything. What is not as expected is as if it were missing."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Room:
    """How much of a verdict goes into a report.

    Attributes:
      text: characters of one text.
      rows: entries of one list.
      log: characters of all servers' logs together.
      points: numbers of one curve.
    """

    text: int = 2_000
    rows: int = 200
    log: int = 300_000
    points: int = 100_000


class Fields:
    """A JSON object: its fields by their types."""

    def __init__(self, value: object, room: Room = Room()) -> None:
        self._values: Mapping[Any, object] = value if isinstance(value, Mapping) else {}
        self.room = room

    def __bool__(self) -> bool:
        return bool(self._values)

    def text(self, name: str, longest: int | None = None) -> str:
        """A text, cut where there is no room for all of it; empty if there is none."""
        value = self._values.get(name)
        longest = self.room.text if longest is None else longest
        if not isinstance(value, str):
            return ""
        return value if len(value) <= longest else value[: longest - 1] + "…"

    def tail(self, name: str, longest: int) -> tuple[str, int]:
        """(the last ``longest`` characters of a text, how many were left out)."""
        value = self._values.get(name)
        if not isinstance(value, str):
            return "", 0
        return value[-longest:] if longest else "", max(0, len(value) - longest)

    def number(self, name: str) -> float | None:
        """A finite number; None if there is none."""
        return _number(self._values.get(name))

    def flag(self, name: str) -> bool:
        """Whether the field is true."""
        return self._values.get(name) is True

    def texts(self, name: str) -> list[str]:
        """The texts of a list."""
        return [text[: self.room.text] for text in self._list(name)[: self.room.rows] if isinstance(text, str)]

    def is_list(self, name: str) -> bool:
        """Whether the field is a list."""
        return isinstance(self._values.get(name), list)

    def numbers(self, name: str) -> list[float]:
        """The finite numbers of a list."""
        found = (_number(value) for value in self._list(name)[: self.room.rows])
        return [number for number in found if number is not None]

    def points(self, name: str) -> list[tuple[float, float]]:
        """The pairs of numbers of a list."""
        pairs = [pair for pair in self._list(name)[: self.room.points] if isinstance(pair, list) and len(pair) == 2]
        found = [(_number(x), _number(y)) for x, y in pairs]
        return [(x, y) for x, y in found if x is not None and y is not None]

    def fields(self, name: str) -> Fields:
        """An object; an empty one if there is none."""
        return Fields(self._values.get(name), self.room)

    def named(self, name: str) -> list[tuple[str, Fields]]:
        """The objects of an object whose fields may be called anything: (name, object)."""
        value = self._values.get(name)
        found = list(value.items())[: self.room.rows] if isinstance(value, Mapping) else []
        return [(str(key)[: self.room.text], Fields(one, self.room)) for key, one in found]

    def rows(self, name: str) -> list[Fields]:
        """The objects of a list."""
        return [Fields(row, self.room) for row in self._list(name)[: self.room.rows] if isinstance(row, Mapping)]

    def left_out(self, name: str) -> int:
        """How many entries of a list have no room."""
        return max(0, len(self._list(name)) - self.room.rows)

    def _list(self, name: str) -> list[Any]:
        value = self._values.get(name)
        return value if isinstance(value, list) else []


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def last_attempt(binary: Fields) -> Fields:
    """The attempt that a serving binary's verdict rests on."""
    attempts = binary.rows("attempts")
    return attempts[-1] if attempts else Fields(None, binary.room)
