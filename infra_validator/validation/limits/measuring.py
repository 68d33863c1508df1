"""What is measured in one attempt, and when: the attempt calls the methods here as it gets on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from infra_validator.core.deadline import SYSTEM_CLOCK, Clock
from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.model_server_runners.base_runner import BaseModelServerRunner
from infra_validator.report.verdict import Phase
from infra_validator.specs import ValidationSpec
from infra_validator.validation.limits.alone import alone
from infra_validator.validation.limits.under_load import LoadJob, LoadOutcome, UnderLoad

if TYPE_CHECKING:
    from infra_validator.report.measurements import LimitResult, Measurements
    from infra_validator.validation.limits.memory_watch import MemoryWatch

#: Why a load may come to nothing, which only matters where something that it measures decides.
_NOT_MEASURED = frozenset({ReasonCode.LIMIT_NOT_MEASURED, ReasonCode.LOAD_NOT_REACHED, ReasonCode.TOO_NOISY})


class Measuring:
    """Owns the measurements of one attempt.

    Args:
      spec: the limits and the load.
      model_size_bytes: of the model's files together; None where they cannot be read here.
      under_load: puts the server under load.
      clock: where time is read.

    Attributes:
      notes: what people should know, one sentence each.
      with_quotes: the same, where a server's words may stand in it.
    """

    def __init__(
        self,
        spec: ValidationSpec,
        *,
        model_size_bytes: int | None = None,
        under_load: UnderLoad = alone,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._spec = spec
        self._model_size_bytes = model_size_bytes
        self._under_load = under_load
        self._clock = clock
        self._first_taken: float | None = None
        self._first_answer_ms: float | None = None
        self._outcome = LoadOutcome()
        self._results: tuple[LimitResult, ...] = ()
        self._began = clock.monotonic()
        self._memory: MemoryWatch | None = None
        self.notes: tuple[str, ...] = ()
        self.with_quotes: tuple[str, ...] = ()

    @property
    def loads(self) -> bool:
        """Whether the server is put under load."""
        return self._spec.loads

    @property
    def measurements(self) -> Measurements:
        """What has been measured so far."""
        from infra_validator.report.measurements import Measurements

        return Measurements(
            model_size_bytes=self._model_size_bytes,
            first_answer_ms=self._first_answer_ms,
            memory=self._memory.use if self._memory is not None else None,
            load=self._outcome.runs,
            limits=self._results,
            baseline=self._outcome.baseline,
        )

    def started(self, runner: BaseModelServerRunner) -> None:
        """Called when the server's process runs."""
        if self._spec.measures:
            from infra_validator.validation.limits.memory_watch import MemoryWatch

            self._memory = MemoryWatch(runner.ReadMemory, self._began, self._clock)

    def loaded(self) -> None:
        """Called when the model is loaded."""
        if self._memory is not None:
            self._memory.loaded()

    def ended(self) -> None:
        """Called before the server is stopped, whatever happened."""
        if self._memory is not None:
            self._memory.close()

    def asking(self, requests: Iterable[SampleRequest]) -> Iterator[SampleRequest]:
        """``requests``; notes when the first of them is taken to be sent. Where more is measured than that, the first is alone."""
        if self._memory is not None:
            self._memory.asked()
        return self._timed(requests)

    def _timed(self, requests: Iterable[SampleRequest]) -> Iterator[SampleRequest]:
        for number, request in enumerate(requests):
            if number == 0:
                self._first_taken = self._clock.monotonic()
            elif number == 1 and self._spec.measures:
                request = dataclasses.replace(request, after_all_before=True)
            yield request

    def answered(self, look: Callable[[SampleRequest, bytes], None]) -> Callable[[SampleRequest, bytes], None]:
        """``look``, for a client's ``on_answer``; notes when the first answer comes."""

        def note(request: SampleRequest, payload: bytes) -> None:
            if self._first_answer_ms is None and self._first_taken is not None:
                self._first_answer_ms = (self._clock.monotonic() - self._first_taken) * 1000
            look(request, payload)

        return note

    def load(self, job: LoadJob) -> None:
        """Put the server under load. Called in the phase ``measure``.

        Raises:
          AttemptFailed, InfrastructureError, JobGone: as UnderLoad.
        """
        try:
            self._outcome = self._under_load(job)
        except InfrastructureError as error:
            if error.reason not in _NOT_MEASURED or self._load_decides:
                raise
            self.with_quotes += (f"The load was not measured: {error.sentence}",)
            return
        if job.deadline.expired():
            raise InfrastructureError(ReasonCode.TOTAL_TIMEOUT, "The server was under load.")
        self.notes += self._outcome.notes
        self.with_quotes += self._outcome.with_quotes
        if job.runner.detour:
            self.notes += (
                f"The latency was measured through {job.runner.detour}: callers beside the server see less of it.",
            )

    @property
    def _load_decides(self) -> bool:
        """Whether anything that is measured under load decides."""
        return self._spec.limits.needs_load() and not self._spec.limits.advisory

    def decide(self, phases: Sequence[Phase]) -> None:
        """Hold all that was measured against the limits. Called last.

        Args:
          phases: of the attempt so far.

        Raises:
          AttemptFailed: a request failed under load (REQUEST_FAILED), or a limit that decides is exceeded (LIMIT_EXCEEDED).
          InfrastructureError: a limit that decides could not be measured (LIMIT_NOT_MEASURED).
        """
        from infra_validator.validation.limits.deciding import raise_for, raise_for_errors, warnings
        from infra_validator.validation.limits.judging import judged

        if self._memory is not None:
            self._memory.answered()
        limits, outcome, problem = self._spec.limits, self._outcome, self._memory.problem if self._memory else ""
        self._results = (
            *judged(limits, self.measurements, phases, problem),
            *(outcome.baseline.ratios if outcome.baseline is not None else ()),
        )
        self.notes += warnings(self._results)
        raise_for_errors(limits, outcome.runs)
        raise_for(self._results, outcome.problem)
