"""How a running validation is told to end early: by a signal, a caller's button, a pipeline's shutdown."""

from __future__ import annotations

import threading
from collections.abc import Callable

from infra_validator.core.deadline import SYSTEM_CLOCK, Clock, Deadline, News, wait_until
from infra_validator.core.errors import DeadlineExceeded, InfrastructureError
from infra_validator.core.reason_codes import ReasonCode


class Interruption:
    """Set once, from any thread or signal handler; every wait of the validation then ends with INTERRUPTED.

    Cleaning up is never interrupted: whoever waits stops what it started on its way out.
    """

    def __init__(self) -> None:
        self._why: str | None = None
        self._closed = False
        self._at_close: list[Callable[[], None]] = []
        self._listeners: list[News] = []
        self._lock = threading.Lock()

    @property
    def why(self) -> str | None:
        """What interrupted, e.g. ``SIGTERM``; None while nothing did."""
        return self._why

    def set(self, why: str) -> None:
        """Interrupt. A second call, or one after ``close``, changes nothing. Takes no lock that a waiting thread could hold."""
        if self._closed:
            return
        if self._why is None:
            self._why = why
        for news in list(self._listeners):
            threading.Thread(target=news.announce, daemon=True).start()

    def close(self) -> None:
        """Have later calls of ``set`` change nothing. Called right before a result is printed, since it cannot be taken back then."""
        for action in self._at_close:
            action()
        self._closed = True

    def at_close(self, action: Callable[[], None]) -> None:
        """Have ``action`` called, in the caller's thread, when the interruption is closed."""
        self._at_close.append(action)

    def check(self) -> None:
        """Raise InfrastructureError(INTERRUPTED) if interrupted."""
        if self._why is not None:
            raise InfrastructureError(ReasonCode.INTERRUPTED, f"{self._why}.")

    def wakes(self, news: News) -> None:
        """Have ``news`` announced when the interruption comes."""
        with self._lock:
            self._listeners.append(news)

    def forget(self, news: News) -> None:
        """Undo ``wakes``."""
        with self._lock:
            if news in self._listeners:
                self._listeners.remove(news)

    def rest(self, seconds: float, clock: Clock = SYSTEM_CLOCK) -> None:
        """Wait for ``seconds``, or until the interruption comes; whoever goes on then finds it with ``check``."""
        news = News()
        self.wakes(news)
        try:
            wait_until(
                lambda: True if self._why is not None else None,
                Deadline.after(seconds, clock),
                news=news,
                longest_pause=max(seconds, 0.001),
            )
        except DeadlineExceeded:
            pass
        finally:
            self.forget(news)
