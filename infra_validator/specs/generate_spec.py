"""``request_spec.generate``: requests that are made up from a signature."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from infra_validator.core.errors import SpecError
from infra_validator.specs.reader import one_of, spec_field


@dataclasses.dataclass(frozen=True)
class GenerateSpec:
    """How requests are made up from a signature. ``{}`` is enough where no input is a string."""

    values: str = spec_field(
        "random",
        "`zeros`, `ones` or `random`: numbers from 0 to 1, or of ranges.",
        check=one_of("zeros", "ones", "random"),
    )
    seed: int = spec_field(0, "Of the random values: the same seed makes the same requests.")
    ranges: Mapping[str, tuple[float, ...]] = spec_field({}, "[low, high] of an input's random values, both included.")
    shapes: Mapping[str, tuple[int, ...]] = spec_field({}, "The whole shape of an input, the batch dimension included.")
    texts: Mapping[str, tuple[str, ...]] = spec_field({}, "The strings of an input, taken in turn.")

    def check(self, path: str) -> None:
        """What the fields must be together. Raises SpecError."""
        for name, limits in self.ranges.items():
            if len(limits) != 2:
                raise SpecError(f"{path}.ranges.{name}", f"must be [low, high], not {len(limits)} numbers")
            if limits[0] > limits[1]:
                raise SpecError(
                    f"{path}.ranges.{name}", f"the low end {limits[0]:g} is above the high end {limits[1]:g}"
                )
        if self.ranges and self.values != "random":
            raise SpecError(f"{path}.ranges", f"has no effect on values: {self.values}")
        for name, shape in self.shapes.items():
            if any(not 0 <= size < 2**31 for size in shape):
                raise SpecError(f"{path}.shapes.{name}", "sizes must be from 0 to 2147483647")
        for name, texts in self.texts.items():
            if not texts:
                raise SpecError(f"{path}.texts.{name}", "must have at least one text")
