"""What is fuzzed: a parser of foreign bytes, and the errors that it documents. Any other exception is a crash."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

CORPUS = pathlib.Path(__file__).parent / "corpus"

_ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**400, 0.5, 1e308, float("inf"), float("nan"),
    "", "x", "0", "-1", "\0", "\udc80", "9" * 30, "a/b", [], [None], [[]], [{}], {}, {"": None}, {"x": []},
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Target:
    """One parser.

    Attributes:
      name: its name, and that of its folder in ``corpus``.
      parse: parses the bytes.
      documented: the exceptions that its docstring names.
    """

    name: str
    parse: Callable[[bytes], object]
    documented: tuple[type[BaseException], ...] = ()

    def __call__(self, data: bytes) -> None:
        try:
            self.parse(data)
        except self.documented:
            pass

    def corpus(self) -> list[pathlib.Path]:
        """The inputs that are kept."""
        return sorted((CORPUS / self.name).iterdir())


def from_file(parse: Callable[[str], object], name: str = "input") -> Callable[[bytes], object]:
    """A parser of bytes of one that is given a path."""
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None

    def parse_bytes(data: bytes) -> object:
        with tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory) as directory:
            path = os.path.join(directory, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(data)
            return parse(path)

    return parse_bytes


def varied(good: object, data: bytes) -> Any:
    """JSON data: what ``data`` is as JSON, where it begins with an opening bracket; else ``good`` with some of its parts replaced, as the
    bytes say: two for which part, one for what takes its place."""
    if data[:1] in (b"{", b"["):
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            return None
    made = json.loads(json.dumps(good))
    for at in range(0, len(data) - 2, 3):
        places = list(_places(made))
        if not places:
            break
        owner, key = places[int.from_bytes(data[at : at + 2], "big") % len(places)]
        if data[at + 2] == 255:
            del owner[key]
        else:
            owner[key] = json.loads(json.dumps(_ODD[data[at + 2] % len(_ODD)]))
    return made


def _places(value: Any) -> Any:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in list(pairs):
        yield value, key
        yield from _places(part)
