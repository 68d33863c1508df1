"""Launch planners for tests: what a serving binary would hand to a runner, made by hand."""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Mapping

from infra_validator.core.launch_plan import LaunchPlan, ModelMount

ROOT = pathlib.Path(__file__).parents[2]
PORT_IN_USE = r"Failed to BuildAndStart gRPC server"


@dataclasses.dataclass(frozen=True)
class Planner:
    """Plans a program for local processes.

    Attributes:
      command: the program and its first arguments.
      args: the arguments, with placeholders.
      env, files: as in LaunchPlan.
    """

    command: tuple[str, ...]
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def MakeLaunchPlan(self, model_path: str, platform: str) -> LaunchPlan:
        return LaunchPlan(
            binary="tensorflow_serving",
            label=" ".join(self.command),
            model=ModelMount(model_path, "/models", "m", 1),
            command=self.command,
            args=self.args,
            env=self.env,
            files=self.files,
            port_taken=PORT_IN_USE,
        )


def misbehaving(mode: str, *, chooses_its_port: bool = True, env: Mapping[str, str] | None = None) -> Planner:
    """A misbehaving server (see misbehaving_servers.py), which chooses its port itself or is given one."""
    port = "--port_file=${port_file}" if chooses_its_port else "--port=${grpc_port}"
    return Planner(
        (sys.executable, "-m", "component_tests.fakes.servers.misbehaving_servers", mode),
        (port, "--bind_address=${bind_address}", "--model_base_path=${model_base_path}"),
        {"PYTHONPATH": str(ROOT), **(env or {})},
    )


@dataclasses.dataclass(frozen=True)
class ContainerPlanner:
    """Plans a container.

    Attributes:
      image, command, args, env, files: as in LaunchPlan.
      name: the model's name.
    """

    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    name: str = "m"

    def MakeLaunchPlan(self, model_path: str, platform: str) -> LaunchPlan:
        return LaunchPlan(
            binary="tensorflow_serving",
            label=self.image,
            model=ModelMount(model_path, "/models", self.name, 1),
            image=self.image,
            command=self.command,
            args=self.args,
            env=self.env,
            files=self.files,
            port_taken=PORT_IN_USE,
        )


def misbehaving_container(mode: str, image: str) -> ContainerPlanner:
    """A misbehaving server in a container of an image that holds them."""
    command = ("python3", "-m", "component_tests.fakes.servers.misbehaving_servers", mode)
    return ContainerPlanner(image, command, ("--port=${grpc_port}", "--bind_address=${bind_address}"))
