"""How much memory a container holds: from its control group where its files are seen from here, else from what the daemon tells.

What a control group counts is what the container's memory limit is held against: the page cache of files that it reads is part of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from infra_validator.core.deadline import Deadline
from infra_validator.core.states import MemoryReading

_ROOT = "/sys/fs/cgroup"

#: The folder of a control group -> its files: what is held now, and the kernel's record of the most.
_FILES = {
    "": ("memory.current", "memory.peak", "version 2"),
    "memory": ("memory.usage_in_bytes", "memory.max_usage_in_bytes", "version 1"),
}


class ContainerMemory:
    """Reads the memory of one container. Used by one thread at a time.

    Args:
      container: what the daemon tells of it: its id, and the number of its first process, as the daemon's machine counts; that need
        not be this machine.
      stats: asks the daemon for the container's memory statistics, where its control group is not seen.
      root: where control groups are mounted.
      proc: where processes are seen.
    """

    def __init__(
        self,
        container: Mapping[str, Any],
        stats: Callable[[Deadline], Mapping[str, Any]],
        root: str = _ROOT,
        proc: str = "/proc",
    ) -> None:
        self._stats = stats
        self._current, self._peak, self._source = _control_group(
            str(container.get("Id") or ""), int((container.get("State") or {}).get("Pid") or 0), root, proc
        )

    def read(self, deadline: Deadline) -> MemoryReading:
        """One reading.

        Raises:
          InfrastructureError: the daemon does not answer.
        """
        octets = _number(self._current)
        if octets is not None:
            return MemoryReading(octets, self._source, _number(self._peak))
        told = self._stats(deadline)
        source = "what the Docker daemon tells of the container (its control group is not seen from here)"
        usage, peak = told.get("usage"), told.get("max_usage")
        if not isinstance(usage, int) or usage <= 0:
            return MemoryReading.none(source, "The Docker daemon does not tell how much memory the container takes.")
        return MemoryReading(usage, source, peak if isinstance(peak, int) and peak > 0 else None)


def _control_group(container_id: str, pid: int, root: str, proc: str) -> tuple[str, str, str]:
    """(the file of what is held now, that of the record, where that is for people); empty where it is not seen from here.

    The process of that number is the container's only where this is the daemon's machine: its control group then bears the
    container's id.
    """
    if not container_id or not pid:
        return "", "", ""
    try:
        with open(f"{proc}/{pid}/cgroup") as file:
            lines = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return "", "", ""
    for _, controllers, path in lines:
        folder = "memory" if "memory" in controllers.split(",") else ""
        if container_id not in path or (controllers and not folder):
            continue
        current, peak, version = _FILES[folder]
        directory = os.path.join(root, folder, path.lstrip("/"))
        if not os.path.exists(os.path.join(directory, current)):
            continue
        named, record = current, os.path.join(directory, peak)
        if os.path.exists(record):
            named = f"{current} and {peak}"
        else:
            record = ""
        source = f"the container's control group ({named}, {version}; page cache included)"
        return os.path.join(directory, current), record, source
    return "", "", ""


def _number(path: str) -> int | None:
    try:
        with open(path) as file:
            return int(file.read())
    except (OSError, ValueError):
        return None
