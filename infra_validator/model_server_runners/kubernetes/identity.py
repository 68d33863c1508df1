"""Who am I: the namespace to use, and the pod that this process runs in, if it does.

The own pod is found by the downward API's environment variables, the host name or its IP address, and *confirmed* by its UID: host names
are cut at 63 characters, can be set by the pod, and are shared under ``hostNetwork``.
"""

from __future__ import annotations

import dataclasses
import getpass
import os
import posixpath
import re
import socket
from collections.abc import Mapping
from typing import Any

from infra_validator.model_server_runners.shaped import shaped
from infra_validator.specs.kubernetes.model import ClaimSource

Json = Mapping[str, Any]

#: What is read of our own pod.
_POD = {
    "metadata": {"name": str, "namespace": str, "uid": str},
    "spec": {
        "hostNetwork": bool,
        "volumes": [{"name": str, "persistentVolumeClaim": {"claimName": str}}],
        "containers": [{"volumeMounts": [{"name": str, "mountPath": str, "subPath": str, "subPathExpr": str}]}],
    },
    "status": {"phase": str, "podIP": str, "podIPs": [{"ip": str}]},
}

SERVICE_ACCOUNT_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"

#: Environment variables that hold the own pod's name: the downward API under its usual names, KFP v1, KFP v2, Argo.
NAME_VARIABLES = ("POD_NAME", "MY_POD_NAME", "KFP_POD_NAME", "ARGO_POD_NAME", "HOSTNAME")
#: ... and its UID, where the pod hands it down.
UID_VARIABLES = ("POD_UID", "MY_POD_UID", "KFP_POD_UID", "ARGO_POD_UID")


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What this process sees of the place it runs in. Tests hand in another one.

    Attributes:
      environment: the environment variables.
      host_name: the machine's, or the pod's, name.
      addresses: its IP addresses.
      mounts: the text of ``/proc/self/mountinfo``.
      service_account_directory: where a pod's service account is mounted.
    """

    environment: Mapping[str, str]
    host_name: str
    addresses: frozenset[str]
    mounts: str
    service_account_directory: str = SERVICE_ACCOUNT_DIRECTORY

    @classmethod
    def here(cls) -> Surroundings:
        """Those of this process. Outside a cluster the addresses are not looked up, which may take a name server's time."""
        in_cluster = bool(os.environ.get("KUBERNETES_SERVICE_HOST"))
        addresses = own_addresses() if in_cluster else frozenset()
        return cls(dict(os.environ), socket.gethostname(), addresses, own_mounts())

    @property
    def in_pod(self) -> bool:
        """Whether this process runs in a pod with a service account."""
        token = os.path.join(self.service_account_directory, "token")
        return bool(self.environment.get("KUBERNETES_SERVICE_HOST")) and os.path.isfile(token)


@dataclasses.dataclass(frozen=True)
class Choice:
    """A value and where it comes from, for people."""

    value: str
    says: str


def choose_namespace(spec: str, context: str, service_account: str) -> Choice:
    """The namespace from the spec, the kubeconfig's context, the service account, in this order, else ``default``."""
    if spec:
        return Choice(spec, "from the serving spec")
    if context:
        return Choice(context, "from the kubeconfig's context")
    if service_account:
        return Choice(service_account, "the service account's own")
    return Choice("default", "since neither the spec nor the context names one")


def service_account_namespace(directory: str = SERVICE_ACCOUNT_DIRECTORY) -> str:
    """The namespace that the pod's service account says; empty outside a pod."""
    try:
        with open(os.path.join(directory, "namespace"), encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def own_pod_names(environment: Mapping[str, str], host_name: str = "") -> list[str]:
    """Names that our own pod may have, most trustworthy first, without repetition."""
    names = [environment.get(variable, "") for variable in NAME_VARIABLES]
    names.append(host_name or socket.gethostname())
    return list(dict.fromkeys(name for name in names if name))


def uids_handed_down(environment: Mapping[str, str], mounts: str) -> frozenset[str]:
    """UIDs by which our own pod can be known: from the downward API, else from where the kubelet mounts ``/etc/hosts`` from.

    Args:
      environment: this process's.
      mounts: the text of ``/proc/self/mountinfo``.
    """
    named = {environment[variable] for variable in UID_VARIABLES if environment.get(variable)}
    return frozenset(named or re.findall(r"/pods/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/etc-hosts", mounts))


def confirms(pod: Json, uids: frozenset[str], addresses: frozenset[str]) -> bool:
    """Whether ``pod`` is the one that this process runs in: by its UID where one is known, else by its IP address."""
    pod = shaped(pod, _POD)
    if uids:
        return pod.get("metadata", {}).get("uid") in uids
    status = pod.get("status") or {}
    if status.get("phase") != "Running" or (pod.get("spec") or {}).get("hostNetwork"):
        return False  # under hostNetwork the name and the addresses are the node's
    listed = {entry.get("ip") for entry in status.get("podIPs") or ()} | {status.get("podIP")}
    return bool(listed & addresses)


def own_mounts() -> str:
    """The text of ``/proc/self/mountinfo``; empty where there is none."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def own_addresses() -> frozenset[str]:
    """This machine's IP addresses, as far as its own name and its routes tell them."""
    found: set[str] = set()
    try:
        found.update(str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None))
    except OSError:
        pass
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((far, 9))  # sends nothing: only asks which address would be used
                found.add(str(probe.getsockname()[0]))
        except OSError:
            pass
    return frozenset(found)


def owner_reference(pod: Json, namespace: str) -> dict[str, Any] | None:
    """The reference that makes the cluster delete our pod with ``pod``; None across namespaces.

    An owner in another namespace counts as absent: the garbage collector would delete the server's pod at once.
    """
    metadata = shaped(pod, _POD).get("metadata", {})
    if metadata.get("namespace") != namespace or not (metadata.get("name") and metadata.get("uid")):
        return None
    return {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}


def claim_of_path(pod: Json, path: str) -> ClaimSource | None:
    """The claim through which a container of ``pod`` sees ``path``, as TFX looks for it; None if it is on no claim.

    Every container counts, since our own has no fixed name (``main``, ``base``, ``user-container``); the longest mount wins.
    """
    spec = shaped(pod, _POD).get("spec") or {}
    claims = {
        volume.get("name"): volume["persistentVolumeClaim"].get("claimName")
        for volume in spec.get("volumes") or ()
        if volume.get("persistentVolumeClaim")
    }
    best: tuple[int, ClaimSource | None] = (-1, None)
    for container in spec.get("containers") or ():
        for mount in container.get("volumeMounts") or ():
            root = mount.get("mountPath", "").rstrip("/") or "/"
            if path != root and not path.startswith(root.rstrip("/") + "/"):
                continue
            claim = claims.get(mount.get("name"))
            found = None
            if claim is not None and not mount.get("subPathExpr"):
                inside = posixpath.relpath(path, root)
                parts = [part for part in (mount.get("subPath", ""), "" if inside == "." else inside) if part]
                found = ClaimSource(claim_name=claim, sub_path="/".join(parts))
            if len(root) > best[0]:
                best = (len(root), found)
    return best[1]


def who_for_people(own_pod_name: str) -> str:
    """Who starts the pod, for its label: the own pod, else ``user.machine``."""
    if own_pod_name:
        return own_pod_name
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}.{socket.gethostname()}"
