"""JSON of somebody else, read as the shape that is expected: what is of another type is as if it had not been sent.

Daemons and API servers answer as their versions do, and through proxies; no answer of theirs may end in an error of ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def shaped(given: object, shape: Any) -> Any:
    """``given`` without the parts that are of another type than in ``shape``; what the shape does not name is left out.

    Args:
      given: JSON data.
      shape: a type (``str``, ``int``, ``bool``, ``Mapping``); a list with the shape of its elements; a dict with the shape of each field.

    Returns:
      Data of that shape: an object or a list where one is asked, maybe empty; else the value, or None.
    """
    if isinstance(shape, dict):
        found = given if isinstance(given, Mapping) else {}
        parts = ((name, found[name], wanted) for name, wanted in shape.items() if name in found)
        return {name: shaped(part, wanted) for name, part, wanted in parts if _fits(part, wanted)}
    if isinstance(shape, list):
        return [shaped(one, shape[0]) for one in given if _fits(one, shape[0])] if isinstance(given, list) else []
    return given if _fits(given, shape) else None


def whole(given: object, otherwise: int = 0) -> int:
    """The whole number of at most 18 digits that a number or a text is; ``otherwise`` where it is none."""
    try:
        number = int(given)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        return otherwise
    return number if abs(number) < 10**18 else otherwise


def seconds(given: object) -> float:
    """A number of seconds, or a text that is one; 0 where it is none, or none that can be waited for."""
    try:
        number = float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return number if math.isfinite(number) and number > 0 else 0.0


def _fits(part: object, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(part, Mapping)
    if isinstance(wanted, list):
        return isinstance(part, list)
    if wanted is int:
        return isinstance(part, int) and not isinstance(part, bool) and abs(part) < 10**18
    return isinstance(part, wanted)
