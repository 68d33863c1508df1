"""Whose something is that was made for a run: the label of a directory, the mark of processes, and what is found of ended owners."""

from __future__ import annotations

import dataclasses
import json
import os
import socket

from infra_validator._version import __version__
from infra_validator.core.deadline import SYSTEM_CLOCK, Clock
from infra_validator.model_server_runners.cleanup.processes import stat

_LABEL_FILE = "owner.json"
_OWNER = "infra_validator"
_LIFETIME_SECONDS = (
    24 * 3600.0
)  # only decides where it cannot be seen whether the owner lives (another machine or container)


#: The environment variable that has the run id of the validation in every process that it starts on this machine.
VALIDATION = "INFRA_VALIDATOR_VALIDATION"


def mark_of(run_id: str) -> str:
    """The environment variable, with its value, that every process of a run bears."""
    return f"INFRA_VALIDATOR_RUN={run_id}"


@dataclasses.dataclass(frozen=True)
class Label:
    """Whose a temporary directory is.

    Attributes:
      run_id: the run; its processes bear ``mark_of(run_id)``.
      host: the machine's name.
      boot: the kernel's id of the machine's last start; empty where it does not tell.
      namespace: the process namespace in which ``pid`` means anything.
      pid: the owning process.
      pid_started: when that process started, in clock ticks since the machine's start.
      deadline: UTC seconds after which nobody can still want it.
    """

    run_id: str
    host: str
    boot: str
    namespace: str
    pid: int
    pid_started: int
    deadline: float

    @classmethod
    def of_this_process(cls, run_id: str, clock: Clock = SYSTEM_CLOCK) -> Label:
        own = stat(os.getpid())
        return cls(
            run_id,
            socket.gethostname(),
            _boot(),
            _namespace(),
            os.getpid(),
            own.started if own else 0,
            clock.utc() + _LIFETIME_SECONDS,
        )

    def write(self, directory: str) -> None:
        """Label a directory."""
        text = json.dumps({"owner": _OWNER, "version": __version__, **dataclasses.asdict(self)}, indent=1)
        with open(os.path.join(directory, _LABEL_FILE), "x") as file:
            file.write(text)

    @classmethod
    def read(cls, directory: str) -> Label | None:
        """The label of a directory; None if it bears none of ours."""
        try:
            with open(os.path.join(directory, _LABEL_FILE)) as file:
                data = json.load(file)
            if data.get("owner") != _OWNER:
                return None
            return cls(**{field.name: data[field.name] for field in dataclasses.fields(cls)})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    @property
    def process(self) -> str:
        """The owning process in one text, for labels of things that others can see: it names no other process on any machine."""
        return f"{self.boot} {self.namespace} {self.pid} {self.pid_started}"

    def expired(self, clock: Clock = SYSTEM_CLOCK) -> str:
        """Why nobody can want it any more; empty if somebody may."""
        here = self.host == socket.gethostname()
        if here and self.boot and self.boot != _boot():
            return "the machine was started again since"
        if here and self.namespace == _namespace():
            owner = stat(self.pid)
            if owner and owner.alive and owner.started == self.pid_started:
                return ""
            return f"its owner, process {self.pid}, does not run any more"
        return "its time is over" if clock.utc() > self.deadline else ""


def own_process() -> str:
    """This process, as ``Label.process`` has it."""
    return Label.of_this_process("").process


def lives(process: str) -> bool | None:
    """Whether the process of a ``Label.process`` lives. None: that cannot be told, unless it ran on this machine, since its last start,
    and where we see its processes."""
    boot, namespace, pid, started = [*process.split(" "), "", "", "", ""][:4]
    if not boot or boot != _boot() or not namespace or namespace != _namespace():
        return None
    if not (pid.isdecimal() and started.isdecimal()):
        return None
    owner = stat(int(pid))
    return bool(owner and owner.alive and owner.started == int(started))


@dataclasses.dataclass(frozen=True)
class Leftover:
    """Something that was left behind.

    Attributes:
      path: the temporary directory.
      why: why nobody can want it any more.
      processes: the ids of living processes of its run.
      problem: why it could not be removed; empty if it was, or was only looked for.
    """

    path: str
    why: str
    processes: tuple[int, ...]
    problem: str = ""


def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
