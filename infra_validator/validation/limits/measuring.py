"""What is measured in one attempt, and when: the attempt calls the methods here as it gets on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from infra_validator.core.deadline import SYSTEM_CLOCK, Clock
from infra_validator.core.sample_request import SampleRequest
from infra_validator.report.measurements import LimitResult, Measurements
from infra_validator.report.verdict import Phase
from infra_validator.specs import ValidationSpec
from infra_validator.validation.limits.alone import alone
from infra_validator.validation.limits.deciding import judged, raise_for
from infra_validator.validation.limits.under_load import LoadJob, LoadOutcome, UnderLoad


class Measuring:
    """Owns the measurements of one attempt.

    Args:
      spec: the limits and the load.
      model_size_bytes: of the model's files together; None where they cannot be read here.
      under_load: puts the server under load.
      clock: where time is read.

    Attributes:
      notes: what people should know, one sentence each.
    """

    def __init__(
        self,
        spec: ValidationSpec,
        *,
        model_size_bytes: int | None = None,
        under_load: UnderLoad = alone,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._limits = spec.limits
        self._loads = spec.loads
        self._model_size_bytes = model_size_bytes
        self._under_load = under_load
        self._clock = clock
        self._first_taken: float | None = None
        self._first_answer_ms: float | None = None
        self._outcome = LoadOutcome()
        self._results: tuple[LimitResult, ...] = ()
        self.notes: tuple[str, ...] = ()

    @property
    def loads(self) -> bool:
        """Whether the server is put under load."""
        return self._loads

    @property
    def measurements(self) -> Measurements:
        """What has been measured so far."""
        return Measurements(
            model_size_bytes=self._model_size_bytes,
            first_answer_ms=self._first_answer_ms,
            load=self._outcome.runs,
            limits=self._results,
            baseline=self._outcome.baseline,
        )

    def asking(self, requests: Iterable[SampleRequest]) -> Iterator[SampleRequest]:
        """``requests``; notes when the first of them is taken to be sent."""
        for request in requests:
            if self._first_taken is None:
                self._first_taken = self._clock.monotonic()
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
        on_answer, job.client.on_answer = job.client.on_answer, None
        try:
            self._outcome = self._under_load(job)
        finally:
            job.client.on_answer = on_answer
        self.notes += self._outcome.notes

    def decide(self, phases: Sequence[Phase]) -> None:
        """Hold all that was measured against the limits. Called last.

        Args:
          phases: of the attempt so far.

        Raises:
          AttemptFailed: a limit that decides is exceeded (LIMIT_EXCEEDED).
          InfrastructureError: a limit that decides could not be measured (LIMIT_NOT_MEASURED).
        """
        baseline = self._outcome.baseline
        self._results = (
            *judged(self._limits, self.measurements, phases),
            *(baseline.ratios if baseline is not None else ()),
        )
        raise_for(self._results)
