"""JSON as the real server's parser and printer (RapidJSON) have it (contract 6.4, 6.5).

Values are Python's: dict, list, str, int, float, bool, None. A number token without fraction and exponent is an int, unless it fits
neither int64 nor uint64: then RapidJSON makes it a double, and ``is_integer`` tells. Strings hold bytes that are no UTF-8 as
surrogate escapes, so that they come out as they went in.

Nearly every document goes through Python's own scanner, which is fast; what that one refuses or reads otherwise goes through
``_StrictParser``, which finds RapidJSON's value or its error text and offset. Nothing here recurses: documents nested a million
deep are data like any other.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from typing import Any, NoReturn

from infra_validator.embedded_server.status import invalid_argument

_BOM = b"\xef\xbb\xbf"
_SHOWN = 256  # bytes of a value in an error text
# What Python's scanner reads otherwise: surrogates, and numbers near the end of the double range by their exponents. Each pattern begins
# with a letter of its own: that is what makes a search through megabytes quick.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_EXPONENTS = re.compile(rb"e\+?[0-9]{3}"), re.compile(rb"E\+?[0-9]{3}")
_LONGEST_NUMBER = 400  # bytes; what is longer is found by _has_long_number
_SAMPLED = 150  # bytes between two that are looked at for numbers of twice as many digits
_TWO_DIGITS = re.compile(rb"(?=[0-9][0-9])")
_OBJECTS_WORTH_COUNTING = 1000
_BLANKS = re.compile(rb"[ \t\n\r]*")
_STRING_RUN = re.compile(rb'[^"\\\x00-\x1f]*')
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)")
_DIGITS = re.compile(rb"[0-9]+")
_ESCAPES = {b'"': '"', b"\\": "\\", b"/": "/", b"b": "\b", b"f": "\f", b"n": "\n", b"r": "\r", b"t": "\t"}
_HEX4 = re.compile(rb"[0-9a-fA-F]{4}")


def parse(body: bytes) -> dict[str, Any]:
    """The object at the beginning of ``body``; what follows it is ignored, and of equal keys the first counts.

    Raises:
      StatusError: INVALID_ARGUMENT with RapidJSON's text, or because the value is no object.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    value = _parse_value(body)
    if not isinstance(value, dict):
        raise invalid_argument(f"JSON Value: {shown(value)} Is not object")
    return value


def _parse_value(body: bytes) -> Any:
    strict = b"\0" in body or _has_long_number(body) or _SURROGATE.search(body) or _has_large_exponent(body)
    if not strict:
        text = body.removeprefix(_BOM).decode("utf-8", "surrogateescape")
        start = len(text) - len(text.lstrip(" \t\n\r"))
        try:
            if body.count(b"{") > _OBJECTS_WORTH_COUNTING:
                value = _LAST_OF_EQUAL_KEYS.raw_decode(text, start)[0]
                if _has_no_other_keys(value, body.count(b":")):
                    return value
            return _DECODER.raw_decode(text, start)[0]
        except (ValueError, RecursionError):
            pass
    return _StrictParser(body).parse()


def _has_long_number(body: bytes) -> bool:
    """Whether there may be a number of 300 digits: all of 151 in a row are."""
    pairs = _TWO_DIGITS.finditer(body[::_SAMPLED])
    return any(body[pair.start() * _SAMPLED : (pair.start() + 1) * _SAMPLED].isdigit() for pair in pairs)


def _has_large_exponent(body: bytes) -> bool:
    """Whether a number has an exponent of three digits; base64 is full of what looks like one."""
    return any(_ends_a_number(body, found.start()) for pattern in _EXPONENTS for found in pattern.finditer(body))


def _ends_a_number(body: bytes, end: int) -> bool:
    """Whether what stands before ``end`` may be a number of its own: digits, after what can stand before a value."""
    before = body[max(0, end - _LONGEST_NUMBER) : end]
    rest = before.rstrip(b"0123456789.")
    return len(rest) < len(before) and rest.removesuffix(b"-")[-1:] in b"[,: \t\n\r"


def _has_no_other_keys(document: Any, colons: int) -> bool:
    """Whether the keys of a document, of its rows and of the objects in them are as many as its colons.

    If not, there are colons in strings, objects further down, or equal keys.
    """
    rows = document.get("instances") if isinstance(document, dict) else None
    if not isinstance(rows, list) or set(map(type, rows)) != {dict}:
        return False
    keys = len(document) + sum(map(len, rows))
    if keys == colons:
        return True
    values = itertools.chain.from_iterable(map(dict.values, rows))
    return keys + sum(len(value) for value in values if type(value) is dict) == colons


def _first_of_equal_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        found.clear()
        for key, value in pairs:
            found.setdefault(key, value)
    return found


_LAST_OF_EQUAL_KEYS = json.JSONDecoder()  # half a microsecond less for each object
_DECODER = json.JSONDecoder(object_pairs_hook=_first_of_equal_keys)


