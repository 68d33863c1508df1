"""Triton: ``config.pbtxt`` above the directories of the versions, in the model's directory or made beside one version's."""

from __future__ import annotations

import os
import re

from infra_validator.core.errors import SpecError
from infra_validator.core.launch_plan import literal
from infra_validator.saved_model.find import unreadable
from infra_validator.serving_binaries.layouts.arrangement import (
    LAYOUT,
    Arrangement,
    ServedModel,
    broken,
    check_name,
    given_and_made,
    text_of,
)
from infra_validator.serving_binaries.layouts.triton_config import make_config, read_config
from infra_validator.specs.binaries.model_repository import TritonLayout

_CONFIG = "config.pbtxt"
_VERSION = re.compile(r"[1-9][0-9]*")  # Triton passes over every other name


def arrange(layout: TritonLayout, model: ServedModel) -> Arrangement:
    """With a configuration that is made, the model's directory is one version's; else it holds the versions, and the configuration.

    Raises:
      SpecError: the spec and the model's files contradict each other.
      AttemptFailed: the model's own files are missing or wrong (MODEL_REPOSITORY_BROKEN).
      InfrastructureError: they cannot be read.
    """
    text = text_of(model, _CONFIG) if model.is_here else None
    versions = _versions(model) if model.is_here else []
    field = "triton.backend" if layout.backend else "triton.platform"
    arguments = ["--model-repository=${model_root}", *(f"--{name}-port={port}" for name, port in model.ports.items())]
    if model.local:
        arguments += ["--grpc-address=${bind_address}", "--http-address=${bind_address}", "--allow-metrics=false"]
    if layout.makes_config:
        if text is not None:
            raise given_and_made(model, _CONFIG, field)
        if versions:
            raise SpecError(
                f"{LAYOUT}.{field}",
                f"is there to make {_CONFIG} for one version, but {model.path} holds versions: {', '.join(versions)}",
                next_step=f"Name the version's directory as the model, or put {_CONFIG} beside it and take the field out.",
            )
        return Arrangement(tuple(arguments), {_CONFIG: literal(make_config(layout, model))})
    if text is not None:
        _check(text, model)
    if model.is_here and not versions:
        other = "" if text is not None else f" and no {_CONFIG}"
        raise broken(
            model.path,
            f"holds no directory of a version, such as 1{other}",
            f"Put the model's files there; or, for files of one version, have {_CONFIG} made: name {LAYOUT}.triton.backend.",
        )
    return Arrangement(tuple(arguments), holds_versions=True)


def _check(text: str, model: ServedModel) -> None:
    try:
        config = read_config(text)
    except ValueError as error:
        raise broken(os.path.join(model.path, _CONFIG), f"is no text proto of a ModelConfig: {error}") from error
    check_name(model, _CONFIG, next(iter(config.get("name", [])), "") or model.name)


def _versions(model: ServedModel) -> list[str]:
    try:
        return sorted(
            entry.name for entry in os.scandir(model.path) if _VERSION.fullmatch(entry.name) and entry.is_dir()
        )
    except OSError as error:
        raise unreadable(model.path, error) from error
