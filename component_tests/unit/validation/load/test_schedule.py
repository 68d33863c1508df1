"""When requests are due, and whose delay a late one is."""

from __future__ import annotations

import pytest

from infra_validator.validation.load.schedule import Schedule, own_delay


def test_a_rate_is_kept_from_the_beginning_whatever_the_callers_do() -> None:
    schedule = Schedule(began=100.0, rate_rps=10.0)
    assert [schedule.due(n, free=500.0) for n in (0, 1, 25)] == [100.0, 100.1, 102.5]


def test_without_a_rate_each_is_due_when_a_caller_is_free() -> None:
    assert Schedule(began=100.0).due(7, free=103.0) == 103.0


def test_the_time_ends_it_by_when_requests_are_due_not_by_when_they_are_sent() -> None:
    schedule = Schedule(began=100.0, rate_rps=10.0, seconds=2.0)
    assert schedule.due(19, free=900.0) == pytest.approx(101.9)
    assert schedule.due(20, free=900.0) is None
    assert Schedule(began=100.0, seconds=2.0).due(3, free=102.0) is None


def test_a_number_of_requests_ends_it() -> None:
    schedule = Schedule(began=100.0, rate_rps=10.0, requests=3)
    assert schedule.due(2, free=100.0) is not None
    assert schedule.due(3, free=100.0) is None


@pytest.mark.parametrize(
    ("now", "due"), [(99.0, 1), (100.0, 1), (100.05, 1), (100.1, 2), (101.9, 20), (102.0, 20), (500.0, 20)]
)
def test_how_many_were_due(now: float, due: int) -> None:
    assert Schedule(began=100.0, rate_rps=10.0, seconds=2.0).due_by(now) == due


def test_how_many_were_due_of_a_number() -> None:
    assert Schedule(began=100.0, rate_rps=10.0, requests=3).due_by(500.0) == 3
    assert Schedule(began=100.0).due_by(500.0) == 0


@pytest.mark.parametrize(
    ("due", "free", "sent", "own"),
    [
        (10.0, 9.0, 10.0, 0.0),
        (10.0, 9.0, 10.5, 0.5),  # a caller was free and slept too long
        (10.0, 12.0, 12.0, 0.0),  # all callers waited for the server
        (10.0, 12.0, 12.25, 0.25),
    ],
)
def test_what_of_a_delay_is_the_senders_own(due: float, free: float, sent: float, own: float) -> None:
    assert own_delay(due, free, sent) == pytest.approx(own)
