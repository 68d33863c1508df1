"""A clock that only moves when something waits on it, so that tests of deadlines take no time."""

from __future__ import annotations

from infra_validator.core.deadline import Clock, News


class HandClock(Clock):
    """Starts at 100 s (monotonic) and 2001-09-09 (UTC); a pause moves it, and is remembered.

    Attributes:
      pauses: the seconds of each pause, in order.
    """

    def __init__(self) -> None:
        self.now = 100.0
        self.utc_offset = 1_000_000_000.0 - self.now
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def utc(self) -> float:
        return self.now + self.utc_offset

    def pause(self, news: News, seen: int, seconds: float) -> None:
        if news.count != seen:
            return
        self.pauses.append(seconds)
        self.now += seconds
