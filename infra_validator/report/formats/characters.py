"""Text of anybody's (names, a server's log) with nothing in it that moves a cursor, turns a line around or is not to be written."""

from __future__ import annotations

import re

# Escape sequences of terminals: control sequences (colours, movements), commands to the system, and single characters after an escape.
_ESCAPE_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\^_]")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_UNWRITABLE = re.compile("[\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")  # lone surrogates; no characters
_TURNS_AROUND = re.compile("[\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

_REPLACEMENT = "\ufffd"
_CUT = "…"


def printable(text: str, longest: int | None = None) -> str:
    """The text with its control characters made visible and terminals' sequences taken out; lines end with a line feed.

    Args:
      text: anything.
      longest: how many characters at most, an ellipsis at the end if there were more; None: any number.
    """
    if longest is not None and len(text) > longest:
        text = text[: longest - 1] + _CUT
    if text.isascii() and text.isprintable():
        return text
    text = _ESCAPE_SEQUENCE.sub("", text.replace("\r\n", "\n"))
    text = _CONTROL.sub(_picture, text)
    text = _TURNS_AROUND.sub(lambda found: f"[U+{ord(found[0]):04X}]", text)
    return _UNWRITABLE.sub(_REPLACEMENT, text)


def one_line(text: str, longest: int | None = None) -> str:
    """The same in one line."""
    return " ".join(printable(text, longest).split())


def _picture(found: re.Match[str]) -> str:
    """Unicode's picture of a control character."""
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else _REPLACEMENT
