"""An RPC under way that is looked at now and then, so that the job is looked at in between."""

from __future__ import annotations

import threading
import time
from typing import Any

from infra_validator.core.deadline import Deadline

LOOK_SECONDS = 0.05  # how long one look takes


class PendingCall:
    """One RPC.

    Args:
      future: gRPC's call.

    Attributes:
      began: when, on the monotonic clock.
      broken_at: set by the owner when it saw that the connection broke.
    """

    def __init__(self, future: Any) -> None:
        self.future = future
        self.began = time.monotonic()
        self.broken_at: float | None = None
        self._done = threading.Event()
        future.add_done_callback(lambda _: self._done.set())

    def is_done(self, deadline: Deadline) -> bool:
        """Whether it has ended; waits a moment for that."""
        return self._done.wait(deadline.capped(LOOK_SECONDS).remaining())

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began
