"""Watches one container through the daemon's stream of events, in a thread with a connection of its own. No docker library."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from infra_validator.core.deadline import Deadline, News, wait_until
from infra_validator.core.errors import DeadlineExceeded, InfrastructureError, of_exhaustion
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.states import Observation
from infra_validator.model_server_runners.local_docker.errors import AWAY, Ending
from infra_validator.model_server_runners.shaped import shaped, whole

_LOG = logging.getLogger(__name__)

_CONTAINER = {
    "State": {
        "Status": str,
        "Running": bool,
        "ExitCode": int,
        "OOMKilled": bool,
        "Error": str,
        "Health": {"Log": [{"ExitCode": int, "Output": str}]},
    },
    "HostConfig": {"ReadonlyRootfs": bool},
}
_EVENT = {"Action": str, "status": str, "Actor": {"Attributes": Mapping}}
_LOG_LINES = 50
_CALL_SECONDS = 10.0
_DAEMON_MAY_BE_AWAY = 60.0  # seconds; one that ends its containers first takes up to half a minute to restart
_ENDING_SIGNALS = frozenset({"2", "3", "9", "15"})


class EventStream(Protocol):
    def __iter__(self) -> Iterator[dict[str, Any]]: ...
    def close(self) -> None: ...


class Daemon(Protocol):
    """What is asked of a daemon here; daemon.DockerDaemon answers."""

    def events(self, filters: Mapping[str, list[str]], deadline: Deadline) -> EventStream: ...
    def container(self, name: str, deadline: Deadline) -> dict[str, Any] | None: ...
    def logs(self, name: str, lines: int, deadline: Deadline) -> str: ...
    def close(self) -> None: ...


class ContainerWatcher:
    """Knows what has become of one container.

    Args:
      name: the container's name; it must exist.
      connect: a new connection to the daemon.
      news: announced whenever ``observation`` has changed.
      architecture: tells the image's, where it is not the daemon's; for messages.
      port_taken, port: see errors.Ending.
      log_lines: how many of the last lines are read when it ends.
      daemon_may_be_away: seconds for which a daemon that is restarted is waited for.

    Attributes:
      log: the last lines, read at its end; None while it has not ended or they could not be had.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Daemon],
        news: News,
        *,
        architecture: Callable[[], str] = str,
        port_taken: str = "",
        port: int = 0,
        log_lines: int = _LOG_LINES,
        daemon_may_be_away: float = _DAEMON_MAY_BE_AWAY,
    ) -> None:
        self.log: str | None = None
        self._name = name
        self._connect = connect
        self._news = news
        self._architecture = architecture
        self._port_taken, self._port = port_taken, port
        self._log_lines = max(log_lines, 1)
        self._daemon_may_be_away = daemon_may_be_away
        self._seen = Observation.pending("the container was created")
        self._out_of_memory = False
        self._signalled = False
        self._stopping = False
        self._closed = threading.Event()
        self._stream: EventStream | None = None
        self._watching = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch-{name}", daemon=True)

    def start(self, deadline: Deadline) -> None:
        """Return once the daemon sends events, or says that it does not: what happens from then on is not missed."""
        self._thread.start()
        self._watching.wait(deadline.remaining())

    def observation(self) -> Observation:
        """What has been seen last."""
        return self._seen

    def started(self, daemon: Daemon) -> None:
        """The container was started; the daemon's word for it counts as seeing it run."""
        self._inspect(daemon)

    def stopping(self) -> None:
        """What happens from now on is our own doing."""
        self._stopping = True

    def close(self) -> None:
        """End the thread. May be called twice."""
        self._closed.set()
        if self._stream is not None:
            with contextlib.suppress(Exception):  # it may have ended at this moment
                self._stream.close()
        if self._thread.is_alive():
            self._thread.join(2.0)

    # ---------------------------------------------------------------- the thread

    def _run(self) -> None:
        try:
            self._watch_until_end()
        except InfrastructureError as error:
            _LOG.debug("The watch over container %s ended: %s", self._name, error)
            if not self._closed.is_set():
                self._note(Observation.gone(ReasonCode.JOB_ABORTED, f"the Docker daemon went away: {error}"))
        except Exception as error:  # whatever it is, nobody watches any more
            if not self._closed.is_set():
                what = f"The watch over the container failed: {type(error).__name__}: {error}"
                exhausted = of_exhaustion(error)
                if exhausted is None:
                    _LOG.exception("The watch over container %s failed.", self._name)
                self._note(Observation.gone(exhausted.reason if exhausted else ReasonCode.INTERNAL_ERROR, what))
        finally:
            self._watching.set()

    def _watch_until_end(self) -> None:
        while not self._closed.is_set():
            with contextlib.closing(self._listening_daemon()) as daemon:
                self._watching.set()
                self._listen(daemon)

    def _listening_daemon(self) -> Daemon:
        """A connection whose events are in ``_stream``; after the first one, waits for a daemon that is being restarted."""

        def listening() -> Daemon | None:
            if self._closed.is_set():
                raise DeadlineExceeded("nobody watches any more")
            with contextlib.ExitStack() as undo:
                try:
                    daemon = undo.enter_context(contextlib.closing(self._connect()))
                    filters = {"type": ["container"], "container": [self._name]}
                    self._stream = stream = daemon.events(filters, Deadline.after(_CALL_SECONDS))
                    undo.callback(stream.close)
                    if self._watching.is_set():
                        self._inspect(daemon, after_absence=True)
                except InfrastructureError:  # its socket may not be ours yet, and what shuts down answers many things
                    if not self._watching.is_set():
                        raise
                    return None
                undo.pop_all()
                return daemon

        try:
            return wait_until(listening, Deadline.after(self._daemon_may_be_away), longest_pause=0.25)
        except DeadlineExceeded as error:
            raise InfrastructureError(ReasonCode.DOCKER_NOT_RUNNING, "it did not come back.") from error

    def _listen(self, daemon: Daemon) -> None:
        """Until the stream of events ends."""
        assert self._stream is not None
        for event in self._stream:
            try:
                self._hear(daemon, event)
            except InfrastructureError as error:
                if error.reason not in AWAY:
                    raise
                return  # it has told its last; once it is back, the container is looked at
            if self._closed.is_set():
                return

    def _hear(self, daemon: Daemon, event: dict[str, Any]) -> None:
        told = shaped(event, _EVENT)
        action = told.get("Action") or told.get("status") or ""
        attributes = told.get("Actor", {}).get("Attributes", {})
        if action == "start":
            self._note(Observation.running())
        elif action == "oom":
            self._out_of_memory = True
        elif action == "kill" and str(attributes.get("signal")) in _ENDING_SIGNALS:
            self._signalled = not self._stopping
        elif action in ("die", "destroy") and self._stopping:
            self._note(Observation.gone(ReasonCode.SERVER_EXITED, "stopped"))  # its log has been read
        elif action in ("die", "destroy"):
            self._inspect(daemon, exit_code=attributes.get("exitCode"), destroyed=action == "destroy")
        elif action.startswith("health_status") and "unhealthy" in action:
            self._unhealthy(daemon)

    def _inspect(
        self,
        daemon: Daemon,
        *,
        exit_code: Any = None,
        destroyed: bool = False,
        after_absence: bool = False,
    ) -> None:
        """Ask the daemon for the container's state, which tells more than its events do, and note it."""
        found = daemon.container(self._name, Deadline.after(_CALL_SECONDS))
        told = shaped(found, _CONTAINER)
        state = told.get("State", {})
        if found is not None and state.get("Running"):
            self._note(Observation.running())
            return
        if found is not None and state.get("Status") == "created":
            return
        by = ""
        if after_absence:
            by = "was ended or removed while the Docker daemon was away,"
        elif found is None or destroyed or state.get("Status") in ("removing", "dead"):
            by = "" if self._stopping else "was removed"
        elif self._signalled:
            by = "was killed"
        if found is not None and self.log is None:
            with contextlib.suppress(InfrastructureError):
                self.log = daemon.logs(self._name, self._log_lines, Deadline.after(_CALL_SECONDS))
        ending = Ending(
            exit_code=whole(exit_code, state.get("ExitCode", 0)),
            out_of_memory=bool(state.get("OOMKilled")) or self._out_of_memory,
            error=state.get("Error", ""),
            by_somebody=by,
            read_only_root=bool(told.get("HostConfig", {}).get("ReadonlyRootfs")),
            architecture=self._architecture,
            port_taken=self._port_taken,
            port=self._port,
        )
        self._note(ending.observation(self.log or ""))

    def _unhealthy(self, daemon: Daemon) -> None:
        found = shaped(daemon.container(self._name, Deadline.after(_CALL_SECONDS)), _CONTAINER)
        checks = found.get("State", {}).get("Health", {}).get("Log") or [{}]
        words = " ".join(checks[-1].get("Output", "").split())
        self._note(
            Observation.gone(
                ReasonCode.SERVER_UNHEALTHY,
                f"the image's own health check says unhealthy (exit code {checks[-1].get('ExitCode')}): {words}",
                "unhealthy",
            )
        )

    def _note(self, seen: Observation) -> None:
        """The first end counts: what comes after it (a removal, say) is its consequence."""
        if self._seen.reason is None and seen != self._seen:
            self._seen = dataclasses.replace(seen)
            self._news.announce()
