"""A relay between a client and a server, as a port-forward or a proxy is one: its connections can be cut, and it can be away."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


class Relay:
    """Relays connections to ``server``, each in threads.

    Args:
      server: ``host:port``, or the path of a Unix socket.
      listen: the path of the Unix socket to listen on, or an address, of which a free port is taken.

    Attributes:
      endpoint: where it listens.
      connections: how many there have been.
      away: whether new connections are closed at once.
    """

    def __init__(self, server: str, listen: str = "127.0.0.1") -> None:
        self._server = server
        if "/" in listen:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(listen)
            self._listener.listen(64)
            self.endpoint = listen
        else:
            self._listener = socket.create_server((listen, 0))
            self.endpoint = f"{listen}:{self._listener.getsockname()[1]}"
        self.connections = 0
        self.away = False
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()

    def cut(self) -> None:
        """Cut every connection that there is now."""
        with self._lock:
            for end in self._open:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.away:
                client.close()
                continue
            server = self._connected()
            with self._lock:
                self.connections += 1
                self._open += [client, server]
            self._threads.append(threading.Thread(target=_relay, args=(client, server)))
            self._threads[-1].start()

    def _connected(self) -> socket.socket:
        host, _, port = self._server.rpartition(":")
        if host:
            return socket.create_connection((host, int(port)))
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._server)
        return server

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()


def _relay(client: socket.socket, server: socket.socket) -> None:
    with client, server:
        back = threading.Thread(target=_pump, args=(server, client))
        back.start()
        _pump(client, server)
        back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def relaying(server: str, listen: str = "127.0.0.1") -> Iterator[Relay]:
    """A relay as ``Relay`` makes it, closed in the end."""
    relay = Relay(server, listen)
    thread = threading.Thread(target=relay.run)
    thread.start()
    try:
        yield relay
    finally:
        relay.close()
        thread.join()
