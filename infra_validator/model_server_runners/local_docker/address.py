"""Where a container's ports are published and where they are reached: pure rules, and what is known of our own surroundings."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import os
import re
import socket
import struct
import urllib.parse
from typing import Any

from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.specs import LocalDockerConfig

_LOOPBACK = "127.0.0.1"


@dataclasses.dataclass(frozen=True)
class Surroundings:
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
    def here(cls, root: str = "/") -> Surroundings:
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
    """

    network: str
    publish_on: str
    reach_at: str
    why: str


def is_ours(address: str) -> bool:
    """Whether an IP address belongs to this machine, or the network namespace that we are in."""
    with contextlib.suppress(OSError, ValueError):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
            return bool(address)
    return False


def choose(
    config: LocalDockerConfig, daemon_url: str, surroundings: Surroundings, own_container: dict[str, Any] | None
) -> Address:
    """The address for a server.

    Args:
      config: the spec; what it says wins.
      daemon_url: where the daemon is.
      surroundings: where we are.
      own_container: what that daemon knows of the container that we run in; None if it does not know it, or we run in none.

    Raises:
      InfrastructureError: the daemon's host name, or ``host_ip_address``, means nothing here.
    """
    network = config.network_mode
    own_networks = ((own_container or {}).get("NetworkSettings") or {}).get("Networks") or {}
    own_mode = str(((own_container or {}).get("HostConfig") or {}).get("NetworkMode") or "")
    reach, why = _reach(config, daemon_url, surroundings, own_mode)
    if network == "host":
        return Address(network, "", reach, f"the server listens in the network of the daemon's machine; {why}")
    shared = network if network in own_networks else "" if network else _shared(own_networks)
    if shared and not config.host_ip_address and own_mode != "host":
        return Address(shared, "", "", f"the validator's container and the server share the network {shared}")
    return Address(network, config.publish_address or _as_ip(reach), reach, why)


def _reach(config: LocalDockerConfig, url: str, surroundings: Surroundings, own_mode: str) -> tuple[str, str]:
    """Where published ports are reached, and why there."""
    parts = urllib.parse.urlsplit(url)
    if config.host_ip_address:
        return config.host_ip_address, "host_ip_address says so"
    if parts.scheme not in ("unix", "npipe"):
        return parts.hostname or _LOOPBACK, f"the daemon is at {parts.hostname}"
    if not surroundings.container or own_mode == "host":
        return _LOOPBACK, "the daemon is on this machine"
    if not surroundings.gateway:
        raise InfrastructureError(
            ReasonCode.ADDRESS_NOT_AVAILABLE,
            "The validator runs in a container without a default route, so it does not reach the daemon's machine.",
            next_step="Set serving_spec.local_docker.network_mode to a network that the validator's container is in.",
        )
    return surroundings.gateway, "the validator runs in a container; this is its gateway, the daemon's machine"


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
    settings = container.get("NetworkSettings") or {}
    if address.network == "host":
        return _join(address.reach_at, port)
    if not address.publish_on:
        own = str(((settings.get("Networks") or {}).get(address.network) or {}).get("IPAddress") or "")
        return _join(own, port) if own else ""
    for binding in (settings.get("Ports") or {}).get(f"{port}/tcp") or []:
        return _join(address.reach_at, int(binding["HostPort"]))
    return ""


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
