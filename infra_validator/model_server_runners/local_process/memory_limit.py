"""The limit on a server process's memory, and what the kernel tells of processes that ran out of it.

RLIMIT_AS and RLIMIT_DATA count addresses, of which TensorFlow reserves far more than it uses. A control group of the server's own
would be exact, but none can be made below ours, which holds processes (version 2), and elsewhere the server would escape from
whoever limits or ends ours. So the memory that the server holds is looked at many times a second, and the server is killed when it is above
the limit: it may get above it by what it can allocate between two looks.
"""

from __future__ import annotations

import os
import signal

from infra_validator.model_server_runners.cleanup.processes import members, private_bytes

_LOOKS_PER_SEARCH = 25  # how often memory is looked at before children are searched for again


class MemoryLimit:
    """The limit on the memory of one server and its children: what they hold for themselves, mapped files not counted.

    Args:
      limit: bytes; 0: none.

    Attributes:
      exceeded: how the limit was exceeded, if it was; else empty.
    """

    def __init__(self, limit: int = 0) -> None:
        self._limit = limit
        self._looks = 0
        self._pids: list[int] = []
        self.exceeded = ""

    def __bool__(self) -> bool:
        return self._limit > 0

    def watch(self, leader: int) -> None:
        """Called again and again while the server runs: kill its group if it is above the limit."""
        if not self._limit or self.exceeded:
            return
        if self._looks % _LOOKS_PER_SEARCH == 0:
            self._pids = members(leader)
        self._looks += 1
        used = private_bytes(self._pids)
        if used > self._limit:
            self.exceeded = f"it held {_mebibytes(used)} of memory, the limit is {_mebibytes(self._limit)}"
            try:
                os.killpg(leader, signal.SIGKILL)
            except OSError:
                pass


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
