"""The Kubernetes platform on a real cluster, 1.28 to 1.36, with one image of TensorFlow Serving.

    pytest -m kubernetes component_tests/real_platforms/test_kubernetes.py --with-kubernetes --kubernetes-image NAME:TAG

The cluster is that of KUBECONFIG's current context, whose user must be able to make namespaces. Everything happens in one namespace, made
for the run, which enforces the restricted Pod Security Standard, and deleted at its end.
"""

from __future__ import annotations

import base64
import json
import os
import pathlib
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from component_tests.contract.kubernetes_api import BODIES, Api
from component_tests.fakes.saved_models import SavedModels
from infra_validator import run_validation
from infra_validator.core.deadline import Clock, Deadline, wait_until
from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.states import Life
from infra_validator.model_server_clients.tensorflow_serving import TensorFlowServingClient
from infra_validator.model_server_runners.base_runner import failure_of
from infra_validator.model_server_runners.kubernetes.api.client import KubernetesApi, connect
from infra_validator.model_server_runners.kubernetes.api.errors import ApiError
from infra_validator.model_server_runners.kubernetes.identity import Surroundings
from infra_validator.model_server_runners.kubernetes.leftovers import collect_garbage, delete_pod
from infra_validator.model_server_runners.kubernetes.rights import rights_for, role, role_binding
from infra_validator.model_server_runners.kubernetes.runner import KubernetesRunner
from infra_validator.report.verdict import Verdict
from infra_validator.serving_binaries.tensorflow_serving import binaries_of
from infra_validator.specs import KubernetesConfig, ServingSpec

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow, pytest.mark.timeout(900)]

Json = dict[str, Any]
SECONDS = 300.0  # the image may have to be pulled