class _StrictParser:
    """One document, token by token, with an explicit stack."""

    def __init__(self, body: bytes) -> None:
        end = body.find(b"\0")  # RapidJSON takes it for the end
        self._data = body if end < 0 else body[:end]
        self._at = 3 if body.startswith(_BOM) else 0

    def parse(self) -> Any:
        self._skip_blanks()
        if self._at == len(self._data):
            self._fail("The document is empty.")
        containers: list[list[Any] | dict[str, Any]] = []
        keys: list[str] = []
        while True:
            value = self._open_or_scalar()
            if isinstance(value, (list, dict)):
                containers.append(value)
                if not self._closes(value):
                    keys.append(self._key(value, first=True))
                    continue
            else:
                if not containers:
                    return value
                self._put(containers[-1], keys, value)
            while self._ended(containers[-1]):
                value = containers.pop()
                if not containers:
                    return value
                self._put(containers[-1], keys, value)
            keys.append(self._key(containers[-1], first=False))

    def _open_or_scalar(self) -> Any:
        data, at = self._data, self._at
        first = data[at : at + 1]
        if first in (b"{", b"["):
            self._at += 1
            return {} if first == b"{" else []
        if first == b'"':
            return self._string()
        for word, value in ((b"true", True), (b"false", False), (b"null", None)):
            if first == word[:1]:
                return self._literal(word, value)
        return self._number()

    def _closes(self, container: list[Any] | dict[str, Any]) -> bool:
        """Whether an opened container is empty; its end is taken by ``_ended``."""
        self._skip_blanks()
        return self._data[self._at : self._at + 1] == (b"}" if isinstance(container, dict) else b"]")

    def _ended(self, container: list[Any] | dict[str, Any]) -> bool:
        self._skip_blanks()
        end = b"}" if isinstance(container, dict) else b"]"
        if self._data[self._at : self._at + 1] != end:
            return False
        self._at += 1
        return True

    def _key(self, container: list[Any] | dict[str, Any], first: bool) -> str:
        """Move on to the next value: past a comma unless ``first``, and past the key in an object; returns the key."""
        is_object = isinstance(container, dict)
        if not first:
            if self._data[self._at : self._at + 1] != b",":
                self._fail(
                    "Missing a comma or '}' after an object member."
                    if is_object
                    else "Missing a comma or ] after an array element."
                )
            self._at += 1
            self._skip_blanks()
        if not is_object:
            return ""
        if self._data[self._at : self._at + 1] != b'"':
            self._fail("Missing a name for object member.")
        key = self._string()
        self._skip_blanks()
        if self._data[self._at : self._at + 1] != b":":
            self._fail("Missing a colon after a name of object member.")
        self._at += 1
        self._skip_blanks()
        return key

    @staticmethod
    def _put(container: list[Any] | dict[str, Any], keys: list[str], value: Any) -> None:
        key = keys.pop()
        if isinstance(container, dict):
            container.setdefault(key, value)
        else:
            container.append(value)

    def _skip_blanks(self) -> None:
        match = _BLANKS.match(self._data, self._at)
        assert match is not None
        self._at = match.end()

    def _literal(self, word: bytes, value: Any) -> Any:
        for byte in word:
            if self._data[self._at : self._at + 1] != bytes((byte,)):
                self._fail("Invalid value.")
            self._at += 1
        return value

    def _string(self) -> str:
        data, at, pieces = self._data, self._at + 1, list[bytes]()
        while True:
            match = _STRING_RUN.match(data, at)
            assert match is not None
            pieces.append(match[0])
            at = match.end()
            byte = data[at : at + 1]
            if byte == b'"':
                self._at = at + 1
                return b"".join(pieces).decode("utf-8", "surrogateescape")
            if not byte:
                self._fail("Missing a closing quotation mark in string.", at)
            if byte != b"\\":
                self._fail("Invalid escape character in string.", at)
            piece, at = self._escape(at)
            pieces.append(piece)

    def _escape(self, start: int) -> tuple[bytes, int]:
        data, letter = self._data, self._data[start + 1 : start + 2]
        if letter in _ESCAPES:
            return _ESCAPES[letter].encode(), start + 2
        if letter != b"u":
            self._fail("Invalid escape character in string.", start)
        code = self._hex4(start + 2, start)
        end = start + 6
        if 0xD800 <= code <= 0xDBFF:
            if data[end : end + 2] != b"\\u":
                self._fail("The surrogate pair in string is invalid.", start)
            low = self._hex4(end + 2, start)
            if not 0xDC00 <= low <= 0xDFFF:
                self._fail("The surrogate pair in string is invalid.", start)
            code, end = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00), end + 6
        return chr(code).encode("utf-8", "surrogatepass"), end

    def _hex4(self, at: int, start: int) -> int:
        match = _HEX4.match(self._data, at)
        if match is None:
            self._fail("Incorrect hex digit after \\u escape in string.", start)
        return int(match[0], 16)

    def _number(self) -> int | float:
        data, start = self._data, self._at
        minus = data[start : start + 1] == b"-"
        word = data[start + minus : start + minus + 8]
        for name, value in ((b"NaN", math.nan), (b"Infinity", math.inf), (b"Inf", math.inf)):
            if word.startswith(name):
                self._at = start + minus + len(name)
                return -value if minus else value
        match = _NUMBER.match(data, start)
        if match is None:
            self._fail("Invalid value.", start + minus)
        at, is_double = match.end(), False
        if data[at : at + 1] == b".":
            at, is_double = self._digits(at + 1, "Miss fraction part in number."), True
        if data[at : at + 1] in (b"e", b"E"):
            sign = data[at + 1 : at + 2] in (b"+", b"-")
            at, is_double = self._digits(at + 1 + sign, "Miss exponent in number."), True
        token = data[start:at]
        self._at = at
        if not is_double and len(token) <= 20 and is_integer(int(token)):
            return int(token)
        number = float(token)
        if math.isinf(number):
            self._fail("Number too big to be stored in double.", start)
        return number

    def _digits(self, at: int, problem: str) -> int:
        match = _DIGITS.match(self._data, at)
        if match is None:
            self._fail(problem, at)
        return match.end()

    def _fail(self, problem: str, at: int | None = None) -> NoReturn:
        raise invalid_argument(f"JSON Parse error: {problem} at offset: {self._at if at is None else at}")


