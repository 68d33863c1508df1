"""What the server in a pod may do: the "restricted" Pod Security Standard, unless the spec has it run as its image's author made it."""

from __future__ import annotations

from typing import Any

from infra_validator.specs import KubernetesConfig

#: Of every container of ours.
CONTAINER_SECURITY: dict[str, Any] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def pod_security(config: KubernetesConfig) -> dict[str, Any]:
    """The pod's security context."""
    security: dict[str, Any] = {"seccompProfile": {"type": "RuntimeDefault"}}
    if config.fs_group:
        security.update(fsGroup=config.fs_group, fsGroupChangePolicy="OnRootMismatch")
    if config.allow_root or config.hardening == "image":
        return security
    security["runAsNonRoot"] = True
    if config.run_as_user:
        # The stock image's user is root: without a number the node would refuse it.
        security["runAsUser"] = config.run_as_user
    if config.fs_group:
        security["runAsGroup"] = config.fs_group
    return security


def server_security(config: KubernetesConfig) -> dict[str, Any]:
    """The server container's security context."""
    if config.hardening == "image":
        return {}
    return {**CONTAINER_SECURITY, "readOnlyRootFilesystem": config.read_only_root_filesystem}
