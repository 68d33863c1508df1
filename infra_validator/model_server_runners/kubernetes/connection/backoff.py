"""When to try a port of a pod that may still be closed, so that few calls are made and an open port is soon known.

A server opens its port when its model is loaded, and says so in its log. So: when the log has said something and then been quiet for a
moment, try; in between hardly ever. Where nothing can be read of the log, try with growing pauses.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from infra_validator.core.deadline import SYSTEM_CLOCK, Clock, News

_QUIET_SECONDS = 0.05  # servers say much at once; the last word counts
_FIRST_SECONDS = 0.25  # how long the first try waits for a first word
_SILENT_PAUSES = (0.25, 0.5, 1.0)  # of a log that says nothing; the last one goes on
_SPEAKING_PAUSES = (2.0, 4.0, 5.0)  # of a log that speaks: it may not mention the port
_LOOK_SECONDS = 0.05  # how soon it is noticed that nobody waits any more


class Log(Protocol):
    """What is needed of log_follower.LogFollower."""

    news: News
    spoke_at: float | None
    follows: bool


class Backoff:
    """The tries of all connections to one port: while it is closed to one, it is closed to all. Thread-safe.

    Args:
      log: the server's log.
      clock: where time is read; the log's ``spoke_at`` is of the same.
    """

    def __init__(self, log: Log, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._log = log
        self._lock = threading.Lock()
        self._heard = 0.0  # when the log had last spoken at the last try
        self._tried_at = self._clock.monotonic()
        self._failures = 0
        self._was_open = False  # whether the server ever answered: then its log no longer tells when the port opens
        self._open = False

    def wait(self, wanted: Callable[[], bool]) -> bool:
        """Return when it is time for a try: True; or when it is no longer wanted: False."""
        while wanted():
            seen = self._log.news.count
            with self._lock:
                pause = self._pause()
                if pause <= 0:
                    self._heard = self._log.spoke_at or 0.0
                    self._tried_at = self._clock.monotonic()
                    return True
            self._clock.pause(self._log.news, seen, min(pause, _LOOK_SECONDS))
        return False

    def failed(self) -> None:
        """A try found the port closed, or did not reach the pod."""
        with self._lock:
            self._open = False
            self._failures += 1

    def answered(self) -> None:
        """The server has answered: the next connection need not wait."""
        with self._lock:
            self._open = self._was_open = True
            self._failures = 0

    def _pause(self) -> float:
        """Seconds until the next try, as things are."""
        if self._open:
            return 0.0
        now = self._clock.monotonic()
        spoke_at = self._log.spoke_at
        speaks = spoke_at is not None and self._log.follows and not self._was_open
        if not self._failures:
            pauses: tuple[float, ...] = (_FIRST_SECONDS,)
        else:
            pauses = _SPEAKING_PAUSES if speaks else _SILENT_PAUSES
        timed = self._tried_at + pauses[min(max(self._failures, 1), len(pauses)) - 1] - now
        if spoke_at is not None and spoke_at > self._heard:
            return min(timed, spoke_at + _QUIET_SECONDS - now)
        return timed
