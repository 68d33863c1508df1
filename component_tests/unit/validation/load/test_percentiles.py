"""Confidence intervals of percentiles: the ranks of the books, and what they promise."""

from __future__ import annotations

import random

import pytest

from infra_validator.specs.limits.sample_size import requests_needed
from infra_validator.validation.load.histogram import Latencies
from infra_validator.validation.load.percentiles import percentile, percentiles, ranks


@pytest.mark.parametrize(
    ("percent", "total", "expected"),
    [
        (50.0, 5, (None, None)),
        (50.0, 6, (1, 6)),
        (50.0, 10, (2, 9)),  # as in tables of the median's interval
        (50.0, 20, (6, 15)),
        (50.0, 100, (40, 61)),
        (99.0, 367, (359, None)),
        (99.0, 368, (360, 368)),
    ],
)
def test_ranks(percent: float, total: int, expected: tuple[int | None, int | None]) -> None:
    assert ranks(percent, total) == expected


@pytest.mark.parametrize("name", ["p50", "p90", "p95", "p99"])
def test_the_upper_end_exists_from_requests_needed_on(name: str) -> None:
    percent = float(name[1:])
    needed = requests_needed(name)
    assert ranks(percent, needed)[1] == needed
    assert ranks(percent, needed - 1)[1] is None


@pytest.mark.parametrize("total", [1_000, 30_000, 1_000_000])
def test_large_samples_have_the_normal_approximation(total: int) -> None:
    low, high = ranks(90.0, total)
    assert low is not None
    assert high is not None
    half = 1.96 * (total * 0.9 * 0.1) ** 0.5
    assert abs(low - (total * 0.9 - half)) < 3
    assert abs(high - (total * 0.9 + half)) < 3


def test_the_interval_covers_the_true_percentile_as_often_as_it_says() -> None:
    """2,000 samples of 400 from a known distribution; the true p90 lies inside in at least 95 % less the noise of 2,000."""
    chance = random.Random(1)
    covered = 0
    low, high = ranks(90.0, 400)
    assert low is not None
    assert high is not None
    for _ in range(2000):
        sample = sorted(chance.random() for _ in range(400))
        covered += sample[low - 1] <= 0.9 < sample[high - 1]
    assert covered / 2000 > 0.94


def test_of_latencies_in_milliseconds() -> None:
    made = Latencies()
    for millisecond in range(1, 1001):
        made.add(millisecond / 1000)
    p90 = percentile(made, "p90")
    assert p90.ms == pytest.approx(900, rel=0.001)
    assert p90.low_ms is not None
    assert p90.high_ms is not None
    assert 870 < p90.low_ms < 900 < p90.high_ms < 930
    assert percentile(made, "max").ms == pytest.approx(1000, rel=0.001)
    assert percentile(made, "max").high_ms is None


def test_a_small_sample_has_no_upper_end_and_an_empty_one_no_percentiles() -> None:
    made = Latencies()
    for _ in range(100):
        made.add(0.005)
    by_name = {one.name: one for one in percentiles(made)}
    assert by_name["p99"].high_ms is None
    assert by_name["p95"].high_ms is not None
    assert percentiles(Latencies()) == ()
