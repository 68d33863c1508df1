"""What a Docker daemon's words mean: its refusals, and the ends of containers. Tables, no docker library.

A refusal means that the server's process never ran, so it is always an InfrastructureError. The end of a container is an
Observation; the reason code in it decides who is to blame.
"""

from __future__ import annotations

import dataclasses
import errno
import re
import signal
from collections.abc import Callable
from typing import TypeVar

from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.errors import DeadlineExceeded, InfrastructureError
from infra_validator.core.launch_plan import says_port_taken
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.states import Observation

#: What is found in the place of a daemon that is being restarted.
AWAY = frozenset({ReasonCode.DOCKER_NOT_RUNNING, ReasonCode.DOCKER_NOT_ANSWERING})

#: The daemon's words -> reason code; the first row that matches counts.
_REFUSALS: tuple[tuple[str, ReasonCode], ...] = (
    (r"no space left on device|disk quota exceeded", ReasonCode.NO_SPACE),
    (r"client version \S+ is too (new|old)", ReasonCode.DOCKER_API_VERSION),
    (r"port is already allocated|address already in use", ReasonCode.PORT_NOT_AVAILABLE),
    (r"cannot assign requested address", ReasonCode.ADDRESS_NOT_AVAILABLE),
    (r"could not select device driver|nvidia-container|unknown device driver", ReasonCode.GPU_NOT_AVAILABLE),
    (r"exec format error|no matching manifest for|does not match the specified platform|cannot be used on this platform",
     ReasonCode.IMAGE_WRONG_ARCHITECTURE),
    (r"executable file not found|exec: .*(no such file|permission denied|is a directory)|no command specified",
     ReasonCode.IMAGE_COMMAND_NOT_FOUND),
    (r"bind source path does not exist|stat .*: permission denied|not shared from the host", ReasonCode.MODEL_NOT_VISIBLE),
    (r"unauthorized|denied|authentication required|no basic auth credentials", ReasonCode.IMAGE_PULL_DENIED),
    (r"manifest unknown|manifest for .* not found|no such image|name unknown|repository does not exist|not found: manifest",
     ReasonCode.IMAGE_NOT_FOUND),
    (r"no such host|i/o timeout|tls handshake|x509|connection refused|connection reset|network is unreachable|"
     r"server misbehaving|request canceled|unexpected eof|context deadline|5\d\d (internal|bad|service|gateway)",
     ReasonCode.IMAGE_PULL_FAILED),
)  # fmt: skip

#: What the container's init process, or runc, prints when the program cannot be executed: nothing of it ran.
_INIT_SAYS = re.compile(r"^\[FATAL tini .*\] exec .* failed|^exec \S+: ", re.IGNORECASE)

#: What shells print when the server's program cannot be executed; they exit with 126 or 127.
_SHELL_SAYS = re.compile(
    r": (command )?not found$|: permission denied$|bad interpreter|no such file or directory$|exec format error",
    re.IGNORECASE,
)

T = TypeVar("T")


def refusal(what: str, words: str, otherwise: ReasonCode = ReasonCode.SERVER_NOT_STARTED) -> InfrastructureError:
    """The error for something that the daemon refused.

    Args:
      what: what was asked, e.g. ``start the container``.
      words: the daemon's answer.
      otherwise: the reason where its words are in no row of the table.
    """
    words = " ".join(words.split()) or "it gave no reason"
    for pattern, reason in _REFUSALS:
        if re.search(pattern, words, re.IGNORECASE):
            return InfrastructureError(reason, f"To {what}: {words}")
    return InfrastructureError(otherwise, f"To {what}: {words}")


def no_connection(address: str, error: BaseException) -> InfrastructureError:
    """The error for a daemon that could not be talked to at all."""
    chain = _causes(error)
    words = " ".join(str(error).split())
    names = {type(link).__name__ for link in chain}
    if names & {"SSLError", "SSLCertVerificationError", "TLSParameterError"} or "HTTP request to an HTTPS" in words:
        return InfrastructureError(ReasonCode.DOCKER_TLS_FAILED, f"{address}: {words}")
    number = next((link.errno for link in chain if isinstance(link, OSError) and isinstance(link.errno, int)), None)
    if number in (errno.EACCES, errno.EPERM):
        return InfrastructureError(ReasonCode.DOCKER_PERMISSION_DENIED, f"{address}: permission denied.")
    if any("Timeout" in name or name == "timeout" for name in names):
        return InfrastructureError(ReasonCode.DOCKER_NOT_ANSWERING, f"{address}: no answer in time.")
    why = next((link.strerror for link in chain if isinstance(link, OSError) and link.strerror), words)
    return InfrastructureError(ReasonCode.DOCKER_NOT_RUNNING, f"{address}: {why}.")


