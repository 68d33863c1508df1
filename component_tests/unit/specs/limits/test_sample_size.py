"""How many requests each percentile needs, against the definition."""

from __future__ import annotations

import pytest

from infra_validator.specs.limits.sample_size import requests_needed


@pytest.mark.parametrize(("name", "needed"), [("p50", 6), ("p90", 36), ("p95", 72), ("p99", 368), ("max", 1)])
def test_the_fewest_requests(name: str, needed: int) -> None:
    assert requests_needed(name) == needed


@pytest.mark.parametrize(("name", "share"), [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)])
def test_with_one_less_all_may_lie_below_too_often(name: str, share: float) -> None:
    needed = requests_needed(name)
    assert share**needed <= 0.025 < share ** (needed - 1)
