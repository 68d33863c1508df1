"""The load spec: how many requests are sent, and how fast, to measure what the limits spec limits."""

from __future__ import annotations

import dataclasses
import enum

from infra_validator.core.errors import SpecError
from infra_validator.specs.reader import above_zero, not_negative, spec_field


class LoadMode(enum.Enum):
    """When the next request is sent."""

    CLOSED = "closed"  # when one was answered: a number of callers that wait
    OPEN = "open"  # on a schedule, whatever the answers do: latency counts from the scheduled moment


@dataclasses.dataclass(frozen=True)
class LoadSpec:
    """How a server is loaded. Each signature and batch size of the request spec is asked for itself."""

    mode: LoadMode = spec_field(LoadMode.CLOSED, "Whether callers wait for answers, or requests come on a schedule.")
    concurrency: int = spec_field(1, "How many callers there are (closed).", check=above_zero)
    rate_rps: float | None = spec_field(
        None, "How many requests are sent (open).", unit="requests per second", check=above_zero
    )
    warm_up_seconds: float | None = spec_field(
        None,
        "How long requests are sent before anything counts; empty: until the latency is steady.",
        unit="seconds",
        check=not_negative,
    )
    seconds: float | None = spec_field(
        None, "How long is measured; empty: until three windows agree within 10 %.", unit="seconds", check=above_zero
    )
    requests: int | None = spec_field(None, "How many requests are measured, instead of seconds.", check=above_zero)
    at_most_seconds: float = spec_field(
        60.0, "The hard bound of each signature and batch size, warm-up included.", unit="seconds", check=above_zero
    )
    timeout_seconds: float = spec_field(10.0, "When a request counts as failed.", unit="seconds", check=above_zero)

    def check(self, path: str) -> None:
        """Called by the reader. Raises SpecError."""
        if self.seconds is not None and self.requests is not None:
            raise SpecError(f"{path}.requests", "is given beside seconds: say one of them")
        if self.mode is LoadMode.OPEN and self.rate_rps is None:
            raise SpecError(f"{path}.rate_rps", "is needed by mode: open")
        if self.mode is LoadMode.CLOSED and self.rate_rps is not None:
            raise SpecError(f"{path}.rate_rps", "has no effect on mode: closed; say mode: open")
