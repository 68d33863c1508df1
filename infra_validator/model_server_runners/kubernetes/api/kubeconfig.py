"""Reading a kubeconfig far enough to say what is wrong with it before the official client is given it. Pure but for the files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import yaml

from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode

DEFAULT_PATH = "~/.kube/config"


def paths(given: str, environment: Mapping[str, str]) -> list[str]:
    """The kubeconfig files: the one given, else those of KUBECONFIG, else the default."""
    if given:
        return [os.path.expanduser(given)]
    listed = [path for path in environment.get("KUBECONFIG", "").split(os.pathsep) if path]
    return [os.path.expanduser(path) for path in listed or [DEFAULT_PATH]]


def check(files: list[str], context: str) -> dict[str, Any]:
    """The context to use, as the kubeconfig has it.

    Returns:
      ``{"name": ..., "cluster": ..., "user": ..., "namespace": ...}``; what is not said is missing.

    Raises:
      InfrastructureError: KUBECONFIG_NOT_USABLE, with the file, what is wrong with it, and the contexts there are.
    """
    present = [path for path in files if os.path.exists(path)]
    if not present:
        raise _unusable(
            f"There is no kubeconfig at {' or '.join(files)}, and this process does not run in a pod with a service account."
        )
    contexts: dict[str, dict[str, Any]] = {}
    current = ""
    for path in present:
        config = _read(path)
        for index, entry in enumerate(config.get("contexts") or ()):
            if not isinstance(entry, dict) or not isinstance(entry.get("context"), dict) or "name" not in entry:
                raise _unusable(f"{path}: contexts[{index}] is no context with a name.")
            contexts.setdefault(str(entry["name"]), entry["context"])
        current = current or str(config.get("current-context") or "")
    wanted = context or current
    known = ", ".join(sorted(contexts)) or "none"
    if not wanted:
        raise _unusable(f"{present[0]} has no current-context; name one in kubernetes.context (known: {known}).")
    if wanted not in contexts:
        raise _unusable(f"There is no context {wanted!r} in {' or '.join(present)} (known: {known}).")
    return {"name": wanted, **contexts[wanted]}


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            config = yaml.safe_load(file)
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise _unusable(f"{path} is no YAML: {' '.join(str(error).split())}.") from error
    if config is None:
        raise _unusable(f"{path} is empty.")
    if not isinstance(config, dict):
        raise _unusable(f"{path} is no kubeconfig: it holds {type(config).__name__}, not an object.")
    for field in ("contexts", "clusters", "users"):
        if not isinstance(config.get(field) or [], list):
            raise _unusable(f"{path}: {field} must be a list.")
    return config


def _unusable(detail: str) -> InfrastructureError:
    return InfrastructureError(ReasonCode.KUBECONFIG_NOT_USABLE, detail)
