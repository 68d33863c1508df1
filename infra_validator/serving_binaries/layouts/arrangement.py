"""What a layout adds to a launch plan, and how its files in the model's directory are read."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

from infra_validator.core.errors import AttemptFailed, SpecError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.saved_model.find import unreadable
from infra_validator.specs import OpenInferenceConfig

_LARGEST = 1 << 20  # bytes of a file that describes a model

LAYOUT = "serving_spec.open_inference.layout"


@dataclasses.dataclass(frozen=True)
class ServedModel:
    """What a layout is asked for.

    Attributes:
      name: the model's name on the server.
      path: its directory, or a URI.
      version: the version under which it is served, where its directory is one version's.
      config: the spec's part.
      local: whether the server is a process of this machine, whose ports are chosen.
    """

    name: str
    path: str
    version: int
    config: OpenInferenceConfig
    local: bool

    @property
    def is_here(self) -> bool:
        """Whether its files can be looked at; a model that only the platform reads is passed on unchecked."""
        return "://" not in self.path

    @property
    def ports(self) -> dict[str, str]:
        """The ports, ``grpc`` and ``http``, that the server is told, as placeholders: in a container only the one that it is asked at."""
        ports = {"grpc": "${grpc_port}", "http": "${rest_port}"}
        if not self.local:
            del ports["grpc" if self.config.protocol == "rest" else "http"]
        return ports


@dataclasses.dataclass(frozen=True)
class Arrangement:
    """What a layout adds to the launch plan.

    Attributes:
      arguments: that tell the server where the model is and on which ports to listen; placeholders as in ``LaunchPlan.args``.
      files: made, to stand beside the model's directory; as ``LaunchPlan.model_files``.
      holds_versions: as ``ModelMount.holds_versions``.
    """

    arguments: tuple[str, ...] = ()
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    holds_versions: bool = False


def text_of(model: ServedModel, name: str) -> str | None:
    """The text of a file in the model's directory; None where there is none.

    Raises:
      AttemptFailed: it is no text, or too large (MODEL_REPOSITORY_BROKEN).
      InfrastructureError: it cannot be read.
    """
    path = os.path.join(model.path, name)
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise broken(path, f"has more than {_LARGEST} bytes")
        return data.decode()
    except UnicodeDecodeError as error:
        raise broken(path, f"is no text: {error}") from error
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from error


def object_of(model: ServedModel, name: str) -> dict[str, Any] | None:
    """The JSON object in a file of the model's directory; None where there is no such file.

    Raises:
      AttemptFailed: it holds none (MODEL_REPOSITORY_BROKEN).
      InfrastructureError: it cannot be read.
    """
    text = text_of(model, name)
    if text is None:
        return None
    path = os.path.join(model.path, name)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise broken(path, f"is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise broken(path, "must be a JSON object")
    return data


def check_name(model: ServedModel, file: str, name: object) -> None:
    """That a file of the model's gives it the name that the spec gives.

    Raises:
      SpecError: it does not.
    """
    if name != model.name:
        raise SpecError(
            "serving_spec.model_name",
            f"is {model.name!r}, but the field name of {os.path.join(model.path, file)} is {name!r}",
            next_step="Give both the same name: a server knows the model by the one in its file.",
        )


def given_and_made(model: ServedModel, file: str, field: str) -> SpecError:
    """The error for a file that the model has and the spec describes."""
    return SpecError(
        f"{LAYOUT}.{field}",
        f"is there to make {file}, but {os.path.join(model.path, file)} is there already",
        next_step="Take the field out of the spec, or the file out of the model's directory.",
    )


def broken(path: str, problem: str, next_step: str = "") -> AttemptFailed:
    """The error for a file, or a directory, that its server could not read."""
    return AttemptFailed(ReasonCode.MODEL_REPOSITORY_BROKEN, f"{path} {problem}.", next_step=next_step)
