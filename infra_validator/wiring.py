"""Name to class, lazily imported: the only file that knows every family.

A platform, a serving binary or a client is one line here, or one Python entry point in somebody else's package, as is a check or a source
of requests (specs/extensions.py; docs/extending.md). What is built in has its name for itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, cast

from infra_validator.core.errors import InfrastructureError, UsageError, did_you_mean
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.systems import LINUX, LINUX_AND_MACOS, why_not_here
from infra_validator.model_server_clients.base_client import BaseModelServerClient
from infra_validator.model_server_runners.base_runner import BaseModelServerRunner
from infra_validator.sample_requests.base_source import AskedModel, BaseRequestSource
from infra_validator.serving_binaries.base_binary import BaseServingBinary
from infra_validator.specs import AnswersSpec, RequestSpec, ServingSpec
from infra_validator.specs import extensions as ext
from infra_validator.validation.answers.check import Check, OfferedCheck

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
BinariesOf = Callable[[ServingSpec], "Sequence[BaseServingBinary]"]


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
    return _class(PLATFORMS, ext.PLATFORMS, platform, BaseModelServerRunner, _VERBS)


def client_class(client: str) -> type[BaseModelServerClient]:
    """The model server client called ``client``, e.g. ``tensorflow_serving``; raises as :func:`_load` does."""
    return _class(CLIENTS, ext.CLIENTS, client, BaseModelServerClient)


def import_meanwhile(client: str) -> None:
    """Import in a thread of its own what is needed once a server is up: that takes as long as a fast server takes to start.

    Whoever uses it hears of problems.
    """

    def load() -> None:
        with contextlib.suppress(Exception):
            client_class(client)
            importlib.import_module("infra_validator.validation.limits.deciding")

    with contextlib.suppress(RuntimeError):  # no more threads can be had
        threading.Thread(target=load, name="import-meanwhile").start()


def serving_binaries_function(binary: str) -> BinariesOf:
    """The function from a serving spec to the serving binaries it asks for; raises as :func:`_load` does."""
    if binary in SERVING_BINARIES:
        return cast(BinariesOf, _load(SERVING_BINARIES, ext.SERVING_BINARIES, binary))
    return _class(SERVING_BINARIES, ext.SERVING_BINARIES, binary, BaseServingBinary).OfSpec


def serves_saved_models(spec: ServingSpec) -> bool:
    """Whether the models of a spec are SavedModels whose files tell what they can be asked; raises as :func:`_load` does."""
    if not spec.other_binaries:
        return spec.tensorflow_serving is not None
    return _class(SERVING_BINARIES, ext.SERVING_BINARIES, spec.binary, BaseServingBinary).serves_saved_models


#: Where the names of a group stand in a spec: beside its fields.
_BESIDE: dict[str, type] = {
    ext.PLATFORMS: ServingSpec,
    ext.SERVING_BINARIES: ServingSpec,
    ext.CHECKS: AnswersSpec,
    ext.REQUEST_SOURCES: RequestSpec,
}


def built_in(group: str, name: str) -> bool:
    """Whether the package itself has something of the name, so that it means that and no entry point of the group."""
    if group in _BESIDE:
        return name in {field.name for field in dataclasses.fields(_BESIDE[group])}
    return name in (CLIENTS if group == ext.CLIENTS else GARBAGE_COLLECTORS)


def check_class(name: str) -> type[OfferedCheck]:
    """The check of another package; raises as :func:`_load` does."""
    return _class({}, ext.CHECKS, name, OfferedCheck)


def request_source_class(name: str) -> type[BaseRequestSource]:
    """The source of requests of another package; raises as :func:`_load` does."""
    return _class({}, ext.REQUEST_SOURCES, name, BaseRequestSource)


def offered_checks(spec: AnswersSpec) -> tuple[Callable[[], Check], ...]:
    """What makes each of the spec's checks of other packages; raises as :func:`_load` does."""
    return tuple(functools.partial(_check, name, config) for name, config in spec.other_checks.items())


def _check(name: str, config: object) -> Check:
    check = check_class(name)(config)
    check.name = name
    return check


def offered_requests(asked: RequestSpec) -> Callable[[AskedModel], BaseRequestSource] | None:
    """What makes the spec's source of requests of another package; None where it names none. Raises as :func:`_load` does."""
    for name, config in asked.other_sources.items():
        return functools.partial(request_source_class(name), config)
    return None


def garbage_collector(platform: str) -> GarbageCollector:
    """What finds, and removes, the leftovers of a serving platform; raises as :func:`_load` does."""
    loaded = _load(GARBAGE_COLLECTORS, ext.GARBAGE_COLLECTORS, platform)
    if callable(loaded):
        return cast(GarbageCollector, loaded)
    raise _not_a("function", loaded, platform)


_T = TypeVar("_T")

#: What a runner leaves to its base class: the order of the verbs, and that what was started is undone whatever happens.
_VERBS = ("Prepare", "Start", "WaitUntilRunning", "Observe", "GetEndpoint", "Stop", "register_cleanup")


def _class(
    table: dict[str, tuple[str, str]], group: str, name: str, base: Callable[..., _T], final: tuple[str, ...] = ()
) -> type[_T]:
    """The class called ``name``, which is of the family; raises as :func:`_load` does."""
    loaded = _load(table, group, name)
    kind = cast(type, base)
    if not isinstance(loaded, type) or not issubclass(loaded, kind):
        raise _not_a(kind.__name__, loaded, name)
    if getattr(loaded, "__abstractmethods__", None):
        missing = ", ".join(sorted(loaded.__abstractmethods__))  # type: ignore[attr-defined]
        raise _unfit(name, loaded, f"which lacks {missing}")
    for verb in final if name not in table else ():
        if getattr(loaded, verb) is not getattr(base, verb):
            raise _unfit(name, loaded, f"which overrides {verb}; that is {kind.__name__}'s alone")
    return cast("type[_T]", loaded)


def _load(table: dict[str, tuple[str, str]], group: str, name: str) -> object:
    """The class or function called ``name``, imported now.

    Raises:
      InfrastructureError: the package that it needs is not installed; names the extra.
      UsageError: neither the table nor an entry point of ``group`` has the name; or somebody else's entry point leads to something of
        the wrong kind (from the public functions).
    """
    target, extra = table.get(name, ("", ""))
    if not target:
        offer = ext.find(name, (group,))
        if offer is None:
            known = [*table, *(other.name for other in ext.offers(group))]
            raise UsageError(
                f"{group}: nothing is called {name!r}.{did_you_mean(name, known)}",
                next_step="Install the package that offers it; `infra-validator plugins` lists what is installed.",
            )
        return offer.load()
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
    return _unfit(name, loaded, f"which is no {kind}")


def _unfit(name: str, loaded: object, problem: str) -> UsageError:
    offered = [offer.package for offer in ext.offers(*ext.GROUPS) if offer.name == name]
    package = " or ".join(dict.fromkeys(offered))
    return UsageError(
        f"The entry point {name!r} of the package {package} leads to {loaded!r}, {problem}.",
        next_step="Have the package corrected, or uninstall it (docs/extending.md).",
    )
