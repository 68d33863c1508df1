"""What is asked of the cluster before the pod is created: our own pod, our rights, the claim that holds the model."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_runners.kubernetes.api.errors import ApiError, ApiUnreachable
from infra_validator.model_server_runners.kubernetes.identity import (
    Surroundings,
    confirms,
    own_pod_names,
    service_account_namespace,
    uids_handed_down,
)
from infra_validator.model_server_runners.kubernetes.leftovers import CallingApi
from infra_validator.model_server_runners.kubernetes.rights import Right, missing, role_yaml
from infra_validator.specs import KubernetesConfig

_LOG = logging.getLogger(__name__)

Json = Mapping[str, Any]


def find_own_pod(api: CallingApi, here: Surroundings, deadline: Deadline) -> Json | None:
    """The pod that this process runs in: by name, else by IP address (names of hosts are cut), confirmed; None if none is.

    A right that is missing is no error: then there is no owner reference, and it is said.
    """
    namespace = service_account_namespace(here.service_account_directory)
    if not namespace:
        return None
    path = f"/api/v1/namespaces/{namespace}/pods"
    uids = uids_handed_down(here.environment, here.mounts)
    try:
        for name in own_pod_names(here.environment, here.host_name):
            try:
                pod = api.call("GET", f"{path}/{name}", deadline, f"get pod {namespace}/{name}")
            except ApiError as error:
                if error.status != 404:
                    raise
                continue
            if confirms(pod, uids, here.addresses):
                return pod
        for address in sorted(here.addresses):
            query = {"fieldSelector": f"status.podIP={address}"}
            listed = api.call("GET", path, deadline, f"list pods in {namespace}", query=query)
            for pod in listed.get("items") or ():
                if confirms(pod, uids, here.addresses):
                    return dict(pod)
    except ApiError as error:
        _LOG.info("The pod that this process runs in cannot be looked up: %s", error)
    return None


def check_rights(
    api: CallingApi, config: KubernetesConfig, namespace: str, rights: Sequence[Right], deadline: Deadline
) -> None:
    """Ask once for all rights in the namespace; each one that is not seen is asked for by itself where the list is incomplete.

    Raises:
      InfrastructureError: KUBERNETES_FORBIDDEN, with the verb, the resource and the Role to grant.
    """
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    try:
        status = api.call("POST", path, deadline, "review our own rights", body=review).get("status") or {}
    except ApiError as error:
        if error.status == 401:
            raise
        _LOG.info("Our rights cannot be reviewed (%s); what is forbidden will be seen when it is tried.", error)
        return
    rules = status.get("resourceRules") or ()
    lacking = missing(rules, rights)
    if any(verb == "create" and "/" in resource for verb, resource in lacking):
        lacking = missing(rules, rights, _minor_version(api, deadline))
    if lacking and status.get("incomplete"):
        lacking = [one for one in lacking if not _allowed(api, namespace, *one, deadline)]
    if lacking:
        verb, resource = lacking[0]
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise InfrastructureError(
            ReasonCode.KUBERNETES_FORBIDDEN,
            f"The verb {verb} on {resource} in the namespace {namespace} is not granted{more}.",
            next_step=f"{ReasonCode.KUBERNETES_FORBIDDEN.next_step} It is:\n{role_yaml(config, namespace)}",
        )


def may_renew_heartbeat(api: CallingApi, namespace: str, deadline: Deadline) -> bool:
    """Whether we may patch pods; False where that cannot be found out: a server must not be ended for want of a heartbeat."""
    try:
        return _allowed(api, namespace, "patch", "pods", deadline)
    except (ApiError, ApiUnreachable) as error:
        _LOG.info("Whether pods may be patched cannot be asked: %s", error)
        return False


def _minor_version(api: CallingApi, deadline: Deadline) -> int | None:
    """The cluster's minor version; None where it is not told. Clouds write ``30+``."""
    try:
        told = str(api.call("GET", "/version", deadline, "get the version").get("minor") or "")
    except (ApiError, ApiUnreachable):
        return None
    digits = re.match(r"\d+", told)
    return int(digits[0]) if digits else None


def _allowed(api: CallingApi, namespace: str, verb: str, resource: str, deadline: Deadline) -> bool:
    kind, _, subresource = resource.partition("/")
    attributes = {"namespace": namespace, "verb": verb, "group": "", "resource": kind}
    if subresource:
        attributes["subresource"] = subresource
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = api.call("POST", path, deadline, "review one of our rights", body=review)
    return bool((answer.get("status") or {}).get("allowed"))


def node_for_claim(
    api: CallingApi, namespace: str, claim: str, own_pod: Json | None, deadline: Deadline
) -> tuple[str, str]:
    """The only node where a claim can be mounted, and why; empty if any node will do.

    Raises:
      InfrastructureError: there is no such claim, or it is another pod's alone (VOLUME_NOT_MOUNTED).
    """
    path = f"/api/v1/namespaces/{namespace}"
    try:
        found = api.call("GET", f"{path}/persistentvolumeclaims/{claim}", deadline, f"get claim {namespace}/{claim}")
    except ApiError as error:
        if error.status == 404:
            raise InfrastructureError(
                ReasonCode.VOLUME_NOT_MOUNTED, f"There is no claim {claim} in the namespace {namespace}.", heals=False
            ) from error
        _LOG.info("The claim %s cannot be looked up (%s); the node will say whether it can be mounted.", claim, error)
        return "", ""
    modes = set((found.get("status") or {}).get("accessModes") or found["spec"].get("accessModes") or ())
    if modes & {"ReadWriteMany", "ReadOnlyMany"}:
        return "", ""
    user = own_pod if own_pod is not None and _uses(own_pod, claim) else _user_of(api, path, claim, deadline)
    if user is None:
        return "", ""
    name, node = user["metadata"]["name"], str((user.get("spec") or {}).get("nodeName") or "")
    if modes == {"ReadWriteOncePod"}:
        raise InfrastructureError(
            ReasonCode.VOLUME_NOT_MOUNTED,
            f"The claim {claim} is ReadWriteOncePod and in use by the pod {name}: no other pod can have it.",
            next_step="Use a claim that is ReadWriteMany, or another way in kubernetes.model.",
        )
    return node, f"the claim {claim} is ReadWriteOnce and in use by the pod {name} on the node {node}" if node else ""


def _user_of(api: CallingApi, path: str, claim: str, deadline: Deadline) -> Json | None:
    listed = api.call("GET", f"{path}/pods", deadline, "list pods", query={"fieldSelector": "status.phase=Running"})
    return next((pod for pod in listed.get("items") or () if _uses(pod, claim)), None)


def _uses(pod: Json, claim: str) -> bool:
    return any(
        (volume.get("persistentVolumeClaim") or {}).get("claimName") == claim
        for volume in (pod.get("spec") or {}).get("volumes") or ()
    )
