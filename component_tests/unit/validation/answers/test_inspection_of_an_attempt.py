"""The look at one attempt's answers: which checks there are, what is handed to them, and what is told of each afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from component_tests.unit.validation.answers.made_answers import PREDICT, read_tensor, request, signature
from infra_validator.core.answer import Answer, Tensor, UnreadableAnswer
from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed, InfrastructureError, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.report.evidence import CheckOutcome
from infra_validator.specs import AnswersSpec
from infra_validator.validation.answers.check import Check
from infra_validator.validation.answers.compared.comparison import Comparison
from infra_validator.validation.answers.compared.golden_file import GoldenAnswer, Recording
from infra_validator.validation.answers.compared.over_rest import AsOverRest
from infra_validator.validation.answers.expected_outputs import ExpectedOutput
from infra_validator.validation.answers.inspection import AnswerInspection
from infra_validator.validation.answers.standards import AnswerStandards

ALWAYS = ["answer_readable", "answer_model", "answer_outputs", "answer_types", "answer_finite"]
SIGNATURES = {"serving_default": signature({"y": (tf.DT_FLOAT, (-1,))})}
PASSED, FAILED, NOT_APPLICABLE = CheckOutcome.PASSED, CheckOutcome.FAILED, CheckOutcome.NOT_APPLICABLE


def y(*values: float) -> Tensor:
    return read_tensor(tf.DT_FLOAT, (len(values),), values)


def reading(answers: Sequence[Answer] | Exception | None):  # type: ignore[no-untyped-def]
    """Reads every response as these answers."""

    def read(asked: SampleRequest, payload: bytes) -> Sequence[Answer] | None:
        if isinstance(answers, Exception):
            raise answers
        return answers

    return read


def inspection(
    answers: Sequence[Answer] | Exception | None = None, standards: AnswerStandards | None = None, binary: str = ""
) -> AnswerInspection:
    return AnswerInspection(reading(answers), standards or AnswerStandards(signatures=SIGNATURES), "m", 1, binary)


def outcomes(looking: AnswerInspection) -> dict[str, CheckOutcome]:
    return {result.name: result.outcome for result in looking.results}


class Noting(Check):
    """Notes what it is handed; fails as it is told."""

    name = "noting"

    def __init__(self, look: Exception | None = None, finish: Exception | None = None) -> None:
        super().__init__()
        self.seen: list[tuple[str, Answer, Mapping[str, ExpectedOutput]]] = []
        self._look, self._finish = look, finish

    def look(self, request: SampleRequest, answer: Answer, expected: Mapping[str, ExpectedOutput]) -> None:
        self.seen.append((request.label, answer, expected))
        if self._look:
            raise self._look

    def finish(self) -> None:
        if self._finish:
            raise self._finish


def noting(check: Noting, signatures: Mapping[str, tf.SignatureDef] | None = None) -> AnswerStandards:
    return AnswerStandards(signatures=SIGNATURES if signatures is None else signatures, offered=(lambda: check,))


@pytest.mark.parametrize(
    ("spec", "more"),
    [
        ({}, []),
        ({"ranges": {"y": (0.0, 1.0)}}, ["answer_ranges"]),
        ({"sums_to_one": ("y",)}, ["answer_sums_to_one"]),
        ({"allowed": {"y": [1]}}, ["answer_allowed"]),
        ({"not_constant": ("y",)}, ["answer_not_constant"]),
        ({"binaries_agree": True}, ["answer_binaries_agree"]),
        ({"batch_agreement": True}, ["answer_batch_agreement"]),
    ],
)
def test_the_checks_are_those_of_every_answer_and_those_of_the_spec(spec: dict[str, Any], more: list[str]) -> None:
    looking = inspection(standards=AnswerStandards(AnswersSpec(**spec)))
    assert [result.name for result in looking.results] == ALWAYS + more
    assert set(outcomes(looking).values()) == {NOT_APPLICABLE}
    assert (looking.more_requests() is None) is ("batch_agreement" not in spec)


def test_what_had_nothing_to_look_at_is_not_applicable_and_says_why() -> None:
    looking = inspection(None)
    looking.look(request(), b"")
    looking.finish()
    assert {result.name: result.detail for result in looking.results} == {
        "answer_readable": "The protocol does not tell what an answer holds.",
        **dict.fromkeys(ALWAYS[1:], "No answer had it to look at."),
    }
    assert set(outcomes(looking).values()) == {NOT_APPLICABLE}


def test_what_had_something_to_look_at_has_passed() -> None:
    looking = inspection([Answer({"y": y(1.0)}, model="m")])
    looking.look(request(), b"")
    looking.finish()
    assert outcomes(looking) == dict.fromkeys(ALWAYS, PASSED)
    assert {result.detail for result in looking.results} == {""}


def test_an_answer_that_cannot_be_read_fails_the_first_check() -> None:
    looking = inspection(UnreadableAnswer("x" * 501))
    with pytest.raises(AttemptFailed) as caught:
        looking.look(request(), b"12345")
    assert caught.value.reason is ReasonCode.ANSWER_UNREADABLE
    assert caught.value.detail == (
        "record 1 of f, signature 'serving_default': the answer of 5 octets has "
        + f"{'x' * 500} ... (1 more characters)."
    )
    assert outcomes(looking) == {**dict.fromkeys(ALWAYS, NOT_APPLICABLE), "answer_readable": FAILED}
    assert looking.results[0].detail == "record 1 of f"


def test_an_answer_without_results_fails_the_check_of_the_outputs() -> None:
    looking = inspection([])
    with pytest.raises(AttemptFailed, match="the answer has no results") as caught:
        looking.look(request(), b"")
    assert caught.value.reason is ReasonCode.ANSWER_OUTPUTS_DIFFER
    assert outcomes(looking)["answer_readable"] is PASSED
    assert looking.results[2].outcome is FAILED
    assert looking.results[2].detail == "record 1 of f"


@pytest.mark.parametrize(
    "error",
    [
        AttemptFailed(ReasonCode.ANSWER_DIFFERS, "it differs"),
        InfrastructureError(ReasonCode.ANSWER_FROM_ANOTHER_MODEL, "it differs"),
        UsageError("it differs"),
    ],
)
def test_a_check_that_fails_is_told_with_its_words(error: Exception) -> None:
    check, recording = Noting(error), Recording()
    standards = AnswerStandards(signatures=SIGNATURES, offered=(lambda: check,), recording=recording)
    looking = inspection([Answer({"y": y(1.0)})], standards)
    with pytest.raises(type(error)):
        looking.look(request(), b"")
    assert [(result.name, result.outcome, result.detail) for result in looking.results][-1] == (
        "noting",
        FAILED,
        "it differs",
    )
    assert len(recording) == 0


def test_a_check_that_fails_at_the_end_is_told_with_its_words() -> None:
    looking = inspection([], noting(Noting(finish=AttemptFailed(ReasonCode.ANSWER_CONSTANT, "always the same"))))
    with pytest.raises(AttemptFailed, match="always the same"):
        looking.finish()
    assert (looking.results[-1].outcome, looking.results[-1].detail) == (FAILED, "always the same")


def test_every_answer_is_held_against_the_signature_that_was_asked() -> None:
    others = {**SIGNATURES, "other": signature({"z": (tf.DT_INT64, ())})}
    check = Noting()
    answers = [Answer({"y": y(1.0)}), Answer({"y": y(2.0)})]
    looking = inspection(answers, noting(check, others))
    looking.look(request(), b"")
    y_alone = {"y": ExpectedOutput(tf.DT_FLOAT, (-1,))}
    assert check.seen == [("record 1 of f", answer, y_alone) for answer in answers]


@pytest.mark.parametrize(
    ("method", "told", "expected"),
    [
        ("MultiInference", "other", ["outputs"]),
        ("MultiInference", "", ["outputs"]),
        ("Predict", "serving_default", ["outputs"]),
        ("MultiInference", "unknown", []),
    ],
)
def test_each_part_of_a_multi_inference_has_a_signature_of_its_own(method: str, told: str, expected: list[str]) -> None:
    """What Regress answers is called outputs, of whatever signature."""
    check = Noting()
    answer = Answer({"outputs": y(1.0)}, "regress", signature=told)
    others = {**SIGNATURES, "other": signature({"z": (tf.DT_INT64, ())})}
    looking = inspection([answer], noting(check, others))
    service = PREDICT.rpartition("/")[0]
    looking.look(SampleRequest(f"{service}/{method}", "serving_default", b"", "r"), b"")
    assert [list(outputs) for _, _, outputs in check.seen] == [expected]


def test_the_signature_of_a_multi_inference_is_the_answers() -> None:
    check = Noting()
    others = {**SIGNATURES, "other": signature({"z": (tf.DT_INT64, ())})}
    asked = SampleRequest(PREDICT.replace("Predict", "MultiInference"), "serving_default", b"", "r")
    z = Answer({"z": read_tensor(tf.DT_INT64, (), [1])}, signature="other")
    inspection([z], noting(check, others)).look(asked, b"")
    assert [list(outputs) for _, _, outputs in check.seen] == [["z"]]
    # The same signature has other outputs for another kind of answer.
    kinds = [Answer({"y": y(1.0)}), Answer({"outputs": y(1.0)}, "regress")]
    check.seen.clear()
    inspection(kinds, noting(check)).look(request(), b"")
    assert [list(outputs) for _, _, outputs in check.seen] == [["y"], ["outputs"]]


def test_what_passes_is_recorded_until_rows_are_asked_again() -> None:
    recording = Recording()
    recording.keep(request(), b"of an attempt before")
    standards = AnswerStandards(AnswersSpec(batch_agreement=True), SIGNATURES, recording=recording)
    looking = inspection([Answer({"y": y(1.0, 2.0)})], standards)
    assert len(recording) == 0
    looking.look(request(rows=2), b"answer")
    assert len(recording) == 1
    assert '"answer": "YW5zd2Vy"' in recording.to_json("")
    assert "serving_default" in recording.to_json("").partition("signatures")[2].partition("answers")[0]
    assert looking.more_requests() is not None
    looking.look(request(rows=2), b"answer")
    assert len(recording) == 1


def test_golden_answers_are_compared() -> None:
    answers = [Answer({"y": y(1.0)})]
    standards = AnswerStandards(signatures=SIGNATURES, golden=(GoldenAnswer(request(), b""),))
    looking = inspection(answers, standards)
    assert [result.name for result in looking.results] == [*ALWAYS, "answer_golden"]
    looking.look(request(), b"")
    assert outcomes(looking)["answer_golden"] is PASSED
    answers[:] = [Answer({"y": y(1.0)})]
    strict = AnswerStandards(AnswersSpec(absolute_tolerance={"y": 0.5}), SIGNATURES, standards.golden)
    told = iter([[Answer({"y": y(1.25)})], answers, [Answer({"y": y(1.75)})], answers])
    looking = AnswerInspection(lambda asked, payload: next(told), strict, "m", 1)
    looking.look(request(), b"")
    with pytest.raises(AttemptFailed, match=r"is 1\.75, but 1 in the golden file"):
        looking.look(request(), b"")


def test_serving_binaries_are_compared_by_their_labels() -> None:
    standards = AnswerStandards(AnswersSpec(binaries_agree=True), SIGNATURES)
    inspection([Answer({"y": y(1.0)})], standards, "first").look(request(), b"")
    inspection([Answer({"y": y(2.0)})], standards, "first").look(request(), b"")
    with pytest.raises(AttemptFailed, match="in the answer of first"):
        inspection([Answer({"y": y(2.0)})], standards, "second").look(request(), b"")


def test_requests_are_asked_over_rest_where_that_is_wanted() -> None:
    asked = []

    def ask(request: SampleRequest, answer: Answer) -> Mapping[str, Tensor]:
        asked.append(request.label)
        return answer.outputs

    looking = inspection([Answer({"y": y(1.0)})])
    rest = AsOverRest(ask, lambda: None, Deadline.after(60), Comparison(AnswersSpec()), True)
    looking.ask_over_rest(rest)
    looking.look(SampleRequest(PREDICT, "serving_default", b"", "r", rest_body=b"{}"), b"")
    looking.finish()
    assert asked == ["r"]
    assert looking.results[-1].name == "answer_over_rest"
    assert looking.results[-1].outcome is PASSED


def test_an_infinity_passes_where_the_spec_allows_it() -> None:
    infinite = [Answer({"y": y(float("inf"))})]
    inspection(infinite, AnswerStandards(AnswersSpec(infinite=("y",)), SIGNATURES)).look(request(), b"")
    with pytest.raises(AttemptFailed, match="is infinite"):
        inspection(infinite).look(request(), b"")
