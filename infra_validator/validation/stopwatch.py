"""The phases of one attempt: timed, kept, and told as they go."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from infra_validator.core.deadline import Clock
from infra_validator.core.progress import (
    BytesMoved,
    LoadWentOn,
    PhaseBegan,
    PhaseEnded,
    RequestAnswered,
    Tell,
    Try,
    tell_nobody,
)
from infra_validator.core.sample_request import SampleRequest
from infra_validator.report.verdict import Phase

if TYPE_CHECKING:
    from infra_validator.validation.load.load_generator import LoadProgress

OnAnswer = Callable[[SampleRequest, bytes], None]


class Stopwatch:
    """Measures the phases of one attempt and tells each, as it ends, in one line.

    Args:
      of: the attempt.
      say: gets the lines.
      clock: where time is read.
      tell: gets the same as data, and what else goes on in the attempt.
    """

    def __init__(self, of: Try, say: Callable[[str], None], clock: Clock, tell: Tell = tell_nobody) -> None:
        self.phases: list[Phase] = []
        self.of = of
        self.say = say
        self._clock = clock
        self._tell = tell
        self._latency_ms = -1.0
        self._first_asked = 0.0

    @contextlib.contextmanager
    def phase(self, name: str, outcome_of: Callable[[], str] = lambda: "ok") -> Iterator[None]:
        """Time the block as one phase; ``outcome_of`` tells how it went where nothing was raised."""
        began = self._clock.monotonic()
        outcome = "failed"
        self._tell(PhaseBegan(self.of, name))
        try:
            yield
            outcome = outcome_of()
        finally:
            seconds = self._clock.monotonic() - began
            self.phases.append(Phase(name, seconds))
            ended = PhaseEnded(self.of, name, outcome, seconds)
            self._tell(ended)
            self.say(str(ended))

    def bytes_moved(self, what: str, done: int, total: int) -> None:
        """Tell how far a pull or an upload is; called by the runner."""
        self._tell(BytesMoved(self.of, what, done, total))

    def load_went_on(self, load: LoadProgress) -> None:
        """Tell how far a load is; called by what sends it."""
        self._tell(LoadWentOn(self.of, load.warm_up, load.requests, load.rate_rps, load.p50_ms))

    def note_latency(self, seconds: float) -> None:
        """Note how long the request took that is told next; called by the client."""
        self._latency_ms = seconds * 1000

    def counting(self, look: OnAnswer) -> OnAnswer:
        """``look``, each of whose calls is told as an answered request."""
        first_asked = self._clock.monotonic()
        answered = itertools.count(1)

        def counted(request: SampleRequest, payload: bytes) -> None:
            look(request, payload)
            self._tell(
                RequestAnswered(self.of, next(answered), self._clock.monotonic() - first_asked, self._latency_ms)
            )

        return counted
