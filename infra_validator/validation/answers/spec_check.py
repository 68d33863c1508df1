"""What is wrong with ``validation_spec.answers`` for a model: outputs that it does not have, checks that its types cannot pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from infra_validator.core.answer import STRING
from infra_validator.core.errors import SpecError, did_you_mean
from infra_validator.protos import tensorflow_pb2
from infra_validator.specs import AnswersSpec
from infra_validator.validation.answers.expected_outputs import ExpectedOutput, expected_outputs

_FOR_NUMBERS = ("infinite", "ranges", "sums_to_one", "absolute_tolerance", "relative_tolerance")


def check_answers_spec(spec: AnswersSpec, signatures: Mapping[str, tensorflow_pb2.SignatureDef], path: str) -> None:
    """Called before anything is started.

    Args:
      signatures: the model's; empty where they are not known, and nothing can be said.
      path: how messages call the spec.

    Raises:
      SpecError: names the field, the output, and the outputs there are.
    """
    if not signatures:
        return
    known: dict[str, list[ExpectedOutput]] = {}
    for signature in signatures.values():
        for name, declared in expected_outputs(signature, "predict").items():
            known.setdefault(name, []).append(declared)
    for field, output in spec.named_outputs():
        where = f"{path}.{field}"
        if output not in known:
            hint = did_you_mean(output, known)
            there = ", ".join(repr(name) for name in sorted(known)) or "none"
            raise SpecError(where, f"the model has no output {output!r}; it has: {there}.{hint}")
        for problem in _problems(spec, field, output, known[output]):
            raise SpecError(where, problem)


def _problems(spec: AnswersSpec, field: str, output: str, declared: list[ExpectedOutput]) -> Iterator[str]:
    """Why no declaration of ``output`` can pass the check of ``field``."""
    texts = all(one.dtype == STRING for one in declared)
    numbers = all(one.dtype and one.dtype != STRING for one in declared)
    if field in _FOR_NUMBERS and texts:
        yield f"output {output!r} holds strings, not numbers"
    if field == "sums_to_one" and all(one.shape == (-1,) for one in declared):
        yield f"output {output!r} has shape [-1]: it has nothing to sum but the rows of a batch"
    if field == "allowed" and numbers and all(isinstance(value, str) for value in spec.allowed[output]):
        yield f"output {output!r} holds numbers, and only strings are allowed"
    if field == "allowed" and texts and not any(isinstance(value, str) for value in spec.allowed[output]):
        yield f"output {output!r} holds strings, and only numbers are allowed"
