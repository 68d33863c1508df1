"""Name to class, lazily imported: the only file that knows every family.

A platform, a serving binary or a client is one line here, or one Python entry point in somebody else's package (groups
``infra_validator.platforms``, ``infra_validator.serving_binaries``, ``infra_validator.clients``; the value is ``module:Class``).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Protocol, cast

from infra_validator.core.errors import InfrastructureError, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.systems import LINUX, LINUX_AND_MACOS, why_not_here
from infra_validator.model_server_clients.base_client import BaseModelServerClient
from infra_validator.model_server_runners.base_runner import BaseModelServerRunner
from infra_validator.serving_binaries.base_binary import BaseServingBinary
from infra_validator.specs import ServingSpec

#: serving platform -> the operating systems from which it can be used; somebody else's platform says so itself.
SYSTEMS: dict[str, tuple[str, ...]] = {
    "local_process": LINUX,
    "local_docker": LINUX_AND_MACOS,
    "kubernetes": LINUX_AND_MACOS,
}

#: serving platform -> (runner class, the extra that installs what it needs)
PLATFORMS: dict[str, tuple[str, str]] = {
    "local_process": ("infra_validator.model_server_runners.local_process.runner:LocalProcessRunner", ""),
    "local_docker": ("infra_validator.model_server_runners.local_docker.runner:LocalDockerRunner", "docker"),
    "kubernetes": ("infra_validator.model_server_runners.kubernetes.runner:KubernetesRunner", "kubernetes"),
    "address": ("infra_validator.model_server_runners.address.runner:AddressRunner", ""),
}

#: serving binary -> function from (serving spec) to the list of its serving binaries
SERVING_BINARIES: dict[str, tuple[str, str]] = {
    "tensorflow_serving": ("infra_validator.serving_binaries.tensorflow_serving:binaries_of", ""),
    "model_runtime": ("infra_validator.serving_binaries.model_runtime:binaries_of", ""),
    "open_inference": ("infra_validator.serving_binaries.open_inference:binaries_of", ""),
}

#: client name -> client class
CLIENTS: dict[str, tuple[str, str]] = {
    "tensorflow_serving": ("infra_validator.model_server_clients.tensorflow_serving:TensorFlowServingClient", ""),
    "model_runtime": ("infra_validator.model_server_clients.model_runtime.client:ModelRuntimeClient", ""),
    "open_inference": ("infra_validator.model_server_clients.open_inference.client:OpenInferenceClient", ""),
}

#: serving platform -> function that finds, and removes, what expired runs left there
GARBAGE_COLLECTORS: dict[str, tuple[str, str]] = {
    "local_process": ("infra_validator.model_server_runners.local_process.leftovers:collect_garbage", ""),
    "local_docker": ("infra_validator.model_server_runners.local_docker.leftovers:collect_garbage", "docker"),
    "kubernetes": ("infra_validator.model_server_runners.kubernetes.leftovers:collect_garbage", "kubernetes"),
}


class LeftBehind(Protocol):
    """Something that an expired run left behind.

    Attributes:
      path: what it is, for people: a directory, a container, a pod.
      why: why nobody can want it any more.
      problem: why it could not be removed; empty if it was, or was only looked for.
    """

    @property
    def path(self) -> str: ...
    @property
    def why(self) -> str: ...
    @property
    def problem(self) -> str: ...


#: Takes ``remove`` (False only looks), and what else its platform can be told, by keyword.
GarbageCollector = Callable[..., Sequence[LeftBehind]]

#: From a serving spec to the serving binaries that it asks for; raises SpecError.
BinariesOf = Callable[[ServingSpec], "list[BaseServingBinary]"]


def runner_class(platform: str) -> type[BaseModelServerRunner]:
    """The model server runner of a serving platform, e.g. ``local_docker``.

    Raises:
      InfrastructureError: it cannot be used on this operating system. Else as :func:`_load`.
    """
    elsewhere = why_not_here(f"The platform {platform}", SYSTEMS.get(platform, (sys.platform,)))
    if elsewhere:
        raise InfrastructureError(
            ReasonCode.PLATFORM_NOT_INSTALLED,
            elsewhere,
            next_step="Use local_docker or kubernetes, or a Linux machine.",
        )
    loaded = _load(PLATFORMS, "infra_validator.platforms", platform)
    if isinstance(loaded, type) and issubclass(loaded, BaseModelServerRunner):
        return loaded
    raise _not_a(BaseModelServerRunner.__name__, loaded, platform)


def client_class(client: str) -> type[BaseModelServerClient]:
    """The model server client called ``client``, e.g. ``tensorflow_serving``; raises as :func:`_load` does."""
    loaded = _load(CLIENTS, "infra_validator.clients", client)
    if isinstance(loaded, type) and issubclass(loaded, BaseModelServerClient):
        return loaded
    raise _not_a(BaseModelServerClient.__name__, loaded, client)


def serving_binaries_function(binary: str) -> BinariesOf:
    """The function from a serving spec to the serving binaries it asks for; raises as :func:`_load` does."""
    loaded = _load(SERVING_BINARIES, "infra_validator.serving_binaries", binary)
    if callable(loaded):
        return cast(BinariesOf, loaded)
    raise _not_a("function", loaded, binary)


def garbage_collector(platform: str) -> GarbageCollector:
    """What finds, and removes, the leftovers of a serving platform; raises as :func:`_load` does."""
    loaded = _load(GARBAGE_COLLECTORS, "infra_validator.garbage_collectors", platform)
    if callable(loaded):
        return cast(GarbageCollector, loaded)
    raise _not_a("function", loaded, platform)


def _load(table: dict[str, tuple[str, str]], group: str, name: str) -> object:
    """The class or function called ``name``, imported now.

    Raises:
      InfrastructureError: the package that it needs is not installed; names the extra.
      KeyError: neither the table nor an entry point of ``group`` has the name.
      UsageError: somebody else's entry point leads to something of the wrong kind (from the public functions).
    """
    target, extra = table.get(name, ("", ""))
    if not target:
        from importlib import metadata  # costs as much as all of the specs; few have extensions

        for point in metadata.entry_points(group=group):
            if point.name == name:
                return cast(object, point.load())
        raise KeyError(f"{group}: nothing is called {name!r}")
    module_name, _, attribute = target.partition(":")
    try:
        return cast(object, getattr(importlib.import_module(module_name), attribute))
    except ModuleNotFoundError as error:
        if not extra or (error.name or "").startswith("infra_validator"):
            raise
        raise InfrastructureError(
            ReasonCode.PLATFORM_NOT_INSTALLED,
            f"{name} needs the package {error.name}.",
            next_step=f"pip install 'infra-validator[{extra}]'",
        ) from error


def _not_a(kind: str, loaded: object, name: str) -> UsageError:
    return UsageError(
        f"The entry point {name!r} leads to {loaded!r}, which is no {kind}.",
        next_step=f"Have the package that offers {name!r} name its {kind} there.",
    )
