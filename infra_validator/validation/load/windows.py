"""Windows of a load run, and whether the latest of them agree."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from infra_validator.report.measurements import LoadWindow
from infra_validator.validation.load.histogram import Latencies

#: As perf_analyzer has it: so many windows in a row, none of which differs from another by more than this share.
WINDOWS_THAT_AGREE, AGREEMENT = 3, 0.10


@dataclasses.dataclass
class Window:
    """What was answered in one window.

    Attributes:
      starts_at, seconds: since the run began, and how long it is.
      latencies: of the requests answered rightly in it; errors: how many were not.
      whole: whether it went on to its end; the last one of a stretch seldom does, and is held against no other.
    """

    starts_at: float
    seconds: float = 0.0
    latencies: Latencies = dataclasses.field(default_factory=Latencies)
    errors: int = 0
    whole: bool = False

    @property
    def rate(self) -> float:
        """Requests answered rightly per second."""
        return self.latencies.total / self.seconds if self.seconds > 0 else 0.0

    def told(self, warm_up: bool) -> LoadWindow:
        """For the report."""
        return LoadWindow(
            starts_at=self.starts_at,
            seconds=self.seconds,
            requests=self.latencies.total,
            p50_ms=self.latencies.percentile(50.0),
            p99_ms=self.latencies.percentile(99.0),
            warm_up=warm_up,
        )


def none_answered(windows: Sequence[Window]) -> bool:
    """Whether in the latest windows nothing at all was answered rightly, so that going on would only ask in vain."""
    latest = [window for window in windows if window.whole][-WINDOWS_THAT_AGREE:]
    return len(latest) == WINDOWS_THAT_AGREE and not any(window.latencies.total for window in latest)


def why_not_steady(windows: Sequence[Window]) -> str:
    """Why the latest windows do not agree: one sentence; empty if they do.

    Held against each other are the median latency and the rate, as perf_analyzer does.
    """
    latest = [window for window in windows if window.whole][-WINDOWS_THAT_AGREE:]
    if len(latest) < WINDOWS_THAT_AGREE:
        return f"There were only {len(latest)} windows; it takes {WINDOWS_THAT_AGREE} that agree."
    if not all(window.latencies.total for window in latest):
        return f"In one of the last {WINDOWS_THAT_AGREE} windows no request was answered rightly."
    for what, unit, values in (
        ("median latency", "ms", [window.latencies.percentile(50.0) for window in latest]),
        ("rate", "requests per second", [window.rate for window in latest]),
    ):
        low, high = min(values), max(values)
        if high > low * (1 + AGREEMENT):
            return f"In the last {WINDOWS_THAT_AGREE} windows the {what} lay between {low:.3g} and {high:.3g} {unit}, more than 10 % apart."
    return ""
