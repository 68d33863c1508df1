"""Runs a model server as a process of this machine.

Everything of one job stands in one temporary directory, which bears a label (see leftovers.py)::

    <tmp>/infra-validator-<run id>/
      owner.json                      whose it is
      models/<model name>/<version>   a symbolic link to the model, or links to its files; models are never copied
      models/<model name>/            what the launch plan brings along to stand beside it
      files/                          what the launch plan brings along
      written/                        the one directory that a server in a sandbox can write
        ports.json                    written by servers that choose their ports themselves
      server.log                      the server's output, kept short

A watchdog (see watchdog.py) is told of the directory and the processes before they exist.
"""

from __future__ import annotations

import json
import os
import stat

from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import InfrastructureError
from infra_validator.core.launch_plan import LaunchPlanner, says_port_taken
from infra_validator.core.network.held_port import HeldPort
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.states import MemoryReading, Observation
from infra_validator.model_server_runners.base_runner import BaseModelServerRunner
from infra_validator.model_server_runners.cleanup.labels import VALIDATION, mark_of
from infra_validator.model_server_runners.cleanup.listeners import Listener, who_listens, who_listens_on_socket
from infra_validator.model_server_runners.cleanup.stop_method import StopMethod
from infra_validator.model_server_runners.cleanup.temporary_directory import make, not_made, path_for, write_files
from infra_validator.model_server_runners.cleanup.watchdog import Watchdog, kill_marked, remove_tree
from infra_validator.model_server_runners.local_process import spares
from infra_validator.model_server_runners.local_process.memory_limit import MemoryLimit
from infra_validator.model_server_runners.local_process.model_links import link_model
from infra_validator.model_server_runners.local_process.process_memory import ProcessMemory
from infra_validator.model_server_runners.local_process.sandbox import Sandbox, links_outside, says_not_executed
from infra_validator.model_server_runners.local_process.server_environment import server_environment
from infra_validator.model_server_runners.local_process.server_log import ServerLog
from infra_validator.model_server_runners.local_process.server_process import ServerProcess
from infra_validator.model_server_runners.local_process.spare_process import SpareProcess
from infra_validator.specs import LocalProcessConfig, ServingSpec
from infra_validator.specs.local_process import Sandbox as Wanted
from infra_validator.specs.local_process import parse_size

_ADDRESS = "127.0.0.1"
_LAST_LINES = 50  # of the log, where it is asked about a port
_LONGEST_PORT_FILE = 4096  # octets