def once_it_is_back(action: Callable[[], T], deadline: Deadline) -> T:
    """What ``action`` returns; tried again until the deadline while there is no daemon, as while it is restarted.

    Raises:
      InfrastructureError: what the last try raised.
    """
    failures: list[InfrastructureError] = []

    def tried() -> tuple[T] | None:
        try:
            return (action(),)
        except InfrastructureError as failure:
            if failure.reason not in AWAY:
                raise
            failures.append(failure)
            return None

    try:
        return wait_until(tried, deadline, longest_pause=0.25)[0]
    except DeadlineExceeded as error:
        raise failures[-1] from error


def _causes(error: BaseException) -> list[BaseException]:
    """The error, what it was raised from, and the errors that libraries hide in the arguments of others."""
    chain: list[BaseException] = []
    waiting = [error]
    while waiting:
        link = waiting.pop(0)
        if link in chain:
            continue
        chain.append(link)
        related = [link.__cause__, link.__context__, *link.args, getattr(link, "reason", None)]
        waiting.extend(other for other in related if isinstance(other, BaseException))
    return chain


@dataclasses.dataclass(frozen=True)
class Ending:
    """How a container ended, as the daemon tells it.

    Attributes:
      exit_code: the exit code of its first process.
      out_of_memory: whether the kernel killed something in it for memory.
      error: the daemon's own words, mostly empty.
      by_somebody: how somebody else ended it (``was killed``, ``was removed``); empty if nobody did.
      read_only_root: whether its root file system was read-only.
      architecture: tells the image's, where it is not the daemon's; asked only where it matters.
      port_taken: a regular expression for what the server prints when its port is in use; empty where the ports are its own.
      port: that port, for the message.
    """

    exit_code: int
    out_of_memory: bool = False
    error: str = ""
    by_somebody: str = ""
    read_only_root: bool = False
    architecture: Callable[[], str] = str
    port_taken: str = ""
    port: int = 0

    def observation(self, log: str) -> Observation:
        """What it means. ``log`` is the container's last lines: an init process tells there that a program was not executed."""
        told = f" ({self.error})" if self.error else ""
        if self.by_somebody:
            return Observation.gone(ReasonCode.JOB_ABORTED, f"the container {self.by_somebody} by somebody else")
        never_ran = self._never_ran(log)
        if never_ran is not None:
            return never_ran
        if self.out_of_memory and self.exit_code != 0:
            detail = f"killed for memory, exit code {self.exit_code}{told}"
            return Observation.gone(ReasonCode.SERVER_OUT_OF_MEMORY, detail)
        if self.read_only_root and self.exit_code != 0 and re.search("read-only file system", log, re.IGNORECASE):
            words = _last_line_with("read-only file system", log)
            return Observation.gone(ReasonCode.IMAGE_NEEDS_WRITABLE_ROOT, f"exit code {self.exit_code}: {words}")
        name = _signal_name(self.exit_code)
        if name:
            return Observation.gone(ReasonCode.SERVER_KILLED, f"signal {name}{told}")
        if says_port_taken(self.port_taken, self.exit_code, log):
            detail = f"the server could not listen on its port {self.port} (exit code {self.exit_code})"
            return Observation.gone(ReasonCode.PORT_NOT_AVAILABLE, detail)
        return Observation.gone(ReasonCode.SERVER_EXITED, f"exit code {self.exit_code}{told}")

    def _never_ran(self, log: str) -> Observation | None:
        """Whether the log's end says that the server's program could not even be executed."""
        lines = [line.strip() for line in log.strip().splitlines()[-5:]]
        said = next((line for line in lines if _INIT_SAYS.search(line)), "") if self.exit_code in (1, 126, 127) else ""
        if not said and self.exit_code in (126, 127):
            said = next((line for line in reversed(lines) if _SHELL_SAYS.search(line)), "")
        if not said:
            return None
        if "exec format error" in said.lower():
            architecture = self.architecture()
            about = f"; the image is for {architecture}" if architecture else ""
            return Observation.gone(ReasonCode.IMAGE_WRONG_ARCHITECTURE, f"{said}{about}")
        return Observation.gone(ReasonCode.IMAGE_COMMAND_NOT_FOUND, f"{said} (exit code {self.exit_code})")


def _last_line_with(words: str, log: str) -> str:
    return next(line.strip() for line in reversed(log.splitlines()) if words in line.lower())


def _signal_name(exit_code: int) -> str:
    """``SIGSEGV`` for 139; empty for exit codes that mean no signal. A bare 255 or 128 is no signal."""
    try:
        return signal.Signals(exit_code - 128).name if 128 < exit_code < 193 else ""
    except ValueError:
        return ""