def is_integer(value: object) -> bool:
    """Whether RapidJSON has this as an integer (int64 or uint64)."""
    return type(value) is int and -(2**63) <= value < 2**64


def kind(value: object) -> str:
    """RapidJSON's name of a value's type."""
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return "True" if value else "False"
    if isinstance(value, (int, float)):
        return "Number"
    return "Object" if isinstance(value, dict) else "Array" if isinstance(value, list) else "String"


# ------------------------------------------------------------------------------------------------------- printing

_TO_ESCAPE = re.compile(r'["\\\x00-\x1f]')
_SHORT_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def quoted(text: str) -> str:
    """A string with RapidJSON's escapes: quotes, backslashes and control characters only."""
    return '"' + _TO_ESCAPE.sub(lambda match: _SHORT_ESCAPES.get(match[0]) or f"\\u{ord(match[0]):04X}", text) + '"'


def error_body(message: str) -> bytes:
    """The body of an answer that failed."""
    return f'{{\n    "error": {quoted(message)}\n}}'.encode("utf-8", "surrogateescape")


def shown(value: object) -> str:
    """A value as it stands in error texts: pretty-printed, arrays on one line, cut after about 256 bytes."""
    pieces: list[str] = []
    length = 0
    stack: list[tuple[str, Any]] = [("value", value)]
    depth = 0
    while stack and length <= _SHOWN:
        what, item = stack.pop()
        if what == "text":
            piece = item
        elif what == "leave":
            depth -= 1
            piece = "]" if item is None else "\n" + "    " * depth + "}" if item else "}"
        elif what == "key":
            piece = ",\n"[item[0] :] + "    " * depth + quoted(item[1]) + ": "
        elif isinstance(item, dict):
            piece, depth = "{", depth + 1
            stack.append(("leave", bool(item)))
            members = list(item.items())[:_SHOWN]
            for index in range(len(members) - 1, -1, -1):
                stack += [("value", members[index][1]), ("key", (index == 0, members[index][0]))]
        elif isinstance(item, list):
            piece, depth = "[", depth + 1
            stack.append(("leave", None))
            for index in range(min(len(item), _SHOWN) - 1, -1, -1):
                stack.append(("value", item[index]))
                if index:
                    stack.append(("text", ", "))
        else:
            piece = _scalar(item)
        pieces.append(piece)
        length += len(piece)
    whole = "".join(pieces).encode("utf-8", "surrogateescape")
    return whole[:_SHOWN].decode("utf-8", "surrogateescape")


def _scalar(value: object) -> str:
    if isinstance(value, str):
        return quoted(value)
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, int) and is_integer(value):
        return str(value)
    assert isinstance(value, (int, float))
    return _rapidjson_double(float(value))


def _rapidjson_double(value: float) -> str:
    """A double as RapidJSON's writer has it: shortest digits, exponents from 1e21 on and below 1e-6."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    mantissa, _, exponent = f"{value!r}".partition("e")
    if not exponent:
        return mantissa
    sign, digits = ("-", mantissa[1:]) if mantissa.startswith("-") else ("", mantissa)
    power = int(exponent)
    if 0 <= power <= 20:
        whole, _, fraction = digits.partition(".")
        return f"{sign}{whole}{fraction.ljust(power, '0')}.0"
    if -6 <= power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{digits.replace('.', '')}"
    return f"{sign}{digits.removesuffix('.0')}e{power}"
