"""The look at the answers of one attempt: every answer is read and handed to every check."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from infra_validator.core.answer import Answer, UnreadableAnswer
from infra_validator.core.errors import AttemptFailed, InfrastructureError, UsageError, shorten
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.report.evidence import CheckOutcome, CheckResult
from infra_validator.validation.answers.against_limits import AllowedValues, NotConstant, Ranges, SumsToOne
from infra_validator.validation.answers.against_signature import (
    AnsweredByTheModel,
    FiniteNumbers,
    OutputNames,
    OutputTypes,
)
from infra_validator.validation.answers.check import Check, failed
from infra_validator.validation.answers.compared.batch_agreement import BatchAgreement
from infra_validator.validation.answers.compared.binaries_agreement import AsOtherBinaries
from infra_validator.validation.answers.compared.comparison import Comparison
from infra_validator.validation.answers.compared.over_rest import AsOverRest
from infra_validator.validation.answers.expected_outputs import ExpectedOutput, expected_outputs
from infra_validator.validation.answers.standards import AnswerStandards

_READABLE = "answer_readable"

#: Reads the answers in a response; None where the protocol does not tell outputs.
ReadAnswer = Callable[[SampleRequest, bytes], "Sequence[Answer] | None"]


class AnswerInspection:
    """Looks at every answer of one attempt. Used by one thread at a time.

    Args:
      read: reads a response.
      standards: what the answers are held against.
      model: the model's name on the server; version: the version under test, None where any will do.
      binary: the serving binary's label.
    """

    def __init__(
        self,
        read: ReadAnswer,
        standards: AnswerStandards,
        model: str,
        version: int | None,
        binary: str = "",
    ) -> None:
        spec = standards.spec
        self._read = read
        self._signatures = standards.signatures
        self._recording = standards.recording
        if self._recording is not None:
            self._recording.begin(standards.signatures)
        self._expected: dict[tuple[str, str], Mapping[str, ExpectedOutput]] = {}
        self._readable = False
        self._failed: dict[str, str] = {}
        self._checks: list[Check] = [
            AnsweredByTheModel(model, version),
            OutputNames(),
            OutputTypes(),
            FiniteNumbers(spec.infinite),
        ]
        self._checks += [Ranges(spec.ranges)] if spec.ranges else []
        self._checks += [SumsToOne(spec.sums_to_one)] if spec.sums_to_one else []
        self._checks += [AllowedValues(spec.allowed)] if spec.allowed else []
        self._checks += [NotConstant(spec.not_constant)] if spec.not_constant else []
        comparison = Comparison(spec)
        if standards.golden:
            from infra_validator.validation.answers.compared.golden_file import AsGolden

            self._checks.append(AsGolden(standards.golden, read, comparison))
        if spec.binaries_agree:
            self._checks.append(AsOtherBinaries(standards.first_answers, binary, comparison))
        self._checks += [make() for make in standards.offered]
        self._batches = BatchAgreement(comparison, standards.signatures) if spec.batch_agreement else None
        self._checks += [self._batches] if self._batches is not None else []

    def ask_over_rest(self, check: AsOverRest) -> None:
        """Have requests with a JSON body asked over REST, too. Called before the first answer."""
        self._checks.append(check)

    def look(self, request: SampleRequest, payload: bytes) -> None:
        """Look at the answer to one request.

        Raises:
          AttemptFailed, InfrastructureError, UsageError: it does not pass.
        """
        try:
            answers = self._read(request, payload)
        except UnreadableAnswer as error:
            self._failed[_READABLE] = request.label
            text = shorten(str(error), 500)
            raise failed(
                ReasonCode.ANSWER_UNREADABLE, request, f"the answer of {len(payload)} octets has {text}"
            ) from error
        if answers is None:
            return
        self._readable = True
        if not answers:
            self._failed["answer_outputs"] = request.label
            raise failed(ReasonCode.ANSWER_OUTPUTS_DIFFER, request, "the answer has no results")
        for answer in answers:
            expected = self._expected_of(request, answer)
            for check in self._checks:
                try:
                    check.look(request, answer, expected)
                except (AttemptFailed, InfrastructureError, UsageError) as error:
                    self._failed[check.name] = error.detail
                    raise
        if self._recording is not None:
            self._recording.keep(request, payload)

    def more_requests(self) -> Iterator[SampleRequest] | None:
        """What is to be asked once all requests were answered, for checks that need it; None where none does."""
        if self._batches is None:
            return None
        self._recording = None  # what is asked from now on is ours
        return self._batches.requests()

    def finish(self) -> None:
        """Called when all requests were answered. Raises as ``look`` does."""
        for check in self._checks:
            try:
                check.finish()
            except AttemptFailed as error:
                self._failed[check.name] = error.detail
                raise

    @property
    def results(self) -> tuple[CheckResult, ...]:
        """What came of each check."""
        readable = self._result(_READABLE, self._readable, "The protocol does not tell what an answer holds.")
        return (readable, *(self._result(c.name, c.applied, "No answer had it to look at.") for c in self._checks))

    def _expected_of(self, request: SampleRequest, answer: Answer) -> Mapping[str, ExpectedOutput]:
        several = request.method.endswith("/MultiInference")
        name = answer.signature if several and answer.signature else request.signature
        key = (name, answer.kind)
        found = self._expected.get(key)
        if found is None:
            signature = self._signatures.get(name)
            found = self._expected[key] = expected_outputs(signature, answer.kind) if signature else {}
        return found

    def _result(self, name: str, applied: int, why_not: str) -> CheckResult:
        if name in self._failed:
            return CheckResult(name, CheckOutcome.FAILED, self._failed[name])
        if applied:
            return CheckResult(name, CheckOutcome.PASSED)
        return CheckResult(name, CheckOutcome.NOT_APPLICABLE, why_not)
