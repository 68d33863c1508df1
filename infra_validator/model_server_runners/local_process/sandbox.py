"""A sandbox for a server of this machine: bubblewrap (``bwrap``), which needs no rights where the kernel allows user namespaces.

Inside, the server sees the system's programs and libraries, its own program and Python environment, what its command names, its
model and its job's directory, all read-only; a small /tmp in memory, and one directory for its port file can be written. It has no
capabilities, process and user namespaces of its own, and the host's network: the validator asks it there.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode

PROGRAM = "bwrap"
_TRIAL_SECONDS = 20.0
_IN_MEMORY = 256 * 2**20  # bytes of /tmp, and of /dev/shm
_TEMPORARY = "/tmp"

_SEPARATED = ("user", "pid", "ipc", "uts")

#: What every program needs of the system. Of /etc nothing that a reader could use against somebody.
_SYSTEM = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/sys",
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf",
    "/etc/hosts", "/etc/host.conf", "/etc/resolv.conf", "/etc/localtime", "/etc/timezone", "/etc/ssl/certs", "/etc/pki/tls/certs",
)  # fmt: skip

_DEVICES = ("/dev/nvidia*", "/dev/kfd", "/dev/dri")

#: Variables that name directories with code.
_CODE = ("PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONHOME")


class Sandbox:
    """One server's sandbox.

    Args:
      command: program and arguments, as they would be started without it.
      environment: the server's, but for the mark.
      model: the SavedModel directory.
      directory: the job's.
      writable: the directory that the server may write.

    Raises:
      InfrastructureError: BINARY_NOT_FOUND or BINARY_NOT_EXECUTABLE.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], *, model: str, directory: str, writable: str
    ) -> None:
        program = _found(command[0], environment)
        readable = [*_of_program(program), *_named(command[1:]), model, directory]
        for name in _CODE:
            readable += [path for path in environment.get(name, "").split(os.pathsep) if os.path.isabs(path)]
        self._command = (program, *command[1:])
        self._options = _options([path for path in readable if os.path.exists(path)], writable)
        self._environment = {"HOME": _TEMPORARY, "TMPDIR": _TEMPORARY}

    def why_not(self) -> str:
        """Why it cannot be used on this machine, found out by using it for a program that does nothing; empty: it can.

        Called before the server is started.
        """
        wrapper = shutil.which(PROGRAM)
        if wrapper is None:
            return f"bubblewrap ({PROGRAM}) is not installed"
        try:
            done = subprocess.run(
                [wrapper, *self._options, "--", shutil.which("true") or "/bin/true"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=_TRIAL_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"bubblewrap does not work here: {error}"
        said = done.stderr.decode(errors="replace").strip().splitlines()
        return "" if done.returncode == 0 else f"bubblewrap does not work here: {(said or ['it failed'])[-1]}"

    def command(self) -> list[str]:
        """What is started instead of the server's own command."""
        return [shutil.which(PROGRAM) or PROGRAM, *self._options, "--", *self._command]

    def environment(self, given: Mapping[str, str], said: Mapping[str, str]) -> dict[str, str]:
        """The environment ``given`` with the sandbox's own places, where the spec has not ``said`` others."""
        return {**given, **{name: value for name, value in self._environment.items() if name not in said}}


def links_outside(model: str) -> str:
    """A symbolic link of a model that leads out of it, as ``path -> target``; empty if there is none."""
    top = os.path.realpath(model)
    for folder, directories, files in os.walk(top):
        for name in (*directories, *files):
            path = os.path.join(folder, name)
            if os.path.islink(path) and not os.path.realpath(path).startswith(top + os.sep):
                return f"{path} -> {os.readlink(path)}"
    return ""


def exit_meant(status: int) -> int:
    """The server's exit code, or minus its signal, of what bubblewrap exits with: 128 and the signal's number."""
    return 128 - status if 128 < status < 128 + 65 else status


def says_not_executed(status: int, log: str) -> bool:
    """Whether bubblewrap says that the program could not be executed (another processor's, say)."""
    return status == 1 and log.rpartition("\n")[2].startswith(f"{PROGRAM}: execvp ")


def _options(readable: Sequence[str], writable: str) -> tuple[str, ...]:
    bound = [option for path in _SYSTEM for option in ("--ro-bind-try", path, path)]
    wanted = {place for path in readable for place in (os.path.abspath(path), os.path.realpath(path))}
    for path in sorted(wanted):
        if not any(path.startswith(other.rstrip("/") + "/") for other in wanted):
            bound += ["--ro-bind", os.path.realpath(path), path]
    devices = [option for one in _DEVICES for path in glob.glob(one) for option in ("--dev-bind", path, path)]
    in_memory = ["--size", str(_IN_MEMORY), "--tmpfs"]
    return (
        *(f"--unshare-{name}" for name in _SEPARATED),
        "--unshare-cgroup-try",
        *("--cap-drop", "ALL"),
        *("--proc", "/proc", "--dev", "/dev"),
        *devices,
        *(*in_memory, _TEMPORARY, *in_memory, "/dev/shm"),
        *bound,
        *("--bind", writable, writable),
        # Root is nobody in its namespace, and yet the owner of /proc/sys: no capability is asked for there.
        *(option for place in ("/", "/dev", "/proc") for option in ("--remount-ro", place)),
        *("--chdir", "/"),
    )


def _found(program: str, environment: Mapping[str, str]) -> str:
    path = os.path.abspath(program) if "/" in program else shutil.which(program, path=environment.get("PATH"))
    if not path or not os.path.exists(path):
        raise InfrastructureError(ReasonCode.BINARY_NOT_FOUND, f"{program}: there is no such program.")
    if os.path.isdir(path) or not os.access(path, os.X_OK):
        raise InfrastructureError(ReasonCode.BINARY_NOT_EXECUTABLE, f"{path} is no program that may be executed.")
    return path


def _of_program(program: str) -> list[str]:
    """What a program is made of: its file, its interpreter's, and the environment of a Python."""
    found = [program]
    first = _beginning(program)
    if first[:2] != b"#!" and _machine(first) != _machine(_beginning("/proc/self/exe")):
        raise InfrastructureError(ReasonCode.BINARY_NOT_EXECUTABLE, f"{program} is no program of this machine's kind.")
    words = first.partition(b"\n")[0][2:].split() if first.startswith(b"#!") else []
    interpreter = os.fsdecode(words[0]) if words else ""
    if interpreter and os.path.exists(interpreter):
        return found + _of_program(interpreter)
    while os.path.islink(found[-1]):
        found.append(os.path.join(os.path.dirname(found[-1]), os.readlink(found[-1])))
    for place in tuple(found):
        prefix = os.path.dirname(os.path.dirname(place))
        if os.path.exists(os.path.join(prefix, "pyvenv.cfg")) or glob.glob(os.path.join(prefix, "lib", "python3*")):
            found.append(prefix)
    return [path for path in found if path not in ("/", "/usr")]


def _beginning(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(4096)
    except OSError as error:
        raise InfrastructureError(ReasonCode.BINARY_NOT_EXECUTABLE, f"{path}: {error.strerror}.") from error


def _machine(first: bytes) -> tuple[bytes, bytes]:
    """Of an ELF file's beginning: magic number, class and byte order, and the machine."""
    return first[:6], first[18:20]


def _named(arguments: Sequence[str]) -> list[str]:
    """The files and directories that arguments name: alone, after an equals sign, or in a list with commas."""
    words = [word for argument in arguments for word in (*argument.partition("=")[2].split(","), argument)]
    return [word for word in words if os.path.isabs(word) and os.path.exists(word) and word != "/"]
