"""What goes on, as rows for a display: one for each serving binary, from the events of its attempts."""

from __future__ import annotations

import dataclasses
import threading

from infra_validator.core.deadline import SYSTEM_CLOCK, Clock
from infra_validator.core.progress import (
    BytesMoved,
    FleetWentOn,
    LoadWentOn,
    PhaseBegan,
    PhaseEnded,
    Progress,
    RequestAnswered,
    TriedAgain,
    Try,
)

_SMOOTHING = 0.05  # the weight of the newest latency in the one that is shown
_UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclasses.dataclass(frozen=True)
class Row:
    """One serving binary.

    Attributes:
      label: the serving binary, and the attempt where it is not the first.
      phase: what goes on; empty between phases.
      seconds: since the phase began.
      detail: bytes, requests, why it is tried again; empty where there is nothing to tell.
      done: the phases of this attempt that have ended, each with its seconds.
      failed: whether one of them failed.
    """

    label: str
    phase: str
    seconds: float
    detail: str
    done: tuple[tuple[str, float], ...]
    failed: bool


class _Seen:
    """What was seen of one serving binary."""

    def __init__(self, number: int = 1) -> None:
        self.number = number
        self.phase = ""
        self.began = 0.0
        self.done: list[tuple[str, float]] = []
        self.failed = False
        self.detail = ""
        self.requests = ""
        self.latency_ms = -1.0

    @property
    def is_over(self) -> bool:
        """Whether the attempt has ended."""
        return not self.phase and bool(self.done) and self.done[-1][0] == "stop"


class Board:
    """Takes events from any thread and has the rows at any moment.

    Args:
      clock: where time is read.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[str, _Seen] = {}

    def note(self, event: Progress) -> None:
        """Take one event."""
        with self._lock:
            if isinstance(event, FleetWentOn):
                self._seen = {label: seen for label, seen in self._seen.items() if not label.startswith(event.left)}
            seen = self._seen.setdefault(event.of.binary, _Seen())
            if isinstance(event, FleetWentOn):
                counts = ", ".join(f"{number} {word}" for word, number in event.counts.items() if number)
                seen.detail = f"{event.done} of {event.total} models: {counts}"
            elif isinstance(event, RequestAnswered):
                self._answered(seen, event)
            elif isinstance(event, LoadWentOn):
                seen.detail = _under_load(event)
            elif isinstance(event, BytesMoved):
                seen.detail = _moved(event)
            elif isinstance(event, PhaseBegan):
                if (
                    event.of.number != seen.number or seen.is_over
                ):  # another attempt, or the model with its warm-up file
                    seen = self._seen[event.of.binary] = _Seen(event.of.number)
                seen.phase, seen.began, seen.detail = event.phase, self._clock.monotonic(), ""
            elif isinstance(event, PhaseEnded):
                seen.done.append((event.phase, event.seconds))
                seen.failed = seen.failed or event.outcome == "failed"
                seen.phase, seen.detail = "", seen.requests
            elif isinstance(event, TriedAgain):
                after = f" in {event.pause:.0f} s" if event.pause >= 1 else ""
                seen.phase, seen.detail = "", f"{event.reason}; tried again{after}"

    def rows(self) -> list[Row]:
        """The rows as they are now, in the order in which their serving binaries were first seen."""
        now = self._clock.monotonic()
        with self._lock:
            return [
                Row(
                    str(Try(label, seen.number)),
                    seen.phase,
                    now - seen.began if seen.phase else 0.0,
                    seen.detail,
                    tuple(seen.done),
                    seen.failed,
                )
                for label, seen in self._seen.items()
            ]

    @staticmethod
    def _answered(seen: _Seen, event: RequestAnswered) -> None:
        if event.latency_ms >= 0:
            before = event.latency_ms if seen.latency_ms < 0 else seen.latency_ms
            seen.latency_ms = before + _SMOOTHING * (event.latency_ms - before)
        rate = f", {event.done / event.seconds:.0f}/s" if event.seconds > 0 else ""
        latency = f", {seen.latency_ms:.1f} ms" if seen.latency_ms >= 0 else ""
        words = "request" if event.done == 1 else "requests"
        seen.detail = seen.requests = f"{event.done} {words}{rate}{latency}"


def _under_load(event: LoadWentOn) -> str:
    rate = f", {event.rate_rps:.0f}/s" if event.rate_rps > 0 else ""
    latency = f", p50 {event.p50_ms:.1f} ms" if event.p50_ms > 0 else ""
    return f"{'warm-up, ' if event.warm_up else ''}{event.done} requests{rate}{latency}"


def _moved(event: BytesMoved) -> str:
    total = f" of {size(event.total)}" if event.total else ""
    share = f" ({100 * event.done / event.total:.0f} %)" if event.total else ""
    return f"{event.what} {size(event.done)}{total}{share}"


def size(count: float) -> str:
    """A number of bytes for people, in powers of 1000."""
    for unit in _UNITS[:-1]:
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} {_UNITS[-1]}"
