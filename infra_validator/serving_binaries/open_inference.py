"""A server that speaks the Open Inference Protocol as the serving binary: an image, or a program of this machine."""

from __future__ import annotations

import dataclasses
import os
import shutil

from infra_validator.core.errors import InfrastructureError
from infra_validator.core.launch_plan import LaunchPlan, ModelMount
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.serving_binaries.base_binary import BaseServingBinary
from infra_validator.serving_binaries.tensorflow_serving import version_of
from infra_validator.specs import OpenInferenceConfig, ServingSpec


def binaries_of(spec: ServingSpec) -> list[BaseServingBinary]:
    """The one serving binary of a serving spec with ``open_inference``."""
    assert spec.open_inference is not None
    address = spec.address.grpc if spec.address is not None else ""
    return [OpenInferenceBinary(spec.model_name, spec.open_inference, address)]


@dataclasses.dataclass(frozen=True)
class OpenInferenceBinary(BaseServingBinary):
    """A server, however it is started.

    Attributes:
      model_name: the model's name on the server.
      config: the spec's part.
      address: of a server that is already there; empty for one that is started.
    """

    model_name: str
    config: OpenInferenceConfig
    address: str = ""

    name = "open_inference"
    client = "open_inference"

    @property
    def label(self) -> str:
        if self.address:
            return f"the server at {self.address}"
        command = self.config.command
        return self.config.image or " ".join((os.path.basename(command[0]), *command[1:]))

    def MakeLaunchPlan(self, model_path: str, platform: str) -> LaunchPlan:
        command = self.config.command
        if platform == "local_process":
            command = (_program(command[0]), *command[1:])
        return LaunchPlan(
            binary=self.name,
            label=self.label,
            model=ModelMount(model_path, self.config.model_root, self.model_name, version_of(model_path)),
            image=self.config.image,
            command=command,
            args=self.config.extra_args,
            env=self.config.env,
            ports={"grpc": self.config.port},
            client_arguments={
                "model_version": self.config.model_version,
                "typed_contents": self.config.typed_contents,
            },
        )


def _program(name: str) -> str:
    """The program's path.

    Raises:
      InfrastructureError: it is not on the PATH.
    """
    found = os.path.abspath(name) if "/" in name else shutil.which(name)
    if not found:
        raise InfrastructureError(
            ReasonCode.BINARY_NOT_FOUND,
            f"{name} is not on the PATH.",
            next_step="Install it, or write its path in serving_spec.open_inference.command.",
        )
    return found
