"""What goes on in a validation, as data: phases, bytes, requests. Whoever shows it decides how; lines for people are told beside it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping


@dataclasses.dataclass(frozen=True)
class Try:
    """Which attempt with which serving binary.

    Attributes:
      binary: the serving binary's label.
      number: the attempt's number, counted from 1.
      run_id: the validation's.
    """

    binary: str
    number: int = 1
    run_id: str = ""

    def __str__(self) -> str:
        return self.binary if self.number == 1 else f"{self.binary} (try {self.number})"


@dataclasses.dataclass(frozen=True)
class PhaseBegan:
    """A phase of an attempt began.

    Attributes:
      of: the attempt.
      phase: its name, e.g. ``load``.
    """

    of: Try
    phase: str


@dataclasses.dataclass(frozen=True)
class PhaseEnded:
    """A phase of an attempt ended.

    Attributes:
      of: the attempt.
      phase: its name.
      outcome: ``ok``, ``failed``, or what else came of it.
      seconds: how long it took.
    """

    of: Try
    phase: str
    outcome: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.of}: {self.phase} {self.outcome} ({self.seconds:.2f} s)"


@dataclasses.dataclass(frozen=True)
class BytesMoved:
    """A pull or an upload went on.

    Attributes:
      of: the attempt.
      what: ``pull`` or ``upload``.
      done: bytes so far.
      total: bytes in all; 0 while nobody knows.
    """

    of: Try
    what: str
    done: int
    total: int = 0


@dataclasses.dataclass(frozen=True)
class RequestAnswered:
    """A sample request was answered.

    Attributes:
      of: the attempt.
      done: how many were answered so far, this one included.
      seconds: since the first was taken to be sent.
      latency_ms: how long this one took, in milliseconds; negative where the client does not measure it.
    """

    of: Try
    done: int
    seconds: float
    latency_ms: float = -1.0


@dataclasses.dataclass(frozen=True)
class LoadWentOn:
    """A load that measures went on; told some times a second.

    Attributes:
      of: the attempt.
      warm_up: whether it does not count yet.
      done: requests that were answered in this stretch.
      rate_rps: requests a second of late; 0 before that is known.
      p50_ms: half of them took no longer, in milliseconds; 0 before that is known.
    """

    of: Try
    warm_up: bool
    done: int
    rate_rps: float
    p50_ms: float


@dataclasses.dataclass(frozen=True)
class TriedAgain:
    """An attempt failed, and there will be another.

    Attributes:
      of: the attempt that failed.
      reason: the reason code's name.
      pause: seconds until the next.
    """

    of: Try
    reason: str
    pause: float


@dataclasses.dataclass(frozen=True)
class FleetWentOn:
    """A model of a fleet is done.

    Attributes:
      of: the fleet.
      done: how many models are done.
      total: how many there are.
      counts: verdict -> how many models have it.
      left: what the labels of the model that is done begin with; nothing more comes of it.
    """

    of: Try
    done: int
    total: int
    counts: Mapping[str, int]
    left: str


Progress = PhaseBegan | PhaseEnded | BytesMoved | RequestAnswered | LoadWentOn | TriedAgain | FleetWentOn

#: Takes what goes on; called from several threads, often, and by those who do the work: it must be quick and never raise.
Tell = Callable[[Progress], None]


def new_run_id() -> str:
    """A name for one validation: in its report, logs, traces, and on what it starts. 16 hexadecimal digits."""
    return os.urandom(8).hex()


def tell_nobody(event: Progress) -> None:
    """Takes what goes on and does nothing."""
