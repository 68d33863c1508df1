"""Every cause for which a pod fails, brought about in the fake cluster: its reason code, whom it blames, and the cluster's own words."""

from __future__ import annotations

import pathlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from component_tests.component.kubernetes.jobs import SECONDS, Jobs, jobs_in
from component_tests.fakes.kubernetes_api import FakeCluster, Fault, Image, Refused
from component_tests.fakes.kubernetes_pods import SERVER, MisbehavingImagePlanner, misbehaving_image
from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed, InfrastructureError, JobAborted
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.states import Life
from infra_validator.model_server_runners.base_runner import failure_of
from infra_validator.model_server_runners.kubernetes.causes import container_status

Break = Callable[[FakeCluster, str], Any]


@pytest.fixture
def jobs(tmp_path: pathlib.Path) -> Iterator[Jobs]:
    yield from jobs_in(tmp_path)


def no_image(image: str, policy: str = "") -> dict[str, Any]:
    return {"planner": MisbehavingImagePlanner(image=image), "image_pull_policy": policy, "pull_grace_seconds": 0.3}


def secret(name: str, key: str) -> dict[str, Any]:
    reference = {"name": "A", "value_from": {"secret_key_ref": {"name": name, "key": key}}}
    return {"serving_pod_overrides": {"env": [reference]}}


#: name -> (the spec's part, reason code, a part of the cluster's words): the server's process never ran.
NEVER_RAN: dict[str, tuple[dict[str, Any], ReasonCode, str]] = {
    "ErrImagePull, then ImagePullBackOff": (no_image("nobody/has:1"), ReasonCode.POD_IMAGE_NOT_PULLED, "nobody/has:1"),
    "ErrImageNeverPull": (no_image("nobody/has:1", "Never"), ReasonCode.POD_IMAGE_NOT_PULLED, "ErrImageNeverPull"),
    "InvalidImageName": (no_image("No Image::1"), ReasonCode.POD_IMAGE_NOT_PULLED, "InvalidImageName"),
    "CreateContainerConfigError, no secret": (
        secret("gone", "k"),
        ReasonCode.CONTAINER_NOT_STARTED,
        'CreateContainerConfigError: secret "gone" not found',
    ),
    "CreateContainerConfigError, no key": (
        secret("there", "gone"),
        ReasonCode.CONTAINER_NOT_STARTED,
        "couldn't find key",
    ),
    "StartError": (
        {"planner": MisbehavingImagePlanner(command=("/usr/bin/nothing",))},
        ReasonCode.CONTAINER_NOT_STARTED,
        "StartError",
    ),
    "FailedMount": (
        {
            "volumes": [{"name": "v", "secret": {"secretName": "gone"}}],
            "volume_mounts": [{"name": "v", "mountPath": "/v"}],
            "mount_grace_seconds": 0.2,
        },
        ReasonCode.VOLUME_NOT_MOUNTED,
        'FailedMount: MountVolume.SetUp failed for volume "v" : secret "gone" not found',
    ),
    "init container failed": (
        {
            "model": {"fetch": {"image": "fetcher", "command": ["sh", "-c", "echo no such bucket >&2; exit 7"]}},
        },
        ReasonCode.MODEL_NOT_DELIVERED,
        "exit code 7: Error: no such bucket",
    ),
}


@pytest.mark.parametrize("cause", NEVER_RAN)
def test_a_server_that_never_ran_blames_the_infrastructure(jobs: Jobs, cause: str) -> None:
    spec, reason, words = NEVER_RAN[cause]
    jobs.cluster.images["fetcher"] = Image({"sh": ("/bin/sh",)})
    jobs.cluster.secrets["default", "there"] = {"other": "x"}
    failure = jobs.refusal(**spec)
    assert failure.reason is reason
    assert words in failure.detail
    assert not isinstance(failure, AttemptFailed)


def test_run_as_non_root_without_a_number_is_told_by_the_node(jobs: Jobs) -> None:
    template = {"spec": {"securityContext": {"runAsUser": None}}}
    failure = jobs.refusal(pod_template=template)
    assert failure.reason is ReasonCode.CONTAINER_NOT_STARTED
    assert "image will run as root" in failure.detail


def test_unschedulable_after_its_grace(jobs: Jobs) -> None:
    jobs.cluster.unschedulable = "0/3 nodes are available: 3 Insufficient memory."
    failure = jobs.refusal(unschedulable_grace_seconds=0.2)
    assert failure.reason is ReasonCode.POD_UNSCHEDULABLE
    assert "3 Insufficient memory" in failure.detail


def test_a_node_that_comes_within_the_grace_is_in_time(jobs: Jobs) -> None:
    jobs.cluster.unschedulable = "0/3 nodes are available: 3 Insufficient memory."
    runner = jobs.started(unschedulable_grace_seconds=60)
    jobs.cluster.wait_for(lambda: jobs.cluster.pods()[0]["status"]["conditions"])
    assert runner.Observe().life is Life.PENDING
    jobs.cluster.unschedulable = ""
    assert runner.WaitUntilRunning(Deadline.after(SECONDS)) is True


