"""A server that speaks the Open Inference Protocol as the serving binary: an image, or a program of this machine."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil

from infra_validator.core.errors import InfrastructureError
from infra_validator.core.launch_plan import LaunchPlan, ModelMount
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.serving_binaries.base_binary import BaseServingBinary
from infra_validator.serving_binaries.layouts import kserve, mlserver, triton
from infra_validator.serving_binaries.layouts.arrangement import Arrangement, ServedModel
from infra_validator.serving_binaries.open_inference_log import explain
from infra_validator.serving_binaries.tensorflow_serving import version_of
from infra_validator.specs import OpenInferenceConfig, ServingSpec

#: Servers in Python would write what they compile into the model's directory, which is then not what was validated.
_LEAVES_NOTHING = {"PYTHONDONTWRITEBYTECODE": "1"}


def binaries_of(spec: ServingSpec) -> list[BaseServingBinary]:
    """The one serving binary of a serving spec with ``open_inference``."""
    assert spec.open_inference is not None
    address = spec.address.asked if spec.address is not None else ""
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
    explains_while_it_runs = True

    @property
    def label(self) -> str:
        if self.address:
            return f"the server at {self.address}"
        command = self.config.command
        return self.config.image or " ".join((os.path.basename(command[0]), *command[1:]))

    def MakeLaunchPlan(self, model_path: str, platform: str) -> LaunchPlan:
        command = self.config.command
        local = platform == "local_process"
        if local:
            command = (_program(command[0]), *command[1:])
        version = version_of(model_path)
        arranged = Arrangement()
        if not self.address:
            arranged = _arranged(ServedModel(self.model_name, model_path, version, self.config, local))
        return LaunchPlan(
            binary=self.name,
            label=self.label,
            model=ModelMount(
                model_path,
                self.config.model_root,
                self.model_name,
                version,
                holds_versions=arranged.holds_versions,
                apart=True,
            ),
            image=self.config.image,
            command=command,
            args=tuple(map(self._asked, (*arranged.arguments, *self.config.extra_args))),
            env={**_LEAVES_NOTHING, **self.config.env},
            model_files={name: self._asked(text) for name, text in arranged.files.items()},
            ports={"grpc": self.config.port},  # a plan's name for the port that the client asks
            client_arguments={
                "model_version": self.config.model_version,
                "typed_contents": self.config.asks_typed,
                "protocol": self.config.protocol,
                "load": self.config.load,
                "first_asked": dict(self.config.inputs) if self.config.ready_by == "first_request" else None,
            },
        )

    def Explain(self, log: str) -> tuple[ReasonCode, str] | None:
        return explain(log)

    def _asked(self, text: str) -> str:
        """A text of a launch plan, where ``${grpc_port}`` is the port that the client asks: over REST the two change places."""
        if self.config.protocol == "grpc":
            return text
        other = {"${grpc_port}": "${rest_port}", "${rest_port}": "${grpc_port}"}
        return re.sub(r"\$\{(?:grpc|rest)_port\}", lambda match: other[match[0]], text)


def _arranged(model: ServedModel) -> Arrangement:
    """What the spec's layout adds."""
    layout = model.config.layout
    if layout is None or layout.plain is not None:
        return Arrangement()
    if layout.mlserver is not None:
        return mlserver.arrange(layout.mlserver, model)
    if layout.kserve is not None:
        return kserve.arrange(layout.kserve, model)
    assert layout.triton is not None
    return triton.arrange(layout.triton, model)


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
