"""When a port that may still be closed is tried: tables of what the log says and when, on a clock of their own."""

from __future__ import annotations

import pytest

from infra_validator.core.deadline import Clock, News
from infra_validator.model_server_runners.kubernetes.connection.backoff import Backoff


class SpeakingLog:
    """A log that says something at given moments."""

    def __init__(self, words: list[float], *, follows: bool) -> None:
        self.news = News()
        self.spoke_at: float | None = None
        self.follows = follows
        self.words = words


class ManualClock(Clock):
    """Its pauses pass at once; the log's words come as it passes them."""

    def __init__(self, log: SpeakingLog) -> None:
        self.now = 0.0
        self._log = log

    def monotonic(self) -> float:
        return self.now

    def pause(self, news: News, seen: int, seconds: float) -> None:
        until = self.now + max(seconds, 0.001)
        spoken = [at for at in self._log.words if self.now < at <= until]
        self.now = spoken[0] if spoken else until
        if spoken:
            self._log.spoke_at = self.now


def tries(words: list[float], opens: float, *, follows: bool = True) -> list[float]:
    """The moments of the tries of a port that opens at ``opens``."""
    log = SpeakingLog(words, follows=follows)
    clock = ManualClock(log)
    backoff = Backoff(log, clock)
    moments: list[float] = []
    while backoff.wait(lambda: clock.now < 100):
        moments.append(round(clock.now, 2))
        if clock.now >= opens:
            backoff.answered()
            return moments
        backoff.failed()
    raise AssertionError(f"never open: {moments}")


@pytest.mark.parametrize(
    ("words", "opens", "expected"),
    [
        ([0.01, 0.02, 0.03], 0.03, [0.08]),  # open from the start: as soon as the log is quiet
        ([0.02, 2.0], 2.0, [0.07, 2.05]),  # two tries for a model that loads in two seconds
        ([0.02, 0.5, 0.51, 5.0, 5.01], 5.0, [0.07, 0.56, 4.56, 5.06]),
        ([0.02], 3.0, [0.07, 2.07, 6.07]),  # the log does not mention the port
        ([], 1.2, [0.25, 0.5, 1.0, 2.0]),  # the log says nothing at all
    ],
)
def test_the_log_says_when_to_try(words: list[float], opens: float, expected: list[float]) -> None:
    assert tries(words, opens) == pytest.approx(expected, abs=0.011)


def test_a_log_that_cannot_be_followed_leaves_growing_pauses() -> None:
    assert tries([], 4.0, follows=False) == pytest.approx([0.25, 0.5, 1.0, 2.0, 3.0, 4.0], abs=0.011)


def test_a_log_that_ended_after_its_first_words_is_no_longer_waited_for() -> None:
    assert tries([0.02], 1.0, follows=False) == pytest.approx([0.07, 0.32, 0.82, 1.82], abs=0.011)


def test_a_port_that_answered_is_tried_at_once_and_a_closed_one_is_closed_to_all() -> None:
    log = SpeakingLog([0.02], follows=True)
    clock = ManualClock(log)
    backoff = Backoff(log, clock)
    assert backoff.wait(lambda: True)
    backoff.answered()
    before = clock.now
    assert backoff.wait(lambda: True)
    assert clock.now == before
    backoff.failed()
    assert backoff.wait(lambda: True)  # of another connection
    assert clock.now == pytest.approx(before + 0.25, abs=0.011)  # its log no longer tells when the port opens


def test_nobody_waits_for_a_client_that_is_gone() -> None:
    log = SpeakingLog([], follows=True)
    clock = ManualClock(log)
    assert Backoff(log, clock).wait(lambda: clock.now < 0.1) is False
    assert clock.now <= 0.2