def test_an_image_that_comes_within_the_grace_is_in_time(jobs: Jobs) -> None:
    runner = jobs.started(planner=MisbehavingImagePlanner(image="late:1"), pull_grace_seconds=60)
    jobs.cluster.wait_for(lambda: "ImagePullBackOff" in str(jobs.cluster.pods()))
    jobs.cluster.images["late:1"] = misbehaving_image("good")
    assert runner.WaitUntilRunning(Deadline.after(SECONDS)) is True


def test_a_pod_that_never_starts_ends_with_the_start_limit_and_its_trouble(jobs: Jobs) -> None:
    failure = jobs.refusal(planner=MisbehavingImagePlanner(image="late:1"), start_timeout_seconds=0.5)
    assert failure.reason is ReasonCode.POD_IMAGE_NOT_PULLED
    assert "start_timeout_seconds" in failure.detail


def refuse(code: int, words: str) -> Callable[[dict[str, Any]], None]:
    def webhook(pod: dict[str, Any]) -> None:
        raise Refused(code, "Forbidden", words)

    return webhook


#: name -> (what is done to the cluster before, reason code, a part of the words): the pod was not created.
REFUSED: dict[str, tuple[Callable[[FakeCluster], None], ReasonCode, str]] = {
    "quota exceeded": (lambda c: c.quotas.update(default=0), ReasonCode.QUOTA_EXCEEDED, "exceeded quota"),
    "admission denied": (
        lambda c: c.webhooks.append(refuse(403, 'admission webhook "policy.example.com" denied the request: no')),
        ReasonCode.POD_REFUSED,
        "policy.example.com",
    ),
    "no namespace": (lambda c: c.namespaces.clear(), ReasonCode.NAMESPACE_NOT_USABLE, 'namespaces "default" not found'),
    "namespace terminating": (
        lambda c: c.namespaces.update(default="Terminating"),
        ReasonCode.NAMESPACE_NOT_USABLE,
        "being terminated",
    ),
    "etcd has no leader for long": (
        lambda c: c.faults.append(Fault("POST", "/pods", times=1000)),
        ReasonCode.KUBERNETES_UNREACHABLE,
        "leader changed",
    ),
}


@pytest.mark.parametrize("cause", REFUSED)
def test_a_pod_that_is_refused_blames_the_infrastructure(jobs: Jobs, cause: str) -> None:
    do, reason, words = REFUSED[cause]
    do(jobs.cluster)
    with pytest.raises(InfrastructureError) as caught:
        jobs.runner().Prepare(Deadline.after(3))
    assert caught.value.reason is reason
    assert words in caught.value.detail
    assert jobs.cluster.pods() == []


#: name -> (what befalls the running pod, reason code, a part of the words).
RAN: dict[str, tuple[Break, ReasonCode, str]] = {
    "Evicted": (lambda c, pod: c.evict(pod), ReasonCode.JOB_ABORTED, "Evicted: The node was low on resource: memory."),
    "Preempting": (
        lambda c, pod: c.evict(pod, "Preempting", "for a critical pod"),
        ReasonCode.JOB_ABORTED,
        "Preempting",
    ),
    "node shut down": (
        lambda c, pod: c.evict(pod, "Terminated", "node shutdown"),
        ReasonCode.JOB_ABORTED,
        "node shutdown",
    ),
    "node lost": (lambda c, pod: c.lose_node(pod), ReasonCode.JOB_ABORTED, "ContainerStatusUnknown"),
    "taint": (lambda c, pod: c.disrupt(pod), ReasonCode.JOB_ABORTED, "DeletionByTaintManager"),
    "deleted by somebody else": (
        lambda c, pod: c.delete("default", pod),
        ReasonCode.JOB_ABORTED,
        "deleted by somebody else",
    ),
    "OOMKilled": (
        lambda c, pod: c.kill_container(pod, "model-server", signal.SIGKILL, "OOMKilled"),
        ReasonCode.SERVER_OUT_OF_MEMORY,
        "OOMKilled",
    ),
    "killed": (
        lambda c, pod: c.kill_container(pod, "model-server", signal.SIGABRT),
        ReasonCode.SERVER_KILLED,
        "signal SIGABRT",
    ),
}


@pytest.mark.parametrize("cause", RAN)
def test_a_server_that_ran_has_failed_or_was_aborted(jobs: Jobs, cause: str) -> None:
    do, reason, words = RAN[cause]
    runner = jobs.running("good")
    do(jobs.cluster, runner.pod_name)
    failure = jobs.failure(runner)
    assert failure.reason is reason
    assert words in failure.detail
    assert isinstance(failure, JobAborted if reason is ReasonCode.JOB_ABORTED else AttemptFailed)


