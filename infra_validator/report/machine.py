"""The machine that a validator ran on: what numbers of time and memory have to be read with."""

from __future__ import annotations

import dataclasses
import functools
import os
import sys


@dataclasses.dataclass(frozen=True)
class Machine:
    """Where a validator ran.

    Attributes:
      system: the operating system and its release.
      architecture: of the processor, e.g. ``x86_64``.
      cpus: how many processors the validator could use.
      memory_bytes: how much memory the machine has; None where the system does not say.
      python: the version of Python.
    """

    system: str = ""
    architecture: str = ""
    cpus: int | None = None
    memory_bytes: int | None = None
    python: str = ""

    @staticmethod
    @functools.cache
    def here() -> Machine:
        """This machine."""
        system = os.uname()  # ``platform`` would say the same, and imports what starts processes
        return Machine(
            f"{system.sysname} {system.release}",
            system.machine,
            _cpus(),
            _memory_bytes(),
            ".".join(map(str, sys.version_info[:3])),
        )

    def to_dict(self) -> dict[str, object]:
        return dataclasses.asdict(self)


def _cpus() -> int | None:
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not on macOS
        return os.cpu_count()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
