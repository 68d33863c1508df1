"""Answers against their signature, check by check: what passes, what does not, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from component_tests.unit.validation.answers.made_answers import PREDICT, read_tensor
from infra_validator.core.answer import Answer, Tensor
from infra_validator.core.errors import AttemptFailed, InfrastructureError, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.validation.answers.against_signature import (
    AnsweredByTheModel,
    FiniteNumbers,
    OutputNames,
    OutputTypes,
)
from infra_validator.validation.answers.check import Check
from infra_validator.validation.answers.expected_outputs import ExpectedOutput

ASKED = "record 1 of f, signature 'serve'"
FLOAT, INT64 = tf.DT_FLOAT, tf.DT_INT64
ONE = read_tensor(FLOAT, (1,), [1.0])
NAN, INF = float("nan"), float("inf")


def request(method: str = PREDICT, **more: Any) -> SampleRequest:
    return SampleRequest(method, "serve", b"", "record 1 of f", **more)


def said(
    check: Check,
    answer: Answer,
    reason: ReasonCode,
    asked: SampleRequest | None = None,
    expected: Mapping[str, ExpectedOutput] | None = None,
) -> str:
    """What is said of an answer that does not pass, without what was asked."""
    with pytest.raises((AttemptFailed, InfrastructureError, UsageError)) as caught:
        check.look(asked or request(), answer, expected or {})
    assert caught.value.reason is reason
    assert ASKED in caught.value.detail
    return caught.value.detail.partition(ASKED)[2]


@pytest.mark.parametrize(
    ("answer", "version", "applied"),
    [
        (Answer({}), 7, 0),
        (Answer({}, model="m"), 7, 1),
        (Answer({}, model="m", version=7, signature="serve"), 7, 1),
        (Answer({}, model="m", version=8), None, 1),
        (Answer({}, version=7), 7, 0),
    ],
)
def test_an_answer_of_the_model_that_was_asked(answer: Answer, version: int | None, applied: int) -> None:
    check = AnsweredByTheModel("m", version)
    check.look(request(), answer, {})
    assert check.applied == applied


def test_an_answer_of_something_else_is_the_infrastructures() -> None:
    check, reason = AnsweredByTheModel("m", 7), ReasonCode.ANSWER_FROM_ANOTHER_MODEL
    assert said(check, Answer({}, model="n"), reason) == ", comes from model 'n', asked was 'm'."
    assert said(check, Answer({}, model="n" * 101), reason) == f", comes from model {'n' * 100!r}, asked was 'm'."
    assert said(check, Answer({}, version=0), reason) == ", comes from version 0, asked was version 7."
    assert said(check, Answer({}, model="m", signature="other"), reason) == ", is of signature 'other'."
    assert said(check, Answer({}, signature="o" * 101), reason) == f", is of signature {'o' * 100!r}."
    check.look(request("/tensorflow.serving.PredictionService/MultiInference"), Answer({}, signature="other"), {})
    assert check.applied == 0


def outputs(*names: str) -> dict[str, Tensor]:
    return dict.fromkeys(names, ONE)


def declared(*names: str) -> dict[str, ExpectedOutput]:
    return dict.fromkeys(names, ExpectedOutput(FLOAT, None))


def test_the_outputs_are_those_that_were_asked_for() -> None:
    check, differ = OutputNames(), ReasonCode.ANSWER_OUTPUTS_DIFFER
    assert said(check, Answer({}), differ) == ": the answer has no outputs."
    check.look(request(), Answer(outputs("y")), {})
    assert check.applied == 0
    check.look(request(), Answer(outputs("y", "z")), declared("z", "y"))
    check.look(request(output_filter=("y",)), Answer(outputs("y")), declared("z", "y"))
    check.look(request(), Answer(outputs("scores", "classes"), "classify"), declared("scores"))
    assert check.applied == 3
    one, two = Answer(outputs("y")), Answer(outputs("z", "y"))
    assert said(check, one, differ, None, declared("y", "z", "a")) == ": the answer lacks 'a', 'z'; it has 'y'."
    assert said(check, two, differ, None, declared("y")) == (
        ": the answer has 'z', which the signature does not have; it has 'y'."
    )
    assert said(check, Answer(outputs("scores"), "classify"), differ, None, declared("classes")) == (
        ": the answer lacks 'classes'; it has 'scores'."
    )
    assert check.applied == 6


def test_many_and_long_names_are_told_in_part() -> None:
    check, differ = OutputNames(), ReasonCode.ANSWER_OUTPUTS_DIFFER
    names = [f"o{number:02}" for number in range(11)]
    ten = ", ".join(map(repr, names[:10]))
    lacking = declared("y", *names[:10])
    assert said(check, Answer(outputs("y")), differ, None, lacking) == f": the answer lacks {ten}; it has 'y'."
    lacking = declared("y", *names)
    assert said(check, Answer(outputs("y")), differ, None, lacking) == (
        f": the answer lacks {ten} and 1 more; it has 'y'."
    )
    assert said(check, Answer(outputs("y" * 101)), differ, None, declared("z")) == (
        f": the answer lacks 'z'; it has {'y' * 100!r}."
    )


@pytest.mark.parametrize(
    ("expected", "shape", "rows", "told"),
    [
        (ExpectedOutput(FLOAT, None), (3, 4), 2, ""),
        (ExpectedOutput(0, (-1,)), (3,), 3, ""),
        (ExpectedOutput(FLOAT, (-1, 2)), (3, 2), 3, ""),
        (ExpectedOutput(FLOAT, (-1, 2)), (3, 2), None, ""),
        (ExpectedOutput(FLOAT, (3, 2)), (3, 2), 5, ""),
        (ExpectedOutput(FLOAT, (2, -1)), (2, 3), 5, ""),
        (ExpectedOutput(FLOAT, ()), (), 5, ""),
        (ExpectedOutput(INT64, (3,)), (3,), 3, "output 'y' is of float, declared is int64."),
        (ExpectedOutput(99, (3,)), (3,), 3, "output 'y' is of float, declared is dtype 99."),
        (ExpectedOutput(0, (2,)), (3,), 3, "output 'y' has shape [3], declared is [2]."),
        (ExpectedOutput(FLOAT, (-1,)), (3, 2), 3, "output 'y' has shape [3, 2], declared is [-1]."),
        (ExpectedOutput(FLOAT, (-1, 1)), (3, 2), 3, "output 'y' has shape [3, 2], declared is [-1, 1]."),
        (ExpectedOutput(FLOAT, (-1,)), (3,), 2, "output 'y' has shape [3] for a request of 2 rows."),
        (ExpectedOutput(FLOAT, (-1, 2)), (2, 2), 1, "output 'y' has shape [2, 2] for a request of 1 row."),
        (ExpectedOutput(FLOAT, (-1,)), (0,), 1, "output 'y' has shape [0] for a request of 1 row."),
    ],
)
def test_an_output_is_of_the_declared_type_and_shape(
    expected: ExpectedOutput, shape: tuple[int, ...], rows: int | None, told: str
) -> None:
    size = 1
    for dimension in shape:
        size *= dimension
    answer = Answer({"extra": ONE, "fine": ONE, "y": read_tensor(FLOAT, shape, [1.0] * size)})
    check, signature = OutputTypes(), {"fine": ExpectedOutput(FLOAT, (1,)), "y": expected}
    if told:
        differs = ReasonCode.ANSWER_TYPE_DIFFERS
        assert said(check, answer, differs, request(rows=rows), signature) == f": {told}"
    else:
        check.look(request(rows=rows), answer, signature)
    assert check.applied == 2


def test_a_shape_that_differs_after_a_request_that_contradicts_is_the_requests_fault() -> None:
    asked = request(contradicts="input 'x' is declared [1] and given as [2].")
    signature = {"y": ExpectedOutput(FLOAT, (2,))}
    detail = said(OutputTypes(), Answer(outputs("y")), ReasonCode.BAD_REQUESTS, asked, signature)
    assert detail == ": input 'x' is declared [1] and given as [2]."
    other = {"y": ExpectedOutput(INT64, (1,))}
    assert said(OutputTypes(), Answer(outputs("y")), ReasonCode.ANSWER_TYPE_DIFFERS, asked, other)


@pytest.mark.parametrize(
    ("tensor", "told"),
    [
        (read_tensor(FLOAT, (2, 2), [1.0, NAN, INF, NAN]), "output 'y' is NaN in 2 of 4 numbers, first at [0, 1]"),
        (read_tensor(FLOAT, (2,), [1.0, -INF]), "output 'y' is infinite in 1 of 2 numbers, first at [1]"),
        (read_tensor(FLOAT, (), [NAN]), "output 'y' is NaN in 1 of 1 numbers, first at its only element"),
        (
            read_tensor(tf.DT_COMPLEX64, (2,), [1.0, 1.0, 1.0, INF]),
            "output 'y' is infinite in 1 of 4 numbers, first at [1]",
        ),
    ],
)
def test_a_number_that_is_not_finite_is_named(tensor: Tensor, told: str) -> None:
    check = FiniteNumbers(["may be"])
    answer = Answer(
        {
            "number": read_tensor(INT64, (1,), [1]),
            "fine": ONE,
            "may be": read_tensor(FLOAT, (1,), [INF]),
            "text": read_tensor(tf.DT_STRING, (1,), [b"nan"]),
            "y": tensor,
        }
    )
    assert said(check, answer, ReasonCode.ANSWER_NOT_FINITE) == f": {told}."
    assert check.applied == 3
    allowed = FiniteNumbers(["may be", "y"])
    if "NaN" in told:
        assert said(allowed, answer, ReasonCode.ANSWER_NOT_FINITE) == f": {told}."
    else:
        allowed.look(request(), answer, {})


def test_an_infinity_comes_with_how_to_allow_it() -> None:
    for value, next_step in (
        (INF, "If that is meant (masked logits), allow it: validation_spec.answers.infinite: [y]."),
        (NAN, ReasonCode.ANSWER_NOT_FINITE.next_step),
    ):
        with pytest.raises(AttemptFailed) as caught:
            FiniteNumbers([]).look(request(), Answer({"y": read_tensor(FLOAT, (1,), [value])}), {})
        assert caught.value.next_step == next_step
