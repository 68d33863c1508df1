"""The ways to read a text: as it stands, with its escapes undone, and what its base64 and hexadecimal runs decode to.

A value that was sent is looked for in octets. A server may have written it in many ways; instead of every value in every way, the text
is decoded in every way, and each octet remembers which characters it came from.
"""

from __future__ import annotations

import array
import base64
import binascii
import bisect
import re
from collections.abc import Iterator, Sequence

#: What undoes to one octet or one character: TensorFlow's CEscape, JSON, Python's repr.
_ESCAPE = re.compile(
    rb"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})"
    rb"|[xX]([0-9a-fA-F]{1,2})|([0-7]{1,3})|(.))",
    re.DOTALL,
)
_HIGH_OCTET = re.compile(rb"\\[xX][89a-fA-F]")
_PERCENT = re.compile(rb"%([0-9a-fA-F]{2})")
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}

_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{6,}")
_HEX = re.compile(rb"[0-9a-fA-F]{8,}")
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")


class View:
    """Octets that a text can be read as.

    Args:
      data: the octets.
      is_words: whether what stands beside a value says where a word ends; not so in what was decoded from base64.
    """

    def __init__(self, data: bytes, *, is_words: bool = True) -> None:
        self.data = data
        self.is_words = is_words

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The characters of the text that ``data[start:end]`` came from."""
        raise NotImplementedError


class Plain(View):
    """The text as it stands, in UTF-8."""

    def __init__(self, text: str) -> None:
        super().__init__(text.encode("utf-8", "surrogatepass"))
        self._places: array.array[int] | None = None
        if len(self.data) != len(text):
            self._places = array.array("L")
            for place, character in enumerate(text):
                self._places.extend([place] * len(character.encode("utf-8", "surrogatepass")))

    def span(self, start: int, end: int) -> tuple[int, int]:
        return (start, end) if self._places is None else (self._places[start], self._places[end - 1] + 1)


class _Unescaped(View):
    """Another view with its escapes undone.

    Args:
      base: the other view.
      pattern: what an escape looks like.
      of_text: whether an octet's escape means a character, as in Python's repr of a text, rather than an octet.
    """

    def __init__(self, base: View, pattern: re.Pattern[bytes], *, of_text: bool = False) -> None:
        self._base = base
        self._first, self._last = array.array("L"), array.array("L")
        pieces = []
        at = 0
        for found in pattern.finditer(base.data):
            octets = _undone(found, of_text)
            self._add(range(at, found.start()), range(at, found.start()))
            self._add([found.start()] * len(octets), [found.end() - 1] * len(octets))
            pieces += [base.data[at : found.start()], octets]
            at = found.end()
        self._add(range(at, len(base.data)), range(at, len(base.data)))
        pieces.append(base.data[at:])
        super().__init__(b"".join(pieces), is_words=base.is_words)

    def _add(self, first: Sequence[int], last: Sequence[int]) -> None:
        self._first.extend(first)
        self._last.extend(last)

    def span(self, start: int, end: int) -> tuple[int, int]:
        return self._base.span(self._first[start], self._last[end - 1] + 1)


class _Decoded(View):
    """What the runs of an alphabet in another view decode to, at every alignment.

    Args:
      base: the other view.
      runs: (where in the base a piece begins, what it decodes to).
      bits: how many bits one character of the alphabet has.
    """

    def __init__(self, base: View, runs: Iterator[tuple[int, bytes]], bits: int) -> None:
        self._base, self._bits = base, bits
        self._begins: list[int] = []  # in data, of each run
        self._sources: list[int] = []  # in the base
        pieces: list[bytes] = []
        size = 0
        for source, octets in runs:
            self._begins.append(size)
            self._sources.append(source)
            pieces += [octets, b"\0"]
            size += len(octets) + 1
        super().__init__(b"".join(pieces), is_words=False)

    def span(self, start: int, end: int) -> tuple[int, int]:
        first, last = self._source(start)[0], self._source(end - 1)[1]
        return self._base.span(first, min(last, len(self._base.data)))

    def _source(self, place: int) -> tuple[int, int]:
        """The characters of the base that the octet at ``place`` came from."""
        run = bisect.bisect_right(self._begins, place) - 1
        bit = 8 * (place - self._begins[run])
        return self._sources[run] + bit // self._bits, self._sources[run] + (bit + 7) // self._bits + 1


def views_of(text: str) -> list[View]:
    """All ways to read ``text``; of an empty text none."""
    if not text:
        return []
    plain = Plain(text)
    read: list[View] = [plain]
    for _ in range(2):  # JSON of what was escaped before, for one
        if b"\\" in read[-1].data:
            read.append(_Unescaped(read[-1], _ESCAPE))
    if _HIGH_OCTET.search(plain.data):
        read.append(_Unescaped(plain, _ESCAPE, of_text=True))
    if b"%" in plain.data:
        read.append(_Unescaped(plain, _PERCENT))
    decoded: list[View] = []
    for view in read:
        decoded += [_Decoded(view, _base64_runs(view.data), 6), _Decoded(view, _hex_runs(view.data), 4)]
    return [view for view in (*read, *decoded) if view.data]


def _undone(found: re.Match[bytes], of_text: bool) -> bytes:
    groups = found.groups()
    if len(groups) == 1:
        return bytes((int(groups[0], 16),))
    high, low, short, long, octet, octal, letter = groups
    if letter is not None:
        return _LETTERS.get(letter, letter)
    if octal is not None:
        return bytes((int(octal, 8) & 0xFF,))
    if octet is not None:
        return chr(int(octet, 16)).encode() if of_text else bytes((int(octet, 16),))
    if high is not None:
        return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00).encode()
    return chr(min(int(short or long, 16), 0x10FFFF)).encode("utf-8", "surrogatepass")


def _base64_runs(data: bytes) -> Iterator[tuple[int, bytes]]:
    for found in _BASE64.finditer(data):
        run = found.group().translate(_TO_STANDARD)
        for skipped in range(4):
            piece = run[skipped:]
            if len(piece) % 4 == 1:
                piece = piece[:-1]
            if len(piece) >= 6:
                yield found.start() + skipped, base64.b64decode(piece + b"=" * (-len(piece) % 4))


def _hex_runs(data: bytes) -> Iterator[tuple[int, bytes]]:
    for found in _HEX.finditer(data):
        for skipped in range(2):
            piece = found.group()[skipped:]
            yield found.start() + skipped, binascii.unhexlify(piece[: len(piece) // 2 * 2])
