"""What the sidecar knows of the models: asked for all the time over one channel, told to everybody who wants to know."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
import threading
import time

import grpc

from infra_validator.core.deadline import News
from infra_validator.probe import exit_codes
from infra_validator.probe.asking import ProbeResult, ask_model
from infra_validator.probe.go.text import log
from infra_validator.probe.settings import Settings, WantedModel
from infra_validator.probe.transport import rpc_status
from infra_validator.probe.transport.grpcio_transport import GrpcioConnection, open_channel
from infra_validator.probe.transport.rpc_status import RpcError

_LONGEST_BACKOFF = 0.1  # seconds; the server is a neighbour, and its start is to be seen soon
_FILES_LOOKED_AT_EVERY = 1.0  # seconds, for rotated certificates
_MOST_AT_ONCE = 16  # calls


@dataclasses.dataclass(frozen=True)
class ModelState:
    """What was last seen of one wanted model.

    Attributes:
      code: as the probe would exit with.
      line: as the probe would say.
      versions: (version, state's name) as the server lists them; empty if it did not answer.
      changes: how often the code has changed; words may differ from one failed call to the next.
      asked: whether there was a question yet.
    """

    code: int = exit_codes.NOT_CONNECTED
    line: str = "Not asked yet"
    versions: tuple[tuple[int, str], ...] = ()
    changes: int = 0
    asked: bool = False

    @property
    def ready(self) -> bool:
        return self.code == exit_codes.AVAILABLE


class Models:
    """The states of the wanted models; written by the poller, read by everybody. Thread-safe.

    Attributes:
      news: announced when a state has changed, and when the sidecar stops.
      polls: how many rounds of questions there have been.
      poll_seconds: how long all of them took together.
      last_poll: when the last one ended (time.monotonic).
      stopping: the sidecar is on its way out; nothing is ready any more.
    """

    def __init__(self, wanted: list[WantedModel]) -> None:
        self.wanted = wanted
        self.news = News()
        self.polls = 0
        self.poll_seconds = 0.0
        self.last_poll = time.monotonic()
        self.stopping = False
        self._states = {str(model): ModelState() for model in wanted}

    def states(self, service: str = "") -> dict[str, ModelState]:
        """``NAME``, ``NAME:VERSION`` or ``NAME@LABEL``, as asked for -> state; empty if the service is unknown.

        Args:
          service: a model as it was asked for, a model's name (all that was asked for of it), or empty for everything.
        """
        states = self._states
        return {str(m): states[str(m)] for m in self.wanted if service in ("", m.name, str(m))}

    def ready(self, service: str = "") -> bool | None:
        """Whether a service is ready; None if it is unknown."""
        states = self.states(service)
        if not states:
            return None
        return not self.stopping and all(state.ready for state in states.values())

    def update(self, answer: ProbeResult) -> None:
        """Take what came of one model; log and announce it if it is new."""
        name = str(answer.model)
        before = self._states[name]
        state = ModelState(
            answer.code,
            answer.line,
            tuple((status.version, status.state_name) for status in answer.versions),
            before.changes + (before.asked and answer.code != before.code),
            asked=True,
        )
        if state != before:
            self._states = {**self._states, name: state}
        if state.code != before.code or not before.asked:
            self.news.announce()
            log(f"Model {name}: {answer.line}")

    def stop(self) -> None:
        """Nothing is ready from now on."""
        self.stopping = True
        self.news.announce()


class _HeldServer:
    """The server, over a channel that is kept; opened anew when the TLS files have changed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._files = [f for f in (settings.tls_ca_cert, settings.tls_client_cert, settings.tls_client_key) if f]
        self._stamp = self._stamp_of_files()
        self._looked_at = time.monotonic()
        self._lock = threading.Lock()
        self._closed = False
        self._channel = self._open()

    def _open(self) -> grpc.Channel:
        return open_channel(self._settings.address, self._settings, longest_backoff=_LONGEST_BACKOFF)

    def _stamp_of_files(self) -> list[tuple[int, int]]:
        """Changes when a file does; a link that leads elsewhere, as in a mounted Secret, counts."""
        found = [os.stat(path) for path in self._files]
        return [(stat.st_ino, stat.st_mtime_ns) for stat in found]

    def call(self, method: str, request: bytes) -> bytes:
        return GrpcioConnection(self._channel).call(method, request, time.monotonic() + self._settings.rpc_timeout)

    def reload(self) -> None:
        """Look for changed TLS files, now and then. Not to be called while a call runs."""
        now = time.monotonic()
        if not self._files or now < self._looked_at + _FILES_LOOKED_AT_EVERY:
            return
        self._looked_at = now
        try:
            stamp = self._stamp_of_files()
            if stamp == self._stamp:
                return
            channel = self._open()
        except OSError as error:
            log(f"The TLS files cannot be read: {error}; the former ones stay in use")
            return
        self._stamp = stamp
        with self._lock:
            if self._closed:
                channel.close()
                return
            self._channel.close()
            self._channel = channel
        log("The TLS files have changed; connecting anew")

    def close(self) -> None:
        """End it, and every call that runs."""
        with self._lock:
            self._closed = True
            self._channel.close()


class Poller:
    """Asks for every model, all at once, every ``interval`` seconds, in a thread of its own.

    Args:
      settings: which server, which models.
      models: told what came.
      interval: seconds from the begin of one round to the begin of the next.

    Raises:
      OSError: a TLS file cannot be read, or no thread can be started.
    """

    def __init__(self, settings: Settings, models: Models, interval: float) -> None:
        self._settings = settings
        self._models = models
        self._interval = interval
        self._server = _HeldServer(settings)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="poller", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End it, and the calls that run."""
        self._stop.set()
        self._server.close()
        self._thread.join()

    def _run(self) -> None:
        workers = min(_MOST_AT_ONCE, len(self._models.wanted))
        with concurrent.futures.ThreadPoolExecutor(workers, "ask") as executor:
            while not self._stop.is_set():
                began = time.monotonic()
                self._server.reload()
                for answer in executor.map(self._ask, self._models.wanted):
                    if self._stop.is_set():
                        return  # what comes of calls that were cut off says nothing
                    self._models.update(answer)
                ended = time.monotonic()
                self._models.polls += 1
                self._models.poll_seconds += ended - began
                self._models.last_poll = ended
                self._stop.wait(max(0.0, began + self._interval - ended))

    def _ask(self, model: WantedModel) -> ProbeResult:
        answer = ProbeResult(model)
        try:
            ask_model(_Connected(self._server), self._settings, answer)
        except _NotConnected as error:
            answer.end(exit_codes.NOT_CONNECTED, f"No connection: {error}")
        except Exception as error:  # a poller that dies would freeze the last state for good
            answer.end(exit_codes.CALL_FAILED, f"Error in the sidecar: {type(error).__name__}: {error}")
        return answer


class _NotConnected(Exception):
    """There is no connection; the probe calls this a failed dial."""


class _Connected:
    """Tells a failed dial from a failed call, which over a kept channel are both UNAVAILABLE."""

    def __init__(self, server: _HeldServer) -> None:
        self._server = server

    def call(self, method: str, request: bytes) -> bytes:
        try:
            return self._server.call(method, request)
        except RpcError as error:
            if error.code == rpc_status.UNAVAILABLE:
                raise _NotConnected(error.message) from None
            raise
