"""Who listens on a TCP port or a Unix socket of this machine: the server that was started, or somebody else whose model would be asked."""

from __future__ import annotations

import enum
import os
import socket
import struct

from infra_validator.model_server_runners.cleanup.processes import socket_inodes

_LISTENING = "0A"
_UNIX_LISTENING = 0x10000  # __SO_ACCEPTCON, in the column Flags of /proc/net/unix
_CREDENTIALS = struct.Struct("3i")  # process, user and group


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


def who_listens_on_socket(path: str, pids: list[int]) -> Listener:
    """Who listens on the Unix socket ``path``, seen from the processes ``pids``.

    The kernel tells a client which process began to listen. Where that one has ended, or is not seen from here, the socket itself
    tells: whether ``pids`` hold open every listening socket that was ever bound to that path.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(path)
            pid, _, _ = _CREDENTIALS.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        except (OSError, AttributeError):
            return Listener.NOBODY
    if pid in pids:
        return Listener.OURS
    inodes = _socket_listeners(path)
    own = socket_inodes(pids)
    if own is None or not inodes:
        return Listener.UNKNOWN
    return Listener.OURS if inodes <= own else Listener.SOMEBODY_ELSE


def _socket_listeners(path: str) -> set[int]:
    """The inode numbers of the Unix sockets that listen and were bound to ``path``; a path that is relative counts from our directory."""
    found: set[int] = set()
    try:
        with open("/proc/net/unix") as file:
            lines = file.readlines()[1:]
    except OSError:
        return found
    for line in lines:
        fields = line.rstrip("\n").split(None, 7)  # the last one is the path, where there is one
        listens = len(fields) == 8 and int(fields[3], 16) & _UNIX_LISTENING
        if listens and os.path.abspath(fields[7]) == os.path.abspath(path):
            found.add(int(fields[6]))
    return found
