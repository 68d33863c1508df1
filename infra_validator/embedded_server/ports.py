"""Ports that are known before they are open.

The real server opens its ports after the first load; whoever starts it on free ports must know them earlier. A socket that is bound
and does not listen keeps a port: connections are refused, nobody is given it as a free one, and on Linux a listener with
SO_REUSEADDR (as gRPC's and ours are) can bind it all the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket


class Reservation:
    """A port that is kept free for us.

    Args:
      address: the address to bind; empty for all.
      port: the port; 0 for any free one.

    Raises:
      OSError: the port cannot be had.
    """

    def __init__(self, address: str, port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((address or "0.0.0.0", port))
        except BaseException:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]

    def release(self) -> None:
        """Give it back: call once the real listener is open."""
        self._socket.close()


def write_port_file(path: str, grpc_port: int, rest_port: int) -> None:
    """Write ``{"grpc": N, "rest": M, "pid": P}``; the file appears whole or not at all.

    Raises:
      OSError: it cannot be written.
    """
    unfinished = f"{path}.{os.getpid()}.unfinished"
    try:
        with open(unfinished, "w") as file:
            json.dump({"grpc": grpc_port, "rest": rest_port, "pid": os.getpid()}, file)
        os.replace(unfinished, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished)
