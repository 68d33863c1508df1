"""The decision: attempts, retries, verdict. Knows the two base classes only, no platform and no protocol."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import logging
import traceback
from collections.abc import Callable, Iterable, Sequence

from infra_validator.core.deadline import SYSTEM_CLOCK, Clock, Deadline
from infra_validator.core.errors import AttemptFailed, InfrastructureError, UsageError, of_exhaustion, of_exhaustion_now
from infra_validator.core.progress import Tell, TriedAgain, Try, tell_nobody
from infra_validator.core.reason_codes import Blames, ReasonCode
from infra_validator.core.sample_request import RequestSource, SampleRequest
from infra_validator.core.signals.interruption import Interruption
from infra_validator.model_server_clients.base_client import JobGone
from infra_validator.model_server_runners.base_runner import failure_of
from infra_validator.report.verdict import (
    AttemptReport,
    BinaryReport,
    Finding,
    ValidationReport,
    Verdict,
    now,
    verdict_of,
)
from infra_validator.specs import OnFlaky, ValidationSpec
from infra_validator.specs.extensions import failure_of as failure_of_extension
from infra_validator.validation.answers.standards import AnswerStandards
from infra_validator.validation.attempt import Attempt, Candidate
from infra_validator.validation.explanation import MAY_HAVE_A_DEEPER_CAUSE, can_have_caused
from infra_validator.validation.hardening import Hardening
from infra_validator.validation.limits.alone import alone
from infra_validator.validation.limits.measuring import Measuring
from infra_validator.validation.limits.under_load import UnderLoad
from infra_validator.validation.redaction.attempt_report import cleaned_report
from infra_validator.validation.redaction.redaction import Redaction
from infra_validator.validation.retry import Retries
from infra_validator.validation.slots import AT_ONCE, Slot, Slots
from infra_validator.validation.stopwatch import Stopwatch

_LOG = logging.getLogger(__name__)

_SIDE_BY_SIDE = 4  # how many serving binaries of one spec are validated at once


#: What the total limit cuts short.
_TIMEOUTS = frozenset({ReasonCode.LOAD_TIMEOUT, ReasonCode.QUERY_TIMEOUT, ReasonCode.REQUESTS_TOO_SLOW})


class Validation:
    """One validation: all attempts over all serving binaries of a spec.

    Args:
      candidates: what to validate; at least one.
      spec: limits and tries.
      requests: makes the sample requests anew for each attempt; None means LOAD_ONLY.
      standards: what answers are held against; None: what ``spec.answers`` says, of a model whose signatures are not known.
      concurrency: how many requests are under way at once.
      model_size_bytes: of the model's files together; None where they cannot be read here.
      under_load: makes, for a serving binary, what puts its servers under load.
      on_progress: called with one line for people at the end of each phase; from several threads.
      tell: gets the same as data, and more of it.
      interruption: ends the validation early.
      redaction: what was sent before to servers of this model, or stands in the model; what is sent here is added.
      slots: how many servers are at work on this machine at once; None: any number.
      run_id: names the validation; empty: it has no name.
      clock: where time is read.

    Attributes:
      redaction: what was sent.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        spec: ValidationSpec,
        *,
        requests: RequestSource | Callable[[], Iterable[SampleRequest]] | None = None,
        standards: AnswerStandards | None = None,
        concurrency: int = 8,
        model_size_bytes: int | None = None,
        under_load: Callable[[Candidate], UnderLoad] = lambda candidate: alone,
        on_progress: Callable[[str], None] = _LOG.info,
        tell: Tell = tell_nobody,
        interruption: Interruption | None = None,
        redaction: Redaction | None = None,
        slots: Slots | None = None,
        run_id: str = "",
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not candidates:
            raise UsageError("There is no serving binary to validate with.")
        self._candidates = candidates
        self._spec = spec
        self._requests = (
            requests if requests is None or isinstance(requests, RequestSource) else RequestSource(requests)
        )
        self._standards = standards or AnswerStandards(spec.answers)
        self.redaction = redaction or Redaction(self._standards.names, show=spec.show_requests)
        self._requests = self.redaction.noting(self._requests) if self._requests is not None else None
        self._concurrency = concurrency
        self._model_size_bytes = model_size_bytes
        self._under_load = under_load
        self._say = on_progress
        self._tell = tell
        self._interruption = interruption or Interruption()
        self._clock = clock
        self._run_id = run_id
        self._slots = slots or Slots(0)
        self._total = Deadline.after(spec.total_time_seconds, clock)
        self._waited: list[float] = []  # seconds for slots, of each serving binary

    @property
    def total(self) -> Deadline:
        """The limit of the whole. Waiting for a slot does not count."""
        return self._total.put_off(max(self._waited, default=0.0))

    def run(self, model: str, model_name: str) -> ValidationReport:
        """Validate. Returns a report for every outcome, INCONCLUSIVE included; what was started is stopped."""
        began = self._clock.monotonic()
        started_at = now(self._clock)
        workers = min(len(self._candidates), 1 if self._spec.loads else _SIDE_BY_SIDE)
        if self._spec.loads and len(self._candidates) > 1:
            self._say(
                "The serving binaries are validated one after the other, so that none disturbs another's measurement."
            )
        with concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="validation") as pool:
            try:
                reports = tuple(pool.map(self._validate, self._candidates))
            except BaseException as error:  # a KeyboardInterrupt: the threads stop what they started, then it goes on
                self._interruption.set(type(error).__name__)
                raise
        verdict, finding = decide(reports)
        return ValidationReport(
            verdict,
            finding,
            model,
            model_name,
            reports,
            started_at,
            self._clock.monotonic() - began,
            warnings=tuple(warning for report in reports for warning in _warnings(report)),
        )

    # ---------------------------------------------------------------- one serving binary

    def _validate(self, candidate: Candidate) -> BinaryReport:
        attempts: list[AttemptReport] = []
        retries = Retries(self._spec.num_tries, self._total)
        hardening = Hardening(candidate.relaxing)
        while True:
            report, failure = self._attempt(candidate, len(attempts) + 1, retries)
            attempts.append(report if failure is not None else hardening.noted(report))
            if failure is None:
                verdict, finding = Verdict.BLESSED, report.finding
                break
            judged = hardening.judged(failure)
            verdict, finding = verdict_of(judged), report.finding if judged is failure else Finding.of(judged)
            pause = retries.pause_after(failure)
            if candidate.relaxed is not None and hardening.may_be_why(report, failure):
                self._say(f"{candidate.binary.label}: {failure.reason.name}; tried again {candidate.relaxing.how}")
                candidate = candidate.relaxed
                continue
            if pause is None or judged is not failure:
                break
            self._tell(TriedAgain(Try(candidate.binary.label, len(attempts), self._run_id), failure.reason.name, pause))
            if pause:
                self._say(f"{candidate.binary.label}: {failure.reason.name}; tried again in {pause:g} s")
                self._interruption.rest(pause, self._clock)
        self._waited.append(retries.waited)
        flaky = False
        if verdict is Verdict.BLESSED:
            first = next((a.finding for a in _alike(attempts) if _shows_flakiness(a.finding.reason)), None)
            flaky = first is not None
            if first is not None and self._spec.on_flaky is OnFlaky.REJECT:
                verdict, finding = Verdict.NOT_BLESSED, first
        return BinaryReport(
            candidate.binary.name,
            candidate.binary.label,
            candidate.platform,
            candidate.binary.advisory,
            verdict,
            finding,
            tuple(attempts),
            flaky,
        )

    def _attempt(
        self, candidate: Candidate, number: int, retries: Retries
    ) -> tuple[AttemptReport, AttemptFailed | InfrastructureError | UsageError | None]:
        watch = Stopwatch(Try(candidate.binary.label, number, self._run_id), self._say, self._clock, self._tell)
        with (self._slots if candidate.takes_a_slot else Slots(0)).enter() as slot:
            self._wait_for(slot, watch, retries)
            report, failure = self._tried(candidate, number, watch, retries.total)
        if slot.problem:
            note = f"It was not waited for a slot among the model servers of this machine: {slot.problem}."
            report = dataclasses.replace(report, notes=(*report.notes, note))
        return report, failure

    def _wait_for(self, slot: Slot, watch: Stopwatch, retries: Retries) -> None:
        """Wait until a server more may be at work on this machine, which no limit of the validation counts."""
        if slot.is_free():
            return
        at_once = self._slots.at_once
        watch.say(f"{watch.of}: waiting for a slot: {at_once} model servers are at work on this machine ({AT_ONCE})")
        began = self._clock.monotonic()
        with watch.phase("wait"):
            slot.wait(Deadline.after(self._spec.total_time_seconds, self._clock), self._interruption)
        retries.put_off(self._clock.monotonic() - began)

    def _tried(
        self, candidate: Candidate, number: int, watch: Stopwatch, total: Deadline
    ) -> tuple[AttemptReport, AttemptFailed | InfrastructureError | UsageError | None]:
        say_cleaned = self.redaction.saying(self._say)
        measuring = Measuring(
            self._spec,
            model_size_bytes=self._model_size_bytes,
            under_load=self._under_load(candidate),
            clock=self._clock,
        )
        attempt = Attempt(
            candidate, self._spec, total, self._interruption, watch, say_cleaned, self._standards, measuring
        )
        failure: AttemptFailed | InfrastructureError | UsageError | None = None
        try:
            attempt.carry_out(self._requests, self._concurrency)
        except (AttemptFailed, InfrastructureError, UsageError) as error:
            failure = self._deeper_cause(candidate, attempt, error, total)
        except JobGone as gone:
            failure = self._deeper_cause(candidate, attempt, failure_of(gone.seen), total)
        except Exception as error:
            failure = of_exhaustion(error) or of_exhaustion_now()
            if failure is None:
                (trace,) = self.redaction.cleaned([traceback.format_exc()], total, self._interruption)
                _LOG.error("The attempt failed inside the validator.\n%s", trace)
                failure = failure_of_extension(error) or InfrastructureError(
                    ReasonCode.INTERNAL_ERROR, f"{type(error).__name__}: {error}"
                )
        report = AttemptReport(
            number,
            Finding.of(failure) if failure else Finding(ReasonCode.BLESSED),
            tuple(watch.phases),
            attempt.server_started,
            attempt.requests_sent,
            attempt.server_log,
            tuple(attempt.left_behind),
            attempt.evidence,
            notes=(
                *self.redaction.cleaned([*attempt.notes, *measuring.with_quotes], total, self._interruption),
                *measuring.notes,
                *attempt.platform_notes,
            ),
            measurements=measuring.measurements,
            restrictions=attempt.restrictions,
        )
        return cleaned_report(report, failure, self.redaction, total, self._interruption), failure

    def _deeper_cause(
        self,
        candidate: Candidate,
        attempt: Attempt,
        failure: AttemptFailed | InfrastructureError | UsageError,
        total: Deadline,
    ) -> AttemptFailed | InfrastructureError | UsageError:
        """The cause that the server's log names, where it names one; the total limit, where that was what ended the wait."""
        if failure.reason in _TIMEOUTS and total.expired():
            return InfrastructureError(ReasonCode.TOTAL_TIMEOUT, failure.sentence)
        if failure.reason not in MAY_HAVE_A_DEEPER_CAUSE:
            return failure
        explained = candidate.binary.Explain(attempt.server_log)
        if explained is None:
            return failure
        reason, detail = explained
        if not can_have_caused(reason, failure.reason, attempt.loaded):
            return failure
        kind = InfrastructureError if reason.blames is Blames.INFRASTRUCTURE else AttemptFailed
        return kind(reason, detail)


