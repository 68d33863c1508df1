"""The one exception tree. Each class says who must act.

    InfraValidatorError
    ├── UsageError                  the caller: a flag, an argument, a file that was named
    │   └── SpecError               the caller: a field of a spec (also a ValueError)
    ├── InfrastructureError         the operator: the test could not be carried out; no model is blamed
    │   └── ExamplesError           the operator: the sample requests could not be read
    ├── AttemptFailed               the model's author: a server ran, or was refused the model, and the attempt failed
    │   └── JobAborted              nobody yet: the platform ended the job; tried again while tries are left
    ├── ModelRejected               the pipeline's owner: the verdict is NOT_BLESSED and on_rejected is raise
    ├── DeadlineExceeded            the code that set the deadline: it knows what was waited for (also a TimeoutError)
    └── IllegalStateError           the programmer: verbs called in the wrong order (also an AssertionError)

Every error that reaches a user has a reason code; the code holds the plain sentence and the next step. Data stands in
attributes, text is made in ``__str__``.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from infra_validator.core.reason_codes import ReasonCode

_LONGEST_DETAIL = 4000  # characters; foreign messages (a daemon's, an API server's) can be megabytes


def shorten(text: str, limit: int = _LONGEST_DETAIL) -> str:
    """``text`` in at most ``limit`` characters; what is cut is said."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]} ... ({len(text) - limit} more characters)"


def did_you_mean(name: str, known: Iterable[str], *, at_least: float = 0.6) -> str:
    """A sentence that asks for the nearest known name, with a space before it; empty where none is near.

    Args:
      name: what was given.
      known: what could have been.
      at_least: how near it must be, from 0 to 1.
    """
    import difflib  # only a mistake needs it

    near = difflib.get_close_matches(name, list(known), n=1, cutoff=at_least)
    return f" Did you mean {near[0]!r}?" if near else ""


class InfraValidatorError(Exception):
    """Root of everything the package raises on purpose."""


class _ReasonedError(InfraValidatorError):
    """An error with a reason code.

    Attributes:
      reason: the reason code.
      detail: what happened, to which thing, in one sentence.
      next_step: what to do; the reason code's own unless a better one is known.
      fingerprint: what makes two failures the same failure; equal ones in a row are not retried.
      heals: whether trying again can change the outcome; as the reason code has it unless more is known of this failure.
      quotes: what of the detail are a server's words, which may repeat what was sent to it; None: nobody knows, all may be.
      report: the ValidationReport, where there is one (set by ``api.validate``).
    """

    report: Any = None

    def __init__(
        self,
        reason: ReasonCode,
        detail: str = "",
        *,
        next_step: str = "",
        fingerprint: str = "",
        heals: bool | None = None,
        quotes: Sequence[str] | None = None,
    ) -> None:
        self.quotes = quotes
        self.reason = reason
        self.detail = shorten(detail)
        self.next_step = next_step or reason.next_step
        self.fingerprint = fingerprint or f"{reason.name}: {self.detail}"
        self.heals = reason.heals if heals is None else heals
        super().__init__(reason, detail)

    @property
    def sentence(self) -> str:
        """The reason code's plain sentence, with the detail where there is one."""
        return f"{self.reason.sentence} {self.detail}".strip()

    def __str__(self) -> str:
        return f"{self.reason.name}: {self.sentence} Next step: {self.next_step}"


class UsageError(_ReasonedError):
    """The caller's mistake: nothing was started."""

    def __init__(
        self,
        detail: str,
        *,
        reason: ReasonCode = ReasonCode.WRONG_USAGE,
        next_step: str = "",
        quotes: Sequence[str] | None = None,
    ) -> None:
        super().__init__(reason, detail, next_step=next_step, quotes=quotes)


class SpecError(UsageError, ValueError):
    """A field of a spec is wrong.

    Attributes:
      field: the path of the field, e.g. ``serving_spec.local_docker.client_timeout_seconds``.
    """

    def __init__(self, field: str, problem: str, *, next_step: str = "") -> None:
        self.field = field
        super().__init__(f"{field}: {problem}", reason=ReasonCode.BAD_SPEC, next_step=next_step)


class InfrastructureError(_ReasonedError):
    """The test could not be carried out: the server's process never ran, or something around it is missing."""


class ExamplesError(InfrastructureError):
    """The sample requests could not be read."""


class AttemptFailed(_ReasonedError):
    """A failure that counts against the model."""


class JobAborted(AttemptFailed):
    """The platform ended the job (eviction, deletion by somebody else, a daemon's restart)."""


class ModelRejected(_ReasonedError):
    """Raised for NOT_BLESSED when the validation spec says ``on_rejected: raise``."""


class DeadlineExceeded(InfraValidatorError, TimeoutError):
    """A wait was not answered in time. Whoever set the deadline catches it and raises what that means: LOAD_TIMEOUT, say."""

    def __str__(self) -> str:
        return self.args[0] if self.args else "The deadline was exceeded."


class IllegalStateError(InfraValidatorError, AssertionError):
    """A verb was called in a state where it makes no sense; the message says what to call."""


_SOME_MEMORY = 2**20  # bytes
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)

#: What the dynamic linker says of a library that finds no room in memory, or no descriptor.
_NO_ROOM_FOR_A_LIBRARY = (
    "failed to map segment",
    ": Cannot allocate memory",
    "cannot open shared object file: Too many",
)


def of_exhaustion(error: BaseException) -> InfrastructureError | None:
    """RESOURCES_EXHAUSTED where ``error`` says that this process has no descriptor, thread or memory left; else None."""
    no_thread = isinstance(error, RuntimeError) and "can't start new thread" in str(error)
    no_room = isinstance(error, ImportError) and any(words in str(error) for words in _NO_ROOM_FOR_A_LIBRARY)
    if (
        no_thread
        or no_room
        or isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno in _EXHAUSTED)
    ):
        return InfrastructureError(ReasonCode.RESOURCES_EXHAUSTED, f"{str(error) or type(error).__name__}.")
    return None


def of_exhaustion_now() -> InfrastructureError | None:
    """RESOURCES_EXHAUSTED where this process has no descriptor or memory at this moment; else None.

    What is imported without memory may be imported by halves, and then fails in ways that say nothing of it (a NameError).
    """
    try:
        raise_if_exhausted()
        mmap.mmap(-1, _SOME_MEMORY).close()
    except OSError as error:
        return of_exhaustion(error)
    return None


@contextlib.contextmanager
def naming_exhaustion() -> Iterator[None]:
    """For threads, whose own exceptions nobody hears: what the block raises for want of something is ``of_exhaustion``'s error.

    Raises:
      InfrastructureError: RESOURCES_EXHAUSTED.
    """
    try:
        yield
    except Exception as error:
        exhausted = of_exhaustion(error)
        if exhausted is None:
            raise
        raise exhausted from error


def raise_if_exhausted(descriptors: int = 1) -> None:
    """Ask the system for file descriptors and give them back. grpcio without any connects to nothing and says only that time is up.

    Raises:
      OSError: there are not so many; ``of_exhaustion`` knows it.
    """
    with contextlib.ExitStack() as opened:
        for _ in range(descriptors):
            opened.callback(os.close, os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
