"""Answers against what the signature says of them: the outputs by name, their types and shapes, finite numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from infra_validator.core.answer import Answer, Tensor, type_name
from infra_validator.core.errors import InfrastructureError, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.validation.answers.check import Check, asked, failed
from infra_validator.validation.answers.elements import not_finite
from infra_validator.validation.answers.expected_outputs import ExpectedOutput

_MOST_NAMES = 10  # in a message
_LONGEST_NAME = 100  # characters


class AnsweredByTheModel(Check):
    """An answer that says who answered names the model, the version and the signature that were asked.

    Args:
      model: the model's name on the server.
      version: the version under test; None where any will do.
    """

    name = "answer_model"

    def __init__(self, model: str, version: int | None) -> None:
        super().__init__()
        self._model = model
        self._version = version

    def look(self, request: SampleRequest, answer: Answer, expected: Mapping[str, ExpectedOutput]) -> None:
        problem = ""
        if answer.model and answer.model != self._model:
            problem = f"comes from model {answer.model[:_LONGEST_NAME]!r}, asked was {self._model!r}"
        elif answer.version is not None and self._version is not None and answer.version != self._version:
            problem = f"comes from version {answer.version}, asked was version {self._version}"
        elif answer.signature and request.method.endswith("/Predict") and answer.signature != request.signature:
            problem = f"is of signature {answer.signature[:_LONGEST_NAME]!r}"
        if problem:
            raise InfrastructureError(
                ReasonCode.ANSWER_FROM_ANOTHER_MODEL, f"The answer to {asked(request)}, {problem}."
            )
        self.applied += bool(answer.model)


class OutputNames(Check):
    """An answer holds the outputs that were asked for, no more and no fewer, and at least one."""

    name = "answer_outputs"

    def look(self, request: SampleRequest, answer: Answer, expected: Mapping[str, ExpectedOutput]) -> None:
        got = answer.outputs.keys()
        if not got:
            raise failed(ReasonCode.ANSWER_OUTPUTS_DIFFER, request, "the answer has no outputs")
        wanted = set(request.output_filter) or expected.keys()
        if not wanted:
            return
        self.applied += 1
        missing = wanted - got
        # Classify answers labels and scores in one message: what the signature lacks is there all the same, empty.
        extra = () if answer.kind == "classify" else got - wanted
        if missing:
            problem = f"the answer lacks {_names(missing)}; it has {_names(got)}"
        elif extra:
            problem = f"the answer has {_names(extra)}, which the signature does not have; it has {_names(wanted)}"
        else:
            return
        raise failed(ReasonCode.ANSWER_OUTPUTS_DIFFER, request, problem)


def _names(names: Iterable[str]) -> str:
    ordered = sorted(names)
    shown = ", ".join(repr(name[:_LONGEST_NAME]) for name in ordered[:_MOST_NAMES])
    return f"{shown} and {len(ordered) - _MOST_NAMES} more" if len(ordered) > _MOST_NAMES else shown


class OutputTypes(Check):
    """Outputs have the declared type, rank and known dimensions, and as many rows as the request."""

    name = "answer_types"

    def look(self, request: SampleRequest, answer: Answer, expected: Mapping[str, ExpectedOutput]) -> None:
        for name, tensor in answer.outputs.items():
            wanted = expected.get(name)
            if wanted is None:
                continue
            self.applied += 1
            if tensor.dtype != wanted.dtype and wanted.dtype:
                problem = f"output {name!r} is of {type_name(tensor.dtype)}, declared is {type_name(wanted.dtype)}"
                raise failed(ReasonCode.ANSWER_TYPE_DIFFERS, request, problem)
            problem = _shape_problem(name, tensor, wanted, request.rows)
            if not problem:
                continue
            if request.contradicts:
                raise UsageError(f"{asked(request)}: {request.contradicts}", reason=ReasonCode.BAD_REQUESTS)
            raise failed(ReasonCode.ANSWER_TYPE_DIFFERS, request, problem)


def _shape_problem(name: str, tensor: Tensor, wanted: ExpectedOutput, rows: int | None) -> str:
    declared, got = wanted.shape, tensor.shape
    if declared is None:
        return ""
    if len(got) != len(declared) or any(size not in (-1, is_) for size, is_ in zip(declared, got, strict=True)):
        return f"output {name!r} has shape {list(got)}, declared is {list(declared)}"
    if rows is not None and declared and declared[0] == -1 and got[0] != rows:
        return f"output {name!r} has shape {list(got)} for a request of {rows} row{'s' * (rows != 1)}"
    return ""


class FiniteNumbers(Check):
    """No output holds NaN, and none infinity unless that is allowed.

    Args:
      infinite: the outputs that may be infinite.
    """

    name = "answer_finite"

    def __init__(self, infinite: Iterable[str]) -> None:
        super().__init__()
        self._infinite = frozenset(infinite)

    def look(self, request: SampleRequest, answer: Answer, expected: Mapping[str, ExpectedOutput]) -> None:
        for name, tensor in answer.outputs.items():
            if not tensor.element.is_float:
                continue
            self.applied += 1
            found = not_finite(tensor)
            if found is None:
                continue
            if found.nans:
                what, count, first = "NaN", found.nans, found.first_nan
            elif name not in self._infinite:
                what, count, first = "infinite", found.infinities, found.first_infinity
            else:
                continue
            share = f"{count} of {tensor.size * tensor.element.parts} numbers, first at {tensor.index(first) or 'its only element'}"
            next_step = ""
            if what == "infinite":
                next_step = f"If that is meant (masked logits), allow it: validation_spec.answers.infinite: [{name}]."
            raise failed(
                ReasonCode.ANSWER_NOT_FINITE, request, f"output {name!r} is {what} in {share}", next_step=next_step
            )
