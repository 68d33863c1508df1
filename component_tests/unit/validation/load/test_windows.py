"""Windows that agree, and those that do not."""

from __future__ import annotations

import pytest

from infra_validator.validation.load.histogram import Latencies
from infra_validator.validation.load.windows import Window, why_not_steady


def window(ms: float, requests: int = 100, whole: bool = True) -> Window:
    latencies = Latencies()
    for _ in range(requests):
        latencies.add(ms / 1000)
    return Window(0.0, 1.0, latencies, whole=whole)


@pytest.mark.parametrize(
    ("windows", "says"),
    [
        ([window(5), window(5)], "only 2 windows"),
        ([window(5), window(5), window(5, whole=False)], "only 2 windows"),
        ([window(5), window(5), window(5)], ""),
        ([window(50), window(5), window(5.2), window(5.4)], ""),
        ([window(5), window(5.2), window(5.6)], "median latency lay between 5 and 5.6 ms"),
        ([window(5, 100), window(5, 104), window(5, 111)], "rate lay between 100 and 111 requests per second"),
        ([window(5), window(5, 0), window(5)], "no request was answered"),
        ([window(5), window(5), window(5), window(9, 2, whole=False)], ""),
    ],
)
def test_the_last_three_whole_ones_are_held_against_each_other(windows: list[Window], says: str) -> None:
    why = why_not_steady(windows)
    assert (says in why) if says else why == ""


def test_for_the_report() -> None:
    told = window(5).told(warm_up=True)
    assert (told.requests, told.warm_up, told.seconds) == (100, True, 1.0)
    assert told.p50_ms == pytest.approx(5, rel=0.001)
