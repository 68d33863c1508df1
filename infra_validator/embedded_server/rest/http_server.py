"""HTTP on the standard library's machinery (contract 6.2): ``http.server`` reads requests, this file decides who reads when.

Connections that say nothing wait in one selector, however many there are; a connection with something to say gets a thread until
it is answered. Slow senders take threads of their own, not those that work: at most ``handlers`` requests are worked on at once.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import http.server
import io
import queue
import selectors
import socket
import threading
import traceback
import zlib
from collections.abc import Callable
from typing import Any

from infra_validator.embedded_server import log
from infra_validator.embedded_server.rest.answer import REASONS, Answer, Headers, error_page

#: (verb, target, headers, body) -> answer.
Handler = Callable[[str, str, Headers, bytes], Answer]

_SILENCE_AT_MOST = 50.0  # seconds between two bytes of a request, as libevent has it
_READERS = 256
_BACKLOG = 1024
_CHUNK = 1 << 20
_INFLATED_AT_MOST = 100 * 2**20
_VERBS = {"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"}
_LONGEST_CHUNK_LINE = 4096


class _BadRequestError(Exception):
    """The bytes are no request."""


class _Connection(http.server.BaseHTTPRequestHandler):
    """One client's connection; reads one request at a time.

    Not served by ``socketserver``: __init__ sets up and returns, and the server calls ``serve_one``.
    """

    protocol_version = "HTTP/1.1"
    timeout = _SILENCE_AT_MOST
    disable_nagle_algorithm = True

    def __init__(self, connection: socket.socket, address: Any, handler: Handler, working: threading.Semaphore) -> None:
        self.request = connection
        self.client_address = address
        self.close_connection = True
        self._handler = handler
        self._working = working
        self.setup()

    def serve_one(self) -> bool:
        """Read and answer one request; whether the connection lives on."""
        try:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                return False
            body = self._body()
            with self._working:
                answer = self._answer(body)
            self._send(answer)
        except _BadRequestError:
            with contextlib.suppress(OSError):
                self._send(error_page(400))
            return False
        except (OSError, ValueError):  # the client is gone, or was silent for too long
            return False
        return not self.close_connection

    def has_more(self) -> bool:
        """Whether the next request, or a piece of it, was read already."""
        self.connection.settimeout(0.0)
        try:
            return bool(self.rfile.peek(1))  # type: ignore[attr-defined]  # a BufferedReader
        except OSError:
            return False
        finally:
            self.connection.settimeout(self.timeout)

    def close(self) -> None:
        """Any number of times."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            self.finish()
        self.connection.close()

    def _answer(self, body: bytes) -> Answer:
        if self.request_version == "HTTP/0.9":
            return error_page(400)
        if self.command not in _VERBS:
            return error_page(501)
        try:
            return self._handler(self.command, self.path, self.headers, body)
        except Exception:  # a mistake of ours must cost this request only
            log.error("http_server.cc", f"{self.command} {self.path} failed:\n{traceback.format_exc()}")
            return error_page(500)

    def _body(self) -> bytes:
        if "chunked" in (self.headers.get("Transfer-Encoding") or "").lower():
            body = self._chunks()
        else:
            length = self.headers.get("Content-Length") or "0"
            if not length.strip().isascii() or not length.strip().isdigit() or len(length) > 18:
                raise _BadRequestError
            body = self._exactly(int(length))
        if "gzip" in (self.headers.get("Content-Encoding") or "").lower():
            return inflated(body)
        return body

    def _exactly(self, length: int) -> bytes:
        # Piece by piece: a length that is only declared must not cost its memory.
        whole = io.BytesIO()
        while length:
            piece = self.rfile.read(min(length, _CHUNK))
            if not piece:
                raise ValueError("the client left in the middle of a body")
            whole.write(piece)
            length -= len(piece)
        return whole.getvalue()

    def _chunks(self) -> bytes:
        pieces = []
        while size := self._chunk_size():
            pieces.append(self._exactly(size))
            if self.rfile.read(2) != b"\r\n":
                raise _BadRequestError
        while self.rfile.readline(65537) not in (b"\r\n", b"\n", b""):
            pass  # trailers
        return b"".join(pieces)

    def _chunk_size(self) -> int:
        line = self.rfile.readline(_LONGEST_CHUNK_LINE)
        digits = line.split(b";")[0].strip()
        if not line.endswith(b"\n") or len(digits) > 15:
            raise _BadRequestError
        try:
            return int(digits, 16) if not digits.startswith((b"+", b"-", b"0x", b"0X")) else int("")
        except ValueError as error:
            raise _BadRequestError from error

    def _send(self, answer: Answer) -> None:
        self.close_connection |= answer.close or self.command == "HEAD"
        reason = REASONS.get(answer.status, "Error")
        lines = [f"{self.protocol_version} {answer.status} {reason}", f"Content-Type: {answer.content_type}"]
        lines += [f"{name}: {value}" for name, value in answer.headers]
        if self.request_version != "HTTP/1.0":
            lines += [f"Date: {self.date_time_string()}", f"Content-Length: {len(answer.body)}"]
        if self.close_connection:
            lines.append("Connection: close")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
        self.wfile.write(head + answer.body if self.command != "HEAD" else head)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the standard library calls for a request line or headers that it cannot read."""
        self.command = getattr(self, "command", None) or "GET"
        with contextlib.suppress(OSError):
            self._send(error_page(501 if code == 501 else 400))
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged, as with the real server."""


