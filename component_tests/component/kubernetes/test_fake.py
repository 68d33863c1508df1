"""The fake API server, driven by the unpatched official client: so that it is not obeyed by the hand that wrote it.

``ASSUMED`` records which behaviours of a real cluster the fake stands for, each with its source; one test for each.
"""

from __future__ import annotations

import gc
import http.client
import json
import pathlib
import socket
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import kubernetes.client
import kubernetes.config
import kubernetes.stream
import kubernetes.watch
import pytest

from component_tests.fakes.kubernetes_api import Account, FakeCluster, Fault, Image
from component_tests.fakes.kubernetes_pods import SERVER, misbehaving_image
from infra_validator.core.deadline import Deadline
from infra_validator.model_server_runners.kubernetes.api.client import KubernetesApi, connect
from infra_validator.model_server_runners.kubernetes.api.errors import ApiError
from infra_validator.model_server_runners.kubernetes.identity import Surroundings
from infra_validator.specs import KubernetesConfig

#: test -> (what a real cluster does, where it is written).
ASSUMED = {
    "test_a_wrong_type_is_400_with_the_field": (
        "An object with a value of the wrong JSON type is refused with 400 and the field's path.",
        "kubernetes.io/docs/reference/using-api/api-concepts (field validation); seen on 1.36 with resources.claims",
    ),
    "test_an_unknown_field_is_refused_only_when_strict": (
        "fieldValidation=Strict refuses unknown fields with 400; Warn, the default, drops them with a warning.",
        "kubernetes.io/docs/reference/using-api/api-concepts/#validation-for-unrecognized-or-duplicate-fields",
    ),
    "test_an_older_server_does_not_know_image_volumes": (
        "Image volumes came with 1.31 behind a gate; with the gate off the field is dropped without a word, even under Strict.",
        "kubernetes.io/docs/concepts/storage/volumes/#image; apiserver strategies drop disabled fields",
    ),
    "test_an_invalid_object_is_422_with_causes": (
        "An object that decodes but is invalid is refused with 422 and one cause for each field.",
        "kubernetes.io/docs/reference/kubernetes-api/common-definitions/status",
    ),
    "test_a_watch_goes_on_from_a_resource_version": (
        "A watch from a resource version sends what happened after it, then what happens.",
        "kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes",
    ),
    "test_a_watch_from_too_old_a_version_is_410": (
        "A watch from a version that is forgotten gets an ERROR event with a 410 Status.",
        "kubernetes.io/docs/reference/using-api/api-concepts/#410-gone-responses",
    ),
    "test_bookmarks_come_when_asked_for": (
        "allowWatchBookmarks brings BOOKMARK events that hold a resource version only.",
        "kubernetes.io/docs/reference/using-api/api-concepts/#watch-bookmarks",
    ),
    "test_deletion_has_grace_and_preconditions": (
        "DELETE marks a running pod with a deletionTimestamp, removes it when its processes have ended, and refuses another UID.",
        "kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination",
    ),
    "test_logs_are_asked_of_a_container_by_name": (
        "The log of a container that the pod does not have is 400; of one that has not started too.",
        "kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1 (read log); seen on 1.36",
    ),
    "test_exec_runs_a_command": (
        "exec over WebSocket has a channel for each stream and one for the Status at the end.",
        "kubernetes.io/docs/reference/using-api/api-concepts; apimachinery remotecommand constants",
    ),
    "test_port_forward_reaches_the_port": (
        "portforward over WebSocket has a data and an error channel for each port, each opened by the port's number.",
        "kubelet pkg/kubelet/server/portforward",
    ),
    "test_streams_need_get_and_since_1_35_create_besides": (
        "WebSocket exec and port-forward are authorized as get, and from 1.35 on as create besides, refused with an empty reason.",
        "Kubernetes 1.35 release notes, kubernetes#134577 (AuthorizePodWebsocketUpgradeCreatePermission)",
    ),
    "test_streams_take_no_media_type_but_any": (
        "The node's streaming routes declare no media type: an Accept header that does not hold */* is answered 406.",
        "seen on 1.36 with exec v4, v5 and port-forward, ExtendWebSocketsToKubelet on and off",
    ),
    "test_media_types_are_negotiated": (
        "An Accept header without JSON is answered 406, a body of an unknown type 415, a verb that a path lacks 405.",
        "kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources",
    ),
    "test_a_volume_that_no_container_mounts_is_never_set_up": (
        "The node sets up the volumes that a container mounts; another one may name what is not there.",
        "kubelet pkg/kubelet/volumemanager/populator; seen on 1.36",
    ),
    "test_what_is_not_granted_is_403_in_known_words": (
        "RBAC refuses with 403 and names user, verb, resource and namespace.",
        "kubernetes.io/docs/reference/access-authn-authz/rbac",
    ),
    "test_rights_can_be_reviewed": (
        "SelfSubjectRulesReview lists one's rules in a namespace, SelfSubjectAccessReview answers for one.",
        "kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access",
    ),
    "test_the_restricted_standard_is_enforced_where_it_is_set": (
        "Pods that violate an enforced Pod Security Standard are refused with 403 and all violations.",
        "kubernetes.io/docs/concepts/security/pod-security-admission",
    ),
    "test_field_selectors_are_limited": (
        "Pods can be selected by a few fields only; another one is 400.",
        "kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors",
    ),
    "test_dependants_go_with_their_owner": (
        "An object whose owners are all gone is deleted by the garbage collector.",
        "kubernetes.io/docs/concepts/architecture/garbage-collection",
    ),
    "test_names_are_generated_and_taken_once": (
        "generateName gets a random suffix; a name that is taken is 409 AlreadyExists.",
        "kubernetes.io/docs/reference/using-api/api-concepts/#generated-values",
    ),
}


