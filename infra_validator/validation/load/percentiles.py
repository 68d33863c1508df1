"""Percentiles of latencies with their confidence intervals."""

from __future__ import annotations

import math

from infra_validator.report.measurements import Percentile
from infra_validator.specs.limits.limits_spec import PERCENTILES
from infra_validator.specs.limits.sample_size import TAIL
from infra_validator.validation.load.histogram import Latencies

_FAR = 9  # standard deviations; what lies beyond is below any rounding


def percentile(latencies: Latencies, name: str) -> Percentile:
    """A percentile by its name, with its 95 % confidence interval.

    The interval is one of order statistics, which assumes nothing of how latencies are distributed: the number of requests
    faster than the true percentile is binomial, so the ranks that it lies between in 95 % of cases are known.
    """
    percent = PERCENTILES[name]
    total = latencies.total
    ms = latencies.percentile(percent)
    if percent >= 100 or not total:
        return Percentile(name, ms)
    low, high = ranks(percent, total)
    return Percentile(
        name,
        ms,
        latencies.at_rank(low) if low is not None else None,
        latencies.at_rank(high) if high is not None else None,
    )


def percentiles(latencies: Latencies) -> tuple[Percentile, ...]:
    """All that have a name, from the lowest on; none where nothing was measured."""
    return tuple(percentile(latencies, name) for name in PERCENTILES) if latencies.total else ()


def ranks(percent: float, total: int) -> tuple[int | None, int | None]:
    """The ranks (from 1) of the two ends of the 95 % confidence interval of a percentile; None for an end that does not exist.

    With B, the number of values below the true percentile: the lower rank is the highest l with P(B < l) <= 2.5 %, the upper one
    the lowest u with P(B >= u) <= 2.5 %.
    """
    share = percent / 100
    spread = math.sqrt(total * share * (1 - share))
    first = max(0, math.floor(total * share - _FAR * spread) - _FAR)
    last = min(total, math.ceil(total * share + _FAR * spread) + _FAR)
    low: int | None = None
    below = 0.0  # P(B < count)
    for count in range(first, last + 1):
        if below <= TAIL and count >= 1:
            low = count
        if 1 - below <= TAIL + 1e-12 and count >= 1:
            return low, count
        below += _probability(count, total, share)
    return low, None


def _probability(count: int, total: int, share: float) -> float:
    ways = math.lgamma(total + 1) - math.lgamma(count + 1) - math.lgamma(total - count + 1)
    return math.exp(ways + count * math.log(share) + (total - count) * math.log1p(-share))
