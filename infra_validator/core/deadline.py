"""The one deadline type and the one wait loop of the package.

A time limit becomes a :class:`Deadline` once, where it enters the package, and the object travels down; everything that
can block asks it for what remains. Whatever has to wait passes a question to :func:`wait_until`; the thing it
waits for may announce :class:`News` to have the question asked again at once.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from infra_validator.core.errors import DeadlineExceeded

T = TypeVar("T")

_LONGEST_THREAD_WAIT = 3600.0  # seconds; threading refuses waits beyond threading.TIMEOUT_MAX


class News:
    """Tells a waiter that its question may have another answer now. Thread-safe; announcements are never lost."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0

    @property
    def count(self) -> int:
        """How many announcements there have been."""
        return self._count

    def announce(self) -> None:
        """Wake every waiter."""
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    def wait(self, seen: int, seconds: float) -> None:
        """Return when there is news beyond ``seen`` announcements, or after ``seconds``."""
        with self._condition:
            self._condition.wait_for(lambda: self._count != seen, timeout=min(seconds, _LONGEST_THREAD_WAIT))


class Clock:
    """The machine's clocks. Tests hand in a clock of their own instead of patching ``time``."""

    def monotonic(self) -> float:
        """Seconds on a clock that never steps back; only differences mean anything."""
        return time.monotonic()

    def utc(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return time.time()

    def pause(self, news: News, seen: int, seconds: float) -> None:
        """Wait for an announcement.

        Args:
          news: who announces.
          seen: the count of announcements that is known already.
          seconds: how long to wait at most.
        """
        news.wait(seen, seconds)


SYSTEM_CLOCK = Clock()


class Deadline:
    """A moment on the monotonic clock. Immutable.

    Args:
      at: the moment, in the clock's monotonic seconds; ``math.inf`` never comes.
      clock: where time is read.
    """

    __slots__ = ("_at", "_clock")

    def __init__(self, at: float, clock: Clock = SYSTEM_CLOCK) -> None:
        self._at = at
        self._clock = clock

    @classmethod
    def after(cls, seconds: float, clock: Clock = SYSTEM_CLOCK) -> Deadline:
        """The moment ``seconds`` from now."""
        return cls(clock.monotonic() + seconds, clock)

    @classmethod
    def never(cls, clock: Clock = SYSTEM_CLOCK) -> Deadline:
        """A deadline that does not come. For values that callers overwrite; nothing in the package waits on it."""
        return cls(math.inf, clock)

    @classmethod
    def of(cls, value: Deadline | float, clock: Clock = SYSTEM_CLOCK) -> Deadline:
        """``value`` itself, or, as TFX's base runner has it, a UTC timestamp in seconds made into a deadline."""
        if isinstance(value, Deadline):
            return value
        return cls.after(value - clock.utc(), clock)

    @property
    def clock(self) -> Clock:
        """Where this deadline reads time."""
        return self._clock

    def remaining(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self._at - self._clock.monotonic())

    def expired(self) -> bool:
        """Whether the moment has come."""
        return self._clock.monotonic() >= self._at

    def capped(self, seconds: float) -> Deadline:
        """The earlier of this deadline and ``seconds`` from now."""
        return Deadline(min(self._at, self._clock.monotonic() + seconds), self._clock)

    def put_off(self, seconds: float) -> Deadline:
        """The moment ``seconds`` after this one."""
        return Deadline(self._at + seconds, self._clock)

    def earlier(self, other: Deadline) -> Deadline:
        """The earlier of two deadlines of one clock."""
        return self if self._at <= other._at else other

    def __repr__(self) -> str:
        return f"<Deadline in {self.remaining():.3f} s>"


_LONGEST_PATIENCE = 1.0  # seconds


def wait_until(
    question: Callable[[], T | None],
    deadline: Deadline,
    *,
    news: News | None = None,
    first_pause: float = 0.002,
    longest_pause: float = 0.1,
    patience: float = 0.0,
) -> T:
    """Ask ``question`` until it answers something other than None, and return the answer.

    Between two questions it pauses, first for ``first_pause`` seconds, then 1.5 times as long each time up to
    ``longest_pause``; an announcement of ``news`` ends the pause at once. The question is asked at least once, and
    once more when the deadline has come.

    Args:
      question: answers None as long as there is no answer; what it raises ends the wait.
      deadline: when to give up.
      news: whose announcements end a pause; None: only time does.
      first_pause, longest_pause: seconds.
      patience: the share of the time waited so far that a pause may last beyond that, a second at most.

    Raises:
      DeadlineExceeded: there was no answer in time.
    """
    news = news or News()
    pause = first_pause
    began = deadline.clock.monotonic()
    while True:
        seen = news.count
        last_call = deadline.expired()
        answer = question()
        if answer is not None:
            return answer
        if last_call:
            raise DeadlineExceeded()
        patient = min(patience * (deadline.clock.monotonic() - began), _LONGEST_PATIENCE)
        deadline.clock.pause(news, seen, min(max(pause, patient), deadline.remaining()))
        pause = min(pause * 1.5, longest_pause)
