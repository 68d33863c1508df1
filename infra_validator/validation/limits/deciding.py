"""From what was measured to what it means: each limit held against it, and what those that decide decide."""

from __future__ import annotations

from collections.abc import Sequence

from infra_validator.core.errors import AttemptFailed, InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.measurements import LimitOutcome, LimitResult, Measurements
from infra_validator.report.verdict import Phase
from infra_validator.specs import LimitsSpec


def judged(limits: LimitsSpec, measured: Measurements, phases: Sequence[Phase]) -> tuple[LimitResult, ...]:
    """One result for each limit and what it applies to; those relative to a baseline apart."""
    return ()


def raise_for(results: Sequence[LimitResult]) -> None:
    """Raise what the limits that decide come to, if anything.

    Raises:
      AttemptFailed: one is exceeded (LIMIT_EXCEEDED).
      InfrastructureError: one could not be measured (LIMIT_NOT_MEASURED).
    """
    deciding = [result for result in results if result.decides]
    exceeded = [result for result in deciding if result.outcome is LimitOutcome.EXCEEDED]
    if exceeded:
        raise AttemptFailed(ReasonCode.LIMIT_EXCEEDED, _first_and_more(exceeded))
    missing = [result for result in deciding if result.outcome is LimitOutcome.NOT_MEASURED]
    if missing:
        raise InfrastructureError(ReasonCode.LIMIT_NOT_MEASURED, _first_and_more(missing))


def _first_and_more(results: Sequence[LimitResult]) -> str:
    more = len(results) - 1
    told = "" if not more else f" ({more} more limit{'s' if more > 1 else ''} of the same kind: the report has all.)"
    return f"{results[0].detail}{told}"
