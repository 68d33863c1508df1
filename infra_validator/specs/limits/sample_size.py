"""How many requests it takes to say something of a percentile."""

from __future__ import annotations

import math

from infra_validator.specs.limits.limits_spec import PERCENTILES

_SURE = 0.975  # with this probability the slowest of so many is slower than the percentile: the upper end of a 95 % interval exists


def requests_needed(percentile: str) -> int:
    """The fewest requests whose slowest bounds the percentile from above, with 97.5 %: the smallest n with 1 - p^n >= 0.975.

    With fewer, the upper end of its 95 % confidence interval (order statistics) does not exist. p50: 6, p90: 36, p95: 72, p99: 368;
    the maximum is one of any sample.
    """
    share = PERCENTILES[percentile] / 100
    return 1 if share >= 1 else math.ceil(math.log(1 - _SURE) / math.log(share))
