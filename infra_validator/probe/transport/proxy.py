"""Whether a proxy stands before an address, by the environment variables, and the rules, of Go's gRPC.

The rules of ``NO_PROXY`` are those of ``golang.org/x/net/http/httpproxy``. Read here and not with ``ipaddress``, which Debian's
python3-minimal lacks.
"""

from __future__ import annotations

import os
import socket

from infra_validator.probe.transport.address import Address

_IPV4_IN_IPV6 = bytes(10) + b"\xff\xff"


def proxy_for(address: Address) -> str:
    """The URL of the proxy that stands before an address; empty for none. This machine is never asked through a proxy."""
    if address.path or address.host.lower() == "localhost" or _is_loopback(_number(address.host)):
        return ""
    for name in ("grpc_proxy", "HTTPS_PROXY", "https_proxy"):
        proxy = os.environ.get(name, "")
        if proxy:
            return "" if _excluded(address) else proxy
    return ""


def _excluded(address: Address) -> bool:
    for name in ("no_grpc_proxy", "NO_PROXY", "no_proxy"):
        entries = os.environ.get(name, "")
        if entries:  # the first variable that says something counts
            return any(_excludes(entry.strip().lower(), address) for entry in entries.split(","))
    return False


def _excludes(entry: str, address: Address) -> bool:
    """Whether one entry of NO_PROXY, in lower case, means the address.

    Entries are ``*``, an IP address, a network ``ADDRESS/BITS``, ``domain`` (itself and all below it), ``.domain`` or ``*.domain``
    (only what is below it); all but networks may end in ``:PORT``.
    """
    if entry in ("", "*"):
        return entry == "*"
    wanted = _number(address.host)
    network, slash, bits = entry.partition("/")
    if slash and _number(network) is not None and bits.isdecimal():
        return _within(wanted, network, int(bits))
    host, port = _split(entry)
    if not host or port not in ("", address.port):
        return False
    number = _number(host)
    if number is not None:
        return number == wanted
    domain, name = _ascii(host[host.startswith("*.") :]), _ascii(address.host.lower())
    return name.endswith(domain) if domain.startswith(".") else name == domain or name.endswith("." + domain)


def _split(entry: str) -> tuple[str, str]:
    """(host, port) of ``host``, ``host:port``, ``[v6]:port`` or a bare IPv6 address."""
    host, colon, port = entry.rpartition(":")
    if colon and host.startswith("[") and host.endswith("]"):
        return host[1:-1], port
    return (host, port) if colon and ":" not in host else (entry, "")


def _number(host: str) -> bytes | None:
    """The sixteen octets of an IP address, IPv4 as it stands in IPv6; None for a name."""
    try:
        return _IPV4_IN_IPV6 + socket.inet_pton(socket.AF_INET, host)
    except (OSError, ValueError):
        pass
    try:
        return socket.inet_pton(socket.AF_INET6, host)
    except (OSError, ValueError):
        return None


def _is_loopback(number: bytes | None) -> bool:
    return number is not None and (number[:13] == _IPV4_IN_IPV6 + b"\x7f" or number == bytes(15) + b"\x01")


def _within(number: bytes | None, network: str, bits: int) -> bool:
    """Whether an address lies in a network of its own family; an IPv4 address that is written as IPv6 is IPv4."""
    base = _number(network)
    if number is None or base is None:
        return False
    families = {octets[:12] == _IPV4_IN_IPV6 for octets in (number, base)}
    bits += 0 if ":" in network else 96
    if families == {True, False} or not (96 if families == {True} else 0) <= bits <= 128:
        return False
    return int.from_bytes(number, "big") >> 128 - bits == int.from_bytes(base, "big") >> 128 - bits


def _ascii(host: str) -> str:
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        return host
