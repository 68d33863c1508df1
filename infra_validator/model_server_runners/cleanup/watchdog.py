"""A small process that outlives its maker and then undoes what the maker had started.

A runner that is ended by SIGKILL cannot clean up. So it makes a :class:`Watchdog` first, and tells it how to undo each effect
*before* the effect; what was undone in the ordinary way is forgotten again. When the maker dies, or closes the watchdog,
whatever was told and not forgotten is undone, last told first. There are three ways to undo::

    watchdog = Watchdog()
    directory = watchdog.remove_tree("/tmp/infra-validator-5f")      # a directory and all in it
    server = watchdog.kill_marked("INFRA_VALIDATOR_RUN=5f")          # every process with this in its environment
    container = watchdog.run(["docker", "rm", "--force", "iv-5f"])   # a command of at most ten seconds
    ...
    watchdog.forget(server)                                          # it was stopped in the ordinary way
    watchdog.close()

``kill_marked`` can be told before the process exists (nobody knows its id then), and finds children that left its process
group or session: the environment that a process was started with is inherited and can be read in ``/proc``.

The other half is this file run as a program (``python -I -S watchdog.py PARENT``): standard library only, in a session of its own,
so that what ends its maker's process group does not end it. It reads one JSON object a line: ``{"tell": 1, "undo": "run", "what": ...}``
or ``{"forget": 1}``. The end of the pipe is the maker's death. It also says that no child of the maker is between fork and exec, where
it would not bear its mark yet: such a child holds the pipe. Another parent than PARENT is the maker's death too, but then the end of
the pipe is waited for a second: only a forked child of the maker keeps it open for longer. Half a second after everything was undone,
processes and directories are looked for once more: what was just being started may show up late.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import stat
import sys
import time
from collections.abc import Callable

_ASK_PARENT_EVERY = 0.25  # seconds; only matters while somebody else holds the pipe open
_END_OF_PIPE_SECONDS = 1.0  # how long after the maker's death the end of its pipe is waited for
_KILL_SECONDS = 5.0
_SWEEPS_WITHOUT_FIND = 3  # in a row: a process may start another behind a sweep's back, and end
_DYING_SECONDS = 0.002  # between two sweeps, where the last one found something
_EXECUTED_SECONDS = 0.02  # ... where it could not see a process's environment yet
_ENV_END = 51 - 3  # in /proc/PID/stat, from its third field on: where the environment ends; 0 while there is none yet
_LATE_SECONDS = 0.5  # after which the maker's death has reached what it was just starting
_COMMAND_SECONDS = 10.0
_REMOVE_SECONDS = 120.0  # after which somebody is taken to fill a directory while it is emptied


class Watchdog:
    """The maker's half. Starting it takes a few milliseconds; nobody waits for the other half to be up.

    Raises:
      OSError: the process cannot be started.
    """

    def __init__(self) -> None:
        import subprocess
        import threading  # not above: the other half has to start fast

        reader, writer = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, str(os.getpid())],
                stdin=reader,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
        except BaseException:
            os.close(writer)
            raise
        finally:
            os.close(reader)
        self._writer: int | None = writer
        self._writing = threading.Lock()
        self._told: set[int] = set()
        self._last = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    def remove_tree(self, path: str) -> int:
        """Remove a directory with all that is in it; symbolic links are removed, not followed."""
        return self._tell("remove_tree", path)

    def kill_marked(self, mark: str) -> int:
        """SIGKILL every process whose environment holds ``mark``, a whole ``NAME=VALUE``."""
        return self._tell("kill_marked", mark)

    def run(self, command: list[str], told: str = "") -> int:
        """Run a command, for at most ten seconds; it gets the maker's environment and ``told`` as its input."""
        return self._tell("run", [told, *command])

    def forget(self, number: int) -> None:
        """It was undone in the ordinary way."""
        self._send({"forget": number})
        self._told.discard(number)

    def close(self, seconds: float = 10.0) -> None:
        """End the watchdog; what was not forgotten is undone now, and waited for at most ``seconds``. May be called twice.

        Raises:
          subprocess.TimeoutExpired: it is still at work, and goes on.
        """
        if self._writer is not None:
            os.close(self._writer)
            self._writer = None
            if not self._told:
                self._process.kill()  # nothing to undo: faster than waiting for its orderly end
        self._process.wait(timeout=seconds)

    def _tell(self, undo: str, what: str | list[str]) -> int:
        self._last += 1
        self._told.add(self._last)
        self._send({"tell": self._last, "undo": undo, "what": what})
        return self._last

    def _send(self, message: dict[str, object]) -> None:
        rest = json.dumps(message).encode() + b"\n"
        with self._writing:  # a message may be larger than what a pipe takes as a whole
            try:
                while rest and self._writer is not None:
                    rest = rest[os.write(self._writer, rest) :]
            except BrokenPipeError:
                pass  # somebody killed the watchdog; the ordinary clean-up goes on without it


# -------------------------------------------------------------------- what both halves and the runner use


def marked_processes(mark: str) -> list[int]:
    """Ids of the living processes whose environment, as they were started with it, holds ``mark``. Without /proc: none."""
    return _sweep(mark)[0]


