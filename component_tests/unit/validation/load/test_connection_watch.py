"""A connection that breaks once, one that does not hold, and the server's own end behind either."""

from __future__ import annotations

import pytest

from component_tests.fakes.hand_clock import HandClock
from infra_validator.core.errors import AttemptFailed, InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.states import Observation
from infra_validator.model_server_clients.base_client import JobGone, unwatched
from infra_validator.model_server_clients.load_connection import LoadFailure
from infra_validator.validation.load.connection_watch import ConnectionWatch

CUT = LoadFailure("UNAVAILABLE: Socket closed", lost=True)
REFUSED = LoadFailure("UNAVAILABLE: Connection refused", lost=True, refused=True)


def test_all_that_were_under_way_are_one_break_and_three_are_borne() -> None:
    clock = HandClock()
    watch = ConnectionWatch(clock)
    for _ in range(3):
        for _ in range(8):
            watch.lost(CUT, sent=clock.now - 0.5, done=clock.now)
        watch.raise_if_broken(unwatched)
        clock.now += 1
        watch.answered()
        watch.raise_if_broken(unwatched, at_end=True)


def test_the_fourth_break_is_a_lost_connection() -> None:
    clock = HandClock()
    watch = ConnectionWatch(clock)
    for _ in range(4):
        watch.answered()
        clock.now += 1
        watch.lost(CUT, sent=clock.now - 0.5, done=clock.now)
    with pytest.raises(InfrastructureError, match="it broke 4 times: UNAVAILABLE: Socket closed") as caught:
        watch.raise_if_broken(unwatched)
    assert caught.value.reason is ReasonCode.CONNECTION_LOST


@pytest.mark.parametrize("at_end", [True, False])
def test_one_that_stays_down(at_end: bool) -> None:
    clock = HandClock()
    watch = ConnectionWatch(clock)
    watch.lost(CUT, sent=clock.now, done=clock.now)
    clock.now += 0.1 if at_end else 3.1
    with pytest.raises(InfrastructureError):
        watch.raise_if_broken(unwatched, at_end)


def test_a_port_that_the_living_server_closed_is_the_servers_doing() -> None:
    clock = HandClock()
    watch = ConnectionWatch(clock)
    watch.lost(REFUSED, sent=clock.now, done=clock.now)
    clock.now += 3.1
    with pytest.raises(AttemptFailed) as caught:
        watch.raise_if_broken(unwatched)
    assert caught.value.reason is ReasonCode.SERVER_UNHEALTHY


def test_the_servers_end_that_shows_a_little_later_is_the_cause() -> None:
    clock = HandClock()
    watch = ConnectionWatch(clock)
    watch.lost(REFUSED, sent=clock.now, done=clock.now)
    clock.now += 3.1
    ends_at = clock.now + 0.5

    def job() -> Observation:
        return Observation.running() if clock.now < ends_at else Observation.gone(ReasonCode.SERVER_KILLED, "signal 9")

    with pytest.raises(JobGone, match="signal 9"):
        watch.raise_if_broken(job)
