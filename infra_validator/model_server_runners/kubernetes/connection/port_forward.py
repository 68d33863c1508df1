"""A port on this machine that leads to a port of a pod, through the API server, without kubectl.

Every connection has a WebSocket of its own, so that one that breaks takes no other with it; whoever was connected connects again. While
the server's port is still closed (it opens only after the model is loaded), the connection is held and the pod asked again, since a
refusal would only make the caller knock more often. When to ask is told by the server's log: see backoff.py.

The protocol is ``v4.channel.k8s.io``: binary frames that begin with the channel's number; channel 0 carries the bytes, channel 1 the
error; the first frame on each names the port (two bytes, little-endian).
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from infra_validator.model_server_runners.kubernetes.api.errors import ApiError, ApiUnreachable
from infra_validator.model_server_runners.kubernetes.connection.backoff import Knocking

_LOG = logging.getLogger(__name__)

PROTOCOLS = ("v4.channel.k8s.io",)
_DATA, _ERROR = 0, 1
_BINARY, _CLOSE = 2, 8  # WebSocket opcodes
_HELD_BYTES = 64 * 1024  # what a client may send before the pod answers; gRPC sends some 100 bytes
_UNREACHABLE_SECONDS = 30.0


class PortForward:
    """A listening port on 127.0.0.1. Close it.

    Args:
      open_stream: opens one WebSocket to the pod's port; raises if it cannot.
      on_refused: told when the API server refuses the stream for good, or cannot be reached for long: then it is not the server in
        the pod that does not answer.
      knocking: says when to try.

    Attributes:
      endpoint: ``127.0.0.1:port``.
      problem: the last thing that went wrong, in the cluster's words; empty if nothing did.
      streams: how many WebSockets have been opened.
    """

    def __init__(
        self,
        open_stream: Callable[[], Any],
        on_refused: Callable[[ApiError | ApiUnreachable], None],
        knocking: Knocking,
    ) -> None:
        self._knocking = knocking
        self._open_stream = open_stream
        self._on_refused = on_refused
        self._unreachable_since: float | None = None
        self.problem = ""
        self.streams = 0
        self._closed = threading.Event()
        self._sockets: set[Any] = set()
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
        self._thread.join(2.0)

    # ---------------------------------------------------------------- one connection

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(client,), name="port-forward connection", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with self._kept(client):
            held = b""
            while self._knocking.wait(lambda: not self._closed.is_set() and _still_there(client)):
                stream = self._opened()
                if stream is not None:
                    with self._kept(stream.sock):
                        connection = _Connection(client, stream, held)
                        alive = connection.carry()
                    held = connection.held
                    self.problem = connection.error or self.problem
                    with contextlib.suppress(Exception):
                        stream.shutdown()
                    if connection.answered:
                        self._knocking.answered()
                    if connection.answered or not alive:
                        return
                self._knocking.refused()

    def _opened(self) -> Any | None:
        try:
            self.streams += 1
            stream = self._open_stream()
        except ApiError as error:
            self._note(error)
            if error.status in (401, 403):
                self._on_refused(error)
        except ApiUnreachable as error:
            self._note(error)
            since = self._unreachable_since = self._unreachable_since or time.monotonic()
            if time.monotonic() - since > _UNREACHABLE_SECONDS:
                self._on_refused(error)
        except Exception as error:
            self._note(error)
        else:
            self._unreachable_since = None
            return stream
        return None

    def _note(self, error: Exception) -> None:
        self.problem = str(error)
        _LOG.debug("port-forward: %s", error)

    @contextlib.contextmanager
    def _kept(self, one: Any) -> Any:
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
      held: what the client has sent until then.
      error: what the error channel said.
    """

    def __init__(self, client: socket.socket, stream: Any, held: bytes) -> None:
        self._client = client
        self._stream = stream
        self.held = held
        self.answered = False
        self.error = ""
        self._named: set[int] = set()

    def carry(self) -> bool:
        """Carry bytes both ways until one side ends. Returns whether the local client is still there."""
        try:
            self._stream.settimeout(30.0)
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
            self.error = self.error or f"{type(error).__name__}: {error}"
            return True

    def _from_client(self) -> bool:
        data = self._client.recv(65536)
        if not data:
            return False
        if not self.answered:
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
            self.answered, self.held = True, b""
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


def _shut(one: Any) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        one.shutdown(socket.SHUT_RDWR)
