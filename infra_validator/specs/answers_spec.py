"""The answers spec: what the answers to the sample requests must be, beyond what the signature says of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from infra_validator.core.errors import SpecError
from infra_validator.specs.extensions import CHECKS
from infra_validator.specs.reader import extensions_field, spec_field


@dataclasses.dataclass(frozen=True)
class AnswersSpec:
    """Checks of answers by the names of outputs. Without any of them an answer is held against its signature, and must be finite."""

    infinite: tuple[str, ...] = spec_field((), "Outputs that may be infinite (masked logits); never NaN.")
    ranges: Mapping[str, tuple[float, ...]] = spec_field({}, "`[low, high]` of an output, both allowed.")
    sums_to_one: tuple[str, ...] = spec_field((), "Outputs whose last dimension sums to 1 (probabilities).")
    allowed: Mapping[str, Any] = spec_field({}, "The list of values that an output may have.")
    not_constant: tuple[str, ...] = spec_field((), "Outputs that must differ between different requests.")
    golden: str = spec_field(
        "", "A file that `infra-validator record` wrote; its requests must be answered as they were.", file="path"
    )
    absolute_tolerance: Mapping[str, float] = spec_field({}, "How far an output may be off in comparisons.")
    relative_tolerance: Mapping[str, float] = spec_field({}, "The same, as a share of what is expected.")
    batch_agreement: bool = spec_field(False, "Whether a row alone must be answered as in its batch.")
    binaries_agree: bool = spec_field(False, "Whether all serving binaries must answer alike.")
    other_checks: Mapping[str, Any] = extensions_field(CHECKS, "A check of an installed package (docs/extending.md).")

    def check(self, path: str) -> None:
        """What must hold without knowing the model. Called by the reader."""
        for output, limits in self.ranges.items():
            if len(limits) != 2 or not limits[0] <= limits[1]:
                raise SpecError(f"{path}.ranges.{output}", f"must be [low, high] with low <= high, not {list(limits)}")
        for output, values in self.allowed.items():
            where = f"{path}.allowed.{output}"
            if not isinstance(values, (list, tuple)) or not values:
                raise SpecError(where, "must be a list with something in it")
            for value in values:
                if not isinstance(value, (bool, int, float, str)):
                    raise SpecError(where, "holds something that is neither a number, a boolean nor a string")
            self._check_reachable(where, output, values)
        for name in ("absolute_tolerance", "relative_tolerance"):
            for output, tolerance in getattr(self, name).items():
                if tolerance < 0:
                    raise SpecError(f"{path}.{name}.{output}", f"must be 0 or more, not {tolerance}")
        tolerances = [n for n in ("absolute_tolerance", "relative_tolerance") if getattr(self, n)]
        if tolerances and not self.compares:
            raise SpecError(
                f"{path}.{tolerances[0]}", "has no effect: none of golden, batch_agreement, binaries_agree compares"
            )

    def _check_reachable(self, where: str, output: str, values: Any) -> None:
        """That some allowed value is in the range, and that what must not be constant can be two things."""
        low, high = self.ranges.get(output, (None, None))
        numbers = [value for value in values if isinstance(value, (int, float))]
        if low is not None and high is not None and not any(low <= value <= high for value in numbers):
            raise SpecError(where, f"no value lies in the range [{low:g}, {high:g}] that ranges.{output} names")
        if output in self.not_constant and len(set(values)) == 1:
            raise SpecError(where, f"allows one value only, and not_constant says that {output!r} must differ")

    @property
    def compares(self) -> bool:
        """Whether answers are compared with other answers."""
        return bool(self.golden) or self.batch_agreement or self.binaries_agree

    def named_outputs(self) -> list[tuple[str, str]]:
        """(field, output) of every output that a field names."""
        fields = (
            "infinite",
            "ranges",
            "sums_to_one",
            "allowed",
            "not_constant",
            "absolute_tolerance",
            "relative_tolerance",
        )
        return [(field, output) for field in fields for output in getattr(self, field)]
