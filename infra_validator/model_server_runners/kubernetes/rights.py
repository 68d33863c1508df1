"""Which rights a spec needs in its namespace, as a Role, and whether the caller has them. Pure.

WebSocket ``exec`` and ``portforward`` are authorized as ``get``; from 1.35 on as ``create`` besides (the feature gate
AuthorizePodWebsocketUpgradeCreatePermission), so the Role has both, and the preflight asks for what the cluster's version needs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from infra_validator.specs import KubernetesConfig

_COMPOUND = 35  # the minor version from which on a WebSocket needs two verbs


@dataclasses.dataclass(frozen=True)
class Right:
    """A verb on a resource, and what it is for.

    Attributes:
      verbs: the verbs; all of them are in the Role.
      create_since: the minor version of Kubernetes from which on the verb ``create`` is needed; 0: always.
      needed: whether nothing works without it; the rest makes messages better or finds the own pod.
    """

    resource: str
    verbs: tuple[str, ...]
    purpose: str
    create_since: int = 0
    needed: bool = True


def rights_for(*, uploads: bool, forwards: bool) -> tuple[Right, ...]:
    """The rights in the pod's namespace.

    Args:
      uploads: whether the model may be uploaded.
      forwards: whether the server may be reached by port-forward.
    """
    rights = [
        Right("pods", ("create", "get", "list", "watch", "delete"), "the model server's pod"),
        Right(
            "pods", ("patch",), "the heartbeat that ends the server of a killed validator in a cluster", needed=False
        ),
        Right("pods/log", ("get",), "its log", needed=False),
        Right("events", ("list", "watch"), "why it does not start", needed=False),
        Right("persistentvolumeclaims", ("get",), "whether its claim can be mounted", needed=False),
    ]
    if uploads:
        rights.append(Right("pods/exec", ("create", "get"), "the model's upload", _COMPOUND))
    if forwards:
        rights.append(Right("pods/portforward", ("create", "get"), "the way to the server", _COMPOUND))
    return tuple(rights)


def may_upload(config: KubernetesConfig) -> bool:
    """Whether the spec allows that the model is uploaded."""
    return config.model is None or config.model.upload is not None


def may_forward(config: KubernetesConfig) -> bool:
    """Whether the spec allows a port-forward."""
    return config.endpoint != "pod_ip"


def role(namespace: str, rights: Sequence[Right], name: str = "infra-validator") -> dict[str, Any]:
    """The Role with these rights."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": name, "namespace": namespace},
        "rules": [{"apiGroups": [""], "resources": [right.resource], "verbs": list(right.verbs)} for right in rights],
    }


def role_binding(
    namespace: str, account: str, name: str = "infra-validator", account_namespace: str = ""
) -> dict[str, Any]:
    """The binding of that Role to a service account."""
    subject = {"kind": "ServiceAccount", "name": account, "namespace": account_namespace or namespace}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace},
        "subjects": [subject],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
    }


def role_yaml(config: KubernetesConfig, namespace: str = "", account: str = "") -> str:
    """What ``infra-validator kubernetes rbac`` prints: the Role that ``config`` needs, and its binding if an account is named."""
    where = namespace or config.namespace or "default"
    rights = rights_for(uploads=may_upload(config), forwards=may_forward(config))
    objects = [role(where, rights)]
    if account:
        objects.append(role_binding(where, account))
    return yaml.safe_dump_all(objects, sort_keys=False, default_flow_style=None, width=120)


def missing(
    rules: Sequence[Mapping[str, Any]], rights: Sequence[Right], minor: int | None = None
) -> list[tuple[str, str]]:
    """(verb, resource) of every *needed* right that ``rules`` (of a SelfSubjectRulesReview) do not grant.

    Args:
      rules: the ``resourceRules``.
      rights: what is needed.
      minor: the cluster's minor version; None: not known, so what any version needs counts.
    """
    return [
        (verb, right.resource)
        for right in rights
        if right.needed
        for verb in right.verbs
        if not _granted(rules, verb, right.resource)
        and not (verb == "create" and minor is not None and minor < right.create_since)
    ]


def _granted(rules: Sequence[Mapping[str, Any]], verb: str, resource: str) -> bool:
    _, _, subresource = resource.partition("/")
    wanted = {resource, "*"} | ({f"*/{subresource}"} if subresource else set())
    return any(
        {"", "*"} & set(rule.get("apiGroups") or ())
        and {verb, "*"} & set(rule.get("verbs") or ())
        and wanted & set(rule.get("resources") or ())
        and not rule.get("resourceNames")
        for rule in rules
    )
