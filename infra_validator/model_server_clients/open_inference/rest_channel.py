"""The protocol over REST as a channel like gRPC's, so that whatever asks over gRPC asks over REST: one client, one meaning of errors.

Every HTTP status has its gRPC code (./errors.py). Redirects are not followed, nothing is asked twice, and no proxy is used.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import socket
import threading
import urllib.parse
import zlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import grpc

from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import shorten
from infra_validator.model_server_clients.open_inference.errors import CODE_OF_STATUS
from infra_validator.model_server_clients.open_inference.rest_messages import (
    HEADER_LENGTH,
    NotInJson,
    envelope,
    extensions_in,
    index_in,
    metadata_in,
    ready_in,
    rest_request,
    words_in,
)
from infra_validator.protos import open_inference_pb2 as pb

_LONGEST_TEXT = 1000
_LONGEST_ERROR = 1 << 16  # octets of an error's body that are read
LARGEST_ANSWER = (1 << 31) - 1  # octets of an answer, unpacked: what gRPC's messages can be
_CHUNK = 1 << 20
_OK, _REDIRECTS = 200, range(300, 400)
_JSON = {"Content-Type": "application/json"}

T = TypeVar("T")


class RestError(grpc.RpcError):
    """A call that failed, as gRPC tells it.

    Attributes:
      answered: whether a server answered; else the connection failed, or no answer came in time.
    """

    def __init__(self, code: grpc.StatusCode, details: str, *, answered: bool = True) -> None:
        super().__init__(details)
        self._code, self._details = code, details
        self.answered = answered

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details


class RestChannel:
    """Asks one server, from several threads; connections are kept open between requests. Close it.

    Args:
      endpoint: ``host:port``.
    """

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue()
        self._open: set[http.client.HTTPConnection] = set()
        self._lock = threading.Lock()
        self._closed = False

    def unary_unary(self, method: str, request_serializer: Any = None, response_deserializer: Any = None) -> RestMethod:
        """As of a gRPC channel, for the methods of the service."""
        return RestMethod(self, method.rpartition("/")[2], response_deserializer)

    def extensions(self, seconds: float) -> list[str]:
        """The extensions that the server says it has. Raises RestError."""
        body = self._exchange("GET", "/v2", b"", {}, Deadline.after(seconds))[1]
        return _read(extensions_in, body)

    def close(self) -> None:
        """End what is under way. May be called twice."""
        with self._lock:
            self._closed = True
            connections = list(self._open)
            self._open.clear()
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()
        for connection in connections:
            _hang_up(connection)

    def ask(self, method: str, payload: bytes, deadline: Deadline) -> bytes:
        """What a call of gRPC's would answer; for ModelInfer an envelope (./rest_messages.py). Raises RestError."""
        if method == "ModelInfer":
            asked = pb.ModelInferRequest.FromString(payload)
            try:
                headers, body = rest_request(asked)
            except NotInJson as error:
                raise RestError(grpc.StatusCode.INVALID_ARGUMENT, f"it was not sent: {error}") from error
            path = _model_path(asked.model_name, asked.model_version) + "/infer"
            told, answer = self._exchange("POST", path, body, headers, deadline)
            return envelope(told.get(HEADER_LENGTH.lower()), answer)
        if method in ("ServerLive", "ServerReady"):
            body = self._exchange("GET", f"/v2/health/{method[6:].lower()}", b"", {}, deadline)[1]
            return pb.ModelReadyResponse(ready=_read(ready_in, body)).SerializeToString()
        if method == "RepositoryIndex":
            return _read(index_in, self._repository("index", deadline)).SerializeToString()
        named = pb.ModelReadyRequest.FromString(payload)
        if method in ("RepositoryModelLoad", "RepositoryModelUnload"):  # the model's name is field 2 there
            verb = method.removeprefix("RepositoryModel").lower()
            self._repository(f"models/{_quoted(named.version)}/{verb}", deadline)
            return b""
        path = _model_path(named.name, named.version)
        if method == "ModelReady":
            body = self._exchange("GET", f"{path}/ready", b"", {}, deadline)[1]
            return pb.ModelReadyResponse(ready=_read(ready_in, body)).SerializeToString()
        if method == "ModelMetadata":
            return _read(metadata_in, self._exchange("GET", path, b"", {}, deadline)[1]).SerializeToString()
        raise RestError(grpc.StatusCode.UNIMPLEMENTED, f"{method} does not exist over REST")

    def _repository(self, path: str, deadline: Deadline) -> bytes:
        """The model repository extension: where the server has none, its path is not found."""
        try:
            return self._exchange("POST", f"/v2/repository/{path}", b"{}", _JSON, deadline)[1]
        except RestError as error:
            if path == "index" and error.code() is grpc.StatusCode.NOT_FOUND:
                raise RestError(grpc.StatusCode.UNIMPLEMENTED, error.details()) from error
            raise

    # ---------------------------------------------------------------- HTTP

    def _exchange(
        self, verb: str, path: str, body: bytes, headers: Mapping[str, str], deadline: Deadline
    ) -> tuple[dict[str, str], bytes]:
        """The headers, their names in lower case, and the body of a 200. Raises RestError."""
        connection, used = self._take()
        keep = False
        try:
            try:
                answer = _sent(connection, verb, path, body, headers, deadline)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                if not used:
                    raise
                connection.close()  # the server had closed it while nothing was asked
                answer = _sent(connection, verb, path, body, headers, deadline)
            told = {name.lower(): value for name, value in answer.getheaders()}
            limit = LARGEST_ANSWER if answer.status == _OK else _LONGEST_ERROR
            content = _content(connection, answer, told, limit, deadline)
            keep = answer.isclosed() and not answer.will_close
        except TimeoutError as error:
            raise RestError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", answered=False) from error
        except http.client.RemoteDisconnected as error:
            raise RestError(grpc.StatusCode.UNAVAILABLE, "Connection reset: no answer came", answered=False) from error
        except http.client.IncompleteRead as error:
            raise RestError(grpc.StatusCode.UNAVAILABLE, "Socket closed within the answer") from error
        except (http.client.HTTPException, ValueError) as error:
            text = f"it does not speak HTTP as it should: {type(error).__name__}: {error}"
            raise RestError(grpc.StatusCode.INTERNAL, shorten(text, _LONGEST_TEXT)) from error
        except OSError as error:
            if self._closed:
                raise RestError(grpc.StatusCode.CANCELLED, "Channel closed!", answered=False) from error
            cut = "" if isinstance(error, ConnectionError) else "failed to connect: "
            text = f"{cut}{error.strerror or error}"
            raise RestError(grpc.StatusCode.UNAVAILABLE, text, answered=False) from error
        finally:
            self._give_back(connection, keep)
        if answer.status == _OK:
            return told, content
        raise _refusal(answer.status, told, content)

    def _take(self) -> tuple[http.client.HTTPConnection, bool]:
        with contextlib.suppress(queue.Empty), self._lock:
            connection = self._idle.get_nowait()
            self._open.add(connection)
            return connection, True
        connection = http.client.HTTPConnection(self._host, self._port)
        with self._lock:
            if self._closed:
                raise RestError(grpc.StatusCode.CANCELLED, "Channel closed!", answered=False)
            self._open.add(connection)
        return connection, False

    def _give_back(self, connection: http.client.HTTPConnection, keep: bool) -> None:
        with self._lock:
            self._open.discard(connection)
            if keep and not self._closed:
                self._idle.put(connection)
                return
        connection.close()


