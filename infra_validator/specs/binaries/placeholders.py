"""The placeholders in the arguments of a command that the user writes: ``${grpc_port}`` and others, which the platform fills in."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from infra_validator.core.errors import SpecError

_PLACEHOLDER = re.compile(r"\$(?:(\$)|\{(\w+)\}|)")


def placeholders_in(arguments: Iterable[str], path: str, known: Collection[str]) -> set[str]:
    """The names of the placeholders.

    Args:
      arguments: as given.
      path: the path of the field that they stand in.
      known: those that are filled in.

    Raises:
      SpecError: one is not filled in here.
    """
    found = set()
    for index, argument in enumerate(arguments):
        for dollar, name in _PLACEHOLDER.findall(argument):
            if not dollar and name not in known:
                raise SpecError(
                    f"{path}[{index}]",
                    f"{argument!r} holds a placeholder that is not filled in here; known are {', '.join(known)}",
                    next_step="Write $$ for a dollar sign.",
                )
            found.add(name)
    return found
