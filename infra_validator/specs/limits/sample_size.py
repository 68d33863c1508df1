"""How many requests a percentile needs before anything can be said of it."""

from __future__ import annotations

import math

from infra_validator.specs.limits.limits_spec import PERCENTILES

#: The share of cases in which the true percentile lies above, or below, the confidence interval: 95 % lie inside.
TAIL = 0.025


def requests_needed(percentile: str) -> int:
    """The fewest requests for which the percentile's 95 % confidence interval has an upper end.

    Of n requests all lie below the true percentile q with the probability q^n; only when that is at most 2.5 % can the slowest
    of them be taken for an upper end. 6 for p50, 36 for p90, 72 for p95, 368 for p99; ``max`` is of what was seen, and needs one.
    """
    share = PERCENTILES[percentile] / 100
    return 1 if share >= 1 else math.ceil(math.log(TAIL) / math.log(share))
