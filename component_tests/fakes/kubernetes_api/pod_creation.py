"""What happens to a pod that is created: decoding, defaults, admission, validation, and the node.

The order is the real server's: an object that cannot be decoded is 400, one that admission refuses is 403, one that is invalid is 422.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from component_tests.fakes.kubernetes_api.cluster import Account, Refused
from component_tests.fakes.kubernetes_api.kubelet import timestamp
from component_tests.fakes.kubernetes_api.openapi_types import Decoder, WrongType
from component_tests.fakes.kubernetes_api.pod_rules import fill_in, problems, violations_of_restricted

if TYPE_CHECKING:
    from component_tests.fakes.kubernetes_api.cluster import FakeCluster

Json = dict[str, Any]


def create(
    cluster: FakeCluster, account: Account, namespace: str, body: Any, query: dict[str, list[str]]
) -> tuple[Json, list[str]]:
    """Create a pod. Returns it, and the warnings.

    Raises:
      Refused: as the real server refuses.
    """
    pod, warnings = _decode(cluster, body, query.get("fieldValidation", ["Warn"])[0])
    _check_namespace(cluster, pod, namespace)
    metadata = pod.setdefault("metadata", {})
    metadata.setdefault("namespace", namespace)
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = metadata["generateName"][:58] + secrets.token_hex(3)[:5]
    _drop_what_is_not_enabled(cluster, pod)
    if not pod.get("spec"):
        raise _invalid(pod, [("spec", "Required value")])
    if (pod["spec"].get("containers") or [{}])[0].get("image"):
        fill_in(pod)
    _admit(cluster, pod, namespace)
    found = list(problems(pod))
    if found:
        raise _invalid(pod, found)
    pod.update(apiVersion="v1", kind="Pod", status={"phase": "Pending", "qosClass": "BestEffort", "conditions": []})
    metadata["creationTimestamp"] = timestamp(cluster.skew)
    if query.get("dryRun") == ["All"]:
        return pod, warnings
    try:
        created = cluster.store.create("pods", pod)
    except KeyError:
        name = metadata["name"]
        raise Refused(409, "AlreadyExists", f'pods "{name}" already exists', {"name": name, "kind": "pods"}) from None
    cluster.start_pod(created)
    return created, warnings


def _decode(cluster: FakeCluster, body: Any, field_validation: str) -> tuple[Json, list[str]]:
    decoder = Decoder(cluster.minor)
    prefix = 'Pod in version "v1" cannot be handled as a Pod: '
    if not isinstance(body, dict):
        raise Refused(400, "BadRequest", f"{prefix}json: cannot unmarshal into Go value of type v1.Pod")
    try:
        pod = decoder.decode(body, "V1Pod")
    except WrongType as error:
        raise Refused(400, "BadRequest", f"{prefix}{error}") from None
    unknown = [f'unknown field "{field}"' for field in decoder.unknown]
    if unknown and field_validation == "Strict":
        raise Refused(400, "BadRequest", f"{prefix}strict decoding error: {', '.join(unknown)}")
    return pod, unknown if field_validation == "Warn" else []


def _check_namespace(cluster: FakeCluster, pod: Json, namespace: str) -> None:
    state = cluster.namespaces.get(namespace)
    if state is None:
        words = f'namespaces "{namespace}" not found'
        raise Refused(404, "NotFound", words, {"name": namespace, "kind": "namespaces"})
    named = (pod.get("metadata") or {}).get("namespace", namespace)
    if named != namespace:
        raise Refused(
            400, "BadRequest", "the namespace of the provided object does not match the namespace sent on the request"
        )
    if state == "Terminating":
        name = (pod.get("metadata") or {}).get("name", "")
        words = f"unable to create new content in namespace {namespace} because it is being terminated"
        raise Refused(403, "Forbidden", f'pods "{name}" is forbidden: {words}', {"name": name, "kind": "pods"})


def _drop_what_is_not_enabled(cluster: FakeCluster, pod: Json) -> None:
    """A field whose feature gate is off is dropped without a word, even under strict validation."""
    if not cluster.image_volumes:
        for volume in (pod.get("spec") or {}).get("volumes") or ():
            volume.pop("image", None)


def _admit(cluster: FakeCluster, pod: Json, namespace: str) -> None:
    name = pod["metadata"].get("name", "")

    def forbid(words: str) -> Refused:
        return Refused(403, "Forbidden", f'pods "{name}" is forbidden: {words}', {"name": name, "kind": "pods"})

    account = pod["spec"].get("serviceAccountName", "default")
    if account != "default" and (namespace, account) not in cluster.service_accounts:
        words = f'error looking up service account {namespace}/{account}: serviceaccount "{account}" not found'
        raise forbid(words)
    if pod["spec"].get("automountServiceAccountToken", True):
        _mount_token(pod)
    for webhook in cluster.webhooks:
        webhook(pod)
    if cluster.pod_security.get(namespace) == "restricted":
        violations = violations_of_restricted(pod)
        if violations:
            raise forbid(f'violates PodSecurity "restricted:latest": {", ".join(violations)}')
    lacking = _lacking(pod, cluster.compute_quotas.get(namespace, ()))
    if lacking:
        raise forbid(f"failed quota: compute: must specify {'; '.join(lacking)}")
    most = cluster.quotas.get(namespace)
    used = len(cluster.pods(namespace))
    if most is not None and used >= most:
        raise forbid(f"exceeded quota: pods, requested: pods=1, used: pods={used}, limited: pods={most}")


def _lacking(pod: Json, counted: tuple[str, ...]) -> list[str]:
    """What a quota of compute resources (``limits.cpu``) misses: every container must say how much it takes."""
    containers = [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]
    found = []
    for name in counted:
        part, _, kind = name.partition(".")
        silent = [one["name"] for one in containers if kind not in ((one.get("resources") or {}).get(part) or {})]
        if silent:
            found.append(f"{name} for: {','.join(silent)}")
    return found


def _mount_token(pod: Json) -> None:
    volume = {"name": "kube-api-access", "projected": {"sources": []}}
    pod["spec"].setdefault("volumes", []).append(volume)
    mount = {
        "name": "kube-api-access",
        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
        "readOnly": True,
    }
    for container in [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]:
        container.setdefault("volumeMounts", []).append(dict(mount))


def _invalid(pod: Json, found: list[tuple[str, str]]) -> Refused:
    name = (pod.get("metadata") or {}).get("name", "")
    words = [f"{field}: {problem}" for field, problem in found]
    whole = words[0] if len(words) == 1 else f"[{', '.join(words)}]"
    causes = [{"reason": "FieldValueInvalid", "message": problem, "field": field} for field, problem in found]
    details = {"name": name, "kind": "Pod", "causes": causes}
    return Refused(422, "Invalid", f'Pod "{name}" is invalid: {whole}', details)
