"""What the kernel tells of processes, read from ``/proc``. Where there is no ``/proc``, nothing is known."""

from __future__ import annotations

import dataclasses
import os

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclasses.dataclass(frozen=True)
class ProcessStat:
    """One process, as ``/proc/<pid>/stat`` has it.

    Attributes:
      pid: its id.
      state: one letter; Z and X are dead.
      group: its process group.
      session: its session.
      started: when it started, in clock ticks since the machine's start; with the pid it names one process for good.
    """

    pid: int
    state: str
    group: int
    session: int
    started: int

    @property
    def alive(self) -> bool:
        return self.state not in ("Z", "X")


def stat(pid: int) -> ProcessStat | None:
    """One process; None if there is none, or nothing can be read of it."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            text = file.read()
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the name before it may hold anything
    return ProcessStat(pid, fields[0], int(fields[2]), int(fields[3]), int(fields[19]))


def members(leader: int) -> list[int]:
    """The living processes of the group and of the session that ``leader`` leads."""
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    seen = (stat(int(name)) for name in names if name.isdigit())
    return [one.pid for one in seen if one and one.alive and leader in (one.group, one.session)]


def private_bytes(pids: list[int]) -> int:
    """The memory that processes hold for themselves, in bytes, without mapped files; pages shared after a fork count for each."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/statm") as file:
                _, resident, mapped, *_ = file.read().split()
        except (OSError, ValueError):
            continue  # it ended meanwhile
        total += (int(resident) - int(mapped)) * _PAGE
    return total


def proportional_bytes(pids: list[int]) -> int | None:
    """The proportional set size of processes together, in bytes: pages shared by several count in parts, mapped files included.

    None if it can be read of none of them.
    """
    total = None
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                sizes = [int(line.split()[1]) for line in file if line.startswith("Pss:")]
        except (OSError, ValueError, IndexError):
            continue  # it ended meanwhile, or is not ours
        if sizes:
            total = (total or 0) + sizes[0] * 1024
    return total


def socket_inodes(pids: list[int]) -> set[int] | None:
    """The inode numbers of all sockets that processes hold open; None if we may look into none of them."""
    found = set()
    allowed = False
    for pid in pids:
        directory = f"/proc/{pid}/fd"
        try:
            names = os.listdir(directory)
        except OSError:
            continue
        allowed = True
        for name in names:
            try:
                target = os.readlink(f"{directory}/{name}")
            except OSError:
                continue
            if target.startswith("socket:["):
                found.add(int(target[8:-1]))
    return found if allowed else None
