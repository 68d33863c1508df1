"""Finds in texts what was sent to a server, and takes it out.

The texts are small and at hand; the values are many and stream by. So the texts are indexed: a value whose first octets stand nowhere in
them costs a look or two.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Sequence

from infra_validator.validation.redaction.numbers_in_text import NumbersInText
from infra_validator.validation.redaction.ordinary_words import ORDINARY_WORDS
from infra_validator.validation.redaction.views import View, views_of

SHORTEST = 4  # octets; shorter values name nobody, and stand everywhere
_PREFIX = 8  # octets of a value's beginning that are taken to be a quotation that was cut off
_PART = 16  # octets from anywhere in a value that are taken to be a quotation of it
_STRIDE = _PART - _PREFIX + 1  # every part holds a window of _PREFIX octets that begins at a multiple of this
_WINDOWS = f"{_PREFIX}s{_STRIDE - _PREFIX}x"  # for struct: one window, and what lies before the next
_UNMISTAKABLE = 12  # octets; a value as long as this is found inside of words, too
_MOST_LOOKS = 1_000_000  # at places in the texts; beyond it the texts are withheld
_SHORT, _MOST_REMEMBERED = 64, 100_000  # octets; values that are not looked for twice
_LONGEST_TEXT_IN_PARTS = 1 << 16  # octets of a value that is taken apart

#: What stands before a line of the server's own log: when, and where in its source. No request has a say in it.
_LOG_PREFIX = re.compile(
    r"^(?:\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d[.,]\d+Z?:? ?)?"
    r"(?:[IWEF]\d{4} \d\d:\d\d:[\d.]+ +\d+ |[IWEF] )?(?:\[?[\w./+-]+\.(?:cc|cpp|h|py)(?: ?: ?\d+|:\d+)?\] )?",
    re.MULTILINE,
)
_UNREADABLE = "\N{REPLACEMENT CHARACTER}".encode()
_SEPARATORS = re.compile(rb"""[\s,;|"'{}\[\]():=&<>?]+""")
_JSON_KEY = re.compile(rb'"[^"\\]*"\s*:')
_CUT = re.compile(rb"\.\.\.| \.\.\. |\xe2\x80\xa6|\Z|\n\^|\.\.\. \(\d+ more")


class TooManyFinds(Exception):
    """The texts hold so much of what was sent that it cannot be taken out in reasonable time."""


