"""What a process holds, and how much more it holds after a while."""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import math
import os
import pathlib
import re
import statistics
import time
from collections.abc import Sequence

_MIB = 1 << 20
COUNTED = ("threads", "descriptors", "children", "files", "space", "containers")


@dataclasses.dataclass(frozen=True)
class Held:
    """What a process holds at one moment.

    Attributes:
      done: how much of the work was done.
      memory: MiB that are resident.
      threads, descriptors, children: how many; children with those that nobody has waited for.
      files: entries in the temporary directory; space: MiB in them.
      containers: containers and volumes of ours on the Docker daemon, where there is one.
    """

    done: float
    memory: float
    threads: int
    descriptors: int
    children: int = 0
    files: int = 0
    space: float = 0.0
    containers: int = 0

    def row(self) -> str:
        return (
            f"| {self.done:>9.1f} | {self.memory:>8.2f} | {self.threads:>7} | {self.descriptors:>11} | {self.children:>8} |"
            f" {self.files:>10} | {self.space:>8.2f} | {self.containers:>10} |"
        )


HEAD = (
    "|      done | memory M | threads | descriptors | children | temp files | temp MiB | containers |\n"
    "|-----------|----------|---------|-------------|----------|------------|----------|------------|"
)


def settle(seconds: float = 1.0, most: float = 30.0) -> None:
    """Wait until no thread of this process has ended for so long: what is about to end, on a slow machine, is not what is kept."""
    end = time.monotonic() + most
    fewest, since = math.inf, time.monotonic()
    while (now := time.monotonic()) < min(since + seconds, end):
        if (threads := len(os.listdir("/proc/self/task"))) < fewest:
            fewest, since = threads, now
        time.sleep(0.02)


def held(done: float, temporary: pathlib.Path | None = None, process: int | None = None) -> Held:
    """What this process (or another) holds, when it has given back what it can."""
    if process is None:
        settle()
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # else what glibc keeps to itself would count as ours
    place = pathlib.Path("/proc", str(process or os.getpid()))
    resident = re.search(r"VmRSS:\s+(\d+) kB", (place / "status").read_text())
    assert resident is not None
    tasks = list((place / "task").iterdir())
    files = [path for path in temporary.rglob("*") if not path.is_dir()] if temporary else []
    return Held(
        done,
        int(resident[1]) / 1024,
        len(tasks),
        len(os.listdir(place / "fd")) - (process is None),  # the one that reads the folder
        sum(len((task / "children").read_text().split()) for task in tasks),
        sum(1 for _ in temporary.rglob("*")) if temporary else 0,
        sum(path.lstat().st_size for path in files) / _MIB,
    )


def growth(seen: Sequence[Held], each: float) -> dict[str, float]:
    """How much more is held after ``each`` of the work, by name: memory by the line through all that was seen; of what is counted the
    median of the second half beyond that of the first, since a thread may be about to end when it is counted."""
    done = [one.done for one in seen]
    slope = statistics.linear_regression(done, [one.memory for one in seen]).slope
    first, second = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    apart = statistics.fmean(one.done for one in second) - statistics.fmean(one.done for one in first)

    def more(name: str) -> float:
        before, after = (statistics.median_low(getattr(one, name) for one in half) for half in (first, second))
        return float(after - before) * each / apart

    return {"memory": slope * each, **{name: more(name) for name in COUNTED}}


def told(grown: dict[str, float], unit: str) -> str:
    """The growth in one line."""
    names = {"memory": "memory {:+.2f} MiB", "files": "temp files {:+.1f}", "space": "temp space {:+.2f} MiB"}
    return f"drift per {unit}: " + ", ".join(
        names.get(name, f"{name} {{:+.1f}}").format(more) for name, more in grown.items()
    )
