"""A relay before a good server whose first octets to every client come late, as from a machine or a TLS library that is slow."""

from __future__ import annotations

import contextlib
import socket
import threading


class SlowGreeting:
    """Relays every connection to 127.0.0.1:``port``; what the server says is held back at first.

    Args:
      port: of the server.
      seconds: from the accepted connection to the first octet back.

    Attributes:
      port: where it listens on 127.0.0.1.
    """

    def __init__(self, port: int, seconds: float) -> None:
        self._server_port = port
        self._seconds = seconds
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._over = threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> SlowGreeting:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for sock in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=10)
        for sock in (self._listener, *self._sockets):
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                self._sockets += (client, server)
                for source, target, pause in ((client, server, 0.0), (server, client, self._seconds)):
                    thread = threading.Thread(target=self._pump, args=(source, target, pause), daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _pump(self, source: socket.socket, target: socket.socket, pause: float) -> None:
        self._over.wait(pause)
        with contextlib.suppress(OSError):
            while octets := source.recv(65536):
                target.sendall(octets)
            target.shutdown(socket.SHUT_WR)
