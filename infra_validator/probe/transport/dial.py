"""Blocking dial, as the original's: try again and again until a server has greeted or the time is over."""

from __future__ import annotations

import _thread
import os
import select
import socket
import time

from infra_validator.probe.transport.address import Address
from infra_validator.probe.transport.connection_settings import ConnectionSettings
from infra_validator.probe.transport.http2 import Connection
from infra_validator.probe.transport.rpc_status import RpcError

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 1.0  # seconds between two tries; each pause is 1.6 times as long as the one before
_HEAD_START = 0.25  # seconds an address has before the next one is tried beside it (RFC 8305)

Place = tuple[int, object]  # (address family, what socket.connect takes)


class DialError(Exception):
    """No connection in time. The text is Go's, with what went wrong last."""


def dial(address: Address, settings: ConnectionSettings, until: float) -> Connection:
    """A connection whose server has sent its HTTP/2 greeting.

    A refused port, a name that does not resolve, a server that closes, speaks something else or is silent is no end: it is
    tried again, as a server may just be starting.

    Raises:
      DialError: ``until`` has come.
    """
    problem = ""
    pause, attempt = FIRST_PAUSE, 0
    while time.monotonic() < until:
        try:
            return _try(address, settings, until, attempt)
        except (OSError, RpcError) as error:
            problem = _plain(error) if not problem or time.monotonic() < until else problem
        attempt += 1
        time.sleep(max(0.0, min(pause, until - time.monotonic())))
        pause = min(pause * 1.6, LONGEST_PAUSE)
    raise DialError("context deadline exceeded" + (f" (last try: {address}: {problem})" if problem else ""))


def _plain(error: Exception) -> str:
    return (
        error.message
        if isinstance(error, RpcError)
        else (getattr(error, "strerror", None) or str(error) or "timed out")
    )


def _try(address: Address, settings: ConnectionSettings, until: float, attempt: int) -> Connection:
    places = _places(address, until)
    shift = attempt % len(places)  # so that an address that connects and then fails does not hide the others
    sock = _connect(places[shift:] + places[:shift], until)
    try:
        scheme = "http"
        if settings.tls:
            from infra_validator.probe.transport.tls import wrap

            sock = wrap(sock, address, settings, until)
            scheme = "https"
        connection = Connection(sock, settings.tls_server_name or address.authority, settings.user_agent, scheme=scheme)
        connection.handshake(until)
    except BaseException:
        sock.close()
        raise
    return connection


def _places(address: Address, until: float) -> list[Place]:
    if address.path:
        return [(socket.AF_UNIX, address.path)]
    try:
        return _lookup(address, socket.AI_NUMERICHOST)
    except OSError:
        return _resolve(address, until)


def _lookup(address: Address, flags: int = 0) -> list[Place]:
    # As octets if possible: for a str Python imports its IDNA codec, which costs as much as all the rest of a probe.
    host = address.host.encode() if address.host.isascii() else address.host
    try:
        found = socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError as error:
        raise OSError(f"no host name: {error}") from error
    return [(family, place) for family, _, _, _, place in found]


def _resolve(address: Address, until: float) -> list[Place]:
    """getaddrinfo with a time limit: it has none of its own, so it runs in a thread that is left behind when it is late."""
    places: list[Place] = []
    errors: list[OSError] = []
    done = _thread.allocate_lock()
    done.acquire()

    def ask() -> None:
        try:
            places.extend(_lookup(address))
        except OSError as error:
            errors.append(error)
        done.release()

    try:
        _thread.start_new_thread(ask, ())
    except RuntimeError as error:
        raise OSError(
            f"no thread could be started to look up {address.host} ({error}); raise the limit of processes"
        ) from None
    if not done.acquire(timeout=max(0.0, until - time.monotonic())):
        raise TimeoutError(f"looking up {address.host} takes too long")
    if errors:
        raise errors[0]
    return places


def _connect(places: list[Place], until: float) -> socket.socket:
    """The first of the places to accept; a slow one is overtaken by the next ones.

    Raises:
      OSError: none did; the last error.
    """
    waiting = list(places)
    pending: dict[int, socket.socket] = {}
    poll = select.poll()
    error: OSError = TimeoutError("no answer to the connection request")
    start_next = 0.0
    winner: socket.socket | None = None
    try:
        while winner is None and (waiting or pending):
            now = time.monotonic()
            if now >= until:
                raise error
            if waiting and (now >= start_next or not pending):
                start_next = now + _HEAD_START
                try:
                    sock = _begin(*waiting.pop(0))
                except OSError as problem:
                    error = problem
                    continue
                pending[sock.fileno()] = sock
                poll.register(sock, select.POLLOUT)
            limit = min(until, start_next) if waiting else until
            for number, _ in poll.poll(max(0.0, limit - time.monotonic()) * 1000 + 1):
                code = pending[number].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                poll.unregister(number)
                sock = pending.pop(number)
                if code == 0 and winner is None:
                    winner = sock
                    continue
                sock.close()
                error = OSError(code, os.strerror(code))
                start_next = 0.0
    finally:
        for sock in pending.values():
            sock.close()
    if winner is None:
        raise error
    return winner


def _begin(family: int, place: object) -> socket.socket:
    """A socket whose connection is under way."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock.connect(place)  # type: ignore[arg-type]
        except BlockingIOError:
            pass
    except BaseException:
        sock.close()
        raise
    return sock
