"""Go's durations: ``1m30s``, ``500ms``, ``1.5h``, ``0`` (Go's ``time.ParseDuration`` and ``Duration.String``)."""

from __future__ import annotations

_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,  # micro sign
    "\u03bcs": 1_000,  # Greek letter mu
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_LARGEST = (1 << 63) - 1
_DIGITS = "0123456789"


def _number(text: str, at: int) -> int:
    """Where the digits from ``at`` on end."""
    while at < len(text) and text[at] in _DIGITS:
        at += 1
    return at


def _part(fraction: str, unit: int) -> int:
    """Nanoseconds of the digits behind a point, with the rounding of Go's floating point."""
    value, scale = 0, 1.0
    for digit in fraction:
        if value > _LARGEST // 10:
            break  # digits from here on are beyond a nanosecond
        value = value * 10 + int(digit)
        scale *= 10
    return int(value * (unit / scale))


def parse_duration(text: str) -> int:
    """Nanoseconds of a duration in Go's syntax.

    Raises:
      ValueError: Go would not accept it: no unit, an unknown unit, nothing, more than 292 years.
    """
    negative = text[:1] == "-"
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f"invalid duration {text!r}")
    total, at = 0, 0
    while at < len(rest):
        point = _number(rest, at)
        end = _number(rest, point + 1) if rest[point : point + 1] == "." else point
        whole, fraction = rest[at:point], rest[point + 1 : end]
        if not whole and not fraction:
            raise ValueError(f"invalid duration {text!r}")
        at = end
        while at < len(rest) and rest[at] != "." and rest[at] not in _DIGITS:
            at += 1
        unit = _NANOSECONDS.get(rest[end:at])
        if unit is None:
            raise ValueError(f"missing or unknown unit in duration {text!r}")
        total += int(whole or "0") * unit if len(whole) < 20 else _LARGEST + 2
        total += _part(fraction, unit)
        if total > _LARGEST + negative:
            raise ValueError(f"invalid duration {text!r}")
    return -total if negative else total


def _decimal(nanoseconds: int, unit: int) -> str:
    whole, rest = divmod(nanoseconds, unit)
    fraction = f"{rest:0{len(str(unit)) - 1}d}".rstrip("0") if rest else ""
    return f"{whole}.{fraction}" if fraction else str(whole)


def format_duration(nanoseconds: int) -> str:
    """A duration as Go prints it: ``1m30s``, ``500ms``, ``0s``."""
    if nanoseconds == 0:
        return "0s"
    sign, size = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if size < _NANOSECONDS["s"]:
        name = "ns" if size < _NANOSECONDS["us"] else "\u00b5s" if size < _NANOSECONDS["ms"] else "ms"
        unit = _NANOSECONDS[name]
        return f"{sign}{_decimal(size, unit) if unit > 1 else size}{name}"
    hours, size = divmod(size, _NANOSECONDS["h"])
    minutes, size = divmod(size, _NANOSECONDS["m"])
    seconds = _decimal(size, _NANOSECONDS["s"])
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}s"
    return f"{sign}{minutes}m{seconds}s" if minutes else f"{sign}{seconds}s"
