"""A port on this machine that leads to a port of a pod, through the API server, without kubectl.

Every connection has a WebSocket of its own, so that one that breaks takes no other with it; whoever was connected connects again. While
the server's port is still closed (it opens only after the model is loaded), the connection is held and the pod asked again, since a
refusal would only make the caller try more often. When to ask is known from the server's log: see backoff.py.

The protocol is ``v4.channel.k8s.io``: binary frames that begin with the channel's number; channel 0 carries the bytes, channel 1 the
error; the first frame on each names the port (two bytes, little-endian).
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
from collections.abc import Callable, Iterator

from infra_validator.core.deadline import SYSTEM_CLOCK, Clock, Deadline
from infra_validator.core.errors import InfrastructureError, naming_exhaustion, of_exhaustion
from infra_validator.model_server_runners.kubernetes.api.errors import RETRIED, ApiError, ApiUnreachable
from infra_validator.model_server_runners.kubernetes.api.stream import WebSocket
from infra_validator.model_server_runners.kubernetes.connection.backoff import Backoff

_LOG = logging.getLogger(__name__)

PROTOCOLS = ("v4.channel.k8s.io",)
_DATA, _ERROR = 0, 1
_BINARY, _CLOSE = 2, 8  # WebSocket opcodes
_HELD_BYTES = 64 * 1024  # what a client may send before the pod answers; gRPC sends some 100 bytes
_SILENCE_SECONDS = 30.0  # a peer that takes nothing for this long is gone
_PATIENCE_SECONDS = 60.0  # a kubelet or an API server that restarts is back by then

#: Why there is no way to the pod: an error of the API server's, or what the node said.
Problem = ApiError | ApiUnreachable | InfrastructureError


class PortForward:
    """A listening port on 127.0.0.1. Close it.

    Args:
      open_stream: opens one WebSocket to the pod's port; raises a Problem if it cannot.
      on_lost: called once when there is no way to the pod: the API server refuses the stream, or, though the pod lives, the pod is not
        reached for ``patience_seconds`` where it must be reachable (the API server is away; the server had answered before).
      backoff: says when to try.
      lives: whether the pod lives; connections that wait end when it does not.
      patience_seconds: see ``on_lost``.
      clock: where time is read.
      holds: whether a connection is held while the pod's port is closed; else it ends, and what its client sends is not kept.

    Attributes:
      endpoint: ``127.0.0.1:port``.
      problem: the last thing that went wrong, in the cluster's words; empty if nothing did.
      streams: how many WebSockets have been opened.
    """

    def __init__(
        self,
        open_stream: Callable[[], WebSocket],
        on_lost: Callable[[Problem], None],
        backoff: Backoff,
        lives: Callable[[], bool] = lambda: True,
        patience_seconds: float = _PATIENCE_SECONDS,
        clock: Clock = SYSTEM_CLOCK,
        holds: bool = True,
    ) -> None:
        self._holds = holds
        self._backoff = backoff
        self._open_stream = open_stream
        self._on_lost = on_lost
        self._lives = lives
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._patience: Deadline | None = None  # runs while the pod is not reached
        self._answered = False
        self.problem = ""
        self.streams = 0
        self._closed = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, name=f"port-forward {self.endpoint}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close the port and all its connections. May be called twice."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        with self._lock:
            held = list(self._sockets)
        for one in held:
            _shut(one)
        if self._thread is not threading.current_thread():
            self._thread.join(2.0)

    # ---------------------------------------------------------------- one connection

    def _accept(self) -> None:
        try:
            with naming_exhaustion():
                while not self._closed.is_set():
                    self._serve_beside(self._listener.accept()[0])
        except InfrastructureError as error:
            self._lost(error)
        except OSError:
            return  # it was closed

    def _serve_beside(self, client: socket.socket) -> None:
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(client,), name="port-forward connection", daemon=True).start()
        except BaseException:
            client.close()
            raise

    def _serve(self, client: socket.socket) -> None:
        try:
            with naming_exhaustion():
                self._carry(client)
        except InfrastructureError as error:
            self._lost(error)

    def _carry(self, client: socket.socket) -> None:
        with self._kept(client):
            held = b""
            while self._backoff.wait(lambda: self._wanted(client)):
                stream = self._opened()
                if stream is not None:
                    with self._kept(stream.sock):
                        connection = _Connection(client, stream, held, self._has_answered, self._holds)
                        alive = connection.carry()
                    held = connection.held
                    self.problem = connection.error or self.problem
                    with contextlib.suppress(Exception):
                        stream.shutdown()
                    if connection.answered or not alive or not self._holds:
                        return
                    if self._answered:
                        self._not_reached(ApiUnreachable("port-forward", self.problem or "the stream broke"))
                self._backoff.failed()

    def _wanted(self, client: socket.socket) -> bool:
        return not self._closed.is_set() and self._lives() and _still_there(client)

    def _has_answered(self) -> None:
        self._answered = True
        self._patience = None
        self._backoff.answered()

    def _opened(self) -> WebSocket | None:
        try:
            self.streams += 1
            stream = self._open_stream()
        except ApiError as error:
            if error.status in RETRIED:
                self._not_reached(error)
            else:
                self._lost(error)
        except ApiUnreachable as error:
            self._not_reached(error)
        except InfrastructureError as error:  # credentials that cannot be refreshed
            self._lost(error)
        else:
            if not self._answered:
                self._patience = None  # the way is open; that the port is closed is a matter of the model's loading
            return stream
        return None

    def _not_reached(self, problem: ApiError | ApiUnreachable) -> None:
        """The pod is not reached now; a node or an API server that restarts is back before long."""
        self.problem = str(problem)
        _LOG.debug("port-forward: %s", problem)
        self._patience = self._patience or Deadline.after(self._patience_seconds, self._clock)
        if self._patience.expired():
            self._lost(problem)

    def _lost(self, problem: Problem) -> None:
        self.problem = str(problem)
        with self._lock:
            first = not self._closed.is_set()
            self._closed.set()
        if first and self._lives():
            self._on_lost(problem)
        self.close()

    @contextlib.contextmanager
    def _kept(self, one: socket.socket) -> Iterator[None]:
        """``one`` is shut when the forward is closed, and at the end in any case."""
        with self._lock:
            self._sockets.add(one)
        try:
            if self._closed.is_set():
                _shut(one)
            yield
        finally:
            with self._lock:
                self._sockets.discard(one)
            _shut(one)
            with contextlib.suppress(OSError):
                one.close()


class _Connection:
    """The bytes between one local client and one WebSocket.

    Attributes:
      answered: whether the pod has sent a byte; what the client sent before can be sent again as long as it has not.
      held: what the client has sent until then, where ``holds`` says so.
      error: what the error channel said.
    """

    def __init__(
        self, client: socket.socket, stream: WebSocket, held: bytes, on_answer: Callable[[], None], holds: bool
    ) -> None:
        self._holds = holds
        self._client = client
        self._stream = stream
        self._on_answer = on_answer
        self.held = held
        self.answered = False
        self.error = ""
        self._named: set[int] = set()

    def carry(self) -> bool:
        """Carry bytes both ways until one side ends. Returns whether the local client is still there.

        Raises:
          InfrastructureError: this process has no memory or descriptor left (RESOURCES_EXHAUSTED).
        """
        try:
            self._stream.settimeout(_SILENCE_SECONDS)
            if self.held:
                self._send(self.held)
            while True:
                sources = [self._client, self._stream.sock]
                if len(self.held) >= _HELD_BYTES and not self.answered:
                    sources = [self._stream.sock]
                pending = getattr(self._stream.sock, "pending", None)
                readable = [self._stream.sock] if pending and pending() else select.select(sources, [], [])[0]
                if self._stream.sock in readable and not self._from_pod():
                    return True
                if self._client in readable and not self._from_client():
                    return False
        except Exception as error:  # of the library, of the socket: the connection is over either way
            exhausted = None if isinstance(error, BlockingIOError) else of_exhaustion(error)
            if exhausted is not None:
                raise exhausted from error
            self.error = self.error or f"{type(error).__name__}: {error}"
            return True

    def _from_client(self) -> bool:
        data = self._client.recv(65536)
        if not data:
            return False
        if self._holds and not self.answered:
            self.held += data
        self._send(data)
        return True

    def _send(self, data: bytes) -> None:
        self._stream.send(bytes([_DATA]) + data, _BINARY)

    def _from_pod(self) -> bool:
        opcode, data = self._stream.recv_data()
        if opcode == _CLOSE:
            return False
        if not data:
            return True
        channel, payload = data[0], data[1:]
        if channel not in self._named:
            self._named.add(channel)  # the port's number, as the protocol has it
            return True
        if channel == _ERROR:
            self.error = payload.decode("utf-8", "replace").strip()
            return False
        if channel == _DATA and payload:
            if not self.answered:
                self.answered, self.held = True, b""
                self._on_answer()
            self._client.sendall(payload)
        return True


def _still_there(client: socket.socket) -> bool:
    """Whether the client has not hung up; what it sent stays to be read."""
    try:
        return bool(client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:
        return True
    except OSError:
        return False


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        one.shutdown(socket.SHUT_RDWR)
