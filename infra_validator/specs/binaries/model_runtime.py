"""The part of a serving spec that says how to run a model-mesh ModelRuntime."""

from __future__ import annotations

import dataclasses
import json
import re

from infra_validator.core.errors import SpecError
from infra_validator.specs.binaries.placeholders import placeholders_in
from infra_validator.specs.local_process import size
from infra_validator.specs.reader import not_negative, port, spec_field


def _key(text: str) -> str | None:
    """Check of a modelKey."""
    try:
        valid = not text or isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        valid = False
    return None if valid else f"must be the text of a JSON object, not {text!r}"


_IN_CONTAINERS = ("grpc_port", "bind_address")
_ON_THIS_MACHINE = (*_IN_CONTAINERS, "port_file")


def _method(text: str) -> str | None:
    """Check of a method's path."""
    if text and not re.fullmatch(r"/?[A-Za-z_][\w.]*/\w+", text):
        return f"must be a full method such as /tensorflow.serving.PredictionService/Predict, not {text!r}"
    return None


@dataclasses.dataclass(frozen=True)
class ModelRuntimeConfig:
    """A model-mesh ModelRuntime as the serving binary. Ours."""

    image: str = spec_field("", "The runtime's image, for platforms with images.")
    command: tuple[str, ...] = spec_field(
        (), "The runtime's program; empty: the image's entry point, or our own runtime.", file="program"
    )
    extra_args: tuple[str, ...] = spec_field(
        (), "Arguments appended to the command; ${grpc_port}, ${port_file} and ${bind_address} are filled in."
    )
    port: int = spec_field(8085, "The runtime's management port in a container.", check=port)
    unix_socket: str = spec_field("", "The runtime's Unix socket instead of a port, on local_process.")
    inference_address: str = spec_field("", "Where inference goes, host:port; empty: to the management port.")
    model_root: str = spec_field("/models", "Where the model appears in a container: <root>/<model name>/<version>.")
    model_type: str = spec_field("tensorflow", "modelType, as registered with model-mesh.")
    model_key: str = spec_field("{}", "modelKey, the text of a JSON object.", check=_key)
    method: str = spec_field("", "The inference method that is called; empty: each sample request's.", check=_method)
    load_timeout_seconds: float = spec_field(
        0.0, "Limit of loadModel; 0: the runtime's own modelLoadingTimeoutMs.", unit="seconds", check=not_negative
    )
    capacity: str = spec_field("", "Our own runtime's memory for models, e.g. 2g; empty: what there is.", check=size)

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
        if local and self.command and not (self.unix_socket or fixed_port or {"grpc_port", "port_file"} & placeholders):
            raise SpecError(
                f"{path}.extra_args",
                "do not tell the command on which port to listen, so nobody would find it",
                next_step="Write ${grpc_port} or ${port_file} into an argument, or name unix_socket or local_process.grpc_port.",
            )
        if self.unix_socket and not local:
            raise SpecError(f"{path}.unix_socket", "is possible on local_process only; name a port")
        if not local and not self.image:
            raise SpecError(f"{path}.image", f"must name the runtime's image on {platform}")
        if local and self.image:
            raise SpecError(
                f"{path}.image", "means nothing on local_process; name a command, or nothing for our runtime"
            )
        if not local and not self.port:
            raise SpecError(f"{path}.port", "must be the port that the runtime listens on in its container")
        if self.capacity and self.command:
            raise SpecError(f"{path}.capacity", "is for our own runtime; hand yours an argument in extra_args")
