"""The limit on a server process's memory, and what the kernel tells of processes that ran out of it.

RLIMIT_AS and RLIMIT_DATA count addresses, of which TensorFlow reserves far more than it uses. So resident memory is watched, and the
server killed when it is above the limit: between two looks it may get above it by what it can allocate meanwhile.
"""

from __future__ import annotations

import os
import signal

from infra_validator.model_server_runners.processes import members, resident_bytes


class MemoryLimit:
    """The limit on one server's memory.

    Args:
      limit: bytes; 0: none.
    """

    def __init__(self, limit: int = 0) -> None:
        self._limit = limit
        self._exceeded = ""

    def apply(self, pid: int) -> None:
        """The server was started."""

    def watch(self, pid: int) -> None:
        """Called again and again while the server runs: kill its group if it is above the limit."""
        if not self._limit or self._exceeded:
            return
        used = resident_bytes(members(pid))
        if used > self._limit:
            self._exceeded = f"it held {_mebibytes(used)} of memory, the limit is {_mebibytes(self._limit)}"
            try:
                os.killpg(pid, signal.SIGKILL)
            except OSError:
                pass

    def exceeded(self) -> str:
        """How the limit was exceeded, if it was; else empty."""
        return self._exceeded


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:.0f} MiB"


def oom_kills() -> int:
    """How many processes the kernel has ended for want of memory, on this machine and in our control group, as far as it tells."""
    return sum(_counter(path) for path in ("/proc/vmstat", *_event_files()))


def _event_files() -> list[str]:
    """The files of our own memory control group that count its out-of-memory kills."""
    found = ["/sys/fs/cgroup/memory.events"]
    try:
        with open("/proc/self/cgroup") as file:
            entries = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return found
    for _, controllers, path in entries:
        if controllers == "":
            found.append(f"/sys/fs/cgroup{path}/memory.events")
        elif "memory" in controllers.split(","):
            found.append(f"/sys/fs/cgroup/memory{path}/memory.oom_control")
    return list(dict.fromkeys(os.path.normpath(path) for path in found))


def _counter(path: str) -> int:
    try:
        with open(path) as file:
            for line in file:
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
    except (OSError, ValueError):
        pass
    return 0
