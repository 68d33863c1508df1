"""Tells a connection that broke once from one that does not hold, and both from the server's own end."""

from __future__ import annotations

import contextlib

from infra_validator.core.deadline import Clock, Deadline, wait_until
from infra_validator.core.errors import AttemptFailed, DeadlineExceeded, InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_clients.base_client import Job, raise_if_gone
from infra_validator.model_server_clients.load_connection import LoadFailure

_MOST_BREAKS = 3  # how often the connection may break
_DOWN_SECONDS = 3.0  # how long it may stay down
_NOTICE_SECONDS = 3.0  # how long the job's watcher gets to notice that the server ended


class ConnectionWatch:
    """Notes when the connection breaks and when it holds again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._breaks = 0
        self._broke_at = -1.0
        self._down_since: float | None = None
        self._last: LoadFailure | None = None

    def answered(self) -> None:
        """A request was answered."""
        self._down_since = None

    def lost(self, failure: LoadFailure, sent: float, done: float) -> None:
        """A request was cut off. All that were under way when the connection broke are one break."""
        if self._down_since is None and sent > self._broke_at:
            self._breaks += 1
            self._down_since = self._broke_at = done
        self._last = failure

    def raise_if_broken(self, job: Job, at_end: bool = False) -> None:
        """Raise if the connection does not hold; at the end of a stretch of load, if it is down.

        A connection breaks a little before the job's end is known: that end, not the broken connection, is the cause.

        Raises:
          JobGone: the server ended.
          AttemptFailed: the server lives and has closed its port (SERVER_UNHEALTHY).
          InfrastructureError: CONNECTION_LOST.
        """
        if self._last is None or self._down_since is None:
            return
        down = self._clock.monotonic() - self._down_since
        if not at_end and self._breaks <= _MOST_BREAKS and down < _DOWN_SECONDS:
            return
        with contextlib.suppress(DeadlineExceeded):
            wait_until(lambda: raise_if_gone(job()), Deadline.after(_NOTICE_SECONDS, self._clock))
        if self._last.refused:
            raise AttemptFailed(
                ReasonCode.SERVER_UNHEALTHY, f"Under load: {self._last.text}", fingerprint="SERVER_UNHEALTHY"
            )
        raise InfrastructureError(
            ReasonCode.CONNECTION_LOST,
            f"Under load it broke {self._breaks} times: {self._last.text}",
            fingerprint="CONNECTION_LOST",
        )
