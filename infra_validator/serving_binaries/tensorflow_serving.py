"""TensorFlow Serving as the serving binary: the image's tags and digests, a server of this machine, or the embedded one.

What the server's flags, its image and its log lines mean is TensorFlow Serving's (``model_servers/main.cc``, ``tools/docker``).
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import posixpath
import re
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from infra_validator._version import __version__
from infra_validator.core.errors import InfrastructureError, SpecError
from infra_validator.core.launch_plan import LaunchPlan, ModelMount, literal
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.saved_model.find import TFLITE_FILE
from infra_validator.serving_binaries import embedded_program
from infra_validator.serving_binaries.base_binary import BaseServingBinary
from infra_validator.serving_binaries.linked_operations import extra_with
from infra_validator.serving_binaries.tensorflow_serving_log import PORT_TAKEN, explain, warmup_records
from infra_validator.specs import LocalProcessConfig, ServingSpec

if TYPE_CHECKING:  # few specs name such a file
    from infra_validator.serving_binaries.model_config_file import ModelConfigFile

_PROGRAM = "tensorflow_model_server"
_IMAGE_BASE_PATH = "/models"  # MODEL_BASE_PATH of the image
_IMAGE_PROGRAM = "/usr/bin/tensorflow_model_server"
_CONFIG_FILE = "models.config"

_SHARED_PORTS_OFF = "grpc.so_reuseport=0"  # else a second server on the port shares its connections
_LAST = ("--max_num_load_retries=0",)  # the last one wins; with retries a failed load would take minutes to show


def binaries_of(spec: ServingSpec) -> list[BaseServingBinary]:
    """The serving binaries of a serving spec: one for each tag and digest; for local processes exactly one.

    Raises:
      SpecError: the model config file does not fit.
      InfrastructureError: the embedded server would be needed and TensorFlow's wheel is not installed.
    """
    assert spec.tensorflow_serving is not None
    if spec.address is not None:
        return [RunningServer(spec.model_name, (), None, spec.address.grpc, spec.address.version)]
    arguments = _extra_arguments(spec)
    config = _config_file(spec)
    asked = spec.tensorflow_serving
    names_images = bool(asked.tags or asked.digests)
    if spec.local_process is not None or (spec.other_platforms and not names_images):
        return [_local_binary(spec, arguments, config)]
    images = [(f"{asked.image_name}:{tag}", tag.partition("@")[0] in asked.advisory) for tag in asked.tags]
    images += [(f"{asked.image_name}@{digest}", digest in asked.advisory) for digest in asked.digests]
    return [ImageBinary(spec.model_name, arguments, config, image, advisory) for image, advisory in images]


@dataclasses.dataclass(frozen=True)
class _TensorFlowServing(BaseServingBinary):
    """What every way to run TensorFlow Serving has in common.

    Attributes:
      model_name: the model's name on the server.
      extra_args: the user's arguments, as they must stand in a launch plan.
      config: production's model config file, if the spec names it.
    """

    model_name: str
    extra_args: tuple[str, ...]
    config: ModelConfigFile | None

    name = "tensorflow_serving"
    client = "tensorflow_serving"

    def Explain(self, log: str) -> tuple[ReasonCode, str] | None:
        cause = explain(log)
        if cause and cause[0] is ReasonCode.BAD_SPEC and self.extra_args:
            given = " ".join(argument.replace("$$", "$") for argument in self.extra_args)
            return cause[0], f"{cause[1].rstrip('.')}. The arguments that the serving spec's extra_args add: {given}"
        return cause

    def WarmUpRecords(self, log: str) -> int | None:
        return warmup_records(log)

    def _mount(self, model_path: str) -> ModelMount:
        return ModelMount(model_path, _IMAGE_BASE_PATH, self.model_name, version_of(model_path))

    def _plan(self, model_path: str, args: Sequence[str], **own: Any) -> LaunchPlan:
        """A launch plan: what all have in common around ``args`` and the fields of a LaunchPlan in ``own``."""
        mount = self._mount(model_path)
        fitted = self.config.fitted_to(mount.version) if self.config else None
        return LaunchPlan(
            binary=self.name,
            label=self.label,
            model=mount,
            args=(*args, *((f"--model_config_file=${{files_dir}}/{_CONFIG_FILE}",) if fitted else ()), *_LAST),
            files={_CONFIG_FILE: fitted.text} if fitted else {},
            notes=fitted.notes if fitted else (),
            port_taken=PORT_TAKEN,
            own_args=_LAST,
            **own,
        )


@dataclasses.dataclass(frozen=True)
class ImageBinary(_TensorFlowServing):
    """A container image like ``tensorflow/serving``, started by its entry point, which sets ports and paths and takes more flags.

    In a pod the server itself is the command: the entry point is a shell script, and a shell as process 1 does not hand SIGTERM on.

    Attributes:
      image: ``name:tag``, ``name:tag@digest`` or ``name@digest``.
      advisory: whether its verdict is reported only.
    """

    image: str
    advisory: bool = False

    @property
    def label(self) -> str:
        return self.image

    def MakeLaunchPlan(self, model_path: str, platform: str) -> LaunchPlan:
        if platform == "kubernetes":
            args = (
                "--port=${grpc_port}",
                "--rest_api_port=${rest_port}",
                f"--model_name={self.model_name}",
                "--model_base_path=${model_base_path}",
                *self.extra_args,
            )
            return self._plan(model_path, args, image=self.image, command=(_IMAGE_PROGRAM,))
        env = {"MODEL_NAME": self.model_name, "MODEL_BASE_PATH": _IMAGE_BASE_PATH}
        return self._plan(model_path, self.extra_args, image=self.image, env=env)


@dataclasses.dataclass(frozen=True)
class ProgramBinary(_TensorFlowServing):
    """A ``tensorflow_model_server`` of this machine. It listens on all addresses: it has no flag that says otherwise.

    Attributes:
      program: its path.
    """

    program: str

    @property
    def label(self) -> str:
        return self.program

    def MakeLaunchPlan(self, model_path: str, platform: str) -> LaunchPlan:
        args = (
            "--port=${grpc_port}",
            "--rest_api_port=${rest_port}",
            f"--model_name={self.model_name}",
            "--model_base_path=${model_base_path}",
            *_channel_arguments(self.extra_args),
        )
        env = {"TF_CPP_MIN_LOG_LEVEL": "0"}  # the lines that tell why a load failed
        return self._plan(model_path, args, command=(self.program,), env=env)


@dataclasses.dataclass(frozen=True)
class EmbeddedBinary(_TensorFlowServing):
    """Our own TensorFlow-Serving-compatible server (infra_validator/embedded_server).

    Attributes:
      fixed_port: whether the spec names the gRPC port; else the server chooses free ports itself and tells them.
      prefers_tflite: whether the arguments ask for ``model.tflite``, which it cannot serve.
      op_libraries: shared libraries with operations of the user's own.
    """

    fixed_port: bool
    prefers_tflite: bool
    op_libraries: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return f"embedded model server {__version__}"

    def Explain(self, log: str) -> tuple[ReasonCode, str] | None:
        cause = super().Explain(log)
        missing = re.search(r"Op type not registered '([^']*)'", cause[1]) if cause else None
        extra = extra_with(missing[1]) if missing else ""
        if cause is None or missing is None or not extra:
            return cause
        return ReasonCode.OP_NOT_IN_STAND_IN, f"It is {missing[1]}; pip install 'infra-validator[{extra}]' brings it."

    def MakeLaunchPlan(self, model_path: str, platform: str) -> LaunchPlan:
        if self.prefers_tflite and os.path.exists(os.path.join(model_path, TFLITE_FILE)):
            raise SpecError(
                "serving_spec.tensorflow_serving.extra_args",
                f"--prefer_tflite_model asks for {TFLITE_FILE}, and the embedded model server serves SavedModels only",
                next_step="Name a tensorflow_model_server in serving_spec.local_process.binary_path, or use an image.",
            )
        ports = (
            ("--port=${grpc_port}", "--rest_api_port=${rest_port}")
            if self.fixed_port
            else ("--port_file=${port_file}",)
        )
        args = (
            *ports,
            "--bind_address=${bind_address}",
            f"--model_name={self.model_name}",
            "--model_base_path=${model_base_path}",
            *((f"--load_op_library={literal(','.join(self.op_libraries))}",) if self.op_libraries else ()),
            *self.extra_args,
        )
        return self._plan(model_path, args, command=embedded_program.COMMAND, env=embedded_program.environment())


@dataclasses.dataclass(frozen=True)
class RunningServer(_TensorFlowServing):
    """A server that somebody else runs.

    Attributes:
      address: its gRPC address.
      version: the version that is meant; 0: whatever it has.
    """

    address: str
    version: int

    @property
    def label(self) -> str:
        return f"the server at {self.address}"

    def MakeLaunchPlan(self, model_path: str, platform: str) -> LaunchPlan:
        plan = self._plan(model_path, ())
        return dataclasses.replace(plan, args=(), model=dataclasses.replace(plan.model, version=self.version))


def version_of(model_path: str) -> int:
    """The version to serve a model as: its directory's name if that is a number above 0, as in a model base path; else 1."""
    name = posixpath.basename(model_path.rstrip("/"))
    return int(name) if re.fullmatch(r"0*[1-9][0-9]{0,17}", name) else 1