def inflated(body: bytes) -> bytes:
    """A gzipped body unpacked; empty if it is broken or too large."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        content = unpacker.decompress(body, _INFLATED_AT_MOST)
    except zlib.error:
        return b""
    return content if unpacker.eof else b""


class HttpServer:
    """Listens, and answers with a function.

    Args:
      handler: the function.
      handlers: how many requests may be in it at once.
      address: the address to listen on; empty for all, IPv6 and IPv4.
      port: the port; 0 for any free one.

    Raises:
      OSError: the port cannot be had.
    """

    def __init__(self, handler: Handler, handlers: int, address: str, port: int) -> None:
        self._handler = handler
        self._working = threading.BoundedSemaphore(max(handlers, 1))
        self._listener = _listen(address, port)
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._waker, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._idle: queue.SimpleQueue[_Connection] = queue.SimpleQueue()
        self._readers = concurrent.futures.ThreadPoolExecutor(_READERS, "rest")
        self._stopping = False
        self._thread = threading.Thread(target=self._watch, name="rest-connections", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening and drop idle connections. Any number of times."""
        if not self._stopping:
            self._stopping = True
            self._waker.send(b"x")
            self._thread.join()
            self._readers.shutdown(wait=False, cancel_futures=True)

    def _watch(self) -> None:
        while not self._stopping:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._woken:
                    self._woken.recv(4096)
                else:
                    self._selector.unregister(key.fileobj)
                    self._readers.submit(self._serve, key.data)
            while not self._idle.empty():
                connection = self._idle.get()
                self._selector.register(connection.connection, selectors.EVENT_READ, connection)
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                key.data.close()
        self._listener.close()
        self._selector.close()

    def _accept(self) -> None:
        try:
            connected, address = self._listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                log.error("http_server.cc", "Too many open connections")
                threading.Event().wait(0.05)  # until some are closed
            return
        try:
            connection = _Connection(connected, address, self._handler, self._working)
        except OSError:
            connected.close()  # gone already
            return
        self._selector.register(connected, selectors.EVENT_READ, connection)

    def _serve(self, connection: _Connection) -> None:
        alive = True
        while alive and not self._stopping:
            alive = connection.serve_one()
            if alive and not connection.has_more():
                self._idle.put(connection)
                self._waker.send(b"x")
                return
        connection.close()


def _listen(address: str, port: int) -> socket.socket:
    """A listening socket; on all addresses it takes IPv6 and IPv4, or IPv4 where there is no IPv6."""
    both = not address and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both or ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if both:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((address or ("::" if both else "0.0.0.0"), port))
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
