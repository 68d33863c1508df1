"""One model server process: in a session of its own, watched by a thread, stopped by a ladder; its end is named."""

from __future__ import annotations

import errno
import logging
import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence

from infra_validator.core.deadline import Deadline, News, wait_until
from infra_validator.core.errors import DeadlineExceeded, InfrastructureError, of_exhaustion
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.states import Observation
from infra_validator.model_server_runners.cleanup.processes import members
from infra_validator.model_server_runners.cleanup.stop_method import StopMethod
from infra_validator.model_server_runners.cleanup.watchdog import kill_marked, marked_processes
from infra_validator.model_server_runners.local_process.memory_limit import MemoryLimit, oom_kills
from infra_validator.model_server_runners.local_process.sandbox import exit_meant
from infra_validator.model_server_runners.local_process.server_log import ServerLog

_LOG = logging.getLogger(__name__)

_TICK = 0.1  # seconds between two looks at the log's length
_MEMORY_TICK = 0.02  # ... and at the memory, where it is limited
_SHORT_TICK = 0.005  # ... while the log grows fast, or the server is awaited
_SHELL_SAYS_KILLED = 128 + signal.SIGKILL  # a wrapper script whose server was killed exits with this
_UNKNOWN = 256  # no exit code


class ServerProcess:
    """A server that was started.

    Args:
      command: program and arguments; the program is looked up on the PATH unless it holds a slash. Or a process that was started so.
      environment: the whole environment.
      mark: ``NAME=VALUE`` of the environment by which its children are found wherever they went.
      log: takes its output and error output.
      memory: the limit on its memory.
      news: announced when it has ended, and once ``awaited`` is true.
      on_end: called in the watching thread, with the exit code or minus the signal, when it has ended by itself or was killed, or when it
        cannot be watched any more (then the code is 0); not when ``stop`` ended it.
      awaited: asked every few milliseconds until it is true: whether the server has written its port file.
      in_sandbox: whether the command is one that runs the server in a sandbox, and tells of its end with an exit code.

    Raises:
      InfrastructureError: it never ran.
    """

    def __init__(
        self,
        command: Sequence[str] | subprocess.Popen[bytes],
        environment: Mapping[str, str],
        *,
        mark: str,
        log: ServerLog,
        memory: MemoryLimit,
        news: News,
        on_end: Callable[[Observation, int], None],
        awaited: Callable[[], bool],
        in_sandbox: bool = False,
    ) -> None:
        self._mark = mark
        self._log = log
        self._memory = memory
        self._news = news
        self._on_end = on_end
        self._awaited = awaited
        self._in_sandbox = in_sandbox
        self._ended = threading.Event()
        self._stopping = False
        self._oom_kills_before = oom_kills()
        self._process = command if isinstance(command, subprocess.Popen) else _started(command, environment, log)
        self.pid = self._process.pid
        self._thread = threading.Thread(target=self._watch, name=f"model-server-{self.pid}", daemon=True)
        self._thread.start()

    def family(self) -> list[int]:
        """The living processes of the server: its group, its session, and every process that bears its mark."""
        return sorted({*members(self.pid), *marked_processes(self._mark)})

    def stop(self, grace: float, deadline: Deadline) -> StopMethod:
        """SIGTERM, ``grace`` seconds, SIGKILL to the whole family; returns the method that it took. May be called twice.

        Raises:
          DeadlineExceeded: something survives SIGKILL (it hangs in the kernel).
        """
        self._stopping = True
        method = StopMethod.NONE
        if self._process.returncode is None and not self._all_gone():
            method = StopMethod.TERM
            self._signal(signal.SIGTERM)
            try:
                wait_until(self._all_gone, deadline.capped(grace), news=self._news)
            except DeadlineExceeded:
                method = StopMethod.KILL
                self._kill(deadline)
        kill_marked(self._mark)  # looks more than once: a child that is just being executed does not show its mark yet
        self._thread.join()
        self._process.wait()  # only now is the process id free to be used again
        return method

    # ---------------------------------------------------------------- private

    def _kill(self, deadline: Deadline) -> None:
        def killed() -> bool | None:
            self._signal(signal.SIGKILL)  # again and again: it may have started more meanwhile
            return self._all_gone()

        try:
            wait_until(killed, deadline, news=self._news)
        except DeadlineExceeded as error:
            raise DeadlineExceeded(f"process {self.pid} or a child of it survives SIGKILL") from error

    def _all_gone(self) -> bool | None:
        return True if self._ended.is_set() and not self.family() else None

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except OSError:
            pass
        for pid in self.family():
            try:
                if os.getpgid(pid) != self.pid:
                    os.kill(pid, number)
            except OSError:
                pass

    def _watch(self) -> None:
        """The thread. Whatever goes wrong in it is the end of the attempt: a server that nobody watches would be waited for in vain."""
        status = 0
        try:
            status = self._wait_for_end()
            if self._in_sandbox:
                status = exit_meant(status)
            seen = self._told(status)
        except Exception as error:
            what = f"The watch over the server failed: {type(error).__name__}: {error}"
            exhausted = of_exhaustion(error)
            if exhausted is None:
                _LOG.exception("The watch over the server %s failed.", self.pid)
            seen = Observation.gone(exhausted.reason if exhausted else ReasonCode.INTERNAL_ERROR, what)
        self._ended.set()
        if not self._stopping:
            self._on_end(seen, status)
        self._news.announce()

    def _wait_for_end(self) -> int:
        """Wait for the end, and meanwhile keep the log short and the memory limited; returns the exit code, or minus the signal."""
        handle = _pidfd(self.pid)
        try:
            status = self._look_at_end(handle, 0.0)
            awaiting = True
            while status is None:
                if awaiting and self._awaited():
                    awaiting = False
                    self._news.announce()
                grows = self._log.trim()
                self._memory.watch(self.pid)
                tick = _MEMORY_TICK if self._memory else _TICK
                status = self._look_at_end(handle, _SHORT_TICK if awaiting or grows or handle is None else tick)
            return status
        finally:
            if handle is not None:
                os.close(handle)

    def _look_at_end(self, handle: int | None, seconds: float) -> int | None:
        """Wait at most ``seconds`` for the end: the exit code, or minus the signal; None while it runs.

        The child is left unreaped, so that its id and its group's cannot come to name somebody else before ``stop`` is done; where
        the system cannot tell of a child without reaping it (macOS before Python 3.13), it is reaped.
        """
        poll = select.poll()
        if handle is not None:
            poll.register(handle, select.POLLIN)
        poll.poll(seconds * 1000)
        if not hasattr(os, "waitid"):
            return self._process.poll()
        try:
            seen = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        except ChildProcessError:
            return _UNKNOWN
        if seen is None:
            return None
        return seen.si_status if seen.si_code == os.CLD_EXITED else -seen.si_status

    def _told(self, status: int) -> Observation:
        """What the end of the server means."""
        name = name_of(status)
        if self._memory.exceeded:
            return Observation.gone(
                ReasonCode.SERVER_OUT_OF_MEMORY, f"{name}: {self._memory.exceeded}", "out of memory"
            )
        if status in (-signal.SIGKILL, _SHELL_SAYS_KILLED) and oom_kills() > self._oom_kills_before:
            return Observation.gone(
                ReasonCode.SERVER_OUT_OF_MEMORY,
                f"{name}: the kernel's out-of-memory killer was at work",
                "out of memory",
            )
        reason = ReasonCode.SERVER_KILLED if status < 0 else ReasonCode.SERVER_EXITED
        return Observation.gone(reason, name, name)