@pytest.fixture
def cluster() -> Iterator[FakeCluster]:
    images = {
        "good": misbehaving_image("good"),
        "shell": Image({"sh": ("/bin/sh",)}),
        "ends": misbehaving_image("exits_1"),
    }
    with FakeCluster(images=images) as cluster:
        yield cluster


def official(cluster: FakeCluster, directory: pathlib.Path) -> Any:
    """The official client, as a user has it."""
    return kubernetes.client.CoreV1Api(kubernetes.config.new_client_from_config(cluster.kubeconfig(directory)))


@pytest.fixture
def core(cluster: FakeCluster, tmp_path: pathlib.Path) -> Iterator[Any]:
    core = official(cluster, tmp_path)
    yield core
    core.api_client.rest_client.pool_manager.clear()


@pytest.fixture
def api(cluster: FakeCluster, tmp_path: pathlib.Path) -> Iterator[KubernetesApi]:
    """Plain JSON in and out, for what the client's own models would not send."""
    api = connect(KubernetesConfig(kubeconfig=cluster.kubeconfig(tmp_path)), Surroundings.here(), Deadline.after(30))
    yield api
    api.close()


def pod(name: str = "p", image: str = "good", **spec: Any) -> Any:
    container = kubernetes.client.V1Container(name="c", image=image, command=[SERVER], args=["--port=28500"])
    return kubernetes.client.V1Pod(
        metadata=kubernetes.client.V1ObjectMeta(name=name),
        spec=kubernetes.client.V1PodSpec(containers=[container], restart_policy="Never", **spec),
    )


def plain_pod(**container: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "good", "command": [SERVER], **container}]},
    }


def create(api: KubernetesApi, body: dict[str, Any], validation: str = "Strict") -> dict[str, Any]:
    query = {"fieldValidation": validation}
    return api.call("POST", "/api/v1/namespaces/default/pods", Deadline.after(20), "create", query=query, body=body)


def refusal(api: KubernetesApi, body: dict[str, Any], validation: str = "Strict") -> ApiError:
    with pytest.raises(ApiError) as caught:
        create(api, body, validation)
    return caught.value


def phase(core: Any, wanted: str, name: str = "p") -> Any:
    """Wait, with the client's own watch, until a pod has a phase."""
    watch = kubernetes.watch.Watch()
    for event in watch.stream(
        core.list_namespaced_pod, "default", field_selector=f"metadata.name={name}", timeout_seconds=30
    ):
        if event["object"].status.phase == wanted:
            watch.stop()
            return event["object"]
    raise AssertionError(f"the pod never was {wanted}")


