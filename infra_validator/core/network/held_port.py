"""TCP ports for servers that cannot choose one themselves, or that are known before they are open: held, never shared with anybody.

A port found by bind, close and reuse can be taken in between. Here the socket stays bound, without listening and with
SO_REUSEADDR: Linux then gives the port to nobody who asks for any free one, while a server that sets SO_REUSEADDR, as gRPC's
and libevent's listeners do, can bind and listen.
"""

from __future__ import annotations

import errno
import socket


class HeldPort:
    """A port that nobody listens on, held until ``release``.

    Args:
      port: the port wanted; 0: any free one.
      address: the address to bind; empty: all addresses of both IP versions, or of version 4 where there is no version 6.

    Attributes:
      port: its number.

    Raises:
      OSError: the port cannot be had.
    """

    def __init__(self, port: int = 0, address: str = "") -> None:
        self._socket = _bound_in(_family(address), address, port) if address else _bound_everywhere(port)
        self.port: int = self._socket.getsockname()[1]

    def release(self) -> None:
        """Give the port back. May be called twice."""
        self._socket.close()


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _bound_everywhere(port: int) -> socket.socket:
    try:
        return _bound_in(socket.AF_INET6, "", port)
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT):
            raise
    return _bound_in(socket.AF_INET, "", port)


def _bound_in(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family is socket.AF_INET6 and not address:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
    except BaseException:
        made.close()
        raise
    return made