class Search:
    """A search through texts for values.

    Args:
      texts: what a server said.
      names: what may be said: names that the model gives to its own parts.

    ``value``, ``octets`` and ``numbers`` raise TooManyFinds.
    """

    def __init__(self, texts: Sequence[str], names: Iterable[str] = ()) -> None:
        self._texts = tuple(texts)
        self._names = frozenset(name.encode() for name in names)
        self._finds: list[list[tuple[int, int, str]]] = [[] for _ in texts]
        said = [_without_prefixes(text) for text in texts]
        self._views: list[tuple[int, View]] = [(n, view) for n, text in enumerate(said) for view in views_of(text)]
        self._numbers = [NumbersInText(text) for text in said]
        self._short = _grams((view.data for _, view in self._views), SHORTEST)
        self._long = _grams((view.data for _, view in self._views), _PREFIX)
        self._windows = {(gram,) for gram in self._long}  # as struct reads them
        self._has_unreadable = any(_UNREADABLE in view.data for _, view in self._views)
        self._cut = {octets for _, view in self._views for octets in _ends_before_cuts(view.data)}
        self._places: dict[bytes, list[tuple[int, View, int]]] = {}
        self._looks = 0
        self._looked_for: set[bytes] = set()

    @property
    def numbers_matter(self) -> bool:
        """Whether a number that was sent could stand in the texts."""
        return any(self._numbers)

    def value(self, name: str, value: bytes) -> None:
        """Look for a string, its beginning, and parts of it.

        Args:
          name: what to call it.
          value: what was sent.
        """
        if len(value) < SHORTEST or not self._short or not value.strip(b"\0"):
            return
        if len(value) <= _SHORT:  # categories come again and again
            if value in self._looked_for:
                return
            if len(self._looked_for) < _MOST_REMEMBERED:
                self._looked_for.add(value)
        self._whole(name, value)
        self._parts(name, value)
        if len(value) <= _LONGEST_TEXT_IN_PARTS:
            for piece in _pieces(value):
                if piece[:SHORTEST] in self._short:
                    self._whole(name, piece)
        if self._has_unreadable and (readable := value.decode("utf-8", "replace").encode()) != value:
            self._whole(name, readable)  # what a reader of the log made of octets that are no UTF-8
            self._parts(name, readable)

    def octets(self, name: str, value: bytes) -> None:
        """Look for parts of a tensor's content as the octets that it is; for all of one that is shorter than a part."""
        if self._long and len(value) >= _PART:
            self._parts(name, value)
        elif self._short and len(value) >= SHORTEST and value.strip(b"\0"):
            self._whole(name, value)

    def numbers(self, name: str, values: Sequence[float]) -> None:
        """Look for numbers in their decimal forms."""
        for finds, numbers in zip(self._finds, self._numbers, strict=True):
            finds += [(start, end, name) for start, end in numbers.look_for(values)]

    def written_numbers(self, name: str, body: bytes) -> None:
        """Look for numbers as they are written in a text."""
        for finds, numbers in zip(self._finds, self._numbers, strict=True):
            finds += [(start, end, name) for start, end in numbers.look_for_written(body)]

    def cleaned(self) -> list[str]:
        """The texts, with what was found replaced by what it is called."""
        return [_replaced(text, finds) for text, finds in zip(self._texts, self._finds, strict=True)]

    # ---------------------------------------------------------------- one value

    def _whole(self, name: str, value: bytes) -> None:
        """The whole value, at the borders of words; or as much of its beginning as says enough."""
        if value in self._names:
            return
        if value[:SHORTEST] in self._short and (len(value) < _PREFIX or value[:_PREFIX] in self._long):
            for text, view, start in self._occurrences(value[:_PREFIX]):
                self._judge(name, value, text, view, start, start + _alike(view.data, start, value, 0, 1))
        for size in range(SHORTEST, min(_PREFIX, len(value))):
            if value[:size] in self._cut:
                for text, view, start in self._occurrences(value[:size]):
                    if _CUT.match(view.data, start + size) and _begins_word(view, start, value):
                        self._found(name, text, view, start, start + size)

    def _judge(self, name: str, value: bytes, text: int, view: View, start: int, end: int) -> None:
        """Whether ``view.data[start:end]``, which is how ``value`` begins, is a quotation."""
        if len(value) >= _UNMISTAKABLE and end - start >= _UNMISTAKABLE:
            self._found(name, text, view, start, end)
        elif _begins_word(view, start, value):
            cut_off = end - start >= _PREFIX and end - start < len(value)
            if cut_off or (end - start == len(value) and _ends_word(view, end, value)):
                self._found(name, text, view, start, end)

    def _parts(self, name: str, value: bytes) -> None:
        """Long parts of the value, from wherever in it."""
        if len(value) < _PART:
            return
        padded = value + bytes(-len(value) % _STRIDE)
        if self._windows.isdisjoint(struct.iter_unpack(_WINDOWS, padded)):
            return
        known = self._long
        covered: dict[tuple[int, int], int] = {}  # (a view, how the value lies on it) -> where a find ends
        for at in range(0, len(value) - _PREFIX + 1, _STRIDE):
            window = value[at : at + _PREFIX]
            if window not in known or window.count(window[0]) == _PREFIX:
                continue
            for text, view, place in self._occurrences(window):
                lie = (id(view), place - at)
                if place < covered.get(lie, 0):
                    continue
                first = at - _alike(view.data, place, value, at, -1)
                last = at + _alike(view.data, place, value, at, 1)
                if last - first >= _PART and value[first:last].strip() not in self._names:
                    self._found(name, text, view, place - (at - first), place + last - at)
                    covered[lie] = place + last - at

    def _occurrences(self, octets: bytes) -> list[tuple[int, View, int]]:
        known = self._places.get(octets)
        if known is None:
            known = self._places[octets] = []
            for text, view in self._views:
                at = view.data.find(octets)
                while at >= 0:
                    known.append((text, view, at))
                    at = view.data.find(octets, at + 1)
        self._looks += len(known)
        if self._looks > _MOST_LOOKS:
            raise TooManyFinds
        return known

    def _found(self, name: str, text: int, view: View, start: int, end: int) -> None:
        self._finds[text].append((*view.span(start, end), name))


