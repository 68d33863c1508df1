"""How much memory models may take: the limit of the container that we run in, less what the runtime itself needs."""

from __future__ import annotations

import os
import pathlib

#: What the process needs beside its models: the interpreter, TensorFlow's library, gRPC's buffers, requests under way.
#: model-mesh's own adapters reserve as much (MEM_BUFFER_BYTES).
RESERVED_BYTES = 256 * 2**20

_NO_LIMIT = 2**60  # cgroup v1 writes a huge number where there is no limit


def memory_limit(proc: str = "/proc", cgroups: str = "/sys/fs/cgroup") -> int:
    """Bytes that this process may use: the smallest limit of its control groups (v1 or v2), else the machine's memory."""
    limits = [_machine_memory(proc), *_cgroup_limits(proc, cgroups)]
    return min(limit for limit in limits if 0 < limit < _NO_LIMIT)


def _machine_memory(proc: str) -> int:
    try:
        for line in pathlib.Path(proc, "meminfo").read_text().splitlines():
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _cgroup_limits(proc: str, cgroups: str) -> list[int]:
    """The limits of our control group and all those around it."""
    try:
        lines = pathlib.Path(proc, "self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    limits = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            limits += _limits_up(pathlib.Path(cgroups), path, "memory.max")
        elif "memory" in controllers.split(","):
            limits += _limits_up(pathlib.Path(cgroups, "memory"), path, "memory.limit_in_bytes")
    return limits


def _limits_up(top: pathlib.Path, path: str, name: str) -> list[int]:
    # In a container with its own cgroup namespace the path is "/"; without one it may not exist below our mount, and the
    # limit is then that of the mount's top.
    here = top / path.lstrip("/")
    limits = []
    for directory in [here, *here.parents]:
        try:
            text = (directory / name).read_text().strip()
        except OSError:
            text = ""
        if text.isdigit():
            limits.append(int(text))
        if directory == top:
            break
    return limits
