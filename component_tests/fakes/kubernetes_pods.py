"""What tests of Kubernetes put into pods: images whose server is the embedded one or misbehaves, and planners for them."""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Mapping

from component_tests.fakes.kubernetes_api import Image
from infra_validator.core.launch_plan import LaunchPlan, ModelMount

ROOT = pathlib.Path(__file__).parents[2]
SERVER = "/usr/bin/tensorflow_model_server"
SHELL = {"sh": ("/bin/sh",)}
TAG = "tensorflow/serving:2.19.0"

#: Not the usual ones: whoever listens on those on all addresses of this machine would be in the way.
PORTS = {"grpc": 28500, "rest": 28501}

_ENV = {"PYTHONPATH": str(ROOT)}


def misbehaving_image(mode: str) -> Image:
    """An image whose server is ``misbehaving_servers.py MODE``."""
    program = (sys.executable, "-m", "component_tests.fakes.servers.misbehaving_servers", mode, "+--bind_address={ip}")
    return Image({SERVER: program, **SHELL}, env=_ENV)


def embedded_image() -> Image:
    """An image whose server is the embedded model server."""
    server = (sys.executable, "-m", "infra_validator.embedded_server")
    program = (*server, "+--bind_address={ip}", "+--port={port:8500}", "+--rest_api_port={port:8501}")
    return Image({SERVER: program, **SHELL}, env=_ENV)


@dataclasses.dataclass(frozen=True)
class MisbehavingImagePlanner:
    """Plans a pod of ``misbehaving_image(mode)``.

    Attributes:
      mode: of misbehaving_servers.py.
      image: another image than ``misbehaving/MODE``.
      command: another program than the server's.
      files: as in LaunchPlan.
    """

    mode: str = "good"
    image: str = ""
    command: tuple[str, ...] = (SERVER,)
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def MakeLaunchPlan(self, model_path: str, platform: str) -> LaunchPlan:
        return LaunchPlan(
            binary="tensorflow_serving",
            label=self.mode,
            model=ModelMount(model_path, "/models", "m", 1),
            image=self.image or f"misbehaving/{self.mode}",
            command=self.command,
            args=("--port=${grpc_port}", "--model_base_path=${model_base_path}"),
            files=self.files,
            ports=PORTS,
        )