class LocalProcessRunner(BaseModelServerRunner):
    """A model server as a process of this machine.

    Attributes:
      directory: the job's temporary directory; empty before Start.
      stopped_by: the step of the stop ladder that ended the server; None before Stop.
    """

    platform = "local_process"

    def __init__(self, model_path: str, serving_binary: LaunchPlanner, serving_spec: ServingSpec) -> None:
        super().__init__(model_path, serving_binary, serving_spec)
        self._config = serving_spec.local_process or LocalProcessConfig()
        self._environment = server_environment(os.environ, self._config.env_from)
        self._run_id = os.urandom(8).hex()
        self.directory = ""
        self.stopped_by: StopMethod | None = None
        self._spare: SpareProcess | None = None
        self._log: ServerLog | None = None
        self._process: ServerProcess | None = None
        self._gone: Observation | None = None
        self._held: list[HeldPort] = []
        self._grpc_port = 0
        self._rest_port = 0
        self._port_file_problem = ""
        self._port_is_ours = False
        self._memory = ProcessMemory()

    @classmethod
    def takes_a_slot(cls, serving_spec: ServingSpec) -> bool:
        return True

    @property
    def may_be_spare(self) -> bool:
        """Whether its server can be one that was started before it was known what it is to serve."""
        return self._config.sandbox is Wanted.OFF and spares.can_be(self.plan.command)

    @property
    def pid(self) -> int:
        """The server's process id, which is its process group's and session's too; 0 before Start."""
        return self._process.pid if self._process else 0

    # ---------------------------------------------------------------- what the base class calls

    def _launch(self) -> None:
        self._refuse_taken_address()
        spare = self._spare = spares.take(self.environment) if self.may_be_spare else None
        self._run_id = spare.run_id if spare else self._run_id
        try:
            self._watchdog = spare.watchdog if spare else Watchdog()
        except OSError as error:
            raise InfrastructureError(ReasonCode.SERVER_NOT_STARTED, f"No watchdog can be started: {error}.") from error
        self.register_cleanup("end the watchdog", lambda deadline: self._watchdog.close(deadline.remaining()))
        self._make_directory()
        self.register_cleanup("release the ports", lambda _: self._release_ports())
        told = spare.told_server if spare else self._watchdog.kill_marked(mark_of(self._run_id))
        self.register_cleanup("stop the model server", lambda deadline: self._stop_server(deadline, told))
        self._start_server()

    def _look(self) -> Observation:
        process, gone = self._process, self._gone
        if gone is not None:
            return gone
        if process is None:
            return Observation.pending("it is being started")
        if not self._grpc_port and self.plan.uses("port_file"):
            self._grpc_port = self._told_port()
            if not self._grpc_port:
                detail = f"the server has not told its port yet{self._port_file_problem}"
                return Observation.pending(detail, ReasonCode.LOAD_TIMEOUT)
        if not self._port_is_ours:
            return self._look_at_port(process)
        return Observation.running()

    def _find_endpoint(self) -> str:
        return f"unix:{self.plan.unix_socket}" if self.plan.unix_socket else f"{_ADDRESS}:{self._grpc_port}"

    def _find_rest_endpoint(self) -> str:
        port = self._rest_port or self._told("rest")
        return f"{_ADDRESS}:{port}" if port else ""

    def _read_memory(self, deadline: Deadline) -> MemoryReading:
        return self._memory.read(self._process.family if self._process else list)

    def _tail_logs(self) -> str:
        return self._log.tail(self._config.log_tail_lines) if self._log else ""

    # ---------------------------------------------------------------- the directory

    def _path(self, *names: str) -> str:
        return os.path.join(self.directory, *names)

    def _make_directory(self) -> None:
        self.directory = path_for(self._run_id)
        spare = self._spare
        told = spare.told_directory if spare else self._watchdog.remove_tree(self.directory)

        def remove(deadline: Deadline) -> None:
            if os.path.lexists(self.directory):
                remove_tree(self.directory)
            self._watchdog.forget(told)

        self.register_cleanup(f"remove {self.directory}", remove)
        model = self.plan.model
        if spare is None:
            make(self._run_id)
        link_model(model, self._path("models", model.name))
        try:
            self._log = log = spare.log if spare else ServerLog(self._path("server.log"))
        except OSError as error:
            raise not_made(self.directory, error) from error
        self.register_cleanup("close the server's log", lambda _: log.close())

    # ---------------------------------------------------------------- the server

    def _start_server(self) -> None:
        log = self._log
        assert log is not None
        values: dict[str, str | int] = {
            "bind_address": _ADDRESS,
            "model_base_path": self._path("models", self.plan.model.name),
            "files_dir": self._path("files"),
            "port_file": self._path("written", "ports.json"),
            **self._choose_ports(),
        }
        write_files(self._path("written"), {})
        write_files(self._path("files"), self.plan.file_texts(**values))
        write_files(self._path("models", self.plan.model.name), self.plan.model_file_texts(**values))
        arguments = self.plan.arguments(**values)
        if self._spare is not None:
            self.register_cleanup(
                "close the server's flags", lambda _: self._spare.close_fifo() if self._spare else None
            )
            self._spare.tell(arguments)
        mark, _, run_id = mark_of(self._run_id).partition("=")
        command, environment = [*self.plan.command, *arguments], self.environment
        sandbox = self._sandbox(command, environment)
        if sandbox is not None:
            own = {**self.plan.env, **self._config.env}
            command, environment = sandbox.command(), sandbox.environment(environment, own)
        self._process = ServerProcess(
            self._spare.process if self._spare else command,
            {**environment, mark: run_id, **({VALIDATION: self.run_id} if self.run_id else {})},
            mark=mark_of(self._run_id),
            log=log,
            memory=MemoryLimit(parse_size(self._config.memory_limit) or 0),
            news=self.news,
            on_end=self._on_end,
            awaited=lambda: not self.plan.uses("port_file") or self._told_port() != 0,
            in_sandbox=sandbox is not None,
        )

    def _sandbox(self, command: list[str], environment: dict[str, str]) -> Sandbox | None:
        """The sandbox that the server is to run in, if it is to run in one and the machine has the means.

        Raises:
          InfrastructureError: it has not, and the spec requires one; or the program cannot be run.
        """
        if self._config.sandbox is Wanted.OFF:
            self.restricted = False
            return None
        sandbox = Sandbox(
            command,
            environment,
            model=self.plan.model.source,
            directory=self.directory,
            writable=self._path("written"),
        )
        reason, why_not = ReasonCode.SANDBOX_NOT_AVAILABLE, ""
        outside = links_outside(self.plan.model.source)
        if self.plan.unix_socket:
            why_not = f"the server listens on the socket {self.plan.unix_socket}, which nobody would see"
        elif outside:
            reason, why_not = ReasonCode.MODEL_LINKS_OUTSIDE, f"a link leads out of the model, {outside}"
        else:
            why_not = sandbox.why_not()
        if not why_not:
            return sandbox
        if self._config.sandbox is Wanted.REQUIRED:
            raise InfrastructureError(reason, f"No sandbox for the server: {why_not}.")
        self.restricted = False
        self.notes.append(f"The server ran without a sandbox: {why_not}.")
        return None

    @property
    def environment(self) -> dict[str, str]:
        """The server's environment, but for the mark."""
        return {**self._environment, **self.plan.env, **self._config.env}

    def _on_end(self, seen: Observation, status: int) -> None:
        """Called in the watching thread when the server has ended unasked."""
        log = self._log.tail(_LAST_LINES) if self._log and seen.reason is ReasonCode.SERVER_EXITED else ""
        if says_port_taken(self.plan.port_taken, status, log):
            port = f"port {self._grpc_port}" if self._grpc_port else "a port"
            seen = Observation.gone(
                ReasonCode.PORT_NOT_AVAILABLE, f"The server could not listen on {port} ({seen.detail})."
            )
        elif self._config.sandbox is not Wanted.OFF and says_not_executed(status, log):
            seen = Observation.gone(ReasonCode.BINARY_NOT_EXECUTABLE, log.splitlines()[-1])
        self._gone = seen

    def _stop_server(self, deadline: Deadline, told: int) -> None:
        if self._process is not None:
            self.stopped_by = self._process.stop(self.stop_grace_seconds, deadline)
        else:
            kill_marked(mark_of(self._run_id))  # an exception may have come between the start and our knowing of it
        self._watchdog.forget(told)

    # ---------------------------------------------------------------- the ports

    def _choose_ports(self) -> dict[str, int]:
        """Values for the ports that the plan asks for; they are held until Stop."""
        ports = {}
        for name, wanted in (("grpc_port", self._config.grpc_port), ("rest_port", 0)):
            if self.plan.uses(name):
                held = _hold(wanted)
                self._held.append(held)
                ports[name] = held.port
        fixed = 0 if self.plan.uses("port_file") else self._config.grpc_port  # told to the server in some other way
        self._grpc_port = ports.get("grpc_port", fixed)
        self._rest_port = ports.get("rest_port", 0)
        return ports

    def _release_ports(self) -> None:
        while self._held:
            self._held.pop().release()

    def _told_port(self) -> int:
        """The gRPC port that the server has written to its port file; 0 while it has not."""
        port = self._told("grpc")
        if port is not None:
            return port
        self._port_file_problem = 'what it has written to its port file is not {"grpc": PORT}'
        return 0

    def _told(self, protocol: str) -> int | None:
        """A port in the server's port file; 0 while there is no file, None where it holds no such port."""
        try:
            port = json.loads(_beginning(self._path("written", "ports.json")))[protocol]
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return port if type(port) is int and 0 < port < 1 << 16 else None

    def _look_at_port(self, process: ServerProcess) -> Observation:
        """Running, unless somebody else listens on the port or socket. Once it is the server itself, nobody looks again."""
        listener = self._who_listens([process.pid])
        if listener in (Listener.SOMEBODY_ELSE, Listener.UNKNOWN):
            listener = self._who_listens(process.family())  # a child of it, perhaps
        if listener is Listener.SOMEBODY_ELSE:
            where = f"The socket {self.plan.unix_socket}" if self.plan.unix_socket else f"Port {self._grpc_port}"
            return Observation.gone(
                ReasonCode.SERVER_NOT_OURS,
                f"{where} is listened on by a process that does not belong to the server {process.pid}.",
            )
        self._port_is_ours = listener is Listener.OURS
        return Observation.running()

    def _who_listens(self, pids: list[int]) -> Listener:
        if self.plan.unix_socket:
            return who_listens_on_socket(self.plan.unix_socket, pids)
        return who_listens(_ADDRESS, self._grpc_port, pids)

    def _refuse_taken_address(self) -> None:
        """Before anything is made: a port or a socket that somebody uses already."""
        if self._config.grpc_port:
            _hold(self._config.grpc_port).release()
        if self.plan.unix_socket and who_listens_on_socket(self.plan.unix_socket, []) is not Listener.NOBODY:
            raise InfrastructureError(
                ReasonCode.PORT_NOT_AVAILABLE, f"Somebody listens on {self.plan.unix_socket} already."
            )


def _beginning(path: str) -> bytes:
    """Of a file that a stranger's program may have put there: no link is followed, and nothing that is no file waited for."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        return os.read(file, _LONGEST_PORT_FILE) if stat.S_ISREG(os.fstat(file).st_mode) else b""
    finally:
        os.close(file)


def _hold(port: int) -> HeldPort:
    try:
        return HeldPort(port)
    except OSError as error:
        raise InfrastructureError(
            ReasonCode.PORT_NOT_AVAILABLE, f"Port {port or '(any)'} cannot be used: {error.strerror}."
        ) from error
