"""What other people's packages offer by a name: Python entry points, looked up when a spec uses a name that is not built in.

An entry point's group says what it is, its name how specs call it, its value is ``module:Class``. The class says what it can be told:
its ``config_class`` is a data class of ``spec_field``, read by the reader as any part of a spec. Nothing is imported before its name is
used, so a package that is broken harms only who names it.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
import traceback
from collections.abc import Iterable
from typing import Any

from infra_validator.core.errors import InfrastructureError, UsageError
from infra_validator.core.reason_codes import ReasonCode

PLATFORMS = "infra_validator.platforms"
SERVING_BINARIES = "infra_validator.serving_binaries"
CLIENTS = "infra_validator.clients"
CHECKS = "infra_validator.checks"
REQUEST_SOURCES = "infra_validator.request_sources"
GARBAGE_COLLECTORS = "infra_validator.garbage_collectors"
GROUPS = (PLATFORMS, SERVING_BINARIES, CLIENTS, CHECKS, REQUEST_SOURCES, GARBAGE_COLLECTORS)

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


@dataclasses.dataclass(frozen=True)
class NoConfig:
    """What is written in a spec for an extension that has no settings: ``{}``."""


@dataclasses.dataclass(frozen=True)
class Offer:
    """An entry point of an installed package; nothing of the package is imported yet.

    Attributes:
      group, name: which, and how specs call it.
      target: ``module:Class``.
      package: who offers it, for people, e.g. ``acme-serving 1.2``.
    """

    group: str
    name: str
    target: str
    package: str

    def load(self) -> Any:
        """What it leads to, imported now.

        Raises:
          UsageError: it leads nowhere; names the package.
        """
        if not _NAME.fullmatch(self.name):
            raise self.wrong("is no name for a spec: small letters, digits and '_', beginning with a letter")
        module, _, attributes = self.target.partition(":")
        try:
            found: Any = importlib.import_module(module.strip())
            for attribute in filter(None, attributes.split("[")[0].strip().split(".")):
                found = getattr(found, attribute)
        except (Exception, SystemExit) as error:
            raise self.wrong(f"leads to {self.target}, which cannot be imported: {_told(error)}") from error
        return found

    def config_class(self) -> type:
        """The data class of its part of a spec; imports it.

        Raises:
          UsageError: it has none that the reader can read; names the package.
        """
        config = getattr(self.load(), "config_class", None)
        if not isinstance(config, type) or not dataclasses.is_dataclass(config):
            raise self.wrong(f"leads to {self.target}, whose config_class is no data class: {config!r}")
        for field in dataclasses.fields(config):
            if "doc" not in field.metadata:
                raise self.wrong(f"has the field {config.__name__}.{field.name}, which is not declared with spec_field")
        return config

    def wrong(self, problem: str) -> UsageError:
        """The error for a mistake of the package's."""
        return UsageError(
            f"The entry point {self.name!r} ({self.group}) of the package {self.package} {problem}.",
            next_step=f"Have the package corrected, or uninstall it; `infra-validator plugins {self.name}` says what is wrong.",
        )


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ").rstrip(".")


def offers(*groups: str) -> list[Offer]:
    """What the installed packages offer in these groups, by name; a package whose metadata cannot be read offers nothing."""
    from importlib import metadata  # costs as much as all of the specs; few have extensions

    found = [
        Offer(group, point.name, point.value, f"{point.dist.name} {point.dist.version}" if point.dist else "(unknown)")
        for group in groups
        for point in metadata.entry_points(group=group)
    ]
    return sorted(found, key=lambda offer: (offer.name, offer.group, offer.package))


def failure_of(error: Exception) -> InfrastructureError | None:
    """The failure of another package's code, where an error came out of it; None where it came from elsewhere."""
    raised_in = {
        frame.f_globals.get("__name__", "").split(".")[0] for frame, _ in traceback.walk_tb(error.__traceback__)
    }
    for offer in offers(*GROUPS):
        if offer.target.split(":")[0].split(".")[0].strip() in raised_in:
            return InfrastructureError(ReasonCode.EXTENSION_FAILED, f"{offer.package}: {_told(error)}.")
    return None


def find(name: str, groups: Iterable[str]) -> Offer | None:
    """What has the name in one of these groups; None if nobody offers it.

    Raises:
      UsageError: more than one has it; names the packages.
    """
    found = [offer for offer in offers(*groups) if offer.name == name]
    if len(found) > 1:
        who = " and ".join(f"{offer.package} ({offer.group})" for offer in found)
        raise UsageError(
            f"{name!r} is offered more than once: by {who}.",
            next_step="Uninstall one of them, or have it use another name.",
        )
    return found[0] if found else None
