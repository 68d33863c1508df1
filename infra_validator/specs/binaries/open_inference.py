"""The part of a serving spec that says how to run a server that speaks the Open Inference Protocol (KServe v2)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from infra_validator.core.datatypes import OPEN_INFERENCE_DATATYPES
from infra_validator.core.errors import SpecError
from infra_validator.specs.binaries.model_repository import Layout
from infra_validator.specs.binaries.placeholders import placeholders_in
from infra_validator.specs.reader import one_of, port, spec_field

#: The fields that say how a server is asked, rather than started.
OF_REQUESTS = (
    "model_version",
    "inputs",
    "outputs",
    "typed_contents",
    "protocol",
    "binary_data",
    "load",
    "ready_by",
)

_TENSOR = re.compile(r"(?P<datatype>\w+)\[(?P<shape>\s*(?:-1|\d{1,18})(?:\s*,\s*(?:-1|\d{1,18}))*\s*|\s*)\]")
_IN_CONTAINERS = ("grpc_port", "rest_port", "bind_address", "model_base_path", "model_root", "model_path")
_ON_THIS_MACHINE = (*_IN_CONTAINERS, "port_file")


@dataclasses.dataclass(frozen=True)
class OpenInferenceConfig:
    """An inference server that speaks the Open Inference Protocol as the serving binary. Ours."""

    image: str = spec_field("", "The server's image, for platforms with images.")
    command: tuple[str, ...] = spec_field((), "The server's program; empty: the image's entry point.", file="program")
    extra_args: tuple[str, ...] = spec_field(
        (),
        "Arguments appended to the command; ${grpc_port}, ${rest_port}, ${bind_address}, ${port_file}, ${model_path}, ${model_base_path}"
        " and ${model_root} are filled in.",
    )
    env: Mapping[str, str] = spec_field({}, "Environment variables of the server.")
    port: int = spec_field(8001, "The server's port in a container, of the protocol that it is asked over.", check=port)
    protocol: str = spec_field("grpc", "What it is asked over: grpc or rest.", check=one_of("grpc", "rest"))
    model_root: str = spec_field("/models", "Where the model appears: <root>/<model name>/<version>.")
    layout: Layout | None = spec_field(None, "How the server wants its model repository; unset: `plain`.")
    model_version: str = spec_field("", "The version that the server is asked for; empty: it chooses.")
    inputs: Mapping[str, str] = spec_field(
        {}, "What the model takes, as in `FP32[-1,4]`: the datatype and the shape, -1 for any size."
    )
    outputs: Mapping[str, str] = spec_field({}, "What it answers, in the same way.")
    typed_contents: bool = spec_field(
        False, "Over gRPC: whether values are sent one by one in the field of their type, rather than as raw content."
    )
    binary_data: bool = spec_field(
        False, "Over REST: whether values are sent, and answered, by the binary data extension rather than as JSON."
    )
    load: bool = spec_field(
        False, "Whether the model is loaded through the model repository extension, and unloaded in the end."
    )

    ready_by: str = spec_field(
        "readiness",
        "What makes the model ready: readiness, as the server tells it, or first_request, where a server loads a model once it is asked.",
        check=one_of("readiness", "first_request"),
    )

    def check(self, path: str) -> None:
        """Called by the reader. Raises SpecError."""
        for field in ("inputs", "outputs"):
            for name, text in getattr(self, field).items():
                tensor_of(text, f"{path}.{field}.{name}")
        if bool(self.inputs) != bool(self.outputs):
            given, missing = ("inputs", "outputs") if self.inputs else ("outputs", "inputs")
            raise SpecError(f"{path}.{missing}", f"must be given with {given}")
        if self.protocol == "rest" and self.typed_contents:
            raise SpecError(f"{path}.typed_contents", "has no effect over rest, which has JSON, or binary_data")
        if self.protocol == "grpc" and self.binary_data:
            raise SpecError(f"{path}.binary_data", "has no effect over grpc, where contents are raw without it")

    @property
    def asks_typed(self) -> bool:
        """Whether values are sent as such, rather than as raw content or binary data."""
        return not self.binary_data if self.protocol == "rest" else self.typed_contents

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
        if self.protocol == "rest" and "port_file" in placeholders:
            raise SpecError(
                f"{path}.extra_args", "name ${port_file}, which tells a gRPC port; over rest write ${rest_port}"
            )
        if self.layout is not None and self.layout.mlserver is not None and "start" in self.command:
            raise SpecError(f"{path}.command", "must end before 'start': the layout mlserver adds it, with the folder")
        tells_port = self.layout is not None and self.layout.plain is None
        ways = {"rest_port"} if self.protocol == "rest" else {"grpc_port", "port_file"}
        if local and not (tells_port or fixed_port or ways & placeholders):
            written = " or ".join(f"${{{way}}}" for way in sorted(ways))
            raise SpecError(
                f"{path}.extra_args",
                "do not tell the command on which port to listen, so nobody would find it",
                next_step=f"Write {written} into an argument, or name local_process.grpc_port.",
            )


def tensor_of(text: str, path: str) -> tuple[int, tuple[int, ...]]:
    """(the number of TensorFlow's DataType, the shape) of a text such as ``FP32[-1,4]``.

    Raises:
      SpecError: it is none; names ``path``.
    """
    datatype, shape = parts_of(text, path)
    return OPEN_INFERENCE_DATATYPES[datatype], shape


def parts_of(text: str, path: str) -> tuple[str, tuple[int, ...]]:
    """(the datatype's name, the shape); raises as tensor_of."""
    match = _TENSOR.fullmatch(text.strip())
    if match is None or match["datatype"] not in OPEN_INFERENCE_DATATYPES:
        known = ", ".join(OPEN_INFERENCE_DATATYPES)
        raise SpecError(path, f"must be a datatype and a shape, as in FP32[-1,4], not {text!r}; datatypes are {known}")
    return match["datatype"], tuple(int(size) for size in match["shape"].split(",") if size.strip())
