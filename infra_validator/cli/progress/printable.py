"""Text of unknown origin for a terminal or a log: nothing in it moves the cursor, sets colours or turns the writing round."""

from __future__ import annotations

import re

#: C0 and C1 controls but for newline and tabulator; what turns the direction of writing; separators of lines that are none.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def printable(text: str) -> str:
    """``text`` with what is no writing shown as an escape, e.g. ``\\x1b``; newlines and tabulators stay."""
    return _UNPRINTABLE.sub(_escaped, text) if _UNPRINTABLE.search(text) else text


def one_line(text: str) -> str:
    """``text`` in one line."""
    return printable(text.replace("\n", "\\n").replace("\t", " "))


def _escaped(found: re.Match[str]) -> str:
    point = ord(found.group())
    return f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}"
