"""Addresses as the probe takes them: ``host:port``, ``:port``, ``[v6]:port``, ``unix:path``, ``dns:///host:port``."""

from __future__ import annotations

import os


class AddressError(ValueError):
    """An address that no dial can ever reach; said before the first packet."""


class Address:
    """Where the server is.

    Attributes:
      host: name or number, without brackets; empty for a Unix socket.
      port: number or service name, as given; empty for a Unix socket.
      path: of the Unix socket; one that starts with NUL is in Linux's abstract namespace; empty for TCP.
    """

    __slots__ = ("host", "path", "port")

    def __init__(self, host: str, port: str, path: str = "") -> None:
        self.host = host
        self.port = port
        self.path = path

    @property
    def authority(self) -> str:
        """What goes into the request's ``:authority``; gRPC says ``localhost`` for a Unix socket."""
        if self.path:
            return "localhost"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def target(self) -> str:
        """As grpcio takes it."""
        if self.path.startswith("\0"):
            return "unix-abstract:" + self.path[1:]
        return "unix:" + self.path if self.path else self.authority

    def __str__(self) -> str:
        return self.target


def parse_address(text: str) -> Address:
    """The address that ``text`` names.

    An empty or unspecified host (``:8500``, ``0.0.0.0:8500``, ``[::]:8500``) is this machine, as in Go.

    Raises:
      AddressError: no port, brackets that do not match, a scheme nobody knows.
    """
    for scheme in ("unix-abstract:", "unix:"):
        if text.startswith(scheme):
            path = text[len(scheme) :]
            if scheme == "unix:" and path.startswith("//"):
                path = path[2:]
            if scheme == "unix:" and path.startswith("@"):  # Go's name for Linux's abstract namespace
                scheme, path = "unix-abstract:", path[1:]
            if not path or len(os.fsencode(path)) > 107:
                raise AddressError(f"address {text}: a Unix socket's path has 1 to 107 bytes")
            return Address("", "", "\0" + path if scheme == "unix-abstract:" else path)
    scheme, has_scheme, rest = text.partition("://")
    if has_scheme:
        if scheme not in ("dns", "passthrough"):
            raise AddressError(
                f"address {text}: scheme {scheme!r} is not known; give host:port (gRPC, not HTTP) or unix:path"
            )
        rest = rest[rest.find("/") + 1 :] if "/" in rest else ""  # the authority is a DNS server, which we do not ask
    else:
        rest = text
    host, port = _split(text, rest)
    if host in ("", "0.0.0.0", "::"):
        host = "localhost"
    return Address(host, port)


def _split(text: str, rest: str) -> tuple[str, str]:
    if rest.startswith("["):
        host, bracket, tail = rest[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise AddressError(f"address {text}: missing ']' in address")
        port = tail[1:]
    else:
        host, _, port = rest.rpartition(":")
        if ":" in host:
            raise AddressError(
                f"address {text}: too many colons in address; an IPv6 address goes into brackets: [::1]:8500"
            )
        host = host if ":" in rest else rest
        port = port if ":" in rest else ""
    if not port:
        raise AddressError(f"address {text}: missing port in address")
    if port.isascii() and port.lstrip("-").isdigit() and not 0 < int(port) < 1 << 16:
        raise AddressError(f"address {text}: invalid port")
    if any(char.isspace() or char == "\0" or char in "/@[]" for char in host + port):
        raise AddressError(f"address {text}: a host and a port have no blanks, slashes or brackets in them")
    return host, port
