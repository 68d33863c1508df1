"""How many times the baseline's a model's latency or throughput is, with what noise leaves open: a bootstrap over blocks.

Both servers are asked in turns, a block each; two neighbouring blocks make a pair and share what goes on beside them. What is drawn again
and again is whole pairs, not requests: requests of one block share the block's noise, so more of them do not make it smaller. The spread of
the logarithm of the ratio over the draws, and Student's t for the number of pairs, give the interval (Efron and Tibshirani, An Introduction
to the Bootstrap, 1993, chapters 6 and 12).
"""

from __future__ import annotations

import dataclasses
import enum
import math
import random
import statistics
from collections.abc import Mapping, Sequence
from typing import Protocol

#: How often the pairs are looked at, at most, and how many there are then. Each look has a share of the chance to be wrong.
LOOKS = (8, 16, 32, 64)
CONFIDENCE = 1 - 0.05 / len(LOOKS)
FEWEST_PAIRS = LOOKS[0]

_DRAWS = 1000
_SEED = 20200907  # the same blocks give the same interval
_FEWEST_BEYOND = 10  # requests that must lie beyond a percentile, or its place is the luck of a few


class Figure(Protocol):
    """One figure of a server's blocks."""

    def of(self, weights: Sequence[int]) -> float:
        """The figure of the blocks together, each counted as often as its weight says; NaN where there is none."""
        ...

    @property
    def too_few(self) -> str:
        """Why the blocks together are too few for it, one sentence; empty if they are not."""
        ...


class LatencyFigure:
    """A percentile of the latencies, in microseconds.

    Args:
      blocks: of each block, latency in microseconds -> how many requests took so long.
      percent: the percentile, below 100.
    """

    def __init__(self, blocks: Sequence[Mapping[int, int]], percent: float) -> None:
        self._percent = percent
        self._latencies = sorted(set().union(*blocks))
        self._not_slower = []  # of each block, for each latency: how many were not slower
        for block in blocks:
            so_far, sums = 0, []
            for latency in self._latencies:
                so_far += block.get(latency, 0)
                sums.append(so_far)
            self._not_slower.append(sums)

    def of(self, weights: Sequence[int]) -> float:
        drawn = [(weight, sums) for weight, sums in zip(weights, self._not_slower, strict=True) if weight]
        total = sum(weight * sums[-1] for weight, sums in drawn) if self._latencies else 0
        if not total:
            return math.nan
        rank = max(1, math.ceil(total * self._percent / 100))
        low, high = 0, len(self._latencies) - 1
        while low < high:
            middle = (low + high) // 2
            if sum(weight * sums[middle] for weight, sums in drawn) >= rank:
                high = middle
            else:
                low = middle + 1
        return float(self._latencies[low])

    @property
    def too_few(self) -> str:
        total = sum(sums[-1] for sums in self._not_slower) if self._latencies else 0
        needed = math.ceil(_FEWEST_BEYOND / (1 - self._percent / 100))
        return "" if total >= needed else f"There were {total} requests; p{self._percent:g} needs {needed}."


class ThroughputFigure:
    """Requests answered per second.

    Args:
      blocks: of each block, how many requests were answered, and in how many seconds.
    """

    def __init__(self, blocks: Sequence[tuple[int, float]]) -> None:
        self._blocks = blocks

    def of(self, weights: Sequence[int]) -> float:
        answered = sum(weight * count for weight, (count, _) in zip(weights, self._blocks, strict=True))
        seconds = sum(weight * time for weight, (_, time) in zip(weights, self._blocks, strict=True))
        return answered / seconds if answered and seconds else math.nan

    @property
    def too_few(self) -> str:
        return "" if any(count for count, _ in self._blocks) else "No request was answered."


@dataclasses.dataclass(frozen=True)
class Ratio:
    """The model's figure as a multiple of the baseline's.

    Attributes:
      times: the ratio; NaN where there is none.
      low, high: what noise leaves open, with the confidence; NaN where it cannot be told.
      too_few: why it cannot, one sentence.
      confidence: that the interval holds the true ratio.
    """

    times: float
    low: float = math.nan
    high: float = math.nan
    too_few: str = ""
    confidence: float = CONFIDENCE


class Side(enum.Enum):
    """Where a ratio lies."""

    KEPT = "kept"
    EXCEEDED = "exceeded"
    OPEN = "open"  # the limit lies inside the interval, or there is none


def ratio(model: Figure, baseline: Figure, pairs: int) -> Ratio:
    """The ratio of the two figures with its interval; the same for the same blocks.

    Args:
      model, baseline: of as many blocks each; those at one place are a pair.
      pairs: how many there are.
    """
    every = [1] * pairs
    times = _quotient(model.of(every), baseline.of(every))
    why = model.too_few or baseline.too_few
    if pairs < FEWEST_PAIRS:
        why = f"There were {pairs} pairs of blocks; it takes {FEWEST_PAIRS}."
    if why or math.isnan(times):
        return Ratio(times, too_few=why or "No request was answered.")
    chance = random.Random(_SEED)
    logs = []
    for _ in range(_DRAWS):
        weights = [0] * pairs
        for drawn in chance.choices(range(pairs), k=pairs):
            weights[drawn] += 1
        drawn_times = _quotient(model.of(weights), baseline.of(weights))
        if not math.isnan(drawn_times):
            logs.append(math.log(drawn_times))
    # The spread over the draws is that of a sample with n in the denominator; the true one has n - 1.
    reach = student_t(1 - (1 - CONFIDENCE) / 2, pairs - 1) * statistics.pstdev(logs) * math.sqrt(pairs / (pairs - 1))
    return Ratio(times, times * math.exp(-reach), times * math.exp(reach))


def _quotient(model: float, baseline: float) -> float:
    return model / baseline if model > 0 and baseline > 0 else math.nan


def side(found: Ratio, limit: float, *, at_most: bool) -> Side:
    """Where the interval lies: wholly beyond the limit, wholly at it or on its right side, or on both sides."""
    if math.isnan(found.low) or math.isnan(found.high):
        return Side.OPEN
    low, high = (found.low, found.high) if at_most else (-found.high, -found.low)
    limit = limit if at_most else -limit
    if low > limit:
        return Side.EXCEEDED
    return Side.KEPT if high <= limit else Side.OPEN


def times_longer(found: Ratio, limit: float) -> float | None:
    """How many times as long would have to be measured until the noise, which shrinks with the square root of the time, lets the limit
    be decided, if the ratio is what it is now; None where no time would do, since the ratio lies at the limit."""
    if math.isnan(found.low) or not found.times:
        return None
    reach = math.log(found.high / found.times)
    distance = abs(math.log(limit / found.times))
    return (reach / distance) ** 2 if distance > 0.001 else None


def student_t(share: float, freedom: int) -> float:
    """The quantile of Student's t distribution: the expansion of Abramowitz and Stegun, 26.7.5; good to 1 % from 7 degrees on."""
    z = statistics.NormalDist().inv_cdf(share)
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * freedom**4)
    )
