"""What a node holds its pods to: memory, room on its disk, and that nothing of a container outlives it.

A real node's kernel does the first and the last at once (control groups, a process namespace); here they are looked at now and then.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
from collections.abc import Iterator
from typing import Any

from component_tests.fakes.kubernetes_api.pod_rules import number

Json = dict[str, Any]

#: In the environment of every process of a pod: its uid.
MARK = "FAKE_POD"


def out_of_memory(container: Json, uid: str) -> bool:
    """Whether what runs of the pod holds more than the container's limit."""
    limit = _limit(container, "memory")
    return limit > 0 and sum(map(_resident, processes_of(uid))) > limit


def out_of_room(container: Json, places: list[pathlib.Path]) -> str:
    """A kubelet's words if more lies in ``places`` than the container's limit of ephemeral storage; empty if not."""
    limit = _limit(container, "ephemeral-storage")
    if limit == 0 or sum(_octets(place) for place in places) <= limit:
        return ""
    said = container["resources"]["limits"]["ephemeral-storage"]
    return f"Pod ephemeral local storage usage exceeds the total limit of containers {said}. "


def end_all(uid: str) -> None:
    """End whatever runs of the pod, sessions of its own included."""
    for pid in processes_of(uid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def processes_of(uid: str) -> Iterator[int]:
    """The processes that run of a pod."""
    mark = f"{MARK}={uid}".encode()
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if mark in pathlib.Path("/proc", name, "environ").read_bytes().split(b"\0"):
                yield int(name)


def _limit(container: Json, kind: str) -> float:
    return number((container.get("resources") or {}).get("limits", {}).get(kind, "0"))


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError, IndexError):
        return int(pathlib.Path("/proc", str(pid), "statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    return 0


def _octets(place: pathlib.Path) -> int:
    """Of all files below a directory, or of one; links are not followed."""
    found = 0
    for path in (place, *place.rglob("*")):
        with contextlib.suppress(OSError):
            if path.is_file() and not path.is_symlink():
                found += path.stat().st_blocks * 512
    return found
