"""What the limits that decide come to: nothing, or why the model is not blessed, or why that could not be told."""

from __future__ import annotations

from collections.abc import Sequence

from infra_validator.core.errors import AttemptFailed, InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.measurements import LimitOutcome, LimitResult, LoadRun
from infra_validator.specs import LimitsSpec
from infra_validator.validation.limits.judging import kind_of


def raise_for(results: Sequence[LimitResult], problem: AttemptFailed | InfrastructureError | None = None) -> None:
    """Raise what the limits that decide come to, if anything. One that is exceeded outweighs one that could not be measured.

    Args:
      results: of all limits.
      problem: why something else could not be decided; None where it could.

    Raises:
      AttemptFailed: one is exceeded (LIMIT_EXCEEDED).
      InfrastructureError: one could not be measured (LIMIT_NOT_MEASURED), or ``problem``.
    """
    deciding = [result for result in results if result.decides]
    exceeded = [result for result in deciding if result.outcome is LimitOutcome.EXCEEDED]
    if exceeded:
        raise AttemptFailed(ReasonCode.LIMIT_EXCEEDED, _first_and_more(exceeded, "exceeded"), quotes=())
    if problem is not None:
        raise problem
    missing = [result for result in deciding if result.outcome is LimitOutcome.NOT_MEASURED]
    if missing:
        raise InfrastructureError(ReasonCode.LIMIT_NOT_MEASURED, _first_and_more(missing, "not measured"), quotes=())


def raise_for_errors(limits: LimitsSpec, runs: Sequence[LoadRun]) -> None:
    """Raise for a request that failed under load where no error rate is allowed: as for sample requests, one is too many.

    Raises:
      AttemptFailed: REQUEST_FAILED.
    """
    if limits.advisory or limits.error_rate_at_most is not None:
        return
    for run in runs:
        if run.errors:
            asked = run.requests + run.errors
            raise AttemptFailed(
                ReasonCode.REQUEST_FAILED,
                f"Under load, {run.errors} of {asked} requests of {kind_of(run)} failed; the first: {run.error}",
                next_step="Look at the error; if some requests may fail under load, say how many with "
                "validation_spec.limits.error_rate_at_most.",
                quotes=(run.error,),
            )


def warnings(results: Sequence[LimitResult]) -> tuple[str, ...]:
    """What people should know of limits that decide nothing, or decided by a hair: one sentence each."""
    told = []
    for result in results:
        if not result.decides and result.outcome is not LimitOutcome.KEPT:
            told.append(f"A limit that is advisory: {result.detail}")
        elif result.within_noise and result.outcome is LimitOutcome.KEPT:
            told.append(result.detail)
    return tuple(told)


def _first_and_more(results: Sequence[LimitResult], what: str) -> str:
    more = len(results) - 1
    if not more:
        return results[0].detail
    return f"{results[0].detail} {more} more limit{'s are' if more > 1 else ' is'} {what}: the report has all."
