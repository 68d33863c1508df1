"""A serving binary: Acme's formula server, for models that are no SavedModels."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Sequence

from infra_validator.core.errors import SpecError
from infra_validator.core.launch_plan import LaunchPlan, ModelMount, literal
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.serving_binaries.base_binary import BaseServingBinary
from infra_validator.specs import ServingSpec
from infra_validator.specs.reader import spec_field


@dataclasses.dataclass(frozen=True)
class FormulaConfig:
    """Acme's formula server as the serving binary."""

    program: tuple[str, ...] = spec_field((), "The server's program; empty: the one of this package.", file="program")
    extra_args: tuple[str, ...] = spec_field((), "Arguments appended to the server's.")

    def check(self, path: str) -> None:
        """Called by the reader. Raises SpecError."""
        for index, argument in enumerate(self.extra_args):
            if argument.startswith("--model"):
                raise SpecError(f"{path}.extra_args[{index}]", "is the validator's to set")


@dataclasses.dataclass(frozen=True)
class FormulaBinary(BaseServingBinary):
    """The one serving binary of a spec with ``acme_formula``."""

    model_name: str
    config: FormulaConfig

    name = "acme_formula"
    client = "acme_formula"
    config_class = FormulaConfig
    serves_saved_models = False

    @classmethod
    def OfSpec(cls, serving_spec: ServingSpec) -> Sequence[BaseServingBinary]:
        return [cls(serving_spec.model_name, serving_spec.binary_config)]

    @property
    def label(self) -> str:
        return "acme formula server 1.2"

    def MakeLaunchPlan(self, model_path: str, platform: str) -> LaunchPlan:
        return LaunchPlan(
            binary=self.name,
            label=self.label,
            model=ModelMount(model_path, "/models", self.model_name, 1),
            command=self.config.program or (sys.executable, "-m", "acme_serving.server"),
            args=(
                "--model=${model_base_path}/1",
                "--port_file=${port_file}",
                "--address=${bind_address}",
                *(literal(argument) for argument in self.config.extra_args),
            ),
        )

    def Explain(self, log: str) -> tuple[ReasonCode, str] | None:
        found = re.search(r"^acme: (no formula in .*)$", log, re.MULTILINE)
        return (ReasonCode.MODEL_LOAD_FAILED, found[1]) if found else None