def test_every_assumption_has_its_test_and_its_source() -> None:
    assert {name for name in globals() if name.startswith("test_")} - {
        "test_every_assumption_has_its_test_and_its_source",
        "test_the_client_gets_our_errors_as_its_own",
    } == set(ASSUMED)
    assert all(sentence.endswith(".") and source for sentence, source in ASSUMED.values())


def test_the_client_gets_our_errors_as_its_own(cluster: FakeCluster, core: Any, tmp_path: pathlib.Path) -> None:
    with pytest.raises(kubernetes.client.ApiException) as caught:
        core.read_namespaced_pod("nobody", "default")
    assert caught.value.status == 404
    assert json.loads(caught.value.body)["reason"] == "NotFound"
    cluster.accounts["admin-token"].expired = True
    with pytest.raises(kubernetes.client.ApiException) as caught:
        core.list_namespaced_pod("default")
    assert caught.value.status == 401
    cluster.accounts["admin-token"].expired = False
    for status in (429, 500):
        cluster.faults.append(Fault("GET", "/pods", status=status))
        with pytest.raises(kubernetes.client.ApiException) as caught:
            core.list_namespaced_pod("default")
        assert caught.value.status == status


def test_a_wrong_type_is_400_with_the_field(api: KubernetesApi) -> None:
    error = refusal(api, plain_pod(resources={"claims": {}}))
    assert (error.status, error.reason) == (400, "BadRequest")
    assert "cannot unmarshal object into Go struct field .spec.containers.resources.claims" in error.message
    for wrong in (
        {"args": "--port=28500"},
        {"ports": [{"containerPort": "28500"}]},
        {"securityContext": {"runAsUser": "1"}},
    ):
        assert refusal(api, plain_pod(**wrong)).status == 400


def test_an_unknown_field_is_refused_only_when_strict(api: KubernetesApi) -> None:
    error = refusal(api, plain_pod(comand=["x"]))
    assert error.status == 400
    assert 'unknown field "spec.containers[0].comand"' in error.message
    assert "comand" not in create(api, plain_pod(comand=["x"]), "Warn")["spec"]["containers"][0]


def test_an_older_server_does_not_know_image_volumes(cluster: FakeCluster, api: KubernetesApi) -> None:
    body = plain_pod(volumeMounts=[{"name": "model", "mountPath": "/m"}])
    body["spec"]["volumes"] = [{"name": "model", "image": {"reference": "models/taxi:1"}}]
    cluster.minor, cluster.image_volumes = 30, False
    assert 'unknown field "spec.volumes[0].image"' in refusal(api, body).message
    cluster.minor = 33
    assert create(api, body)["spec"]["volumes"][0] == {"name": "model", "emptyDir": {}}


