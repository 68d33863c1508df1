"""Which names under a model server's base path are versions."""

from __future__ import annotations

import re

_INTEGER = re.compile(
    r"[ \t\n\v\f\r]*([+-]?[0-9]+)[ \t\n\v\f\r]*"
)  # absl::SimpleAtoi: a sign and blanks around are taken


def version_of(name: str) -> int | None:
    """The version that a directory's name stands for, as TensorFlow Serving reads it; None if it is not a number of 64 bits."""
    match = _INTEGER.fullmatch(name)
    if match is None:
        return None
    value = int(match[1])
    return value if -(2**63) <= value < 2**63 else None
