"""Two answers that must be the same within tolerances; the worst difference is reported with its place and the two numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from infra_validator.core.answer import STRING, Tensor, type_name
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.specs import AnswersSpec
from infra_validator.validation.answers.check import failed
from infra_validator.validation.answers.elements import farthest

#: (absolute, relative) where the spec does not say. Rounding differs with the batch, the processor's instructions and the library; whole
#: numbers and texts must be equal.
_DEFAULTS = {
    "float": (1e-6, 1e-4),
    "complex64": (1e-6, 1e-4),
    "double": (1e-12, 1e-7),
    "complex128": (1e-12, 1e-7),
    "half": (1e-3, 1e-2),
    "bfloat16": (1e-2, 2e-2),
}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Compares answers as an answers spec says.

    Attributes:
      spec: the tolerances.
    """

    spec: AnswersSpec

    def check(
        self, request: SampleRequest, expected: Mapping[str, Tensor], got: Mapping[str, Tensor], what: str
    ) -> None:
        """Compare the outputs of two answers.

        Args:
          request: the request that was answered.
          expected, got: the outputs.
          what: where the expected ones come from, e.g. ``the golden file``.

        Raises:
          AttemptFailed: ANSWER_DIFFERS.
        """
        if expected.keys() != got.keys():
            problem = f"its outputs are {', '.join(sorted(got))}, in {what} {', '.join(sorted(expected))}"
            raise failed(ReasonCode.ANSWER_DIFFERS, request, problem)
        for name in sorted(expected):
            problem = self._problem(name, expected[name], got[name])
            if problem:
                raise failed(ReasonCode.ANSWER_DIFFERS, request, f"output {name!r}{problem} in {what}")

    def _problem(self, name: str, expected: Tensor, got: Tensor) -> str:
        if (expected.dtype, expected.shape) != (got.dtype, got.shape):
            return (
                f" is {type_name(got.dtype)} {list(got.shape)}, but {type_name(expected.dtype)} {list(expected.shape)}"
            )
        if expected.dtype == STRING:
            pairs = enumerate(zip(expected.strings(), got.strings(), strict=True))
            place = next((at for at, (text, other) in pairs if text != other), None)
            return "" if place is None else f"{got.index(place)} is another text than"
        absolute, relative = _DEFAULTS.get(expected.element.name, (0.0, 0.0))
        worst = farthest(
            expected,
            got,
            self.spec.absolute_tolerance.get(name, absolute),
            self.spec.relative_tolerance.get(name, relative),
        )
        if worst is None:
            return ""
        place, was, is_ = worst
        return f"{got.index(place)} is {_shown(is_)}, but {_shown(was)}"


def _shown(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:.9g}"
