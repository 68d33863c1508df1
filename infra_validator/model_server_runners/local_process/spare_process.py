"""A server process that is started before it is known what it is to serve, so that whoever asks for one has not to wait for its imports.

It is a process like any other server's: executed anew, with an environment, a mark, a directory and a watchdog of its own. Only its flags
come later, through a FIFO in its directory.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_runners.cleanup.labels import mark_of
from infra_validator.model_server_runners.cleanup.temporary_directory import make, not_made, path_for
from infra_validator.model_server_runners.cleanup.watchdog import Watchdog, kill_marked
from infra_validator.model_server_runners.local_process.server_log import ServerLog

_FIFO = "flags"


def _inherited() -> tuple[object, ...]:
    """What a process inherits besides its environment."""
    with open("/proc/self/limits") as limits, open("/proc/self/status") as status:
        umask = [line for line in status if line.startswith("Umask:")]
        return os.getcwd(), umask, limits.read(), os.getuid(), os.getgid(), os.nice(0), sorted(os.sched_getaffinity(0))


class SpareProcess:
    """One spare. Whoever takes it owns its parts and undoes them; else ``close`` does.

    Args:
      command: the program that waits for flags in the file that is appended to it.
      environment: the whole environment, without the mark.

    Attributes:
      run_id, directory, log: as a runner's.
      watchdog: it has been told of the directory (``told_directory``) and the process (``told_server``).
      process: the process.

    Raises:
      InfrastructureError: it cannot be started.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._fifo = -1
        self._inherited = _inherited()
        self.run_id = os.urandom(8).hex()
        self.directory = path_for(self.run_id)
        try:
            self.watchdog = Watchdog()
        except OSError as error:
            raise not_made("", error) from error
        try:
            self.told_directory = self.watchdog.remove_tree(self.directory)
            make(self.run_id)
            self.log = ServerLog(os.path.join(self.directory, "server.log"))
            os.mkfifo(os.path.join(self.directory, _FIFO), 0o600)
            self.told_server = self.watchdog.kill_marked(mark_of(self.run_id))
            name, _, value = mark_of(self.run_id).partition("=")
            self.process = subprocess.Popen(
                [*command, os.path.join(self.directory, _FIFO)],
                env={**environment, name: value},
                stdin=subprocess.DEVNULL,
                stdout=self.log.fileno(),
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except BaseException as error:
            self.watchdog.close()  # which undoes what it was told
            if isinstance(error, OSError):
                raise not_made(self.directory, error) from error
            raise

    def fits(self, environment: Mapping[str, str]) -> bool:
        """Whether it lives, and a process that is started now with this environment would be what it is."""
        return self.process.poll() is None and self._environment == environment and self._inherited == _inherited()

    def tell(self, flags: Sequence[str]) -> None:
        """Tell it what to serve.

        Raises:
          InfrastructureError: it cannot be told.
        """
        line = json.dumps(list(flags)).encode() + b"\n"
        try:
            # Open until the end: what was written is gone once nobody has it open.
            self._fifo = os.open(os.path.join(self.directory, _FIFO), os.O_RDWR | os.O_NONBLOCK)
            os.write(self._fifo, line)
        except OSError as error:  # a line that is longer than a pipe holds
            raise InfrastructureError(
                ReasonCode.SERVER_NOT_STARTED, f"The server cannot be told its flags: {error}."
            ) from error

    def close_fifo(self) -> None:
        """Called when the server is gone. May be called twice."""
        fifo, self._fifo = self._fifo, -1
        if fifo >= 0:
            os.close(fifo)

    def close(self) -> None:
        """End it, unless it was taken."""
        kill_marked(mark_of(self.run_id))
        self.process.wait()
        self.log.close()
        self.close_fifo()
        shutil.rmtree(self.directory, ignore_errors=True)
        self.watchdog.forget(self.told_server)
        self.watchdog.forget(self.told_directory)
        self.watchdog.close()