def kill_marked(mark: str) -> None:
    """SIGKILL all marked processes, and those that they start meanwhile."""
    limit = time.monotonic() + _KILL_SECONDS
    quiet = 0
    while quiet < _SWEEPS_WITHOUT_FIND and time.monotonic() < limit:
        found, unseen = _sweep(mark)
        quiet = 0 if found or unseen else quiet + 1
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        if quiet < _SWEEPS_WITHOUT_FIND and (found or unseen):
            time.sleep(_EXECUTED_SECONDS if unseen else _DYING_SECONDS)


def remove_tree(path: str) -> None:
    """Remove a directory with all that is in it, however deep it is, and what is closed to us but ours. Links are not followed.

    A stranger's program may have written there: what lies deeper is moved up, so no path is long and nothing here is deep.

    Raises:
      OSError: something in it cannot be removed, or somebody goes on filling it.
    """
    _open_up(os.lstat(path), path, None)
    top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        limit = time.monotonic() + _REMOVE_SECONDS
        while names := os.listdir(top):
            if time.monotonic() > limit:
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
            for name in names:
                try:
                    _remove_or_flatten(name, top)
                except FileNotFoundError:
                    pass  # somebody else removes it, too
    finally:
        os.close(top)
    os.rmdir(path)


def _remove_or_flatten(name: str, top: int) -> None:
    """Remove what is called ``name`` in the directory ``top``; directories in it are moved to ``top``."""
    if not _is_directory(name, top):
        os.unlink(name, dir_fd=top)
        return
    directory = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
    try:
        for inner in os.listdir(directory):
            if _is_directory(inner, directory):
                os.rename(inner, f"{os.urandom(8).hex()}.moved", src_dir_fd=directory, dst_dir_fd=top)
            else:
                os.unlink(inner, dir_fd=directory)
    finally:
        os.close(directory)
    os.rmdir(name, dir_fd=top)


def _is_directory(name: str, parent: int) -> bool:
    """Whether it is a directory, which we may read and write from now on."""
    seen = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if not stat.S_ISDIR(seen.st_mode):
        return False
    _open_up(seen, name, parent)
    return True


def _open_up(seen: os.stat_result, name: str, parent: int | None) -> None:
    if stat.S_ISDIR(seen.st_mode) and seen.st_mode & stat.S_IRWXU != stat.S_IRWXU:
        os.chmod(name, stat.S_IRWXU, dir_fd=parent)


def _sweep(mark: str) -> tuple[list[int], bool]:
    """The marked processes, and whether there is one that is just being executed: what its environment will hold cannot be seen yet."""
    wanted = mark.encode()
    found = []
    unseen = False
    try:
        names = os.listdir("/proc")
    except OSError:
        return [], False
    for name in names:
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            environment = _environment(name)
        except OSError:
            continue  # it is gone, or not ours
        if environment is None:
            unseen = True
            continue
        if wanted in environment and wanted in environment.split(b"\0"):
            found.append(int(name))
    return found, unseen


def _environment(name: str) -> bytes | None:
    """What a process was started with; None if that cannot be seen yet, which on a busy machine may last."""
    with open(f"/proc/{name}/environ", "rb") as file:
        environment = file.read()
    if environment:
        return environment
    os.readlink(f"/proc/{name}/exe")  # neither the dead nor the kernel's own threads have one
    with open(f"/proc/{name}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    if fields[_ENV_END : _ENV_END + 1] == [b"0"]:
        return None
    with open(f"/proc/{name}/environ", "rb") as file:
        return file.read()  # it was executed between our looks, or has none


# -------------------------------------------------------------------- the other half


def _run(what: list[str]) -> None:
    import subprocess

    told, *command = what
    subprocess.run(command, input=told.encode(), timeout=_COMMAND_SECONDS, check=False)


_UNDO: dict[str, Callable[..., None]] = {
    "remove_tree": remove_tree,
    "kill_marked": kill_marked,
    "run": _run,
}


def _told_until_death(parent: int) -> list[tuple[str, object]]:
    """Read what the maker tells, until it dies; returns what is to be undone, in the order told."""
    told: dict[int, tuple[str, object]] = {}
    rest = b""
    poll = select.poll()
    poll.register(0, select.POLLIN | select.POLLHUP)
    died: float | None = None
    while died is None or time.monotonic() < died + _END_OF_PIPE_SECONDS:
        if died is None and os.getppid() != parent:
            died = time.monotonic()
        if not poll.poll(_ASK_PARENT_EVERY * 1000):
            if any(undo == "run" for undo, _ in told.values()):
                import subprocess  # noqa: F401 - while there is time: once the maker is dead, it is short on a busy machine
            continue
        data = os.read(0, 65536)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "forget" in message:
                told.pop(message["forget"], None)
            else:
                told[message["tell"]] = (message["undo"], message["what"])
    return list(told.values())


def _undo(told: list[tuple[str, object]]) -> None:
    for undo, what in told:
        try:
            _UNDO[undo](what)
        except Exception:  # noqa: S110 - nobody is left to be told; the next one must be undone all the same
            pass


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    told = _told_until_death(int(sys.argv[1]))[::-1]
    _undo(told)
    if any(undo == "kill_marked" for undo, _ in told):
        time.sleep(_LATE_SECONDS)
        _undo([(undo, what) for undo, what in told if undo != "run"])


if __name__ == "__main__":
    main()
