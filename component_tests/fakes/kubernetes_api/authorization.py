"""RBAC of the fake cluster: rules, the two reviews of one's own rights, and the words of a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from component_tests.fakes.kubernetes_api.cluster import Account, Refused

if TYPE_CHECKING:
    from component_tests.fakes.kubernetes_api.cluster import FakeCluster

Json = dict[str, Any]


def allowed(account: Account, verb: str, resource: str, name: str = "") -> bool:
    """Whether a rule grants the verb on the resource (``pods/log`` with its subresource)."""
    if account.rules is None:
        return True
    return any(
        verb in rule["verbs"]
        and resource in rule["resources"]
        and "" in rule["apiGroups"]
        and (not rule.get("resourceNames") or name in rule["resourceNames"])
        for rule in account.rules
    )


def check(account: Account, verb: str, resource: str, namespace: str, name: str) -> None:
    """Raise the API server's refusal unless the account has the right."""
    if allowed(account, verb, resource, name):
        return
    kind, _, _ = resource.partition("/")
    thing = f'{kind} "{name}"' if name else kind
    where = f' in the namespace "{namespace}"' if namespace else " at the cluster scope"
    words = f'{thing} is forbidden: User "{account.name}" cannot {verb} resource "{resource}" in API group ""{where}'
    raise Refused(403, "Forbidden", words, {"name": name, "kind": kind})


def review(cluster: FakeCluster, account: Account, kind: str, body: Json) -> Json:
    """The answer to a SelfSubjectRulesReview or a SelfSubjectAccessReview."""
    if kind == "selfsubjectrulesreviews":
        rules = account.rules
        if rules is None:
            rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
        if cluster.rules_review_incomplete:
            status: Json = {"resourceRules": [], "nonResourceRules": [], "incomplete": True}
        else:
            status = {"resourceRules": rules, "nonResourceRules": [], "incomplete": False}
        return {**body, "status": status}
    if kind == "selfsubjectaccessreviews":
        asked = body["spec"]["resourceAttributes"]
        subresource = asked.get("subresource")
        resource = f"{asked['resource']}/{subresource}" if subresource else asked["resource"]
        return {**body, "status": {"allowed": allowed(account, asked["verb"], resource)}}
    raise Refused(404, "NotFound", "the server could not find the requested resource")