@pytest.mark.parametrize(
    ("container", "spec", "field"),
    [
        ({"name": "Upper"}, {}, "spec.containers[0].name"),
        ({"volumeMounts": [{"name": "gone", "mountPath": "/m"}]}, {}, "spec.containers[0].volumeMounts[0].name"),
        ({"ports": [{"containerPort": 0}]}, {}, "spec.containers[0].ports[0].containerPort"),
        ({"ports": [{"containerPort": 1, "name": "much-too-long-name"}]}, {}, "spec.containers[0].ports[0].name"),
        ({"resources": {"limits": {"memory": "much"}}}, {}, "spec.containers[0].resources.limits[memory]"),
        (
            {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}},
            {},
            "spec.containers[0].resources.requests",
        ),
        ({"resources": {"claims": [{"name": "gpu"}]}}, {}, "spec.containers[0].resources.claims[0]"),
        ({"env": [{"name": "A=B"}]}, {}, "spec.containers[0].env[0].name"),
        ({}, {"restartPolicy": "Sometimes"}, "spec.restartPolicy"),
        ({}, {"activeDeadlineSeconds": 0}, "spec.activeDeadlineSeconds"),
        ({}, {"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]}, "spec.volumes[0]"),
        ({}, {"volumes": [{"name": "v"}, {"name": "v"}]}, "spec.volumes[1].name"),
    ],
)
def test_an_invalid_object_is_422_with_causes(
    api: KubernetesApi, container: dict[str, Any], spec: dict[str, Any], field: str
) -> None:
    body = plain_pod(**container)
    body["spec"].update(spec)
    error = refusal(api, body)
    assert (error.status, error.reason) == (422, "Invalid")
    assert field in [cause["field"] for cause in error.causes]


def test_a_watch_goes_on_from_a_resource_version(cluster: FakeCluster, core: Any) -> None:
    version = core.list_namespaced_pod("default").metadata.resource_version
    core.create_namespaced_pod("default", pod())
    phase(core, "Running")
    watch = kubernetes.watch.Watch()
    seen = []
    for event in watch.stream(core.list_namespaced_pod, "default", resource_version=version, timeout_seconds=5):
        seen.append((event["type"], event["object"].status.phase))
        if seen[-1][1] == "Running":
            break
    assert seen[0] == ("ADDED", "Pending")
    assert seen[-1] == ("MODIFIED", "Running")


def test_a_watch_from_too_old_a_version_is_410(cluster: FakeCluster, api: KubernetesApi) -> None:
    cluster.store.version += 10
    cluster.store.forget_changes()
    query = {"watch": "true", "resourceVersion": "1000"}
    with api.stream("/api/v1/namespaces/default/pods", query, "watch", 10.0) as stream:
        (event,) = list(stream)
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


def test_bookmarks_come_when_asked_for(cluster: FakeCluster, api: KubernetesApi) -> None:
    cluster.bookmark_seconds = 0.05
    query = {"watch": "true", "resourceVersion": "1000", "allowWatchBookmarks": "true", "timeoutSeconds": "10"}
    with api.stream("/api/v1/namespaces/default/pods", query, "watch", 10.0) as stream:
        event = next(iter(stream))
    assert event["type"] == "BOOKMARK"
    assert event["object"]["metadata"] == {"resourceVersion": "1000"}


def test_deletion_has_grace_and_preconditions(cluster: FakeCluster, core: Any) -> None:
    cluster.images["stubborn"] = misbehaving_image("ignores_sigterm")
    core.create_namespaced_pod("default", pod(image="stubborn"))
    phase(core, "Running")
    log = cluster.process_of("p").containers["c"].log
    cluster.wait_for(lambda: b"Running gRPC" in log.read_bytes())  # it ignores the signal by then
    other = kubernetes.client.V1DeleteOptions(preconditions=kubernetes.client.V1Preconditions(uid="another"))
    with pytest.raises(kubernetes.client.ApiException) as caught:
        core.delete_namespaced_pod("p", "default", body=other)
    assert caught.value.status == 409
    core.delete_namespaced_pod("p", "default", grace_period_seconds=1)
    marked = core.read_namespaced_pod("p", "default")
    assert marked.metadata.deletion_timestamp is not None
    cluster.wait_for(lambda: not cluster.pods())


def test_logs_are_asked_of_a_container_by_name(core: Any) -> None:
    core.create_namespaced_pod("default", pod(image="ends"))
    phase(core, "Failed")
    assert "the moon is full" in core.read_namespaced_pod_log("p", "default", container="c")
    with pytest.raises(kubernetes.client.ApiException) as caught:
        core.read_namespaced_pod_log("p", "default", container="main")
    assert caught.value.status == 400
    assert "container main is not valid for pod p" in caught.value.body


def test_exec_runs_a_command(core: Any) -> None:
    container = kubernetes.client.V1Container(name="c", image="shell", command=["sh", "-c", "sleep 60"])
    body = pod()
    body.spec.containers = [container]
    core.create_namespaced_pod("default", body)
    phase(core, "Running")
    answer = kubernetes.stream.stream(
        core.connect_get_namespaced_pod_exec,
        "p",
        "default",
        container="c",
        command=["sh", "-c", "read line; echo got $line; echo oops >&2; exit 3"],
        stdin=True,
        stdout=True,
        stderr=True,
        tty=False,
        _preload_content=False,
    )
    answer.write_stdin("a line\n")
    answer.run_forever(timeout=20)
    assert answer.read_stdout() == "got a line\n"
    assert answer.read_stderr() == "oops\n"
    assert answer.returncode == 3
    answer.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # see the end of the test
def test_port_forward_reaches_the_port(cluster: FakeCluster, core: Any) -> None:
    core.create_namespaced_pod("default", pod())
    address = phase(core, "Running").status.pod_ip
    cluster.wait_for(lambda: _open(address, 28500))
    forward = kubernetes.stream.portforward(core.connect_get_namespaced_pod_portforward, "p", "default", ports="28500")
    held = forward.socket(28500)
    held.setblocking(True)
    held.settimeout(20)
    held.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
    assert held.recv(9)[3] == 4  # a SETTINGS frame: HTTP/2 answers
    held.shutdown(socket.SHUT_WR)  # the client's own thread does not stand a reset
    while held.recv(4096):
        pass
    held.close()
    closed = kubernetes.stream.portforward(core.connect_get_namespaced_pod_portforward, "p", "default", ports="9")
    quiet = closed.socket(9)
    quiet.settimeout(20)
    assert quiet.recv(1) == b""
    assert "error forwarding port 9" in closed.error(9)
    quiet.close()
    for proxy in [thread for thread in threading.enumerate() if thread.name.startswith("Kubernetes port forward")]:
        proxy.join(10)
    del forward, closed, held, quiet
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the official client leaves its sockets to the collector
        gc.collect()


def _open(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), 1).close()
    except OSError:
        return False
    return True


