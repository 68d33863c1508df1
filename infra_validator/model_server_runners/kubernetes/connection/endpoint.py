"""How the server in a pod is reached: by the pod's IP address, or by a port-forward through the API server."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Mapping
from typing import Any

from infra_validator.core.errors import InfrastructureError
from infra_validator.core.launch_plan import LaunchPlan
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_runners.kubernetes.causes import SERVER_CONTAINER

_PROBE_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A way to the server.

    Attributes:
      forwards: whether a port-forward is needed.
      port: the server's port in the pod.
      address: ``host:port`` of the pod.
      says: which way, and why, in one sentence.
    """

    forwards: bool
    port: int
    address: str
    says: str


def choose_endpoint(wanted: str, pod: Mapping[str, Any], plan: LaunchPlan, in_cluster: bool) -> Endpoint:
    """The way that the spec forces, else the one that works from here.

    From outside a cluster the pod's address is not even tried: addresses of pods are private, and the same one may be somebody
    else's machine in our own network.

    Args:
      wanted: ``auto``, ``pod_ip`` or ``port_forward``.
      pod: the running pod.
      plan: names the server's ports.
      in_cluster: whether this process runs in a pod of the same cluster.

    Raises:
      InfrastructureError: ``pod_ip`` is forced and the pod's address does not answer (SERVER_NOT_REACHABLE).
    """
    port = port_of(pod, plan, "grpc")
    ip = _ip(pod)
    address = _address(ip, port)
    if wanted == "pod_ip":
        problem = _why_not_reachable(ip, port) if ip else "it has none"
        if problem:
            raise InfrastructureError(
                ReasonCode.SERVER_NOT_REACHABLE, f"The pod's address {address} does not answer: {problem}."
            )
        return Endpoint(
            False, port, address, f"the server is reached at the pod's address {address}, as the spec says."
        )
    if wanted == "port_forward":
        return Endpoint(True, port, address, "the server is reached by port-forward, as the spec says.")
    if not in_cluster:
        return Endpoint(
            True, port, address, "the server is reached by port-forward, since this is not a pod of the cluster."
        )
    problem = _why_not_reachable(ip, port) if ip else "it has none"
    if problem:
        return Endpoint(
            True,
            port,
            address,
            f"the server is reached by port-forward, since the pod's address does not answer: {problem}.",
        )
    return Endpoint(False, port, address, f"the server is reached at the pod's address {address}.")


def rest_address(pod: Mapping[str, Any], plan: LaunchPlan) -> str:
    """``host:port`` of the server's REST API at the pod's own address; empty where no packets get there."""
    ip, port = _ip(pod), port_of(pod, plan, "rest")
    return _address(ip, port) if port and not _why_not_reachable(ip, port) else ""


def port_of(pod: Mapping[str, Any], plan: LaunchPlan, protocol: str) -> int:
    """The server's port for ``grpc`` or ``rest`` as the pod now has it; an admission webhook may have changed ours. 0: none."""
    for container in (pod.get("spec") or {}).get("containers") or ():
        if container.get("name") == SERVER_CONTAINER:
            for port in container.get("ports") or ():
                if port.get("name") == protocol:
                    return int(port["containerPort"])
    return plan.ports.get(protocol, 0)


def _ip(pod: Mapping[str, Any]) -> str:
    return str((pod.get("status") or {}).get("podIP") or "")


def _address(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _why_not_reachable(ip: str, port: int) -> str:
    """Empty if packets get there. A refusal is an answer: the port opens only after the model is loaded."""
    try:
        socket.create_connection((ip, port), timeout=_PROBE_SECONDS).close()
    except ConnectionRefusedError:
        return ""
    except OSError as error:
        return str(error)
    return ""
