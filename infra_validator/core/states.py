"""Job states and their legal moves, what is seen of a job, and the status of a model.

The five states and the moves between them are the base runner seed's (tfx ``base_runner.py``).
"""

from __future__ import annotations

import dataclasses
import enum

from infra_validator.core.errors import IllegalStateError
from infra_validator.core.reason_codes import ReasonCode


class JobState(enum.Enum):
    """The state of a model server job. Each member says which event leads to it."""

    INITIAL = "Initial"  # the runner was made
    SCHEDULED = "Scheduled"  # Start() was called
    RUNNING = "Running"  # WaitUntilRunning() saw the job running
    ABORTED = "Aborted"  # the job ended without being asked to
    END = "End"  # Stop() was called


class Verb(enum.Enum):
    """What a caller may ask of a runner."""

    START = "Start"
    WAIT_UNTIL_RUNNING = "WaitUntilRunning"
    GET_ENDPOINT = "GetEndpoint"


# One row for every illegal pair of verb and state: the message says what to call instead. What is not here is legal;
# Stop() and GetLogs() are legal in every state.
_ILLEGAL: dict[tuple[Verb, JobState], str] = {
    (Verb.START, JobState.SCHEDULED): "Start() was called before; make a new runner for another job.",
    (Verb.START, JobState.RUNNING): "Start() was called before; make a new runner for another job.",
    (Verb.START, JobState.ABORTED): "The job was aborted and is never recovered; make a new runner for another job.",
    (Verb.START, JobState.END): "The runner was stopped; make a new runner for another job.",
    (Verb.WAIT_UNTIL_RUNNING, JobState.INITIAL): "Call Start() before WaitUntilRunning().",
    (Verb.WAIT_UNTIL_RUNNING, JobState.END): "The runner was stopped; make a new runner for another job.",
    (Verb.GET_ENDPOINT, JobState.INITIAL): "Call Start() and WaitUntilRunning() before GetEndpoint().",
    (Verb.GET_ENDPOINT, JobState.SCHEDULED): "Call WaitUntilRunning() before GetEndpoint().",
    (Verb.GET_ENDPOINT, JobState.ABORTED): "The job was aborted: there is no endpoint; read GetLogs().",
    (Verb.GET_ENDPOINT, JobState.END): "The runner was stopped: there is no endpoint any more.",
}


def check_move(verb: Verb, state: JobState) -> None:
    """Raise IllegalStateError (an AssertionError, as the seed has it) if ``verb`` is not legal in ``state``."""
    message = _ILLEGAL.get((verb, state))
    if message is not None:
        raise IllegalStateError(f"{verb.value}() is not possible in state {state.value}. {message}")


class Life(enum.Enum):
    """Where a job is, as seen from outside."""

    PENDING = "pending"  # accepted by the platform; the server's process has not run yet, as far as anybody can tell
    RUNNING = "running"  # the server's process runs
    GONE = "gone"  # it does not run any more, or never will


@dataclasses.dataclass(frozen=True)
class Observation:
    """What was seen of a job: where it is and, when it is gone, why.

    Attributes:
      life: pending, running or gone.
      reason: when gone, why; the code decides who is to blame (``ReasonCode.blames``). When pending, why if it stays so to the
        deadline; None: the platform could not start it.
      detail: one sentence in the platform's own words, e.g. ``exit code 1``.
      fingerprint: what makes two ends "the same end" (exit code, signal); two equal ones in a row are not retried.
      heals: when gone, whether trying again can change it; None: as the reason code has it.
    """

    life: Life
    reason: ReasonCode | None = None
    detail: str = ""
    fingerprint: str = ""
    heals: bool | None = None

    @classmethod
    def pending(cls, detail: str = "", reason: ReasonCode | None = None) -> Observation:
        """The server's process has not run yet; ``reason`` is why, if that lasts to the deadline."""
        return cls(Life.PENDING, reason, detail)

    @classmethod
    def running(cls, detail: str = "") -> Observation:
        """The server's process runs."""
        return cls(Life.RUNNING, detail=detail)

    @classmethod
    def gone(cls, reason: ReasonCode, detail: str, fingerprint: str = "", heals: bool | None = None) -> Observation:
        """The server's process does not run any more, or never will; see the attributes for the arguments."""
        return cls(Life.GONE, reason, detail, fingerprint or f"{reason.name}: {detail}", heals)


class ModelStatus(enum.Enum):
    """The status of the model under test, as its server tells it."""

    NOT_READY = "NOT_READY"  # not loaded yet, or nobody answers yet
    READY = "READY"  # the version under test can be asked
    UNAVAILABLE = "UNAVAILABLE"  # it will not become ready


@dataclasses.dataclass(frozen=True)
class ModelStatusReport:
    """A model status with what the server said about it.

    Attributes:
      status: see ModelStatus.
      detail: the server's own words; empty where it said nothing.
      answered: whether a server answered at all (False: refused, unreachable, timed out).
      foreign: whether what answered does not answer as a model server does (another program, another protocol).
    """

    status: ModelStatus
    detail: str = ""
    answered: bool = True
    foreign: bool = False


@dataclasses.dataclass(frozen=True)
class MemoryReading:
    """One reading.

    Attributes:
      octets: bytes that the server holds now; None where the platform does not tell.
      source: where they were read, for people, e.g. ``proportional set size of the process tree``.
      peak_octets: the most that it ever held, where the kernel keeps a record of its own; else None.
      problem: why ``octets`` is None, one sentence.
    """

    octets: int | None
    source: str
    peak_octets: int | None = None
    problem: str = ""

    @classmethod
    def none(cls, source: str, problem: str) -> MemoryReading:
        """A reading that could not be had."""
        return cls(None, source, problem=problem)
