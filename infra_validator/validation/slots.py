"""How many model servers are at work on this machine at once, whichever process started them: a slot for each attempt.

An attempt that is to have a slot holds a Unix socket in Linux' abstract namespace, bound to a name that says since when. Whoever has fewer
than the bound before it in that order is at work, the others wait: first come, first served. The kernel ends a name with its socket, so a
validator that is killed frees its slot at once and leaves nothing; no directory has to be writable, owned or cleaned.

A name counts where it is an open descriptor of the process that it names, which only processes of this user can show to each other: neither
another user's names nor what a fork inherited from a validator that is dead keeps anybody waiting.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import sys
from collections.abc import Callable, Mapping

from infra_validator.core.deadline import SYSTEM_CLOCK, Clock, Deadline, News, wait_until
from infra_validator.core.errors import DeadlineExceeded, UsageError
from infra_validator.core.signals.interruption import Interruption

#: The environment variable that sets the bound; 0: none.
AT_ONCE = "INFRA_VALIDATOR_SERVERS_AT_ONCE"

#: A load waits for the disk about as long as for a processor; more servers than this only make each of them slower, and take memory.
_EACH_PROCESSOR = 2

_LONGEST_PAUSE = 0.2  # seconds between two looks at who is before us
_NAMES = "/proc/self/net/unix"
_PREFIX = "infra_validator.slot"


def default_bound(quota: str = "/sys/fs/cgroup/cpu.max") -> int:
    """Two servers for each processor that this process may use, at least two.

    Args:
      quota: the file of a control group (version 2) that says how much processor time its processes have.
    """
    processors = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    with contextlib.suppress(OSError, ValueError):
        with open(quota) as file:
            allowed, _, period = file.read().partition(" ")
        processors = min(processors, float(allowed) / float(period))  # "max" is no number: no quota
    return max(2, round(processors * _EACH_PROCESSOR))


@dataclasses.dataclass(frozen=True)
class Slots:
    """The slots of this machine, for this user.

    Attributes:
      at_once: how many servers may be at work; 0: as many as there are attempts.
      prefix: what the names of one set of slots begin with; validators of one prefix wait for each other.
    """

    at_once: int
    prefix: str = _PREFIX

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> Slots:
        """As ``INFRA_VALIDATOR_SERVERS_AT_ONCE`` says, else the default. Without Linux there are none: servers run elsewhere then.

        Raises:
          UsageError: the variable holds no such number.
        """
        text = environment.get(AT_ONCE, "").strip()
        if text and not (text.isdecimal() and text.isascii() and len(text) < 7):
            raise UsageError(
                f"{AT_ONCE}={text}: must be a number, 0 or more.",
                next_step="Name how many model servers may be at work on this machine at once; 0: any number.",
            )
        if not sys.platform.startswith("linux"):
            return cls(0)
        return cls(int(text) if text else default_bound())

    def enter(self) -> Slot:
        """Take a place behind those who are there. Never raises: see ``Slot.problem``."""
        return Slot(self)


class Slot:
    """A place among those that wait or work; given up by ``release``, or with the process. A context manager.

    Attributes:
      problem: why there is none, so that nobody waits; empty if there is one.
    """

    def __init__(self, slots: Slots, clock: Clock = SYSTEM_CLOCK) -> None:
        self._bound = slots.at_once
        self._names = f"@{slots.prefix}.{os.geteuid()}."
        self._held: socket.socket | None = None
        self._order = ""
        self.problem = ""
        if self._bound:
            try:
                self._join(clock)
            except OSError as error:
                self.release()
                self.problem = f"{error.strerror or error}"

    def _join(self, clock: Clock) -> None:
        """Have a name that is the last one. A name from the moment before one that is there already is given up for a later one."""
        while True:
            self._held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | getattr(socket, "SOCK_CLOEXEC", 0))
            since = int(clock.monotonic() * 1e9)
            self._order = f"{since:020d}.{os.getpid()}.{self._held.fileno()}"
            self._held.bind("\0" + self._names[1:] + self._order)
            if all(order <= self._order for order, _ in self._there()):
                return
            self._held.close()

    def _there(self) -> list[tuple[str, str]]:
        """(place, inode) of every name of this set, in order.

        Raises:
          OSError: the names cannot be read.
        """
        found = []
        with open(_NAMES, errors="replace") as file:
            for line in file:  # number, references, protocol, flags, type, state, inode, name
                if self._names in line:
                    *_, inode, name = line.split(None, 7)
                    if name.startswith(self._names):
                        found.append((name.strip().removeprefix(self._names), inode))
        return sorted(found)

    def is_free(self) -> bool:
        """Whether fewer than the bound are before us."""
        if self._held is None:
            return True
        before = 0
        try:
            for order, inode in self._there():
                if order >= self._order:
                    break
                before += _is_held(order, inode)
                if before >= self._bound:
                    return False
        except OSError as error:
            self.release()
            self.problem = f"{error.strerror or error}"
        return True

    def wait(self, deadline: Deadline, interruption: Interruption) -> None:
        """Return once there is a slot, or nobody knows of any, or the interruption came; whoever goes on finds that with ``check``.

        Where the deadline comes first, we go on without one: ``problem`` says so.
        """
        news = News()
        interruption.wakes(news)
        try:
            wait_until(
                lambda: True if interruption.why is not None or self.is_free() else None,
                deadline,
                news=news,
                longest_pause=_LONGEST_PAUSE,
            )
        except DeadlineExceeded:
            self.problem = "none came free in time"
        finally:
            interruption.forget(news)

    def release(self) -> None:
        """Give the place up. May be called any number of times."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def __enter__(self) -> Slot:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _is_held(order: str, inode: str, link: Callable[[str], str] = os.readlink) -> bool:
    """Whether the process that a name names holds its socket, as far as this user may see."""
    _, _, who = order.partition(".")
    pid, _, descriptor = who.partition(".")
    if not (pid.isdecimal() and descriptor.isdecimal()):
        return False
    try:
        return link(f"/proc/{pid}/fd/{descriptor}") == f"socket:[{inode}]"
    except OSError:
        return False
