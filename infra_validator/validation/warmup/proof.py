"""A warm-up file made of requests that were answered, and the proof that the model with it loads and answers its first request."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Sequence

from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed, InfrastructureError, UsageError
from infra_validator.core.progress import Tell
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import RequestSource
from infra_validator.core.signals.interruption import Interruption
from infra_validator.report.measurements import Measurements, WarmUpProof
from infra_validator.report.verdict import BinaryReport, Finding, ValidationReport, Verdict, verdict_of
from infra_validator.sample_requests.files.prediction_log import write_warmup_file
from infra_validator.saved_model.find import WARMUP_FILE
from infra_validator.serving_binaries.base_binary import BaseServingBinary
from infra_validator.specs import AnswersSpec, LimitsSpec, ValidationSpec
from infra_validator.validation.answers.standards import AnswerStandards
from infra_validator.validation.attempt import Candidate
from infra_validator.validation.read_within import read_within
from infra_validator.validation.redaction.redaction import Redaction
from infra_validator.validation.slots import Slots
from infra_validator.validation.validation import Validation, decide
from infra_validator.validation.warmup.selection import CountedRequests, Kind, first_of_each, sentences, shares
from infra_validator.validation.warmup.warmed_copy import WarmedCopy


@dataclasses.dataclass(frozen=True)
class WarmUp:
    """All that it takes to warm a model up and to prove it.

    Attributes:
      model: the SavedModel directory.
      copy: where the model with its warm-up file is to lie.
      requests: what the validation asks, counted.
      candidates_for: the serving binaries to load a model with, in the order of the validation's.
      standards: what the validation's answers are held against.
      spec: limits and tries of the validation.
      say: takes one line for people.
      tell: gets what goes on as data.
      interruption: ends it early.
      redaction: what was sent, of which the warm-up file is made: a server may quote it while it warms up.
      slots: how many servers are at work at once.
      run_id: the validation's.
    """

    model: str
    copy: WarmedCopy
    requests: CountedRequests
    candidates_for: Callable[[str], Sequence[Candidate]]
    standards: AnswerStandards
    spec: ValidationSpec
    say: Callable[[str], None]
    tell: Tell
    interruption: Interruption
    redaction: Redaction
    slots: Slots
    run_id: str

    def proven(self, report: ValidationReport, deadline: Deadline) -> ValidationReport:
        """The report of a blessed model with what came of its warm-up: not blessed where the model with it does not load.

        Args:
          report: the validation's.
          deadline: when all of it must have ended.
        """
        if not report.blessed:
            return report
        try:
            written = self._write(deadline)
            tried, proof = self._prove(report, deadline)
            if self.copy.digest(self._going_on(deadline)) != written.digest:
                raise InfrastructureError(ReasonCode.MODEL_CHANGED, f"{self.copy.path} changed while it was tried.")
        except (InfrastructureError, AttemptFailed, UsageError) as error:
            return dataclasses.replace(report, verdict=verdict_of(error), finding=Finding.of(error))
        proofs = zip(tried, proof.serving_binaries, strict=True)
        binaries = tuple(
            _told(binary, *next(proofs), written) if binary.verdict is Verdict.BLESSED else binary
            for binary in report.serving_binaries
        )
        for binary in binaries:
            self._say_times(binary)
        verdict, finding = decide(binaries)
        report = dataclasses.replace(
            report,
            verdict=verdict,
            finding=finding,
            serving_binaries=binaries,
            seconds=report.seconds + proof.seconds,
            warnings=tuple(dict.fromkeys((*report.warnings, *self._notes(written, proof, binaries)))),
        )
        if not report.blessed:
            return report
        return dataclasses.replace(report, warmed_model=self.copy.path, warmed_model_digest=written.digest)

    def _write(self, deadline: Deadline) -> _Written:
        taken = shares(self.requests.given)
        if not taken:
            raise UsageError(
                "No sample request can stand in a warm-up file, so there is nothing to warm up with.",
                reason=ReasonCode.BAD_REQUESTS,
                next_step="Give requests of Predict, Classify, Regress or MultiInference, or take request_spec.make_warmup out.",
            )

        octets = 0

        def write_requests(path: str) -> None:
            nonlocal octets
            requests = read_within(
                self.requests.fit,
                deadline,
                self.interruption,
                at_once=1,
                too_slow="They were being read again for the warm-up file.",
            )
            count = write_warmup_file(first_of_each(requests, taken), path)
            if count < sum(taken.values()):
                raise UsageError(
                    f"The source of the sample requests gave {count} of {sum(taken.values())} requests when it was asked again.",
                    reason=ReasonCode.BAD_REQUESTS,
                    next_step="Make the same requests on every call.",
                )
            octets = os.path.getsize(path)

        digest = self.copy.write(self.model, write_requests, self._going_on(deadline))
        self.say(f"{self.copy.path}: the model with {sum(taken.values())} warm-up requests; it is loaded again")
        return _Written(taken, octets, digest)

    def _going_on(self, deadline: Deadline) -> Callable[[], None]:
        """What is called now and then by what takes long."""

        def go_on() -> None:
            self.interruption.check()
            if deadline.expired():
                raise InfrastructureError(ReasonCode.TOTAL_TIMEOUT, "The model was being warmed up.")

        return go_on

    def _prove(self, report: ValidationReport, deadline: Deadline) -> tuple[list[BaseServingBinary], ValidationReport]:
        """Load the copy on every serving binary that blessed the model, and ask it the first request."""
        self._going_on(deadline)()
        both = zip(self.candidates_for(self.copy.path), report.serving_binaries, strict=True)
        candidates = [candidate for candidate, binary in both if binary.verdict is Verdict.BLESSED]
        answers = AnswersSpec(infinite=self.spec.answers.infinite)
        spec = dataclasses.replace(
            self.spec,
            total_time_seconds=deadline.remaining(),
            answers=answers,
            limits=LimitsSpec(),
            load=None,
        )
        proof = Validation(
            candidates,
            spec,
            requests=RequestSource(lambda: itertools.islice(self.requests.fit(), 1), self.requests.origin),
            standards=AnswerStandards(answers, self.standards.signatures),
            concurrency=1,
            on_progress=lambda line: self.say(f"with its warm-up file: {line}"),
            tell=self.tell,
            interruption=self.interruption,
            redaction=self.redaction,
            slots=self.slots,
            run_id=self.run_id,
        )
        return [candidate.binary for candidate in candidates], proof.run(self.copy.path, report.model_name)

    def _say_times(self, binary: BinaryReport) -> None:
        found = binary.measurements.warm_up if binary.measurements else None
        if found and found.first_answer_ms is not None and found.without_ms is not None:
            self.say(
                f"{binary.label}: first answer in {found.first_answer_ms:.1f} ms with the warm-up file,"
                f" {found.without_ms:.1f} ms without"
            )

    def _notes(self, written: _Written, proof: ValidationReport, binaries: Sequence[BinaryReport]) -> Iterable[str]:
        yield from sentences(self.requests.given, written.taken, self.requests.unfit)
        if "://" not in self.model and os.path.exists(os.path.join(self.model, WARMUP_FILE)):
            yield (
                "The model has a warm-up file of its own, which is replaced in the copy; what was measured without the new one was"
                " measured with the old one."
            )
        for binary in binaries:
            found = binary.measurements.warm_up if binary.measurements else None
            if found and found.replayed is not None and found.replayed != found.records:
                yield f"{binary.label}: its log says that it replayed {found.replayed} of {found.records} warm-up records."
            if found and found.first_answer_ms and found.without_ms and found.first_answer_ms >= found.without_ms:
                yield (
                    f"{binary.label}: the warm-up file did not help: the first answer took {found.first_answer_ms:.1f} ms with it,"
                    f" {found.without_ms:.1f} ms without."
                )
        yield from (f"With its warm-up file: {warning}" for warning in proof.warnings)


@dataclasses.dataclass(frozen=True)
class _Written:
    """A copy that was made.

    Attributes:
      taken: how many requests of each kind its warm-up file holds.
      octets: the file's size.
      digest: the copy's.
    """

    taken: dict[Kind, int]
    octets: int
    digest: str


def _told(binary: BinaryReport, tried: BaseServingBinary, proof: BinaryReport, written: _Written) -> BinaryReport:
    """A serving binary's report with what came of the warm-up there."""
    last = binary.attempts[-1]
    measured = last.measurements or Measurements()
    warm_up = WarmUpProof(
        records=sum(written.taken.values()),
        octets=written.octets,
        signatures=tuple(sorted({kind.signature for kind in written.taken})),
        batch_sizes=tuple(sorted({kind.rows for kind in written.taken if kind.rows is not None})),
        first_answer_ms=proof.measurements.first_answer_ms if proof.measurements else None,
        without_ms=measured.first_answer_ms,
        load_seconds=_load_seconds(proof),
        without_seconds=_load_seconds(binary),
        replayed=tried.WarmUpRecords(proof.server_log),
    )
    measured = dataclasses.replace(measured, warm_up=warm_up)
    left_behind = tuple(problem for attempt in proof.attempts for problem in attempt.left_behind)
    if proof.verdict is Verdict.BLESSED:
        told = dataclasses.replace(last, measurements=measured, left_behind=(*last.left_behind, *left_behind))
        return dataclasses.replace(binary, attempts=(*binary.attempts[:-1], told))
    more = [dataclasses.replace(attempt, number=attempt.number + last.number) for attempt in proof.attempts]
    more[-1:] = [dataclasses.replace(attempt, measurements=measured) for attempt in more[-1:]]
    return dataclasses.replace(
        binary, verdict=proof.verdict, finding=_finding(proof), attempts=(*binary.attempts, *more)
    )


def _finding(proof: BinaryReport) -> Finding:
    """Why the model is not blessed with its warm-up file, or could not be tried."""
    found = proof.finding
    if proof.verdict is Verdict.INCONCLUSIVE:
        return dataclasses.replace(found, detail=f"The model with its warm-up file was tried. {found.detail}".strip())
    own = found.reason is ReasonCode.WARMUP_FAILED
    why = found.detail if own else f"{found.reason.name}: {found.sentence}"
    return Finding(
        ReasonCode.WARMUP_FAILED,
        f"Without the file that was made (request_spec.make_warmup) the model served. {why}".strip(),
        "Look at the server's log; leave requests out that a server should not replay, or take request_spec.make_warmup out.",
    )


def _load_seconds(report: BinaryReport) -> float | None:
    return next((phase.seconds for phase in report.phases if phase.name == "load"), None)
