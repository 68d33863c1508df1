"""Whether a failed attempt is made again, and after which pause: one policy for every platform.

A failure that cannot heal is final. What blames the model and may heal is tried again at once: its server starts from nothing anyway.
What lies with the platform needs time (a quota, a daemon that restarts, an eviction), so the pause before each further attempt
grows; an attempt that could only begin after the total limit is not made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from infra_validator.core.deadline import SYSTEM_CLOCK, Clock, Deadline
from infra_validator.core.errors import AttemptFailed, InfrastructureError, UsageError
from infra_validator.core.reason_codes import Blames, ReasonCode
from infra_validator.core.signals.interruption import Interruption

#: Seconds before the second, third ... attempt of what lies with the platform; the last one goes on.
PAUSES = (1.0, 4.0, 15.0, 60.0)

_PORTS_LOST = 2  # how many attempts that lost the race for a free port are not counted as tries

#: Failures that may heal, but not when they come twice in the same way.
_TWICE_IS_ENOUGH = frozenset({ReasonCode.SERVER_EXITED, ReasonCode.SERVER_KILLED, ReasonCode.SERVER_UNHEALTHY})

T = TypeVar("T")
Failure = AttemptFailed | InfrastructureError | UsageError


def until_it_heals(
    action: Callable[[], T],
    retries: Retries,
    interruption: Interruption,
    say: Callable[[str], None],
    clock: Clock = SYSTEM_CLOCK,
) -> T:
    """What ``action`` returns; called again, with the pauses of ``retries``, while it fails in a way that may heal.

    Args:
      action: something that belongs to no attempt, such as asking a registry what a tag means.
      retries: decides.
      interruption: ends a pause early.
      say: gets one line before each pause.
      clock: where time is read.

    Raises:
      InfrastructureError, AttemptFailed, UsageError: the last failure, or INTERRUPTED.
    """
    while True:
        try:
            return action()
        except (AttemptFailed, InfrastructureError, UsageError) as failure:
            pause = retries.pause_after(failure)
            if pause is None:
                raise
            say(f"{failure.reason.name}; tried again in {pause:g} s")
        interruption.rest(pause, clock)
        interruption.check()


class Retries:
    """The attempts with one serving binary, as far as they decide about the next one.

    Args:
      num_tries: how many attempts there may be.
      total: the limit of the whole validation.

    Attributes:
      total: the same, which may be put off.
      waited: by how many seconds it was.
    """

    def __init__(self, num_tries: int, total: Deadline) -> None:
        self._left = num_tries
        self.total = total
        self._seen: set[str] = set()
        self._ports_lost = 0
        self._pauses_made = 0
        self.waited = 0.0

    def put_off(self, seconds: float) -> None:
        """Have the limit come later by the time that was waited for a slot."""
        self.waited += seconds
        self.total = self.total.put_off(seconds)

    def pause_after(self, failure: Failure) -> float | None:
        """Seconds until the next attempt after this failure; None if there is none."""
        again = failure.fingerprint in self._seen and failure.reason in _TWICE_IS_ENOUGH
        self._seen.add(failure.fingerprint)
        if not failure.heals or again or self.total.expired():
            return None
        if failure.reason is ReasonCode.PORT_NOT_AVAILABLE and self._ports_lost < _PORTS_LOST:
            self._ports_lost += 1  # somebody was quicker; that uses up no try
            return 0.0
        self._left -= 1
        if self._left <= 0:
            return None
        pause = self._next_pause() if _lies_with_the_platform(failure) else 0.0
        return pause if pause < self.total.remaining() else None

    def _next_pause(self) -> float:
        pause = PAUSES[min(self._pauses_made, len(PAUSES) - 1)]
        self._pauses_made += 1
        return pause


def _lies_with_the_platform(failure: Failure) -> bool:
    return failure.reason.blames is Blames.INFRASTRUCTURE or failure.reason is ReasonCode.JOB_ABORTED
