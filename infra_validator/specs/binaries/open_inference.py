"""The part of a serving spec that says how to run a server that speaks the Open Inference Protocol (KServe v2)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from infra_validator.core.datatypes import OPEN_INFERENCE_DATATYPES
from infra_validator.core.errors import SpecError
from infra_validator.specs.binaries.placeholders import placeholders_in
from infra_validator.specs.reader import port, spec_field

#: The fields that say how a server is asked, rather than started.
OF_REQUESTS = ("model_version", "inputs", "outputs", "typed_contents")

_TENSOR = re.compile(r"(?P<datatype>\w+)\[(?P<shape>\s*(?:-1|\d{1,18})(?:\s*,\s*(?:-1|\d{1,18}))*\s*|\s*)\]")
_IN_CONTAINERS = ("grpc_port", "rest_port", "bind_address", "model_base_path")
_ON_THIS_MACHINE = (*_IN_CONTAINERS, "port_file")


@dataclasses.dataclass(frozen=True)
class OpenInferenceConfig:
    """An inference server that speaks the Open Inference Protocol over gRPC as the serving binary. Ours."""

    image: str = spec_field("", "The server's image, for platforms with images.")
    command: tuple[str, ...] = spec_field((), "The server's program; empty: the image's entry point.", file="program")
    extra_args: tuple[str, ...] = spec_field(
        (),
        "Arguments appended to the command; ${grpc_port}, ${rest_port}, ${bind_address}, ${port_file}, ${model_base_path} are filled in.",
    )
    env: Mapping[str, str] = spec_field({}, "Environment variables of the server.")
    port: int = spec_field(8001, "The server's gRPC port in a container.", check=port)
    model_root: str = spec_field("/models", "Where the model appears: <root>/<model name>/<version>.")
    model_version: str = spec_field("", "The version that the server is asked for; empty: it chooses.")
    inputs: Mapping[str, str] = spec_field(
        {}, "What the model takes, as in `FP32[-1,4]`: the datatype and the shape, -1 for any size."
    )
    outputs: Mapping[str, str] = spec_field({}, "What it answers, in the same way.")
    typed_contents: bool = spec_field(
        False, "Whether values are sent one by one in the field of their type, rather than as raw content."
    )

    def check(self, path: str) -> None:
        """Called by the reader. Raises SpecError."""
        for field in ("inputs", "outputs"):
            for name, text in getattr(self, field).items():
                tensor_of(text, f"{path}.{field}.{name}")
        if bool(self.inputs) != bool(self.outputs):
            given, missing = ("inputs", "outputs") if self.inputs else ("outputs", "inputs")
            raise SpecError(f"{path}.{missing}", f"must be given with {given}")

    def check_on(self, path: str, platform: str, fixed_port: int = 0) -> None:
        """What holds between fields on a platform. Called by the serving spec.

        Args:
          path: of this part in the spec, for messages.
          platform: the serving platform's name.
          fixed_port: the gRPC port that the spec names on this machine; 0 for none.

        Raises:
          SpecError: names the field.
        """
        local = platform == "local_process"
        known = _ON_THIS_MACHINE if local else _IN_CONTAINERS
        placeholders = placeholders_in(self.extra_args, f"{path}.extra_args", known)
        if local and not self.command:
            raise SpecError(f"{path}.command", "must be the server's program on local_process")
        if local and self.image:
            raise SpecError(f"{path}.image", "means nothing on local_process; name a command")
        if not local and not self.image:
            raise SpecError(f"{path}.image", f"must name the server's image on {platform}")
        if not local and not self.port:
            raise SpecError(f"{path}.port", "must be the port that the server listens on in its container")
        if local and not (fixed_port or {"grpc_port", "port_file"} & placeholders):
            raise SpecError(
                f"{path}.extra_args",
                "do not tell the command on which port to listen, so nobody would find it",
                next_step="Write ${grpc_port} or ${port_file} into an argument, or name local_process.grpc_port.",
            )


def tensor_of(text: str, path: str) -> tuple[int, tuple[int, ...]]:
    """(the number of TensorFlow's DataType, the shape) of a text such as ``FP32[-1,4]``.

    Raises:
      SpecError: it is none; names ``path``.
    """
    match = _TENSOR.fullmatch(text.strip())
    if match is None or match["datatype"] not in OPEN_INFERENCE_DATATYPES:
        known = ", ".join(OPEN_INFERENCE_DATATYPES)
        raise SpecError(path, f"must be a datatype and a shape, as in FP32[-1,4], not {text!r}; datatypes are {known}")
    shape = tuple(int(size) for size in match["shape"].split(",") if size.strip())
    return OPEN_INFERENCE_DATATYPES[match["datatype"]], shape