def _local_binary(spec: ServingSpec, arguments: tuple[str, ...], config: ModelConfigFile | None) -> BaseServingBinary:
    local = spec.local_process or LocalProcessConfig()
    given = local.binary_path
    program = os.path.abspath(given) if "/" in given else shutil.which(given or _PROGRAM)
    libraries = local.op_libraries
    if program and libraries:
        raise SpecError(
            "serving_spec.local_process.op_libraries",
            f"has no effect on {program}: a real server has its operations linked in",
            next_step="Take the field out, or build the server with these operations.",
        )
    if program:
        return ProgramBinary(spec.model_name, arguments, config, program)
    if given:
        here = f"Write ./{given} for the file in this directory." if os.path.exists(given) else ""
        raise InfrastructureError(ReasonCode.BINARY_NOT_FOUND, f"{given} is not on the PATH.", next_step=here)
    _check_embedded_server()
    fixed_port = local.grpc_port != 0
    paths = tuple(os.path.abspath(path) for path in libraries)
    return EmbeddedBinary(spec.model_name, arguments, config, fixed_port, spec.prefers_tflite, paths)


def _check_embedded_server() -> None:
    """That TensorFlow's wheel is installed, without importing it.

    Raises:
      InfrastructureError: it is not.
    """
    found = importlib.util.find_spec("tensorflow")
    places = list(found.submodule_search_locations or ()) if found else []
    if not any(os.path.exists(os.path.join(place, "libtensorflow_cc.so.2")) for place in places):
        raise InfrastructureError(
            ReasonCode.EMBEDDED_SERVER_NOT_INSTALLED,
            f"There is no {_PROGRAM} on the PATH and no TensorFlow in {sys.prefix}.",
        )


def _extra_arguments(spec: ServingSpec) -> tuple[str, ...]:
    """The user's arguments, for every platform and for this one."""
    assert spec.tensorflow_serving is not None
    of_platform: tuple[str, ...] = getattr(spec.platform_config, "extra_args", ())
    return tuple(literal(argument) for argument in (*spec.tensorflow_serving.extra_args, *of_platform))


def _channel_arguments(extra: tuple[str, ...]) -> tuple[str, ...]:
    """The user's arguments, with ports never shared."""
    flag = "--grpc_channel_arguments="
    settings = [argument.removeprefix(flag) for argument in extra if argument.startswith(flag)]
    others = [argument for argument in extra if not argument.startswith(flag)]
    return (*others, flag + ",".join([*settings[-1:], _SHARED_PORTS_OFF]))


def _config_file(spec: ServingSpec) -> ModelConfigFile | None:
    assert spec.tensorflow_serving is not None
    path = spec.tensorflow_serving.model_config_file
    if not path:
        return None
    from infra_validator.serving_binaries.model_config_file import read_model_config

    return read_model_config(path, spec.model_name)
