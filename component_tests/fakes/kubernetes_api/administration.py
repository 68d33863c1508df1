"""What an administrator does in a cluster before a validation: namespaces, service accounts and their tokens, Roles, quotas."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any

from component_tests.fakes.kubernetes_api.cluster import Account, Refused

if TYPE_CHECKING:
    from component_tests.fakes.kubernetes_api.cluster import FakeCluster

Json = dict[str, Any]

_CORE = re.compile(r"^/api/v1/namespaces/([^/]+)/(serviceaccounts|resourcequotas)(?:/([^/]+))?(?:/(token))?$")
_RBAC = re.compile(r"^/apis/rbac\.authorization\.k8s\.io/v1/namespaces/([^/]+)/(roles|rolebindings)$")
_LEVEL = "pod-security.kubernetes.io/enforce"


def handle(cluster: FakeCluster, account: Account, method: str, path: str, body: Json) -> Json | None:
    """The answer to an administrator's call; None if it is none. Raises Refused."""
    answer = _namespaces(cluster, method, path, body)
    core, rbac = _CORE.match(path), _RBAC.match(path)
    if answer is None and core:
        answer = _core(cluster, method, core[1], core[2], core[3] or "", core[4] or "", body)
    if answer is None and rbac and method == "POST":
        answer = _rbac(cluster, rbac[1], rbac[2], body)
    if answer is not None and account.rules is not None:
        raise Refused(403, "Forbidden", f'User "{account.name}" cannot {method} {path}')
    return answer


def _namespaces(cluster: FakeCluster, method: str, path: str, body: Json) -> Json | None:
    if method == "POST" and path == "/api/v1/namespaces":
        name = body["metadata"]["name"]
        cluster.namespaces[name] = "Active"
        level = (body["metadata"].get("labels") or {}).get(_LEVEL)
        if level:
            cluster.pod_security[name] = level
        return body
    match = re.match(r"^/api/v1/namespaces/([^/]+)$", path)
    if method == "DELETE" and match and match[1] in cluster.namespaces:
        cluster.namespaces[match[1]] = "Terminating"
        for pod in cluster.pods(match[1]):
            cluster.delete(match[1], pod["metadata"]["name"], grace=0)
        del cluster.namespaces[match[1]]
        return {"kind": "Namespace", "metadata": {"name": match[1]}}
    return None


def _core(
    cluster: FakeCluster, method: str, namespace: str, resource: str, name: str, subresource: str, body: Json
) -> Json | None:
    if resource == "serviceaccounts" and subresource == "token":
        token = secrets.token_hex(8)
        cluster.accounts[token] = cluster.account_of(namespace, name)
        return {**body, "status": {"token": token}}
    if resource == "serviceaccounts":
        named = name or body["metadata"]["name"]
        if method == "POST":
            cluster.service_accounts.add((namespace, named))
        elif named != "default" and (namespace, named) not in cluster.service_accounts:
            raise Refused(404, "NotFound", f'serviceaccounts "{named}" not found')
        return {"kind": "ServiceAccount", "metadata": {"name": named, "namespace": namespace}}
    if method == "POST":
        cluster.quotas[namespace] = int(body["spec"]["hard"]["pods"])
    elif method == "DELETE":
        cluster.quotas.pop(namespace, None)
    return {**body, "kind": "ResourceQuota", "status": {"hard": {"pods": str(cluster.quotas.get(namespace))}}}


def _rbac(cluster: FakeCluster, namespace: str, resource: str, body: Json) -> Json:
    if resource == "roles":
        cluster.roles[namespace, body["metadata"]["name"]] = body["rules"]
        return body
    for subject in body["subjects"]:
        account = cluster.account_of(subject["namespace"], subject["name"])
        account.rules = [*(account.rules or []), *cluster.roles[namespace, body["roleRef"]["name"]]]
    return body
