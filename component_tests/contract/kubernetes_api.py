"""What our code takes for granted of a Kubernetes API server, as bodies that run against the fake one and against a real cluster alike."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from infra_validator.core.deadline import Deadline
from infra_validator.model_server_runners.kubernetes.api.client import KubernetesApi
from infra_validator.model_server_runners.kubernetes.api.errors import ApiError
from infra_validator.model_server_runners.kubernetes.leftovers import delete_pod

Json = dict[str, Any]
SECONDS = 60.0


class Api:
    """An API server, a namespace in it that is ours, and an image that it has or knows."""

    def __init__(self, api: KubernetesApi, namespace: str, image: str) -> None:
        self.api = api
        self.namespace = namespace
        self.image = image

    @property
    def pods(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods"

    def pod(self, **container: Any) -> Json:
        """A pod that the restricted standard lets in and that never runs: no node is called so."""
        security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"contract-{secrets.token_hex(4)}"},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "nodeSelector": {"infra-validator.example/no-such-node": "true"},
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 1000,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{"name": "c", "image": self.image, "securityContext": security, **container}],
            },
        }

    def create(self, body: Json, validation: str = "Strict", dry_run: bool = True) -> Json:
        query = {"fieldValidation": validation, **({"dryRun": "All"} if dry_run else {})}
        return self.api.call("POST", self.pods, Deadline.after(SECONDS), "create pods", query=query, body=body)

    def refusal(self, body: Json, validation: str = "Strict") -> ApiError:
        with pytest.raises(ApiError) as caught:
            self.create(body, validation)
        return caught.value


def a_wrong_type_is_400(one: Api) -> None:
    error = one.refusal(one.pod(resources={"claims": {}}))
    assert (error.status, error.reason) == (400, "BadRequest")
    assert "claims" in error.message


def an_unknown_field_is_400_when_strict_and_dropped_else(one: Api) -> None:
    error = one.refusal(one.pod(comand=["x"]))
    assert error.status == 400
    assert 'unknown field "spec.containers[0].comand"' in error.message
    assert "comand" not in one.create(one.pod(comand=["x"]), "Warn")["spec"]["containers"][0]


def an_invalid_pod_is_422_with_the_field(one: Api) -> None:
    error = one.refusal(one.pod(volumeMounts=[{"name": "gone", "mountPath": "/m"}]))
    assert (error.status, error.reason) == (422, "Invalid")
    assert "spec.containers[0].volumeMounts[0].name" in [cause["field"] for cause in error.causes]


def a_pod_that_violates_the_restricted_standard_is_403(one: Api) -> None:
    error = one.refusal(one.pod(securityContext={"privileged": True}))
    assert error.status == 403
    assert 'violates PodSecurity "restricted' in error.message


def selectors_know_few_fields(one: Api) -> None:
    with pytest.raises(ApiError) as caught:
        one.api.call("GET", one.pods, Deadline.after(SECONDS), "list", query={"fieldSelector": "metadata.uid=1"})
    assert caught.value.status == 400
    for selector in ("metadata.name=x", "status.phase=Running", "status.podIP=10.0.0.1"):
        query = {"fieldSelector": selector}
        assert "items" in one.api.call("GET", one.pods, Deadline.after(SECONDS), "list", query=query)
    events = f"/api/v1/namespaces/{one.namespace}/events"
    query = {"fieldSelector": "involvedObject.uid=1"}
    assert "items" in one.api.call("GET", events, Deadline.after(SECONDS), "list", query=query)


def a_pod_that_is_not_there_is_404(one: Api) -> None:
    for method, path in (("GET", f"{one.pods}/nobody"), ("DELETE", f"{one.pods}/nobody")):
        with pytest.raises(ApiError) as caught:
            one.api.call(method, path, Deadline.after(SECONDS), "nobody")
        assert (caught.value.status, caught.value.reason) == (404, "NotFound")
    with pytest.raises(ApiError) as caught:
        one.api.websocket(
            f"{one.pods}/nobody/portforward", "ports=1", ("v4.channel.k8s.io",), Deadline.after(SECONDS), "forward"
        )
    assert caught.value.status == 404


def a_name_is_taken_once_and_deletion_minds_the_uid(one: Api) -> None:
    body = one.pod()
    name = body["metadata"]["name"]
    created = one.create(body, dry_run=False)
    try:
        with pytest.raises(ApiError) as caught:
            one.create(body, dry_run=False)
        assert (caught.value.status, caught.value.reason) == (409, "AlreadyExists")
        delete_pod(one.api, one.namespace, name, "11111111-2222-3333-4444-555555555555", 0, Deadline.after(SECONDS))
        there = one.api.call("GET", f"{one.pods}/{name}", Deadline.after(SECONDS), "get")
        assert there["metadata"]["uid"] == created["metadata"]["uid"]
    finally:
        delete_pod(one.api, one.namespace, name, created["metadata"]["uid"], 0, Deadline.after(SECONDS))


def a_watch_tells_from_a_version_on_until_the_deletion(one: Api) -> None:
    body = one.pod()
    name = body["metadata"]["name"]
    listed = one.api.call("GET", one.pods, Deadline.after(SECONDS), "list")
    one.create(body, dry_run=False)
    delete_pod(one.api, one.namespace, name, "", 0, Deadline.after(SECONDS))
    query = {
        "watch": "true",
        "fieldSelector": f"metadata.name={name}",
        "resourceVersion": listed["metadata"]["resourceVersion"],
        "allowWatchBookmarks": "true",
        "timeoutSeconds": "60",
    }
    seen = []
    with one.api.stream(one.pods, query, "watch", SECONDS) as stream:
        for event in stream:
            seen.append(event["type"])
            if event["type"] == "DELETED":
                break
    assert seen[0] == "ADDED"
    assert seen[-1] == "DELETED"


def our_own_rights_can_be_reviewed(one: Api) -> None:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": one.namespace},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    status = one.api.call("POST", path, Deadline.after(SECONDS), "review", body=review)["status"]
    assert "incomplete" in status
    assert isinstance(status["resourceRules"], list)


BODIES = (
    a_wrong_type_is_400,
    an_unknown_field_is_400_when_strict_and_dropped_else,
    an_invalid_pod_is_422_with_the_field,
    a_pod_that_violates_the_restricted_standard_is_403,
    selectors_know_few_fields,
    a_pod_that_is_not_there_is_404,
    a_name_is_taken_once_and_deletion_minds_the_uid,
    a_watch_tells_from_a_version_on_until_the_deletion,
    our_own_rights_can_be_reviewed,
)
