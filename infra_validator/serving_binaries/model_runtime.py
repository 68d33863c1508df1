"""A model-mesh ModelRuntime as the serving binary: an image, a program of this machine, or our own runtime."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
import sys
from typing import Any

from infra_validator._version import __version__
from infra_validator.core.errors import InfrastructureError
from infra_validator.core.launch_plan import LaunchPlan, ModelMount, literal
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.serving_binaries.base_binary import BaseServingBinary
from infra_validator.specs import ModelRuntimeConfig, ServingSpec

#: What our own runtime prints when its port is in use (model_runtime/server.py).
_OUR_PORT_TAKEN = r"Cannot listen on .*:"


def binaries_of(spec: ServingSpec) -> list[BaseServingBinary]:
    """The one serving binary of a serving spec with ``model_runtime``."""
    config = spec.model_runtime
    assert config is not None
    fixed_port = spec.local_process is not None and spec.local_process.grpc_port != 0
    return [ModelRuntimeBinary(spec.model_name, config, fixed_port)]


@dataclasses.dataclass(frozen=True)
class ModelRuntimeBinary(BaseServingBinary):
    """A runtime, however it is started.

    Attributes:
      model_name: the model's id in the runtime.
      config: the spec's part.
      fixed_port: whether the spec names the port on this machine.
    """

    model_name: str
    config: ModelRuntimeConfig
    fixed_port: bool = False

    name = "model_runtime"
    client = "model_runtime"

    @property
    def label(self) -> str:
        if self.config.image:
            return self.config.image
        return self.config.command[0] if self.config.command else f"model runtime {__version__} (embedded)"

    def MakeLaunchPlan(self, model_path: str, platform: str) -> LaunchPlan:
        local = platform == "local_process"
        source = os.path.realpath(model_path) if local else model_path
        mount = ModelMount(source, self.config.model_root, self.model_name, 1)
        # On this machine the runtime reads the model where it is; in a container, where the platform puts it.
        plan = LaunchPlan(
            binary=self.name,
            label=self.label,
            model=mount,
            image=self.config.image,
            command=self.config.command,
            args=self.config.extra_args,
            ports={"grpc": self.config.port},
            unix_socket=os.path.abspath(self.config.unix_socket) if self.config.unix_socket else "",
            client_arguments=self._client_arguments(source if local else mount.target),
        )
        if not local:
            return plan
        if self.config.command:
            return dataclasses.replace(plan, command=(_program(self.config.command[0]), *self.config.command[1:]))
        return self._our_own(plan)

    def _our_own(self, plan: LaunchPlan) -> LaunchPlan:
        where: tuple[str, ...] = (
            ("--port=${grpc_port}",) if self.fixed_port else ("--port=0", "--port-file=${port_file}")
        )
        if self.config.unix_socket:
            where = (f"--unix-socket={literal(self.config.unix_socket)}",)
        package = str(pathlib.Path(__file__).parents[2])
        return dataclasses.replace(
            plan,
            command=(sys.executable, "-m", "infra_validator", "model-runtime"),
            args=(
                *where,
                "--host=${bind_address}",
                f"--model-root={literal(os.path.dirname(plan.model.source))}",
                *((f"--capacity={self.config.capacity}",) if self.config.capacity else ()),
                *self.config.extra_args,
            ),
            env={
                "PYTHONPATH": os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH", "")))),
                "PYTHONSAFEPATH": "1",
            },
            port_taken=_OUR_PORT_TAKEN,
        )

    def _client_arguments(self, model_path: str) -> dict[str, Any]:
        return {
            "model_path": model_path,
            "model_type": self.config.model_type,
            "model_key": self.config.model_key,
            "address": f"unix:{os.path.abspath(self.config.unix_socket)}" if self.config.unix_socket else "",
            "inference_address": self.config.inference_address,
            "method": self.config.method,
            "load_timeout": self.config.load_timeout_seconds or None,
        }


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
            next_step="Install it, or write its path in serving_spec.model_runtime.command.",
        )
    return found