def _alike(data: bytes, place: int, value: bytes, at: int, way: int) -> int:
    """How many octets of ``data`` from ``place`` on (``way`` 1), or before it (-1), are those of ``value`` from ``at`` on, or before it."""
    most = min(len(data) - place, len(value) - at) if way > 0 else min(place, at)
    count, step = 0, _PREFIX
    while count < most:
        step = min(step, most - count)
        low = count if way > 0 else -count - step
        if data[place + low : place + low + step] == value[at + low : at + low + step]:
            count += step
            step *= 2
        elif step == 1:
            break
        else:
            step //= 2
    return count


def _without_prefixes(text: str) -> str:
    """The text with every log line's own beginning blanked; places stay what they are."""
    return _LOG_PREFIX.sub(lambda found: "\0" * len(found.group()), text)


def _grams(texts: Iterable[bytes], size: int) -> set[bytes]:
    return {data[at : at + size] for data in texts for at in range(len(data) - size + 1)}


def _ends_before_cuts(data: bytes) -> Iterator[bytes]:
    """What stands before the places where a quotation may have been cut off."""
    for found in _CUT.finditer(data):
        for size in range(SHORTEST, _PREFIX):
            if size <= found.start():
                yield data[found.start() - size : found.start()]


def _pieces(value: bytes) -> Iterator[bytes]:
    """The fields and words that a text is made of, but for the keys of JSON and for ordinary words."""
    if b"\0" in value:
        return
    text = _JSON_KEY.sub(b" ", value) if b'":' in value or b'" :' in value else value
    for piece in _SEPARATORS.split(text):
        if SHORTEST <= len(piece) < len(value) and piece.lower().strip(b".!-") not in ORDINARY_WORDS:
            yield piece


def _is_word(octet: int) -> bool:
    return octet >= 0x80 or octet == 0x5F or chr(octet).isalnum()


def _begins_word(view: View, start: int, value: bytes) -> bool:
    return not view.is_words or start == 0 or not (_is_word(value[0]) and _is_word(view.data[start - 1]))


def _ends_word(view: View, end: int, value: bytes) -> bool:
    return not view.is_words or end == len(view.data) or not (_is_word(value[-1]) and _is_word(view.data[end]))


def _replaced(text: str, finds: Sequence[tuple[int, int, str]]) -> str:
    """The text with the finds, of which some may overlap, replaced: each stretch by the name of what covers most of it."""
    pieces = []
    at = 0
    for start, end, name in _merged(sorted(finds)):
        pieces += [text[at:start], f"<value of {name}>"]
        at = end
    return "".join([*pieces, text[at:]])


def _merged(finds: Sequence[tuple[int, int, str]]) -> Iterator[tuple[int, int, str]]:
    whole: tuple[int, int, str] | None = None
    longest = 0
    for start, end, name in finds:
        if whole is None or start >= whole[1]:
            if whole is not None:
                yield whole
            whole, longest = (start, end, name), end - start
        else:
            name = name if end - start > longest else whole[2]
            whole, longest = (whole[0], max(whole[1], end), name), max(longest, end - start)
    if whole is not None:
        yield whole
