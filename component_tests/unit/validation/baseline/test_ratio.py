"""The ratio of two servers' figures: known ratios under injected noise, and what is decided of them."""

from __future__ import annotations

import collections
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_validator.validation.baseline.ratio import (
    FEWEST_PAIRS,
    LatencyFigure,
    Ratio,
    Side,
    ThroughputFigure,
    ratio,
    side,
    student_t,
    times_longer,
)

Blocks = list[collections.Counter[int]]


def blocks(
    times: float, pairs: int, *, seed: int, of_a_block: float = 0.05, shared: float = 0.0, requests: int = 60
) -> tuple[Blocks, Blocks]:
    """Blocks of a model and its baseline: latencies around 5 ms, and what goes on beside.

    Args:
      times: how many times the baseline's the model's latencies are.
      of_a_block: the spread of what slows one block as a whole; shared: of what slows both blocks of a pair; both of the logarithm.
    """
    chance = random.Random(seed)
    model: Blocks = []
    baseline: Blocks = []
    for _ in range(pairs):
        beside = chance.gauss(0, shared)
        for side_, scale in ((model, times), (baseline, 1.0)):
            slow = math.exp(beside + chance.gauss(0, of_a_block))
            side_.append(
                collections.Counter(int(5000 * scale * slow * math.exp(chance.gauss(0, 0.1))) for _ in range(requests))
            )
    return model, baseline


def latency_ratio(model: Blocks, baseline: Blocks, percent: float = 50.0) -> Ratio:
    return ratio(LatencyFigure(model, percent), LatencyFigure(baseline, percent), len(model))


def test_the_interval_holds_the_true_ratio() -> None:
    """In 30 runs an interval of 98.75 % misses it twice at most, but for one chance in 200."""
    for shared in (0.0, 0.5):
        found = [latency_ratio(*blocks(1.2, 8, seed=seed, shared=shared, requests=30)) for seed in range(30)]
        assert sum(not one.low <= 1.2 <= one.high for one in found) <= 2


def test_what_slows_both_servers_at_once_does_not_widen_the_interval() -> None:
    model, baseline = blocks(1.0, 16, seed=1, of_a_block=0.02, shared=0.5)
    paired = latency_ratio(model, baseline)
    assert paired.high / paired.low < 1.2
    # Not so if the blocks are compared with other blocks than their neighbours.
    others = latency_ratio(model, baseline[5:] + baseline[:5])
    assert others.high / others.low > 2


@pytest.mark.parametrize(
    ("times", "of_a_block", "expected"),
    [(1.0, 0.03, Side.KEPT), (1.3, 0.03, Side.EXCEEDED), (1.0, 0.5, Side.OPEN), (1.3, 0.5, Side.OPEN)],
)
def test_what_is_decided_of_a_limit_of_ten_percent(times: float, of_a_block: float, expected: Side) -> None:
    for seed in range(10):
        found = latency_ratio(*blocks(times, 8, seed=seed, of_a_block=of_a_block))
        assert side(found, 1.1, at_most=True) is expected, found


def test_the_same_blocks_give_the_same_interval() -> None:
    model, baseline = blocks(1.1, 8, seed=3)
    assert latency_ratio(model, baseline) == latency_ratio(model, baseline)


def test_more_blocks_narrow_the_interval() -> None:
    model, baseline = blocks(1.0, 64, seed=4, of_a_block=0.2)
    few, many = latency_ratio(model[:8], baseline[:8]), latency_ratio(model, baseline)
    assert many.high - many.low < (few.high - few.low) / 2


def test_throughput_is_the_other_way_round() -> None:
    model = [(90 + number % 3, 1.0) for number in range(8)]
    baseline = [(100 + number % 3, 1.0) for number in range(8)]
    found = ratio(ThroughputFigure(model), ThroughputFigure(baseline), 8)
    assert found.times == pytest.approx(0.9, abs=0.01)
    assert side(found, 0.95, at_most=False) is Side.EXCEEDED
    assert side(found, 0.85, at_most=False) is Side.KEPT
    assert side(found, found.times, at_most=False) is Side.OPEN


def test_too_few_decide_nothing_and_say_so() -> None:
    model, baseline = blocks(1.0, FEWEST_PAIRS - 1, seed=5)
    found = latency_ratio(model, baseline)
    assert (side(found, 100.0, at_most=True), found.too_few) == (
        Side.OPEN,
        "There were 7 pairs of blocks; it takes 8.",
    )
    model, baseline = blocks(1.0, 8, seed=5, requests=30)
    assert latency_ratio(model, baseline, 99.0).too_few == "There were 240 requests; p99 needs 1000."
    none: Blocks = [collections.Counter() for _ in range(8)]
    assert latency_ratio(none, baseline).too_few
    assert latency_ratio(model, none).too_few
    assert ratio(ThroughputFigure([(0, 1.0)] * 8), ThroughputFigure([(1, 1.0)] * 8), 8).too_few


def test_how_much_longer_it_would_take() -> None:
    assert times_longer(Ratio(1.0, 1 / 1.21, 1.21), 1.1) == pytest.approx(4.0)
    assert times_longer(Ratio(1.1, 1.0, 1.21), 1.1) is None
    assert times_longer(Ratio(math.nan), 1.1) is None


counts = st.dictionaries(st.integers(1, 10_000), st.integers(1, 50), max_size=8)


@given(st.lists(counts, min_size=1, max_size=6), st.data(), st.sampled_from((50.0, 90.0, 99.0)))
def test_a_percentile_of_weighted_blocks_is_that_of_all_requests(
    given: list[dict[int, int]], data: st.DataObject, percent: float
) -> None:
    weights = data.draw(st.lists(st.integers(0, 3), min_size=len(given), max_size=len(given)))
    latencies = sorted(
        latency for block, weight in zip(given, weights, strict=True) for latency, count in block.items()
        for _ in range(count * weight)
    )  # fmt: skip
    found = LatencyFigure(given, percent).of(weights)
    if not latencies:
        assert math.isnan(found)
    else:
        assert found == latencies[max(1, math.ceil(len(latencies) * percent / 100)) - 1]


@pytest.mark.parametrize(
    ("share", "freedom", "expected"),
    [(0.975, 7, 2.3646), (0.975, 30, 2.0423), (0.99375, 7, 3.3353), (0.99375, 31, 2.6519)],
)
def test_students_t(share: float, freedom: int, expected: float) -> None:
    """Against a table."""
    assert student_t(share, freedom) == pytest.approx(expected, rel=0.01)
