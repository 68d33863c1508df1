"""Checks of kubernetes.pod_template: what the API server would refuse and can be seen before it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra_validator.core.errors import SpecError

#: The container of the server; a template's container of this name is merged into ours.
SERVER_CONTAINER = "model-server"

#: Types of the fields of a pod template that people set, by path; ``[]`` stands for every item of a list.
_TYPES: dict[str, type] = {
    "metadata": dict,
    "metadata.labels": dict,
    "metadata.annotations": dict,
    "spec": dict,
    "spec.containers": list,
    "spec.containers[]": dict,
    "spec.initContainers": list,
    "spec.initContainers[]": dict,
    "spec.volumes": list,
    "spec.volumes[]": dict,
    "spec.volumes[].name": str,
    "spec.tolerations": list,
    "spec.tolerations[]": dict,
    "spec.tolerations[].tolerationSeconds": int,
    "spec.imagePullSecrets": list,
    "spec.imagePullSecrets[]": dict,
    "spec.topologySpreadConstraints": list,
    "spec.hostAliases": list,
    "spec.resourceClaims": list,
    "spec.readinessGates": list,
    "spec.nodeSelector": dict,
    "spec.affinity": dict,
    "spec.securityContext": dict,
    "spec.securityContext.runAsUser": int,
    "spec.securityContext.runAsGroup": int,
    "spec.securityContext.fsGroup": int,
    "spec.securityContext.runAsNonRoot": bool,
    "spec.securityContext.supplementalGroups": list,
    "spec.dnsConfig": dict,
    "spec.serviceAccountName": str,
    "spec.nodeName": str,
    "spec.priorityClassName": str,
    "spec.runtimeClassName": str,
    "spec.schedulerName": str,
    "spec.restartPolicy": str,
    "spec.dnsPolicy": str,
    "spec.hostNetwork": bool,
    "spec.hostPID": bool,
    "spec.hostIPC": bool,
    "spec.automountServiceAccountToken": bool,
    "spec.enableServiceLinks": bool,
    "spec.shareProcessNamespace": bool,
    "spec.activeDeadlineSeconds": int,
    "spec.terminationGracePeriodSeconds": int,
    "spec.priority": int,
}

_CONTAINER_TYPES: dict[str, type] = {
    "name": str,
    "image": str,
    "command": list,
    "command[]": str,
    "args": list,
    "args[]": str,
    "workingDir": str,
    "imagePullPolicy": str,
    "env": list,
    "env[]": dict,
    "env[].name": str,
    "env[].value": str,
    "env[].valueFrom": dict,
    "envFrom": list,
    "envFrom[]": dict,
    "ports": list,
    "ports[]": dict,
    "ports[].containerPort": int,
    "resources": dict,
    "resources.limits": dict,
    "resources.requests": dict,
    "resources.claims": list,
    "securityContext": dict,
    "securityContext.runAsUser": int,
    "securityContext.runAsNonRoot": bool,
    "securityContext.privileged": bool,
    "securityContext.allowPrivilegeEscalation": bool,
    "securityContext.capabilities": dict,
    "volumeMounts": list,
    "volumeMounts[]": dict,
    "volumeMounts[].mountPath": str,
    "volumeMounts[].name": str,
    "volumeMounts[].readOnly": bool,
    "volumeMounts[].subPath": str,
    "livenessProbe": dict,
    "readinessProbe": dict,
    "startupProbe": dict,
    "lifecycle": dict,
}
for _part in ("containers", "initContainers"):
    _TYPES.update({f"spec.{_part}[].{field}": kind for field, kind in _CONTAINER_TYPES.items()})

_WORDS = {dict: "an object", list: "a list", str: "a string", int: "a whole number", bool: "true or false"}


def check_pod_template(template: Mapping[str, Any], path: str) -> None:
    """Raise SpecError with the path of the first field that is wrong."""
    for key in template:
        if key not in ("metadata", "spec"):
            raise SpecError(f"{path}.{key}", "a pod template has the fields metadata and spec only")
    _check_types(template, path, "")
    spec = template.get("spec") or {}
    for part in ("containers", "initContainers", "volumes"):
        names = [item.get("name") for item in spec.get(part) or ()]
        for index, name in enumerate(names):
            if not name:
                raise SpecError(f"{path}.spec.{part}[{index}].name", "must not be empty")
            if name in names[:index]:
                raise SpecError(f"{path}.spec.{part}[{index}].name", f"there are two called {name!r}")
    if spec.get("restartPolicy", "Never") != "Never":
        raise SpecError(
            f"{path}.spec.restartPolicy", "must be Never: a server that ends is the outcome, and is not started again"
        )


def _check_types(value: object, where: str, field: str) -> None:
    """``where`` is the path for people, with indices; ``field`` the one of the table."""
    kind = _TYPES.get(field)
    right = kind is None or value is None or (isinstance(value, kind) and (kind is bool or not isinstance(value, bool)))
    if not right:
        wanted = _WORDS[kind or str]
        raise SpecError(where, f"must be {wanted}, not {_WORDS.get(type(value), type(value).__name__)}")
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_types(item, f"{where}.{key}", f"{field}.{key}" if field else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _check_types(item, f"{where}[{index}]", f"{field}[]")