class RestMethod:
    """One method, to be called as one of gRPC's."""

    def __init__(self, channel: RestChannel, method: str, read: Callable[[bytes], Any] | None) -> None:
        self._channel, self._method, self._read = channel, method, read

    def __call__(self, request: bytes, timeout: float | None = None, metadata: object = None) -> Any:
        """Ask and wait. Raises RestError."""
        deadline = Deadline.after(3600.0 if timeout is None else max(0.001, timeout))
        answer = self._channel.ask(self._method, request, deadline)
        return self._read(answer) if self._read is not None else answer

    def future(self, request: bytes, timeout: float | None = None, metadata: object = None) -> RestFuture:
        """Ask in a thread of its own, which ends with the request."""
        return RestFuture(lambda: self(request, timeout))


class RestFuture:
    """A call under way."""

    def __init__(self, ask: Callable[[], Any]) -> None:
        self._answer: Any = None
        self._error: RestError | None = None
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[RestFuture], None]] = []
        threading.Thread(target=self._run, args=(ask,), name="asking over REST", daemon=True).start()

    def _run(self, ask: Callable[[], Any]) -> None:
        try:
            self._answer = ask()
        except RestError as error:
            self._error = error
        except Exception as error:
            self._error = RestError(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}")
        with self._lock:
            self._done.set()
            callbacks = list(self._callbacks)
        for callback in callbacks:
            callback(self)

    def add_done_callback(self, callback: Callable[[RestFuture], None]) -> None:
        """Have ``callback`` called with this when the call has ended."""
        with self._lock:
            if not self._done.is_set():
                self._callbacks.append(callback)
                return
        callback(self)

    def cancel(self) -> bool:
        """The thread is left behind; it ends at the request's deadline, or with the channel."""
        return False

    def code(self) -> grpc.StatusCode:
        self._done.wait()
        return self._error.code() if self._error else grpc.StatusCode.OK

    def details(self) -> str:
        self._done.wait()
        return self._error.details() if self._error else ""

    def done(self) -> bool:
        return self._done.is_set()

    def result(self) -> Any:
        """The answer. Raises RestError."""
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._answer


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")


