"""One limit beside one measured value: the outcome, and the sentence that says it."""

from __future__ import annotations

from infra_validator.report.measurements import LimitOutcome, LimitResult

_LARGE_UNITS = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def held(
    name: str,
    limit: float,
    measured: float,
    unit: str,
    *,
    decides: bool,
    at_most: bool = True,
    low: float | None = None,
    high: float | None = None,
) -> LimitResult:
    """What comes of a limit that was measured. The point decides; a limit inside the confidence interval is said to be there.

    Args:
      name, limit, measured, unit, decides, at_most, low, high: as in LimitResult.
    """
    exceeded = measured > limit if at_most else measured < limit
    noisy = low is not None and low <= limit and (high is None or limit <= high)
    side = "at most" if at_most else "at least"
    told = f"{name}: {told_as(measured, unit)}, {side} {told_as(limit, unit)} allowed"
    if not at_most:
        told = f"{name}: {told_as(measured, unit)}, {side} {told_as(limit, unit)} wanted"
    if exceeded:
        told += f": {_by_how_much(measured, limit, unit)} too {'much' if at_most else 'little'}"
    if noisy:
        interval = f"from {told_as(low or 0.0, unit)}" + (f" to {told_as(high, unit)}" if high is not None else " up")
        told += f"; the limit is within the noise (95 % confidence: {interval}), so another run may decide otherwise"
    outcome = LimitOutcome.EXCEEDED if exceeded else LimitOutcome.KEPT
    return LimitResult(name, outcome, limit, measured, unit, at_most, decides, low, high, noisy, f"{told}.")


def not_measured(name: str, limit: float, unit: str, why: str, *, decides: bool, at_most: bool = True) -> LimitResult:
    """What comes of a limit that could not be measured.

    Args:
      name, limit, unit, decides, at_most: as in LimitResult.
      why: one sentence, in lower case, with its full stop.
    """
    return LimitResult(
        name, LimitOutcome.NOT_MEASURED, limit, None, unit, at_most, decides, detail=f"{name} was not measured: {why}"
    )


def told_as(value: float, unit: str) -> str:
    """A measured value for people, e.g. ``12.3 ms``, ``1.5 GiB``, ``0.2 %``."""
    if unit == "bytes":
        return _bytes(value)
    if unit == "share":
        return f"{value * 100:.3g} %"
    short = {"seconds": "s", "requests per second": "requests/s"}.get(unit, unit)
    return f"{value:,.0f} {short}" if abs(value) >= 1000 else f"{value:.3g} {short}"


def _bytes(value: float) -> str:
    for size, name in _LARGE_UNITS:
        if abs(value) >= size:
            return f"{value / size:.3g} {name}" if value < 1000 * size else f"{value / size:,.0f} {name}"
    return f"{value:.0f} bytes"


def _by_how_much(measured: float, limit: float, unit: str) -> str:
    difference = abs(measured - limit)
    share = f" ({difference / limit * 100:.3g} %)" if limit and unit != "share" else ""
    return f"{told_as(difference, unit)}{share}"
