"""Where a container's ports are published and where they are reached: pure rules, and what is known of our own whereabouts."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import ipaddress
import os
import re
import select
import socket
import struct
import urllib.parse
from collections.abc import Mapping
from typing import Any

from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_runners.shaped import shaped, whole
from infra_validator.specs import LocalDockerConfig

#: What is read of a container.
_CONTAINER = {"HostConfig": {"NetworkMode": str}, "NetworkSettings": {"Networks": Mapping, "Ports": Mapping}}
_LOOPBACK = "127.0.0.1"


@dataclasses.dataclass(frozen=True)
class Whereabouts:
    """Where the validator itself runs.

    Attributes:
      container: whether in a container.
      container_id: that container's id; empty if it is not known.
      gateway: the address of the default route, which in a container is its host's; empty if there is none.
    """

    container: bool = False
    container_id: str = ""
    gateway: str = ""

    @classmethod
    def here(cls, root: str = "/") -> Whereabouts:
        """Those of this process; ``root`` is for tests."""
        marks = (".dockerenv", "run/.containerenv")
        if not any(os.path.exists(os.path.join(root, mark)) for mark in marks):
            return cls()
        found = re.search(r"/containers/([0-9a-f]{64})/", _text(os.path.join(root, "proc/self/mountinfo")))
        return cls(True, found[1] if found else socket.gethostname(), _gateway(os.path.join(root, "proc/net/route")))


@dataclasses.dataclass(frozen=True)
class Address:
    """How a server in a container is reached.

    Attributes:
      network: the network the container joins; empty for the daemon's default.
      publish_on: the IP address that its ports are published on; empty: they are not published.
      reach_at: the host or address where the ports are reached; empty: the container's own address in ``network``.
      why: one sentence, for people.
      sure: whether a port that refuses connections there can only be one on which nobody listens yet; else it may be another
        machine's.
    """

    network: str
    publish_on: str
    reach_at: str
    why: str
    sure: bool = True


def shares_our_network(daemon_url: str, bridge_name: str, bridge_address: str) -> bool:
    """Whether a daemon behind a Unix socket has the network that this process has, whatever kind of machine or container this is.

    Args:
      bridge_name: the network interface of the daemon's default network; empty if it has none.
      bridge_address: the daemon's own address there; an engine that was never started before does not tell it.
    """
    same = _same_namespace(urllib.parse.urlsplit(daemon_url).path)
    if same is not None:
        return same
    return bridge_name in (name for _, name in socket.if_nameindex()) or is_ours(bridge_address)


def _same_namespace(path: str) -> bool | None:
    """Whether the process that listens on a Unix socket is in our network namespace; None if the kernel does not tell us."""
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            probe.connect(path)
            pid, _, _ = struct.unpack(
                "3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            )
        return os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net") if pid else None
    except (OSError, AttributeError):
        return None


def is_ours(address: str) -> bool:
    """Whether an IP address belongs to this machine, or the network namespace that we are in."""
    with contextlib.suppress(OSError, ValueError):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
            return bool(address)
    return False


def choose(
    config: LocalDockerConfig, daemon_url: str, whereabouts: Whereabouts, own_container: dict[str, Any] | None
) -> Address:
    """The address for a server.

    Args:
      config: the spec; what it says wins.
      daemon_url: where the daemon is.
      whereabouts: where we are.
      own_container: what that daemon knows of the container that we run in; None if it does not know it, or we run in none.

    Raises:
      InfrastructureError: the daemon's host name, or ``host_ip_address``, means nothing here.
    """
    network = config.network_mode
    own = shaped(own_container, _CONTAINER)
    own_networks = own.get("NetworkSettings", {}).get("Networks", {})
    own_mode = own.get("HostConfig", {}).get("NetworkMode", "")
    reach, why, sure = _reach(config, daemon_url, whereabouts, own_mode)
    if network == "host":
        return Address(network, "", reach, f"the server listens in the network of the daemon's machine; {why}")
    shared = network if network in own_networks else "" if network else _shared(own_networks)
    if shared and not config.host_ip_address and own_mode != "host":
        return Address(shared, "", "", f"the validator's container and the server share the network {shared}")
    return Address(network, config.publish_address or _as_ip(reach), reach, why, sure)


def _reach(config: LocalDockerConfig, url: str, whereabouts: Whereabouts, own_mode: str) -> tuple[str, str, bool]:
    """Where published ports are reached, why there, and whether that is sure."""
    parts = urllib.parse.urlsplit(url)
    if config.host_ip_address:
        return config.host_ip_address, "host_ip_address says so", False
    if parts.scheme not in ("unix", "npipe"):
        return parts.hostname or _LOOPBACK, f"the daemon is at {parts.hostname}", False
    if config.publish_address and not ipaddress.ip_address(config.publish_address).is_unspecified:
        return config.publish_address, "the ports are published there", False
    if not whereabouts.container or own_mode == "host":
        return _LOOPBACK, "the daemon is on this machine", True
    if not whereabouts.gateway:
        raise InfrastructureError(
            ReasonCode.ADDRESS_NOT_AVAILABLE,
            "The validator runs in a container without a default route, so it does not reach the daemon's machine.",
            next_step="Set serving_spec.local_docker.network_mode to a network that the validator's container is in.",
        )
    return whereabouts.gateway, "the validator runs in a container; this is its gateway, the daemon's machine", False


def _shared(own_networks: dict[str, Any]) -> str:
    """A network of our own container that a new container can join and be reached in; one with names of its own first."""
    usable = [name for name in own_networks if name not in ("host", "none")]
    return next((name for name in usable if name != "bridge"), usable[0] if usable else "")


def _as_ip(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise InfrastructureError(
            ReasonCode.ADDRESS_NOT_AVAILABLE, f"The host name {host!r} cannot be resolved: {error.strerror or error}."
        ) from error


def endpoint(address: Address, container: dict[str, Any], port: int) -> str:
    """``host:port`` of a port of a running container; empty while the daemon has not published it."""
    settings = shaped(container, _CONTAINER).get("NetworkSettings") or {}
    if address.network == "host":
        return _join(address.reach_at, port)
    if not address.publish_on:
        networks = settings.get("Networks") or {}
        own = shaped(networks.get(address.network), {"IPAddress": str}).get("IPAddress", "")
        return _join(own, port) if own else ""
    for binding in shaped((settings.get("Ports") or {}).get(f"{port}/tcp"), [{"HostPort": str}]):
        published = whole(binding.get("HostPort"))
        if published:
            return _join(address.reach_at, published)
    return ""


class Door:
    """Whether the port of a running server can be reached from here at all. Asked again and again; never blocks.

    Docker's own proxy takes connections for a published port from the moment it is published, before the server listens.

    Args:
      endpoint: ``host:port``.
      sure: see Address.

    Attributes:
      problem: why it was not reached, in the system's words.
      refused: whether it was refused by whoever is there.
    """

    def __init__(self, endpoint: str, sure: bool) -> None:
        host, _, port = endpoint.rpartition(":")
        self._where = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        self._sure = sure
        self._socket: socket.socket | None = None
        self.problem = ""
        self.refused = False

    def is_open(self) -> bool:
        """Whether a connection was taken, or refused where that only means that nobody listens yet."""
        error = self._connect()
        self.refused = error == errno.ECONNREFUSED
        self.problem = "no answer" if error == errno.EINPROGRESS else os.strerror(error)
        if error != errno.EINPROGRESS:
            self.close()
        return error == 0 or (self.refused and self._sure)

    def close(self) -> None:
        """Give up what is under way. May be called twice."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> int:
        """Begin a connection, or look how the one that was begun goes; the system's error number."""
        if self._socket is None:
            family, kind, protocol, _, address = self._where
            self._socket = socket.socket(family, kind, protocol)
            self._socket.setblocking(False)
            return self._socket.connect_ex(address)
        poll = select.poll()
        poll.register(self._socket, select.POLLOUT)
        if not poll.poll(0):
            return errno.EINPROGRESS
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _text(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def _gateway(path: str) -> str:
    """The gateway of the default route, from the kernel's table: destination and gateway are little-endian hexadecimal."""
    for line in _text(path).splitlines()[1:]:
        fields = line.split()
        if len(fields) > 2 and fields[1] == "00000000" and fields[2] != "00000000":
            return socket.inet_ntoa(struct.pack("<L", int(fields[2], 16)))
    return ""