def _model_path(name: str, version: str) -> str:
    return f"/v2/models/{_quoted(name)}" + (f"/versions/{_quoted(version)}" if version else "")


def _read(read: Callable[[bytes], T], body: bytes) -> T:
    try:
        return read(body)
    except (ValueError, RecursionError) as error:
        said = "no JSON" if isinstance(error, (json.JSONDecodeError, UnicodeDecodeError)) else str(error)
        raise RestError(grpc.StatusCode.INTERNAL, f"HTTP 200 with {said}: {words_in(body[:200])}") from error


def _sent(
    connection: http.client.HTTPConnection,
    verb: str,
    path: str,
    body: bytes,
    headers: Mapping[str, str],
    deadline: Deadline,
) -> http.client.HTTPResponse:
    connection.timeout = max(0.001, deadline.remaining())
    if connection.sock is not None:
        connection.sock.settimeout(connection.timeout)
    connection.request(verb, path, body or None, {"Accept-Encoding": "identity", **headers})
    return connection.getresponse()


def _content(
    connection: http.client.HTTPConnection,
    answer: http.client.HTTPResponse,
    headers: Mapping[str, str],
    limit: int,
    deadline: Deadline,
) -> bytes:
    """The body, unpacked; of an error no more than ``limit``."""
    coding = headers.get("content-encoding", "identity").lower()
    if coding not in ("identity", "gzip", "deflate"):
        raise ValueError(f"an answer in the coding {coding!r}")
    unpack = zlib.decompressobj(47) if coding != "identity" else None  # 47: gzip or zlib, by its head
    parts: list[bytes] = []
    size = 0
    while True:
        if connection.sock is not None:
            connection.sock.settimeout(max(0.001, deadline.remaining()))
        if deadline.expired():
            raise TimeoutError
        chunk = answer.read(_CHUNK) if answer.chunked or answer.length is None else answer.read1(_CHUNK)
        if not chunk:
            if answer.length:
                raise http.client.IncompleteRead(b"", answer.length)
            break
        try:
            chunk = unpack.decompress(chunk, limit - size + 1) if unpack else chunk
        except zlib.error as error:
            raise ValueError(f"an answer that is not packed as it says: {error}") from error
        parts.append(chunk)
        size += len(chunk)
        if size > limit:
            if answer.status == _OK:
                text = f"the answer is larger than {limit} octets"
                raise RestError(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
            break
    if unpack is not None and not unpack.eof and answer.status == _OK:
        raise ValueError("a packed answer that is cut off")
    return b"".join(parts)[: limit + 1]


def _refusal(status: int, headers: Mapping[str, str], body: bytes) -> RestError:
    said = shorten(words_in(body), _LONGEST_TEXT)
    if status in _REDIRECTS:
        said = f"it redirects to {shorten(headers.get('location', 'nowhere'), _LONGEST_TEXT)}, which is not followed"
    code = CODE_OF_STATUS.get(status, grpc.StatusCode.UNKNOWN)
    return RestError(code, f"HTTP {status}: {said}" if said else f"HTTP {status}")


def _hang_up(connection: http.client.HTTPConnection) -> None:
    """End a connection that a thread may be reading from."""
    sock = connection.sock
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