class Cluster:
    """A namespace of a real cluster."""

    def __init__(self, api: KubernetesApi, namespace: str, image: str, model: pathlib.Path) -> None:
        self.api = api
        self.namespace = namespace
        self.image = image
        self.model = model

    def call(self, method: str, path: str, body: Json | None = None) -> Json:
        return self.api.call(method, path, Deadline.after(60), f"{method} {path}", body=body)

    def spec(self, **config: Any) -> Json:
        name, _, tag = self.image.rpartition(":")
        where = {"namespace": self.namespace, "image_pull_policy": "IfNotPresent", **config}
        return {"tensorflow_serving": {"image_name": name, "tags": [tag]}, "kubernetes": where, "model_name": "m"}

    def runner(self, **config: Any) -> KubernetesRunner:
        spec = ServingSpec.of(self.spec(**config))
        (binary,) = binaries_of(spec)
        return KubernetesRunner(str(self.model), binary, spec)

    def refusal(self, **config: Any) -> InfrastructureError:
        """The error of a start that fails."""
        runner = self.runner(**config)
        try:
            with pytest.raises(InfrastructureError) as caught:
                runner.Prepare(Deadline.after(SECONDS))
        finally:
            runner.Stop()
        assert runner.stop_problems == []
        return caught.value

    def our_pods(self) -> list[str]:
        query = {"labelSelector": "infra-validator.run"}
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        listed = self.api.call("GET", path, Deadline.after(60), "list pods", query=query)
        return [pod["metadata"]["name"] for pod in listed["items"]]


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest, saved_models: SavedModels) -> Iterator[Cluster]:
    api = connect(KubernetesConfig(), Surroundings.here(), Deadline.after(60))
    name = f"infra-validator-test-{secrets.token_hex(4)}"
    metadata = {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    one = Cluster(api, name, request.config.getoption("--kubernetes-image"), saved_models.path("half_plus_two"))
    one.call("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    try:
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        wait_until(lambda: _there(one, account), Deadline.after(60))  # pods are refused until it is there
        yield one
    finally:
        one.call("DELETE", f"/api/v1/namespaces/{name}")
        api.close()


def _there(one: Cluster, path: str) -> bool | None:
    try:
        one.call("GET", path)
    except ApiError as error:
        if error.status == 404:
            return None
        raise
    return True


@pytest.fixture(autouse=True)
def nothing_is_left(cluster: Cluster) -> Iterator[None]:
    yield
    wait_until(lambda: None if cluster.our_pods() else True, Deadline.after(120), longest_pause=1.0)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_the_cluster_behaves_as_we_take_for_granted(cluster: Cluster, body: Callable[[Api], None]) -> None:
    body(Api(cluster.api, cluster.namespace, cluster.image))


@pytest.mark.parametrize(
    ("model", "verdict", "reason"),
    [
        ("half_plus_two", Verdict.BLESSED, ReasonCode.BLESSED),
        ("unknown_op", Verdict.NOT_BLESSED, ReasonCode.OP_NOT_REGISTERED),
    ],
)
def test_a_verdict_by_upload_and_port_forward(
    cluster: Cluster, saved_models: SavedModels, model: str, verdict: Verdict, reason: ReasonCode
) -> None:
    report = run_validation(saved_models.path(model), cluster.spec(model={"upload": {}}, endpoint="port_forward"))
    assert (report.verdict, report.finding.reason) == (verdict, reason)
    assert report.serving_binaries[0].server_log


#: name -> (the spec's part, reason code, a part of the cluster's words).
NEVER_RAN: dict[str, tuple[Json, ReasonCode, str]] = {
    "no such secret": (
        {
            "serving_pod_overrides": {
                "env": [{"name": "A", "value_from": {"secret_key_ref": {"name": "gone", "key": "k"}}}]
            }
        },
        ReasonCode.CONTAINER_NOT_STARTED,
        'secret "gone" not found',
    ),
    "no such program": (
        {"model": {"fetch": {"command": ["/usr/bin/nothing"], "image": ""}}},
        ReasonCode.MODEL_NOT_DELIVERED,
        "StartError",
    ),
    "no such node": (
        {"node_selector": {"infra-validator.example/none": "x"}, "unschedulable_grace_seconds": 2},
        ReasonCode.POD_UNSCHEDULABLE,
        "Unschedulable",
    ),
    "no such volume": (
        {
            "volumes": [{"name": "v", "secret": {"secretName": "gone"}}],
            "volume_mounts": [{"name": "v", "mountPath": "/v"}],  # a volume that nothing mounts is never set up
            "mount_grace_seconds": 2,
        },
        ReasonCode.VOLUME_NOT_MOUNTED,
        "FailedMount",
    ),
    "no such claim": ({"model": {"pvc": {"claim_name": "gone"}}}, ReasonCode.VOLUME_NOT_MOUNTED, "no claim gone"),
    "a field that nobody knows": (
        {"pod_template": {"spec": {"restartPolice": "Never"}}},
        ReasonCode.POD_REFUSED,
        'unknown field "spec.restartPolice"',
    ),
    "against the restricted standard": (
        {"model": {"host_path": {"path": "/tmp"}}},
        ReasonCode.POD_REFUSED,
        "violates PodSecurity",
    ),
    "no such service account": ({"service_account_name": "gone"}, ReasonCode.POD_REFUSED, '"gone" not found'),
    "an init container that fails": (
        {"model": {"fetch": {"command": ["sh", "-c", "echo no such bucket; exit 7"], "image": ""}}},
        ReasonCode.MODEL_NOT_DELIVERED,
        "exit code 7: Error: no such bucket",
    ),
}


@pytest.mark.parametrize("cause", NEVER_RAN)
def test_a_server_that_never_ran_blames_the_infrastructure(cluster: Cluster, cause: str) -> None:
    spec, reason, words = NEVER_RAN[cause]
    if "fetch" in (spec.get("model") or {}):
        spec = {"model": {"fetch": {**spec["model"]["fetch"], "image": cluster.image}}}
    failure = cluster.refusal(**spec)
    assert failure.reason is reason
    assert words in failure.detail


def test_an_image_that_is_not_there(cluster: Cluster) -> None:
    spec = ServingSpec.of(cluster.spec(image_pull_policy="Never"))
    spec = ServingSpec.of(
        {**spec.to_dict(), "tensorflow_serving": {"image_name": "infra-validator.example/nobody-has", "tags": ["this"]}}
    )
    (binary,) = binaries_of(spec)
    runner = KubernetesRunner(str(cluster.model), binary, spec)
    try:
        with pytest.raises(InfrastructureError, match="ErrImageNeverPull"):
            runner.Prepare(Deadline.after(SECONDS))
    finally:
        runner.Stop()


def running(cluster: Cluster, **config: Any) -> KubernetesRunner:
    runner = cluster.runner(**config)
    try:
        runner.Prepare(Deadline.after(SECONDS))
        runner.Start()
        runner.WaitUntilRunning(Deadline.after(SECONDS))
    except BaseException:
        runner.Stop()
        raise
    return runner


def answered(runner: KubernetesRunner) -> None:
    with TensorFlowServingClient(runner.GetEndpoint(), "m", 1) as client:
        client.WaitUntilModelLoaded(Deadline.after(SECONDS), runner.Observe, runner.news)


def failure(runner: KubernetesRunner) -> Any:
    return failure_of(
        wait_until(lambda: seen if (seen := runner.Observe()).life is Life.GONE else None, Deadline.after(SECONDS))
    )


def test_a_pod_deleted_by_somebody_else_is_aborted(cluster: Cluster) -> None:
    runner = running(cluster)
    try:
        answered(runner)
        delete_pod(cluster.api, cluster.namespace, runner.pod_name, "", 1, Deadline.after(60))
        assert failure(runner).reason is ReasonCode.JOB_ABORTED
    finally:
        runner.Stop()


def test_the_pods_own_deadline_aborts_it(cluster: Cluster) -> None:
    runner = running(cluster, active_deadline_seconds=20)
    try:
        seen = failure(runner)
        assert seen.reason is ReasonCode.JOB_ABORTED
        assert "DeadlineExceeded" in seen.detail
    finally:
        runner.Stop()


def test_a_server_without_memory_is_told_from_a_crash(cluster: Cluster) -> None:
    limits = {"serving_pod_overrides": {"resources": {"limits": {"memory": "24Mi"}}}}
    runner = cluster.runner(**limits, model={"upload": {"image": cluster.image}})
    try:
        runner.Prepare(Deadline.after(SECONDS))
        runner.Start()
        assert failure(runner).reason is ReasonCode.SERVER_OUT_OF_MEMORY
    finally:
        runner.Stop()


def test_a_quota_without_room(cluster: Cluster) -> None:
    path = f"/api/v1/namespaces/{cluster.namespace}/resourcequotas"
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    cluster.call("POST", path, quota)
    try:
        wait_until(lambda: cluster.call("GET", f"{path}/none").get("status", {}).get("hard"), Deadline.after(60))
        assert cluster.refusal().reason is ReasonCode.QUOTA_EXCEEDED
    finally:
        cluster.call("DELETE", f"{path}/none")


def test_the_role_that_is_printed_is_enough_and_no_less_is(cluster: Cluster, tmp_path: pathlib.Path) -> None:
    namespace = f"/api/v1/namespaces/{cluster.namespace}"
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{cluster.namespace}"
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "validator"}}
    cluster.call("POST", f"{namespace}/serviceaccounts", account)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    token = cluster.call("POST", f"{namespace}/serviceaccounts/validator/token", request)["status"]["token"]
    (tmp_path / "token").write_text(token)
    server = {"url": cluster.api.url, "token_file": str(tmp_path / "token"), **_authority(cluster, tmp_path)}
    refused = cluster.refusal(api_server=server)
    assert refused.reason is ReasonCode.KUBERNETES_FORBIDDEN
    rights = rights_for(uploads=True, forwards=True)
    cluster.call("POST", f"{rbac}/roles", role(cluster.namespace, rights))
    cluster.call("POST", f"{rbac}/rolebindings", role_binding(cluster.namespace, "validator"))
    runner = running(cluster, api_server=server)
    try:
        answered(runner)
    finally:
        runner.Stop()
    assert runner.stop_problems == []


