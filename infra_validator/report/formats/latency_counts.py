"""A load run's histogram, decoded: how many answers came after how long."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class LatencyCounts:
    """A histogram of latencies.

    Attributes:
      counts: (milliseconds, how many answers), ascending.
    """

    counts: Sequence[tuple[float, int]]

    @functools.cached_property
    def _sums(self) -> list[int]:
        return list(itertools.accumulate(answers for _, answers in self.counts))

    @property
    def total(self) -> int:
        """How many answers there are."""
        return self._sums[-1]

    def at(self, share: float) -> float:
        """The latency, in milliseconds, below which this share of the answers lies."""
        wanted = share * self.total
        return next(
            (ms for (ms, _), until in zip(self.counts, self._sums, strict=True) if until >= wanted), self.counts[-1][0]
        )

    def curve(self, points: int = 160) -> list[tuple[float, float]]:
        """(share of the answers, milliseconds), ascending: more points where the share comes near to all."""
        found: list[tuple[float, float]] = [(0.0, self.counts[0][0])]
        step, last = 5.0 / points, 0.0
        for (ms, _), until in zip(self.counts, self._sums, strict=True):
            left = 1 - until / self.total
            if left <= 0:
                break
            depth = -math.log10(left)
            if depth - last >= step:
                found.append((1 - left, ms))
                last = depth
        found.append((1 - 0.5 / self.total, self.counts[-1][0]))
        return found

    def bins(self, low: float, high: float, number: int) -> tuple[list[int], int]:
        """(how many answers lie in each of ``number`` equal stretches between two latencies, how many are above)."""
        found, above = [0] * number, 0
        for ms, answers in self.counts:
            if ms > high:
                above += answers
            else:
                found[min(number - 1, max(0, int((ms - low) / (high - low) * number)))] += answers
        return found, above


def counts_of(histogram: str) -> LatencyCounts | None:
    """The counts in a histogram of microseconds (HdrHistogram's compressed form V2, base64).

    Returns:
      None where there is none, it cannot be read, or the ``hdrhistogram`` package (``[load]``) is not installed.
    """
    if not histogram or histogram.endswith("…"):
        return None
    try:
        from hdrh.histogram import HdrHistogram
    except ImportError:
        return None
    found: list[tuple[float, int]] = []
    with contextlib.suppress(Exception):  # the file may hold anything; the decoder raises whatever its parts raise
        decoded = HdrHistogram.decode(histogram)
        for index, answers in enumerate(decoded.counts):
            if answers:
                found.append((decoded.get_value_from_index(index) / 1000, int(answers)))
    return LatencyCounts(found) if found else None
