"""TCP ports for servers that cannot choose one themselves: held from before the server starts, never shared with anybody.

A port found by bind, close and reuse can be taken in between. Here the socket stays bound, without listening and with
SO_REUSEADDR: Linux then gives the port to nobody who asks for any free one, while a server that sets SO_REUSEADDR, as gRPC's
and libevent's listeners do, can bind and listen.
"""

from __future__ import annotations

import enum
import errno
import socket

from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_runners.cleanup.processes import socket_inodes

_LISTENING = "0A"


class HeldPort:
    """A port that nobody listens on, held until ``release``.

    Args:
      port: the port wanted; 0: any free one.

    Raises:
      InfrastructureError: PORT_NOT_AVAILABLE.
    """

    def __init__(self, port: int = 0) -> None:
        try:
            self._socket = _bound(port)
        except OSError as error:
            raise InfrastructureError(
                ReasonCode.PORT_NOT_AVAILABLE, f"Port {port or '(any)'} cannot be used: {error.strerror}."
            ) from error
        self.port: int = self._socket.getsockname()[1]

    def release(self) -> None:
        """Give the port back. May be called twice."""
        self._socket.close()


def _bound(port: int) -> socket.socket:
    """A socket bound to ``port`` on all addresses of both IP versions, or of version 4 where there is no version 6."""
    try:
        return _bound_in(socket.AF_INET6, port)
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT):
            raise
    return _bound_in(socket.AF_INET, port)


def _bound_in(family: socket.AddressFamily, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family is socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("", port))
    except BaseException:
        made.close()
        raise
    return made


class Listener(enum.Enum):
    """Who listens on a port."""

    NOBODY = "nobody"
    OURS = "ours"
    SOMEBODY_ELSE = "somebody else"
    UNKNOWN = "unknown"  # the kernel does not tell us


def listeners(port: int) -> set[int]:
    """The inode numbers of the sockets that listen on a TCP port, on any address. Without /proc: none. Takes milliseconds."""
    found = set()
    for name in ("tcp", "tcp6"):
        try:
            with open(f"/proc/net/{name}") as file:
                lines = file.readlines()[1:]
        except OSError:
            continue
        wanted = f":{port:04X} "
        for line in lines:
            if wanted in line:
                fields = line.split()
                if fields[3] == _LISTENING and fields[1].endswith(wanted.strip()):
                    found.add(int(fields[9]))
    return found


def who_listens(address: str, port: int, pids: list[int]) -> Listener:
    """Who listens on ``port``, seen from the processes ``pids``. One foreign listener among ours is somebody else."""
    with socket.socket() as client:
        if client.connect_ex((address, port)) != 0:  # a refusal costs microseconds
            return Listener.NOBODY
    inodes = listeners(port)
    if not inodes:
        return Listener.NOBODY
    own = socket_inodes(pids)
    if own is None:
        return Listener.UNKNOWN
    return Listener.OURS if inodes <= own else Listener.SOMEBODY_ELSE