def _authority(cluster: Cluster, directory: pathlib.Path) -> Json:
    """The certificate authority of the kubeconfig, in a file; none for plain HTTP."""
    configuration = cluster.api.access.configuration
    if configuration.ssl_ca_cert:
        return {"ca_file": configuration.ssl_ca_cert}
    data = getattr(configuration, "ca_cert_data", None)
    if data:
        text = data if isinstance(data, str) else base64.b64decode(data).decode()
        (directory / "ca.crt").write_text(text)
        return {"ca_file": str(directory / "ca.crt")}
    return {"insecure_skip_tls_verify": True} if cluster.api.url.startswith("https") else {}


_VALIDATOR = """
import sys, time
from infra_validator.core.deadline import Deadline
from infra_validator.model_server_runners.kubernetes.runner import KubernetesRunner
from infra_validator.serving_binaries.tensorflow_serving import binaries_of
from infra_validator.specs import ServingSpec
spec = ServingSpec.of(sys.argv[1])
(binary,) = binaries_of(spec)
runner = KubernetesRunner(sys.argv[2], binary, spec)
runner.Prepare(Deadline.after(300))
print("running", flush=True)
time.sleep(600)
"""


def test_the_pod_of_a_killed_validator_is_deleted(cluster: Cluster) -> None:
    command = [sys.executable, "-c", _VALIDATOR, json.dumps(cluster.spec()), str(cluster.model)]
    root = pathlib.Path(__file__).parents[2]
    with subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(root)}
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"running\n"
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: None if cluster.our_pods() else True, Deadline.after(120), longest_pause=1.0)


def test_what_is_left_is_collected_when_its_time_is_over(cluster: Cluster) -> None:
    runner = running(cluster)
    try:
        assert collect_garbage(KubernetesConfig(namespace=cluster.namespace), remove=False) == []
        future = _Later(time.time() + 10 * 365 * 24 * 3600)
        (removed,) = collect_garbage(KubernetesConfig(namespace=cluster.namespace), clock=future)
        assert (removed.name, removed.problem) == (runner.pod_name, "")
    finally:
        runner.Stop()


class _Later(Clock):
    """A clock whose UTC time is far ahead."""

    def __init__(self, utc: float) -> None:
        self._utc = utc

    def utc(self) -> float:
        return self._utc