FORWARD = "/api/v1/namespaces/default/pods/{}/portforward"


def refused_stream(api: KubernetesApi, pod_name: str) -> ApiError:
    with pytest.raises(ApiError) as caught:
        api.websocket(FORWARD.format(pod_name), "ports=1", ("v4.channel.k8s.io",), Deadline.after(20), "forward")
    return caught.value


@pytest.mark.parametrize("minor", [34, 35])
def test_streams_need_get_and_since_1_35_create_besides(
    cluster: FakeCluster, tmp_path: pathlib.Path, minor: int
) -> None:
    cluster.minor = minor
    for verbs in (["get"], ["create"], ["get", "create"]):
        cluster.accounts["t"] = Account("me", [{"apiGroups": [""], "resources": ["pods/portforward"], "verbs": verbs}])
        config = KubernetesConfig(kubeconfig=cluster.kubeconfig(tmp_path, token="t"))
        api = connect(config, Surroundings.here(), Deadline.after(30))
        error = refused_stream(api, "nobody")
        works = "get" in verbs and (minor < 35 or "create" in verbs)
        assert error.status == (404 if works else 403)
        if not works:
            assert 'resource "pods/portforward"' in error.message
        api.close()


def test_streams_take_no_media_type_but_any(cluster: FakeCluster, core: Any) -> None:
    core.create_namespaced_pod("default", pod())
    phase(core, "Running")
    for accept, status in (
        ("application/json", 406),
        ("text/plain", 406),
        ("application/json, */*", 101),
        ("*/*", 101),
    ):
        connection = http.client.HTTPConnection(cluster.url.removeprefix("http://"), timeout=20)
        headers = {
            "Authorization": "Bearer admin-token",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            "Sec-WebSocket-Protocol": "v4.channel.k8s.io",
            "Accept": accept,
        }
        connection.request("GET", f"{FORWARD.format('p')}?ports=28500", headers=headers)
        assert connection.getresponse().status == status, accept
        connection.close()


def test_media_types_are_negotiated(cluster: FakeCluster) -> None:
    path = "/api/v1/namespaces/default/pods"
    for method, headers, status in (
        ("GET", {"Accept": "text/html"}, 406),
        ("GET", {"Accept": "application/vnd.kubernetes.protobuf, application/json;q=0.5"}, 200),
        ("POST", {"Content-Type": "text/plain"}, 415),
        ("PUT", {"Content-Type": "application/json"}, 405),
    ):
        connection = http.client.HTTPConnection(cluster.url.removeprefix("http://"), timeout=20)
        connection.request(method, path, body=b"{}", headers={"Authorization": "Bearer admin-token", **headers})
        assert connection.getresponse().status == status, (method, headers)
        connection.close()