def name_of(status: int) -> str:
    """An end in words. ``status``: the exit code, or minus the signal."""
    if status == _UNKNOWN:
        return "unknown exit status (something in this process reaps children that are not its own)"
    if status >= 0:
        return f"exit code {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"  # a real-time signal: only its number is known


def _pidfd(pid: int) -> int | None:
    """A handle that becomes readable when the process ends; None where the system has none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _started(command: Sequence[str], environment: Mapping[str, str], log: ServerLog) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log.fileno(),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise _never_ran(command[0], error) from error
    except ValueError as error:  # a NUL in an argument
        raise InfrastructureError(ReasonCode.SERVER_NOT_STARTED, f"{command[0]}: {error}.") from error


def _never_ran(program: str, error: OSError) -> InfrastructureError:
    """What the system's refusal to execute a program means."""
    if isinstance(error, FileNotFoundError) and not os.path.lexists(program):
        return InfrastructureError(ReasonCode.BINARY_NOT_FOUND, f"{program}: there is no such file.")
    problem = f"{program}: {error.strerror or error}."
    if isinstance(error, FileNotFoundError):
        problem = f"{program}: its interpreter, or what the link points to, is not there."
    elif os.path.isdir(program):
        problem = f"{program} is a directory."
    if isinstance(error, (FileNotFoundError, PermissionError, NotADirectoryError)) or error.errno in (
        errno.ENOEXEC,
        errno.ELOOP,
        errno.ETXTBSY,
    ):
        return InfrastructureError(ReasonCode.BINARY_NOT_EXECUTABLE, problem)
    return InfrastructureError(ReasonCode.SERVER_NOT_STARTED, problem)