def test_the_pods_own_deadline_aborts_it(jobs: Jobs) -> None:
    runner = jobs.started("good", active_deadline_seconds=1)
    failure = jobs.failure(runner)
    assert failure.reason is ReasonCode.JOB_ABORTED
    assert "DeadlineExceeded" in failure.detail


def test_an_end_that_nobody_saw_running_counts_against_the_model(jobs: Jobs) -> None:
    runner = jobs.started("exits_1")
    jobs.end(runner)
    with pytest.raises(AttemptFailed, match="exit code 1"):
        runner.WaitUntilRunning(Deadline.after(SECONDS))
    assert "the moon is full" in runner.GetLogs()


@pytest.mark.parametrize("how", ["deleted", "evicted"])
def test_a_pod_that_is_lost_before_its_server_ran_blames_the_infrastructure(jobs: Jobs, how: str) -> None:
    jobs.cluster.latencies.start = 30.0
    runner = jobs.started("good")
    name = runner.pod_name
    jobs.cluster.wait_for(lambda: jobs.cluster.pods()[0]["status"].get("containerStatuses"))
    if how == "deleted":
        jobs.cluster.delete("default", name)
    else:
        jobs.cluster.evict(name)
    failure = jobs.failure(runner)
    assert failure.reason is ReasonCode.POD_LOST
    assert not isinstance(failure, AttemptFailed)


@pytest.mark.parametrize("allowed", [True, False])
def test_a_node_that_is_lost_while_the_model_is_fetched_is_told_by_the_node_or_ends_with_the_start_limit(
    jobs: Jobs, tmp_path: pathlib.Path, allowed: bool
) -> None:
    """The pod's own status says nothing of it for minutes."""
    jobs.cluster.images["fetcher"] = Image({"sh": ("/bin/sh",)})
    if not allowed:
        jobs.cluster.faults.append(Fault("GET", "/nodes/", 403, 99, "nodes is forbidden", "Forbidden"))
    runner = jobs.runner(
        model={"fetch": {"image": "fetcher", "command": ["sh", "-c", "sleep 60"]}},
        start_timeout_seconds=SECONDS if allowed else 8.0,
    )
    runner.node_seconds = 1.0
    cut_off = threading.Thread(target=lambda: _cut_off(jobs.cluster))
    cut_off.start()
    with pytest.raises(InfrastructureError) as caught:
        runner.Prepare(Deadline.after(SECONDS))
    cut_off.join()
    jobs.cluster.node_is_silent = False
    if allowed:
        assert caught.value.reason is ReasonCode.POD_LOST
        assert "node-1 is not ready: NodeStatusUnknown: Kubelet stopped posting node status." in caught.value.detail
    else:
        assert "start_timeout_seconds" in caught.value.detail
        assert [path for _, path in jobs.cluster.requests if "/nodes/" in path] == ["/api/v1/nodes/node-1"]


def _cut_off(cluster: FakeCluster) -> None:
    cluster.wait_for(
        lambda: any("running" in str(pod["status"].get("initContainerStatuses")) for pod in cluster.pods())
    )
    cluster.silence_node()


def test_only_our_own_container_counts(jobs: Jobs) -> None:
    """A sidecar that a webhook brought may end; the server's life is what is asked for."""
    jobs.cluster.images["sidecar"] = Image({"sh": ("/bin/sh",)})
    jobs.cluster.webhooks.append(
        lambda pod: pod["spec"]["containers"].insert(
            0, {"name": "main", "image": "sidecar", "command": ["sh", "-c", "exit 1"]}
        )
    )
    runner = jobs.running("good")
    watcher = runner._watcher
    assert watcher is not None
    jobs.cluster.wait_for(lambda: "terminated" in container_status(watcher.pod, "main").get("state", {}))
    assert runner.Observe().life is Life.RUNNING
    assert "main is not valid" not in runner.GetLogs()


def test_a_crash_is_known_at_once_with_its_log(jobs: Jobs) -> None:
    runner = jobs.running("good")
    jobs.cluster.wait_for(lambda: "Running gRPC" in runner.GetLogs())
    jobs.cluster.kill_container(runner.pod_name, "model-server", signal.SIGSEGV)
    seen = jobs.end(runner)
    assert failure_of(seen).fingerprint == "signal SIGSEGV"
    assert "Running gRPC" in runner.GetLogs()


def test_the_log_of_a_failed_start_is_that_of_the_init_container_and_the_events(jobs: Jobs) -> None:
    jobs.cluster.images["fetcher"] = Image({"sh": ("/bin/sh",)})
    runner = jobs.runner(
        model={"fetch": {"image": "fetcher", "command": ["sh", "-c", "echo first; echo last >&2; exit 1"]}}
    )
    with pytest.raises(InfrastructureError):
        runner.Prepare(Deadline.after(SECONDS))
    assert "--- init container model-fetch\nfirst\nlast" in runner.GetLogs()
    assert SERVER not in runner.GetLogs()
