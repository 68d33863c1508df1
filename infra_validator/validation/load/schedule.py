"""When each request is due, and what of its lateness is the sender's own doing. Pure arithmetic."""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The requests of one stretch of load.

    Attributes:
      began: when it began, on the monotonic clock.
      rate_rps: requests per second; None: each is due when a caller is free.
      seconds: how long requests are due; None: until they are stopped.
      requests: how many are due; None: as many as the time has.
    """

    began: float
    rate_rps: float | None = None
    seconds: float | None = None
    requests: int | None = None

    def due(self, number: int, free: float) -> float | None:
        """When the request of this number (from 0) is due; None if there is none.

        Args:
          number: which request.
          free: when the caller that would send it was free.
        """
        if self.requests is not None and number >= self.requests:
            return None
        moment = free if self.rate_rps is None else self.began + number / self.rate_rps
        return None if self.seconds is not None and moment >= self.began + self.seconds else moment

    def is_over(self, now: float) -> bool:
        """Whether nothing will be due any more, by the time."""
        return self.seconds is not None and now >= self.began + self.seconds

    def due_by(self, now: float) -> int:
        """How many requests were due by now; 0 where they come without a schedule."""
        if self.rate_rps is None:
            return 0
        passed = max(0.0, now - self.began)
        if self.seconds is not None and passed >= self.seconds:
            count = math.ceil(self.seconds * self.rate_rps - 1e-9)
        else:
            count = math.floor(passed * self.rate_rps + 1e-9) + 1
        return count if self.requests is None else min(count, self.requests)


def own_delay(due: float, free: float, sent: float) -> float:
    """Seconds for which a request was held up by the sender alone: while it was due and a caller was free to send it."""
    return max(0.0, sent - max(due, free))
