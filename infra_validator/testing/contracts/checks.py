"""What every check of answers must do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from infra_validator.core.answer import Answer
from infra_validator.core.errors import AttemptFailed
from infra_validator.core.reason_codes import Blames
from infra_validator.core.sample_request import SampleRequest
from infra_validator.validation.answers.check import Check
from infra_validator.validation.answers.expected_outputs import ExpectedOutput

#: A request with its answer.
Asked = tuple[SampleRequest, Answer]


class AnswerCheckContract:
    """What a validation relies on, of a check.

    Attributes:
      expected: what the signature declares of the outputs; empty where it is not known.
    """

    expected: Mapping[str, ExpectedOutput] = {}

    def make_check(self) -> Check:
        """A new check, as one attempt has it."""
        raise NotImplementedError

    def good(self) -> Sequence[Asked]:
        """Answers that pass, at least one of which the check has something to look at."""
        raise NotImplementedError

    def bad(self) -> Sequence[Asked]:
        """Answers of one attempt that do not pass."""
        raise NotImplementedError

    def _look(self, check: Check, asked: Sequence[Asked]) -> None:
        for request, answer in asked:
            check.look(request, answer, self.expected)
        check.finish()

    def test_good_answers_pass_and_are_counted(self) -> None:
        check = self.make_check()
        assert check.applied == 0
        self._look(check, self.good())
        assert check.applied > 0, "it says that it had nothing to look at"

    def test_bad_answers_do_not_pass_and_the_request_is_named(self) -> None:
        check = self.make_check()
        with pytest.raises(AttemptFailed) as failed:
            self._look(check, self.bad())
        assert failed.value.reason.blames is Blames.MODEL
        assert any(request.label in failed.value.detail for request, _ in self.bad())

    def test_the_same_failure_is_the_same_in_another_attempt(self) -> None:
        fingerprints = []
        for _ in range(2):
            with pytest.raises(AttemptFailed) as failed:
                self._look(self.make_check(), self.bad())
            fingerprints.append(failed.value.fingerprint)
        assert fingerprints[0] == fingerprints[1]

    def test_nothing_asked_is_nothing_wrong(self) -> None:
        check = self.make_check()
        check.finish()
        assert check.applied == 0

    def test_an_answer_without_outputs_is_not_its_business(self) -> None:
        check = self.make_check()
        request, answer = self.good()[0]
        check.look(request, Answer({}, answer.kind, answer.model, answer.version), self.expected)
        check.finish()
        assert check.applied == 0

    def test_one_attempt_knows_nothing_of_another(self) -> None:
        with pytest.raises(AttemptFailed):
            self._look(self.make_check(), self.bad())
        self._look(self.make_check(), self.good())
