"""The limits that are multiples of the baseline's: each held against what both servers' blocks say."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.measurements import LimitOutcome, LimitResult
from infra_validator.report.signatures import Signatures
from infra_validator.specs import LatencyLimit, LimitsSpec
from infra_validator.specs.limits.limits_spec import PERCENTILES
from infra_validator.validation.baseline.ratio import (
    LatencyFigure,
    Ratio,
    Side,
    ThroughputFigure,
    ratio,
    side,
    times_longer,
)
from infra_validator.validation.load.block import Block
from infra_validator.validation.load.kinds import RequestKind

UNIT = "times the baseline"


@dataclasses.dataclass(frozen=True)
class Compared:
    """Blocks of one kind of request; those at one place of both lists are a pair."""

    kind: RequestKind
    model: Sequence[Block]
    baseline: Sequence[Block]


def limits_of(limits: LimitsSpec, compared: Compared) -> tuple[LimitResult, ...]:
    """One result for each relative limit that applies to this kind of request; memory apart."""
    return tuple(_results(limits, compared))


def _results(limits: LimitsSpec, compared: Compared) -> Iterator[LimitResult]:
    kind, pairs = compared.kind, len(compared.model)
    for limit in latency_limits(limits, kind.signature, kind.batch_size):
        percent = PERCENTILES[limit.percentile]
        model, baseline = (
            LatencyFigure([block.latencies.counts for block in blocks], percent)
            for blocks in (compared.model, compared.baseline)
        )
        name = f"latency.{limit.percentile} against the baseline ({kind.label})"
        found = ratio(model, baseline, pairs)
        yield result_of(name, found, limit.at_most_times or 0.0, at_most=True, decides=not limits.advisory)
    if limits.throughput_at_least_times is not None:
        name = f"throughput against the baseline ({kind.label})"
        rates = [
            ThroughputFigure([(block.requests, block.seconds) for block in blocks])
            for blocks in (compared.model, compared.baseline)
        ]
        found = ratio(rates[0], rates[1], pairs)
        yield result_of(name, found, limits.throughput_at_least_times, at_most=False, decides=not limits.advisory)


def latency_limits(limits: LimitsSpec, signature: str, batch_size: int | None) -> list[LatencyLimit]:
    """The relative limits of the latency that match; of each percentile those that name most of the request."""
    matching = [
        limit
        for limit in limits.latency
        if limit.at_most_times is not None
        and limit.signature in ("", signature)
        and limit.batch_size in (None, batch_size)
    ]
    named = dict.fromkeys(PERCENTILES, 0)
    for limit in matching:
        named[limit.percentile] = max(named[limit.percentile], _named(limit))
    return [limit for limit in matching if _named(limit) == named[limit.percentile]]


def _named(limit: LatencyLimit) -> int:
    return bool(limit.signature) + (limit.batch_size is not None)


def result_of(name: str, found: Ratio, limit: float, *, at_most: bool, decides: bool) -> LimitResult:
    """The result of one limit.

    Args:
      name: of the limit and what it applies to.
      found: the model's figure as a multiple of the baseline's.
      limit, at_most, decides: as in LimitResult.
    """
    where = side(found, limit, at_most=at_most)
    known = not math.isnan(found.low)
    told = f"{name}: {found.times:.3g} times" if not math.isnan(found.times) else f"{name}: not measured"
    told += f" ({found.confidence * 100:.4g} % confidence: {found.low:.3g} to {found.high:.3g})" if known else ""
    told += f", {'at most' if at_most else 'at least'} {limit:g} {'allowed' if at_most else 'wanted'}"
    outcome = {Side.KEPT: LimitOutcome.KEPT, Side.EXCEEDED: LimitOutcome.EXCEEDED}.get(where, LimitOutcome.NOT_MEASURED)
    if where is Side.OPEN:
        told += f"; {_why_open(found, limit)}"
    return LimitResult(
        name,
        outcome,
        limit,
        None if math.isnan(found.times) else found.times,
        UNIT,
        at_most,
        decides,
        found.low if known else None,
        found.high if known else None,
        within_noise=where is Side.OPEN and known,
        detail=f"{told.rstrip('.')}.",
    )


def _why_open(found: Ratio, limit: float) -> str:
    if found.too_few:
        return f"too little was measured to say. {found.too_few}"
    longer = times_longer(found, limit)
    if longer is None:
        return "the noise leaves open on which side it lies, and no time would help: it lies at the limit"
    return f"the noise leaves open on which side it lies; measuring {max(longer, 1.1):.2g} times as long may tell"


def is_open(result: LimitResult) -> bool:
    """Whether more blocks may decide it."""
    return result.outcome is LimitOutcome.NOT_MEASURED


def undecided(results: Sequence[LimitResult]) -> InfrastructureError | None:
    """The error for those that decide and are open (TOO_NOISY); None where there is none."""
    details = [result.detail for result in results if result.decides and is_open(result)]
    if not details:
        return None
    return InfrastructureError(
        ReasonCode.TOO_NOISY,
        " ".join(details),
        next_step="Raise validation_spec.load.at_most_seconds, run on a machine with less beside it, or widen the limit.",
        heals=False,  # it was measured until the bound already
    )


def missing_signatures(
    limits: LimitsSpec, kinds: Sequence[RequestKind], signatures: Signatures, path: str
) -> tuple[str, ...]:
    """The signatures that are asked and that the baseline lacks.

    Raises:
      InfrastructureError: a relative limit names one of them, or the baseline has none of those that are asked (BASELINE_FAILED).
    """
    asked = dict.fromkeys(kind.signature for kind in kinds if kind.signature)
    missing = tuple(name for name in asked if signatures and name not in signatures)
    named = {limit.signature for limit in limits.latency if limit.at_most_times is not None}
    wanted = [name for name in missing if name in named] or (list(missing) if len(missing) == len(asked) else [])
    if wanted:
        has = ", ".join(repr(name) for name in sorted(signatures))
        raise InfrastructureError(
            ReasonCode.BASELINE_FAILED,
            f"Baseline {path} has no signature {wanted[0]!r}, which is asked and limited against it; it has: {has}.",
            next_step="Ask a signature that both models have, or take the limit of the new one out.",
        )
    return missing
