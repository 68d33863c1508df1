"""Name to class, lazily imported: the only file that knows every family.

A platform, a serving binary or a client is one line here, or one Python entry point in somebody else's package (groups
``infra_validator.platforms``, ``infra_validator.serving_binaries``, ``infra_validator.clients``; the value is ``module:Class``).
"""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import Any

from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode

#: serving platform -> (runner class, the extra that installs what it needs)
PLATFORMS: dict[str, tuple[str, str]] = {
    "local_process": ("infra_validator.model_server_runners.local_process.runner:LocalProcessRunner", ""),
    "local_docker": ("infra_validator.model_server_runners.local_docker.runner:LocalDockerRunner", "docker"),
    "kubernetes": ("infra_validator.model_server_runners.kubernetes.runner:KubernetesRunner", "kubernetes"),
}

#: serving binary -> function from (serving spec) to the list of its serving binaries
SERVING_BINARIES: dict[str, tuple[str, str]] = {
    "tensorflow_serving": ("infra_validator.serving_binaries.tensorflow_serving:binaries_of", ""),
    "model_runtime": ("infra_validator.serving_binaries.model_runtime:binaries_of", ""),
}

#: client name -> client class
CLIENTS: dict[str, tuple[str, str]] = {
    "tensorflow_serving": ("infra_validator.model_server_clients.tensorflow_serving:TensorFlowServingClient", ""),
    "model_runtime": ("infra_validator.model_server_clients.model_runtime:ModelRuntimeClient", ""),
}

#: serving platform -> function ``(remove: bool) -> list`` of what expired runs left there; each has ``path``, ``why`` and ``problem``
GARBAGE_COLLECTORS: dict[str, tuple[str, str]] = {
    "local_process": ("infra_validator.model_server_runners.local_process.leftovers:collect_garbage", ""),
    "local_docker": ("infra_validator.model_server_runners.local_docker.leftovers:collect_garbage", "docker"),
    "kubernetes": ("infra_validator.model_server_runners.kubernetes.leftovers:collect_garbage", "kubernetes"),
}


def load(table: dict[str, tuple[str, str]], group: str, name: str) -> Any:
    """The class or function called ``name``, imported now.

    Raises:
      InfrastructureError: the package that it needs is not installed; names the extra.
    """
    target, extra = table.get(name, ("", ""))
    if not target:
        for point in importlib.metadata.entry_points(group=group):
            if point.name == name:
                return point.load()
        raise KeyError(f"{group}: nothing is called {name!r}")
    module_name, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        if not extra or (error.name or "").startswith("infra_validator"):
            raise
        raise InfrastructureError(
            ReasonCode.PLATFORM_NOT_INSTALLED,
            f"{name} needs the package {error.name}.",
            next_step=f"pip install 'infra-validator[{extra}]'",
        ) from error


def runner_class(platform: str) -> Any:
    """The model server runner of a serving platform."""
    return load(PLATFORMS, "infra_validator.platforms", platform)


def serving_binaries_function(binary: str) -> Any:
    """The function from a serving spec to the serving binaries it asks for."""
    return load(SERVING_BINARIES, "infra_validator.serving_binaries", binary)


def client_class(client: str) -> Any:
    """The model server client called ``client``."""
    return load(CLIENTS, "infra_validator.clients", client)


def garbage_collector(platform: str) -> Any:
    """What finds, and removes, the leftovers of a serving platform."""
    return load(GARBAGE_COLLECTORS, "infra_validator.garbage_collectors", platform)
