"""MLServer: ``model-settings.json`` beside or in the model's directory, and ``settings.json`` with the ports, found below one folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from infra_validator.core.launch_plan import literal
from infra_validator.serving_binaries.layouts.arrangement import (
    Arrangement,
    ServedModel,
    broken,
    check_name,
    given_and_made,
    object_of,
)
from infra_validator.specs.binaries.model_repository import MLServerLayout

_SETTINGS = "settings.json"
_MODEL_SETTINGS = "model-settings.json"
_VARIABLE = "MLSERVER_MODEL_"  # the prefix of the environment variables that stand for fields of model-settings.json


def arrange(layout: MLServerLayout, model: ServedModel) -> Arrangement:
    """Both files; settings.json as the model has it, but for the addresses.

    Raises:
      SpecError: the spec and the model's file contradict each other.
      AttemptFailed: the model's own file is missing or wrong (MODEL_REPOSITORY_BROKEN).
      InfrastructureError: it cannot be read.
    """
    given = object_of(model, _MODEL_SETTINGS) if model.is_here else None
    own = (object_of(model, _SETTINGS) if model.is_here else None) or {}
    files = {_SETTINGS: _settings(own, model)}
    if layout.implementation:
        if given is not None:
            raise given_and_made(model, _MODEL_SETTINGS, "mlserver.implementation")
        if layout.uri and model.is_here:
            _check_uri(model, layout.uri, "serving_spec.open_inference.layout.mlserver.uri")
        files[_MODEL_SETTINGS] = literal(json.dumps(_made(layout, model), indent=2) + "\n")
    elif given is not None:
        _check(given, model)
    elif model.is_here:
        raise broken(
            model.path,
            f"holds no {_MODEL_SETTINGS}",
            "Put it there, or have it made: name serving_spec.open_inference.layout.mlserver.implementation.",
        )
    return Arrangement(("start", "${model_base_path}"), files)


def _settings(own: Mapping[str, Any], model: ServedModel) -> str:
    """settings.json; what is in it counts more than the environment."""
    ours = {"host": '"${bind_address}"', **{f"{name}_port": port for name, port in model.ports.items()}}
    if model.local:  # a third port cannot be had, and another server may have the usual one
        ours["metrics_endpoint"] = "null"
    kept = {name: literal(json.dumps(value)) for name, value in own.items() if name not in ours}
    return "{" + ", ".join(f"{literal(json.dumps(name))}: {value}" for name, value in {**kept, **ours}.items()) + "}\n"


def _made(layout: MLServerLayout, model: ServedModel) -> dict[str, Any]:
    parameters: dict[str, Any] = {"uri": f"./{model.version}/{layout.uri}".rstrip("/")}
    if layout.version:
        parameters["version"] = layout.version
    if layout.extra:
        parameters["extra"] = dict(layout.extra)
    return {"name": model.name, "implementation": layout.implementation, "parameters": parameters}


def _check(given: Mapping[str, Any], model: ServedModel) -> None:
    path = os.path.join(model.path, _MODEL_SETTINGS)
    for field in ("name", "implementation"):
        value = given.get(field, model.config.env.get(f"{_VARIABLE}{field.upper()}"))
        if not isinstance(value, str) or not value:
            raise broken(
                path, f"must have the field {field}, a text" + (f", not {value!r}" if value is not None else "")
            )
    check_name(model, _MODEL_SETTINGS, given.get("name", model.name))
    parameters = given.get("parameters", {})
    if not isinstance(parameters, dict):
        raise broken(path, f"has a field parameters that is no object: {parameters!r}")
    uri = parameters.get("uri", "")
    if not isinstance(uri, str):
        raise broken(path, f"has a field parameters.uri that is no text: {uri!r}")
    if uri and "://" not in uri and not os.path.isabs(uri):
        _check_uri(model, uri, f"the field parameters.uri of {path}")


def _check_uri(model: ServedModel, uri: str, field: str) -> None:
    file = os.path.normpath(os.path.join(model.path, uri))
    if not os.path.lexists(file):
        raise broken(file, f"does not exist; {field} names it")