def test_a_volume_that_no_container_mounts_is_never_set_up(core: Any) -> None:
    secret = kubernetes.client.V1SecretVolumeSource(secret_name="gone")
    core.create_namespaced_pod("default", pod(volumes=[kubernetes.client.V1Volume(name="v", secret=secret)]))
    assert phase(core, "Running")


def test_what_is_not_granted_is_403_in_known_words(cluster: FakeCluster, tmp_path: pathlib.Path) -> None:
    cluster.accounts["t"] = Account("system:serviceaccount:ml:me", [])
    core = kubernetes.client.CoreV1Api(
        kubernetes.config.new_client_from_config(cluster.kubeconfig(tmp_path, token="t"))
    )
    with pytest.raises(kubernetes.client.ApiException) as caught:
        core.create_namespaced_pod("default", pod())
    assert caught.value.status == 403
    assert json.loads(caught.value.body)["message"] == (
        'pods is forbidden: User "system:serviceaccount:ml:me" cannot create resource "pods" in API group "" '
        'in the namespace "default"'
    )
    core.api_client.rest_client.pool_manager.clear()


def test_rights_can_be_reviewed(cluster: FakeCluster, tmp_path: pathlib.Path) -> None:
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
    cluster.accounts["t"] = Account("me", [rule])
    client = kubernetes.config.new_client_from_config(cluster.kubeconfig(tmp_path, token="t"))
    reviews = kubernetes.client.AuthorizationV1Api(client)
    rules = reviews.create_self_subject_rules_review(
        kubernetes.client.V1SelfSubjectRulesReview(
            spec=kubernetes.client.V1SelfSubjectRulesReviewSpec(namespace="default")
        )
    )
    assert [(one.resources, one.verbs) for one in rules.status.resource_rules] == [(["pods"], ["get"])]
    for verb, allowed in (("get", True), ("delete", False)):
        attributes = kubernetes.client.V1ResourceAttributes(namespace="default", verb=verb, resource="pods", group="")
        spec = kubernetes.client.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
        answer = reviews.create_self_subject_access_review(kubernetes.client.V1SelfSubjectAccessReview(spec=spec))
        assert answer.status.allowed is allowed
    client.rest_client.pool_manager.clear()


def test_the_restricted_standard_is_enforced_where_it_is_set(cluster: FakeCluster, core: Any) -> None:
    cluster.pod_security["default"] = "restricted"
    with pytest.raises(kubernetes.client.ApiException) as caught:
        core.create_namespaced_pod("default", pod())
    assert caught.value.status == 403
    for words in ("allowPrivilegeEscalation", "unrestricted capabilities", "runAsNonRoot", "seccompProfile"):
        assert words in json.loads(caught.value.body)["message"]


def test_field_selectors_are_limited(core: Any) -> None:
    with pytest.raises(kubernetes.client.ApiException) as caught:
        core.list_namespaced_pod("default", field_selector="metadata.uid=1")
    assert caught.value.status == 400
    assert core.list_namespaced_pod("default", field_selector="status.phase=Running").items == []


def test_dependants_go_with_their_owner(cluster: FakeCluster, core: Any) -> None:
    owner = core.create_namespaced_pod("default", pod("owner"))
    dependant = pod("dependant")
    dependant.metadata.owner_references = [
        kubernetes.client.V1OwnerReference(api_version="v1", kind="Pod", name="owner", uid=owner.metadata.uid)
    ]
    core.create_namespaced_pod("default", dependant)
    core.delete_namespaced_pod("owner", "default", grace_period_seconds=0)
    cluster.wait_for(lambda: not cluster.pods())


def test_names_are_generated_and_taken_once(core: Any) -> None:
    body = pod()
    body.metadata = kubernetes.client.V1ObjectMeta(generate_name="made-")
    assert core.create_namespaced_pod("default", body).metadata.name.startswith("made-")
    core.create_namespaced_pod("default", pod("twice"))
    with pytest.raises(kubernetes.client.ApiException) as caught:
        core.create_namespaced_pod("default", pod("twice"))
    assert caught.value.status == 409
    assert json.loads(caught.value.body)["reason"] == "AlreadyExists"
