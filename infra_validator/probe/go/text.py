"""Text as Go writes it: quoted strings and log lines with Go's time stamp."""

from __future__ import annotations

import sys
import time

_LONGEST_LINE = 8000  # characters; a server's error message can be megabytes
_SHORT = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


def escape(text: str) -> str:
    """``text`` with everything unprintable escaped, so that a server cannot write lines or terminal codes into a log."""
    if text.isprintable():
        return text
    return "".join(
        char
        if char.isprintable()
        else _SHORT.get(char)
        or (
            f"\\x{ord(char):02x}"
            if ord(char) < 0x80
            else f"\\u{ord(char):04x}"
            if ord(char) < 0x10000
            else f"\\U{ord(char):08x}"
        )
        for char in text
    )


def quote(text: str) -> str:
    """A Go string literal, as its ``%q`` prints it."""
    return '"' + escape(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def log(message: str) -> None:
    """One line on stderr, as Go's ``log`` package writes it: ``2020/11/30 19:49:33 message`` (local time)."""
    line = escape(message)
    if len(line) > _LONGEST_LINE:
        line = f"{line[:_LONGEST_LINE]} ... ({len(line) - _LONGEST_LINE} more characters)"
    try:
        sys.stderr.write(time.strftime("%Y/%m/%d %H:%M:%S ") + line + "\n")
    except (OSError, ValueError, AttributeError):
        pass  # nobody listens (None for a stream that was closed before the start); the exit code still counts