def _shows_flakiness(reason: ReasonCode) -> bool:
    """Whether a failure before a success is the model's or its server's; what a platform did to the job is not."""
    return reason.blames is Blames.MODEL and reason is not ReasonCode.JOB_ABORTED


def _alike(attempts: Sequence[AttemptReport]) -> Iterable[AttemptReport]:
    """The attempts under the same restrictions as the last one."""
    return (attempt for attempt in attempts if attempt.restrictions == attempts[-1].restrictions)


def _warnings(report: BinaryReport) -> Iterable[str]:
    if report.attempts:
        yield from (f"{report.label}: {note}" for note in report.attempts[-1].notes)
    if report.flaky:
        first = next(a for a in _alike(report.attempts) if _shows_flakiness(a.finding.reason))
        yield (
            f"{report.label} is flaky: attempt {first.number} failed with {first.finding.reason.name}"
            f" ({first.finding.sentence}), attempt {report.attempts[-1].number} succeeded."
        )


def decide(reports: Sequence[BinaryReport]) -> tuple[Verdict, Finding]:
    """The verdict over all serving binaries: every required one must bless; a rejection outweighs what could not be tested."""
    required = [report for report in reports if not report.advisory]
    if not required:
        raise UsageError("Every serving binary is advisory; at least one must decide.")
    for verdict in (Verdict.NOT_BLESSED, Verdict.INCONCLUSIVE):
        for report in required:
            if report.verdict is verdict:
                finding = report.finding
                if len(reports) > 1:
                    finding = dataclasses.replace(finding, detail=f"({report.label}) {finding.detail}".strip())
                return verdict, finding
    return Verdict.BLESSED, Finding(ReasonCode.BLESSED)
