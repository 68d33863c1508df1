"""Numbers with their units, as people read them."""

from __future__ import annotations

import math

NOTHING = "–"
_OCTETS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def figures(value: float, digits: int = 3) -> str:
    """A number with ``digits`` figures at most, never with an exponent below a million million."""
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if not -6 <= size < 15:
        return f"{value:.{digits - 1}e}"
    text = f"{value:,.{max(0, digits - 1 - size)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def milliseconds(value: float | None) -> str:
    """A time that was measured in milliseconds."""
    if value is None:
        return NOTHING
    return seconds(value / 1000) if abs(value) >= 1000 else f"{figures(value)} ms"


def seconds(value: float | None) -> str:
    """A time that was measured in seconds."""
    if value is None:
        return NOTHING
    if abs(value) < 1:
        return f"{figures(value * 1000)} ms"
    if abs(value) < 120:
        return f"{figures(value)} s"
    whole = round(value)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def octets(value: float | None) -> str:
    """A size in memory or on disk."""
    if value is None:
        return NOTHING
    step = 0
    while abs(value) >= 1024 and step < len(_OCTETS) - 1:
        value, step = value / 1024, step + 1
    return f"{figures(value)} {_OCTETS[step]}"


def share(value: float | None) -> str:
    """A share from 0 to 1 in percent."""
    return NOTHING if value is None else f"{figures(value * 100)} %"


def count(value: float | None) -> str:
    """A number of things."""
    return NOTHING if value is None else f"{value:,.0f}"


def in_unit(value: float | None, unit: str) -> str:
    """A number in the unit of a limit (see LimitResult)."""
    if value is None:
        return NOTHING
    if unit == "ms":
        return milliseconds(value)
    if unit == "seconds":
        return seconds(value)
    if unit == "bytes":
        return octets(value)
    if unit == "share":
        return share(value)
    if unit == "times the baseline":
        return f"{figures(value)} ×"
    if unit == "requests per second":
        return f"{figures(value)} /s"
    return f"{figures(value)} {unit}".strip()
