"""The load spec: how many requests are sent, and how fast, to measure what the limits spec limits."""

from __future__ import annotations

import dataclasses
import enum

from infra_validator.core.errors import SpecError
from infra_validator.specs.reader import above_zero, not_negative, spec_field

_CALLERS = 1  # closed
_MOST_UNDER_WAY = 256  # open; each takes a thread


class LoadMode(enum.Enum):
    """When the next request is sent."""

    CLOSED = "closed"  # when one was answered: a number of callers that wait
    OPEN = "open"  # on a schedule, whatever the answers do: latency counts from the scheduled moment


@dataclasses.dataclass(frozen=True)
class LoadSpec:
    """How a server is loaded. Each signature and batch size of the request spec is asked for itself."""

    mode: LoadMode = spec_field(
        None,
        "Whether callers wait for answers (closed), or requests come on a schedule (open). Unset: open where rate_rps is given, "
        "else closed.",
    )
    concurrency: int = spec_field(
        None,
        "How many callers there are (closed; unset: 1); how many requests may be under way at once (open; unset: 256): one that "
        "is due while so many are is sent when one was answered, and its latency counts from when it was due.",
        check=above_zero,
        alias="workers",
    )
    rate_rps: float | None = spec_field(
        None, "How many requests are sent (open).", unit="requests per second", check=above_zero, alias="rps"
    )
    warm_up_seconds: float | None = spec_field(
        None,
        "How long requests are sent before anything counts; unset: until the latency is steady.",
        unit="seconds",
        check=not_negative,
    )
    seconds: float | None = spec_field(
        None,
        "How long is measured; unset, and requests as well: until three windows agree within 10 %.",
        unit="seconds",
        check=above_zero,
        alias="duration",
    )
    requests: int | None = spec_field(None, "How many requests are measured, instead of seconds.", check=above_zero)
    at_most_seconds: float = spec_field(
        60.0, "The hard bound of each signature and batch size, warm-up included.", unit="seconds", check=above_zero
    )
    timeout_seconds: float = spec_field(
        10.0,
        "When a request counts as failed, from when it was due.",
        unit="seconds",
        check=above_zero,
        alias="timeout",
    )

    def __post_init__(self) -> None:
        mode: LoadMode | None = self.mode
        concurrency: int | None = self.concurrency
        if mode is None:
            object.__setattr__(self, "mode", LoadMode.CLOSED if self.rate_rps is None else LoadMode.OPEN)
        if concurrency is None:
            object.__setattr__(self, "concurrency", _CALLERS if self.mode is LoadMode.CLOSED else _MOST_UNDER_WAY)

    def check(self, path: str) -> None:
        """Called by the reader. Raises SpecError."""
        if self.seconds is not None and self.requests is not None:
            raise SpecError(f"{path}.requests", "is given beside seconds: say one of them")
        if self.mode is LoadMode.OPEN and self.rate_rps is None:
            raise SpecError(f"{path}.rate_rps", "is needed by mode: open")
        if self.mode is LoadMode.CLOSED and self.rate_rps is not None:
            raise SpecError(f"{path}.rate_rps", "has no effect on mode: closed; say mode: open")
        self._check_time(path)

    def _check_time(self, path: str) -> None:
        """Whether all that is asked for has room in at_most_seconds."""
        bound = self.at_most_seconds
        measured = self.seconds or 0.0
        field, said = "seconds", f"{measured:g} s"
        if self.requests is not None and self.rate_rps is not None:
            measured = self.requests / self.rate_rps
            field, said = (
                "requests",
                f"{self.requests} requests at {self.rate_rps:g} a second take {measured:g} s, which",
            )
        warm_up = self.warm_up_seconds or 0.0
        if measured >= bound:
            raise SpecError(f"{path}.{field}", f"{said} must be below at_most_seconds, {bound:g} s: raise that")
        if measured + warm_up >= bound:
            told = f"{warm_up:g} s" + (f" and the {measured:g} s that are measured" if measured else "")
            raise SpecError(f"{path}.warm_up_seconds", f"{told} must be below at_most_seconds, {bound:g} s: raise that")
