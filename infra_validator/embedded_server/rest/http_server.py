"""HTTP for many clients (contract 6.2): one thread talks to all of them, others work on whole requests.

A connection costs no thread while it says nothing, sends a request or takes an answer, however slowly: half-sent requests keep
nobody else out. At most ``handlers`` requests are worked on at once.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import email.utils
import errno
import queue
import selectors
import socket
import threading
import time
import traceback
from collections.abc import Callable

from infra_validator.embedded_server import log
from infra_validator.embedded_server.rest.answer import REASONS, Answer, Headers, error_page
from infra_validator.embedded_server.rest.http_request import BadRequestError, Request, RequestReader

#: (verb, target, headers, body) -> answer.
Handler = Callable[[str, str, Headers, bytes], Answer]

#: Seconds that a client has to send a request, or to take an answer (libevent's for two pieces of one), and the bytes that give it
#: one more.
_PATIENCE, _BYTES_A_SECOND = 50.0, 64 * 1024
_GOODBYE = 5.0  # seconds that a client has to close after us; what it still sends would else wipe out our answer
_SWEEP = 1.0  # seconds between two looks for clients that are too slow
_BACKLOG = 1024
_PIECE = 1 << 18
_VERBS = {"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class _Connection:
    """One client's connection. Belongs to the server's thread, or to the one that works on its request, never to both.

    Attributes:
      out: what is still to be sent.
      closes: whether the connection ends with that.
      leaving: whether we have said goodbye and wait for the client to.
      deadline: the moment (of ``time.monotonic``) at which the client has been too slow; None while nothing is asked of it.
    """

    __slots__ = ("_began", "_moved", "_patience", "closes", "leaving", "out", "reader", "socket")

    def __init__(self, connected: socket.socket, patience: float) -> None:
        self.socket = connected
        self._patience = patience
        self.reader = RequestReader()
        self.out = memoryview(b"")
        self.closes = self.leaving = False
        self._began: float | None = None
        self._moved = 0

    @property
    def deadline(self) -> float | None:
        if self._began is None:
            return None
        return self._began + (_GOODBYE if self.leaving else self._patience + self._moved / _BYTES_A_SECOND)

    def rest(self) -> None:
        """Nothing is asked of the client."""
        self._began, self._moved = None, 0

    def receive(self) -> bool:
        """Take what the client has sent; whether it has not closed. BlockingIOError: nothing has come after all."""
        data = self.socket.recv(_PIECE)
        if not self.leaving:
            self.reader.feed(data)
        self._count(len(data))
        return bool(data)

    def send(self) -> bool:
        """Send what can be sent now; whether that is all."""
        self._count(0)
        while self.out:
            try:
                sent = self.socket.send(self.out)
            except BlockingIOError:
                return False
            self.out = self.out[sent:]
            self._count(sent)
        return True

    def say_goodbye(self) -> None:
        self.rest()
        self.leaving = True
        self._count(0)
        self.socket.shutdown(socket.SHUT_WR)

    def _count(self, moved: int) -> None:
        self._began = time.monotonic() if self._began is None else self._began
        self._moved += moved


class HttpServer:
    """Listens, and answers with a function.

    Args:
      handler: the function.
      handlers: how many requests may be in it at once.
      address: the address to listen on; empty for all, IPv6 and IPv4.
      port: the port; 0 for any free one.
      patience: seconds that a client has to send a small request, or to take a small answer.

    Raises:
      OSError: the port cannot be had.
    """

    def __init__(self, handler: Handler, handlers: int, address: str, port: int, patience: float = _PATIENCE) -> None:
        self._handler = handler
        self._patience = patience
        self._listener = _listen(address, port)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._waker, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._answered: queue.SimpleQueue[_Connection] = queue.SimpleQueue()
        #: Connections that the server's thread has, those first of which nothing was heard for longest.
        self._waiting: dict[_Connection, None] = {}
        self._hurried: set[_Connection] = set()  # those with a deadline
        self._workers = concurrent.futures.ThreadPoolExecutor(max(handlers, 1), "rest")
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, name="rest-connections", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening and drop the connections that are not being worked for. Any number of times."""
        if not self._stopping:
            self._stopping = True
            self._waker.send(b"x")
            self._thread.join()
            self._workers.shutdown(wait=False, cancel_futures=True)
            self._close_answered()
            self._waker.close()
            self._woken.close()

    # --------------------------------------------------------------------------------------------- the server's thread

    def _serve(self) -> None:
        swept = time.monotonic()
        while not self._stopping:
            for key, _ in self._selector.select(_SWEEP if self._hurried else None):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._woken:
                    self._woken.recv(4096)
                elif key.data in self._waiting:  # not closed in the meantime
                    self._go_on(key.data)
            while not self._answered.empty():
                self._go_on_after_answer(self._answered.get())
            if time.monotonic() - swept >= _SWEEP:
                swept = time.monotonic()
                self._drop_the_slow(swept)
        for connection in list(self._waiting):
            self._drop(connection)
        self._listener.close()
        self._selector.close()

    def _accept(self) -> None:
        try:
            connected, _ = self._listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                if self._waiting:
                    self._drop(next(iter(self._waiting)))  # who has been silent for longest makes room
                else:
                    threading.Event().wait(0.05)  # until somebody is answered
            return
        try:
            connected.setblocking(False)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            connected.close()  # gone already
            return
        self._wait_for(_Connection(connected, self._patience), selectors.EVENT_READ)

    def _go_on(self, connection: _Connection) -> None:
        """The client has sent something, or takes more."""
        self._leave(connection)
        try:
            if connection.out:
                self._send(connection)
            elif not connection.receive():
                self._client_has_closed(connection)
            elif connection.leaving:
                self._wait_for(connection, selectors.EVENT_READ)
            else:
                self._look(connection)
        except BlockingIOError:
            self._wait_for(connection, selectors.EVENT_READ)
        except OSError:
            connection.socket.close()

    def _look(self, connection: _Connection) -> None:
        """Hand over the next request, or wait for the rest of it."""
        try:
            request = connection.reader.next()
        except BadRequestError:
            self._refuse(connection)
            return
        if request is not None:
            connection.rest()
            self._workers.submit(self._work, connection, request)
            return
        current = connection.reader.current
        if current is not None and current.expects_continue:
            current.expects_continue = False
            connection.out = memoryview(_CONTINUE)
            self._send(connection)
            return
        self._wait_for(connection, selectors.EVENT_READ)

    def _client_has_closed(self, connection: _Connection) -> None:
        if connection.leaving or not connection.reader.has_begun or connection.reader.current is not None:
            connection.socket.close()
        else:
            self._refuse(connection)  # what it has sent is no request

    def _refuse(self, connection: _Connection) -> None:
        connection.out, connection.closes = memoryview(_encoded(error_page(400), None)), True
        self._send(connection)

    def _send(self, connection: _Connection) -> None:
        if not connection.send():
            self._wait_for(connection, selectors.EVENT_WRITE)
        elif connection.closes:
            connection.say_goodbye()
            self._wait_for(connection, selectors.EVENT_READ)
        elif connection.reader.has_begun:
            self._look(connection)
        else:
            connection.rest()
            self._wait_for(connection, selectors.EVENT_READ)

    def _go_on_after_answer(self, connection: _Connection) -> None:
        try:
            self._send(connection)
        except OSError:
            connection.socket.close()

    def _wait_for(self, connection: _Connection, event: int) -> None:
        self._waiting[connection] = None
        if connection.deadline is not None:
            self._hurried.add(connection)
        self._selector.register(connection.socket, event, connection)

    def _leave(self, connection: _Connection) -> None:
        del self._waiting[connection]
        self._hurried.discard(connection)
        self._selector.unregister(connection.socket)

    def _drop(self, connection: _Connection) -> None:
        self._leave(connection)
        connection.socket.close()

    def _drop_the_slow(self, now: float) -> None:
        for connection in list(self._hurried):
            if connection.deadline is not None and connection.deadline < now:
                self._drop(connection)

    # ----------------------------------------------------------------------------------------------------- the workers

    def _work(self, connection: _Connection, request: Request) -> None:
        answer = self._answer(request)
        connection.out = memoryview(_encoded(answer, request))
        connection.closes = answer.close or not request.keeps_open or request.verb == "HEAD"
        with contextlib.suppress(OSError):  # of a client that is gone; the server's thread will notice
            if self._stopping:
                connection.socket.settimeout(self._patience)
                connection.socket.sendall(connection.out)
            else:
                connection.send()
        self._answered.put(connection)
        if self._stopping:
            self._close_answered()
            return
        with contextlib.suppress(OSError):
            self._waker.send(b"x")

    def _close_answered(self) -> None:
        """Where the server's thread does not take them any more."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._answered.get_nowait().socket.close()

    def _answer(self, request: Request) -> Answer:
        if request.verb not in _VERBS:
            return error_page(501)
        try:
            return self._handler(request.verb, request.target, request.headers, request.content())
        except Exception:  # a mistake of ours must cost this request only
            log.error("http_server.cc", f"{request.verb} {request.target} failed:\n{traceback.format_exc()}")
            return error_page(500)


def _encoded(answer: Answer, request: Request | None) -> bytes:
    """The bytes of an answer to a request, or to what is none."""
    head_only = request is not None and request.verb == "HEAD"
    lines = [f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Error')}", f"Content-Type: {answer.content_type}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    if request is None or not request.is_http_1_0:
        lines += [f"Date: {email.utils.formatdate(usegmt=True)}", f"Content-Length: {len(answer.body)}"]
    if answer.close or request is None or not request.keeps_open or head_only:
        lines.append("Connection: close")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
    return head if head_only else head + answer.body


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
