"""A check: that an output moves in steps."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Mapping
from typing import Any

from infra_validator.core.answer import Answer
from infra_validator.core.errors import SpecError
from infra_validator.core.sample_request import SampleRequest
from infra_validator.specs.reader import above_zero, spec_field
from infra_validator.validation.answers.check import OfferedCheck
from infra_validator.validation.answers.expected_outputs import ExpectedOutput


@dataclasses.dataclass(frozen=True)
class StepsConfig:
    """Holds an output to multiples of a number."""

    output: str = spec_field("", "The output that is looked at.")
    step: float = spec_field(1.0, "What its values must be multiples of.", check=above_zero)

    def check(self, path: str) -> None:
        """Called by the reader. Raises SpecError."""
        if not self.output:
            raise SpecError(f"{path}.output", "is not given")


class StepsCheck(OfferedCheck):
    """Every value of an output is a multiple of a number."""

    config_class = StepsConfig
    config: Any

    def look(self, request: SampleRequest, answer: Answer, expected: Mapping[str, ExpectedOutput]) -> None:
        tensor = answer.outputs.get(self.config.output)
        if tensor is None or tensor.element.code not in ("f", "d"):
            return
        self.applied += 1
        for position, (value,) in enumerate(struct.iter_unpack(f"<{tensor.element.code}", tensor.content)):
            if abs(value / self.config.step - round(value / self.config.step)) > 1e-6:
                where = f"output {self.config.output!r}{tensor.index(position)}"
                raise self.failed(request, f"{where} is {value:g}, no multiple of {self.config.step:g}")
