"""The table of causes, row by row: pods and events as an API server gives them, what they mean, and whom they blame."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from infra_validator.core.errors import AttemptFailed, InfrastructureError, JobAborted
from infra_validator.core.reason_codes import Blames, ReasonCode
from infra_validator.core.states import Life
from infra_validator.model_server_runners.base_runner import failure_of
from infra_validator.model_server_runners.kubernetes import causes
from infra_validator.model_server_runners.kubernetes.api.errors import RETRIED, ApiError, meaning_of
from infra_validator.model_server_runners.kubernetes.causes import SERVER_CONTAINER, Grace, Judge
from infra_validator.specs import KubernetesConfig

Json = dict[str, Any]

WHEN = "2026-03-01T10:00:00Z"
IMAGE = "tensorflow/serving:2.19.0"


class Time:
    """Monotonic seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def container(state: Json, name: str = SERVER_CONTAINER, **more: Any) -> Json:
    running = "running" in state
    return {
        "name": name,
        "image": IMAGE,
        "imageID": "",
        "ready": running,
        "started": running,
        "restartCount": 0,
        "state": state,
        "lastState": {},
        **more,
    }


def pod(state: Json, phase: str = "Pending", *, conditions: tuple[Json, ...] = (), **status: Any) -> Json:
    """A pod on a node whose server's container is in ``state``."""
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": WHEN}
    return {
        "metadata": {"name": "infra-validator-1", "namespace": "ml", "uid": "1", "resourceVersion": "7"},
        "spec": {"nodeName": "node-1", "containers": [{"name": SERVER_CONTAINER, "image": IMAGE}]},
        "status": {
            "phase": phase,
            "qosClass": "BestEffort",
            "conditions": [scheduled, *conditions],
            "containerStatuses": [container(state)],
            **status,
        },
    }


def waiting(reason: str, message: str = "") -> Json:
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def ended(reason: str, code: int, message: str = "", **more: Any) -> Json:
    end = {"reason": reason, "exitCode": code, "startedAt": WHEN, "finishedAt": WHEN, "containerID": "containerd://1"}
    return {"terminated": {**end, **({"message": message} if message else {}), **more}}


RUNNING: Json = {"running": {"startedAt": WHEN}}
CREATING = waiting("ContainerCreating")


@dataclasses.dataclass(frozen=True)
class Row:
    """One cause.

    Attributes:
      pod: the pod's last state.
      reason: the reason code it ends with.
      words: a part of what is said.
      grace: how long it may last.
      events: the events about the pod.
      ran: whether the server's process was seen running before.
    """

    pod: Json
    reason: ReasonCode
    words: str
    grace: Grace = Grace.NONE
    events: tuple[Json, ...] = ()
    ran: bool = False


#: reason of a waiting container -> the kubelet's own message for it, the code, the grace.
WAITING: dict[str, tuple[str, ReasonCode, Grace]] = {
    "ErrImagePull": (
        'failed to pull and unpack image "docker.io/tensorflow/serving:2.19.0": not found',
        ReasonCode.POD_IMAGE_NOT_PULLED,
        Grace.PULL,
    ),
    "ImagePullBackOff": (
        'Back-off pulling image "tensorflow/serving:2.19.0": ErrImagePull: not found',
        ReasonCode.POD_IMAGE_NOT_PULLED,
        Grace.PULL,
    ),
    "RegistryUnavailable": ("image pull failed: 503", ReasonCode.POD_IMAGE_NOT_PULLED, Grace.PULL),
    "ImageInspectError": (
        'Failed to inspect image "tensorflow/serving:2.19.0": rpc error: code = DeadlineExceeded',
        ReasonCode.POD_IMAGE_NOT_PULLED,
        Grace.PULL,
    ),
    "SignatureValidationFailed": ("signature validation failed", ReasonCode.POD_IMAGE_NOT_PULLED, Grace.NONE),
    "ErrImageNeverPull": (
        'Container image "tensorflow/serving:2.19.0" is not present with pull policy of Never',
        ReasonCode.POD_IMAGE_NOT_PULLED,
        Grace.NONE,
    ),
    "InvalidImageName": (
        'Failed to apply default image tag "No Image::1": couldn\'t parse image name',
        ReasonCode.POD_IMAGE_NOT_PULLED,
        Grace.NONE,
    ),
    "CreateContainerConfigError": ('secret "gone" not found', ReasonCode.CONTAINER_NOT_STARTED, Grace.NONE),
    "CreateContainerError": (
        "context deadline exceeded",
        ReasonCode.CONTAINER_NOT_STARTED,
        Grace.MOUNT,
    ),
    "RunContainerError": (
        "failed to create containerd task: failed to create shim task: OCI runtime create failed",
        ReasonCode.CONTAINER_NOT_STARTED,
        Grace.NONE,
    ),
    "PreCreateHookError": ("pre-create hook failed", ReasonCode.CONTAINER_NOT_STARTED, Grace.NONE),
    "PreStartHookError": ("pre-start hook failed", ReasonCode.CONTAINER_NOT_STARTED, Grace.NONE),
}

#: reason of an event -> its message, the code, the grace.
EVENTS: dict[str, tuple[str, ReasonCode, Grace]] = {
    "FailedMount": (
        'MountVolume.SetUp failed for volume "model" : secret "gone" not found',
        ReasonCode.VOLUME_NOT_MOUNTED,
        Grace.MOUNT,
    ),
    "FailedAttachVolume": (
        'Multi-Attach error for volume "pvc-1" Volume is already exclusively attached to one node',
        ReasonCode.VOLUME_NOT_MOUNTED,
        Grace.MOUNT,
    ),
    "FailedMapVolume": ('MapVolume.MapPodDevice failed for volume "pvc-1"', ReasonCode.VOLUME_NOT_MOUNTED, Grace.MOUNT),
    "FailedCreatePodSandBox": (
        'Failed to create pod sandbox: plugin type="calico" failed (add): error getting ClusterInformation',
        ReasonCode.CONTAINER_NOT_STARTED,
        Grace.MOUNT,
    ),
}

#: reason of a terminated container whose process never ran -> exit code, message.
NEVER_RAN: dict[str, tuple[int, str]] = {
    "StartError": (128, 'exec: "/usr/bin/nothing": stat /usr/bin/nothing: no such file or directory'),
    "ContainerCannotRun": (127, "OCI runtime create failed: executable file not found in $PATH"),
}

#: reason of a pod that its node refused -> message.
REFUSED_BY_NODE: dict[str, str] = {
    "NodeAffinity": "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
    "NodeSelectorMismatching": "Pod was rejected: Predicate MatchNodeSelector failed",
    "UnexpectedAdmissionError": "Pod was rejected: Allocate failed due to no healthy devices present: nvidia.com/gpu",
    "NodePorts": "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports",
}


def event(reason: str, message: str) -> Json:
    return {
        "kind": "Event",
        "type": "Warning",
        "reason": reason,
        "message": message,
        "involvedObject": {"kind": "Pod", "name": "infra-validator-1", "namespace": "ml", "uid": "1"},
        "source": {"component": "kubelet", "host": "node-1"},
        "firstTimestamp": WHEN,
        "lastTimestamp": WHEN,
        "count": 1,
    }


def condition(kind: str, status: str, reason: str = "") -> Json:
    return {"type": kind, "status": status, "lastTransitionTime": WHEN, **({"reason": reason} if reason else {})}


def failed_pod(reason: str, message: str, state: Json = CREATING) -> Json:
    return pod(state, "Failed", reason=reason, message=message)


def disrupted(reason: str, message: str) -> Json:
    target = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}
    return pod(RUNNING, "Running", conditions=(target,))


def unscheduled(message: str) -> Json:
    given = pod(CREATING)
    del given["spec"]["nodeName"]
    given["status"] = {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}],
    }
    return given


def deleted(state: Json) -> Json:
    given = pod(state, "Running" if state is RUNNING else "Pending")
    given["metadata"].update(deletionTimestamp=WHEN, deletionGracePeriodSeconds=30)
    return given


def with_init(name: str, state: Json) -> Json:
    given = pod(waiting("PodInitializing"), initContainerStatuses=[container(state, name)])
    given["spec"]["initContainers"] = [{"name": name, "image": IMAGE}]
    return given


#: What is no single entry of the tables in kubernetes_causes.py.
OTHER: dict[str, Row] = {
    "Unschedulable": Row(
        unscheduled("0/3 nodes are available: 3 Insufficient memory. preemption: not helpful"),
        ReasonCode.POD_UNSCHEDULABLE,
        "Unschedulable: 0/3 nodes are available: 3 Insufficient memory.",
        Grace.SCHEDULE,
    ),
    "CreateContainerConfigError, the node has not heard of the secret": Row(
        pod(waiting("CreateContainerConfigError", "failed to sync secret cache: timed out waiting for the condition")),
        ReasonCode.CONTAINER_NOT_STARTED,
        "failed to sync secret cache",
        Grace.MOUNT,
    ),
    "OutOfmemory on the node": Row(
        failed_pod("OutOfmemory", "Pod was rejected: Node didn't have enough resource: memory"),
        ReasonCode.POD_UNSCHEDULABLE,
        "Node didn't have enough resource: memory",
    ),
    "Evicted": Row(
        failed_pod("Evicted", "The node was low on resource: memory.", ended("Error", 137)),
        ReasonCode.JOB_ABORTED,
        "Evicted: The node was low on resource: memory.",
        ran=True,
    ),
    "Evicted before it ran": Row(
        failed_pod("Evicted", "Pod was rejected: The node had condition: [DiskPressure]."),
        ReasonCode.POD_LOST,
        "DiskPressure",
    ),
    "evicted by the API": Row(
        disrupted("EvictionByEvictionAPI", "Eviction API: evicting"),
        ReasonCode.JOB_ABORTED,
        "EvictionByEvictionAPI",
    ),
    "preempted": Row(
        disrupted("PreemptionByScheduler", "default-scheduler: preempting to accommodate a higher priority pod"),
        ReasonCode.JOB_ABORTED,
        "higher priority pod",
    ),
    "node lost, just now": Row(
        pod(RUNNING, "Running", conditions=(condition("ContainersReady", "True"), condition("Ready", "False"))),
        ReasonCode.JOB_ABORTED,
        "The node node-1 of pod infra-validator-1 does not report any more",
    ),
    "node lost, by its taint": Row(
        disrupted("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"),
        ReasonCode.JOB_ABORTED,
        "NoExecute taint",
    ),
    "node lost, by the pod's garbage collector": Row(
        disrupted("DeletionByPodGC", "PodGC: node no longer exists"), ReasonCode.JOB_ABORTED, "node no longer exists"
    ),
    "node lost with its container": Row(
        pod(ended(causes.UNKNOWN_END, 137, "The container could not be located when the pod was terminated"), "Failed"),
        ReasonCode.JOB_ABORTED,
        "could not be located",
        ran=True,
    ),
    "node shut down": Row(
        failed_pod("Terminated", "Pod was terminated in response to imminent node shutdown.", ended("Error", 143)),
        ReasonCode.JOB_ABORTED,
        "imminent node shutdown",
        ran=True,
    ),
    "DeadlineExceeded": Row(
        failed_pod(
            "DeadlineExceeded", "Pod was active on the node longer than the specified deadline", ended("Error", 143)
        ),
        ReasonCode.JOB_ABORTED,
        "longer than the specified deadline",
        ran=True,
    ),
    "DeadlineExceeded before it ran": Row(
        failed_pod("DeadlineExceeded", "Pod was active on the node longer than the specified deadline"),
        ReasonCode.POD_LOST,
        "DeadlineExceeded",
    ),
    "deleted": Row(deleted(RUNNING), ReasonCode.JOB_ABORTED, "deleted by somebody else"),
    "deleted before it ran": Row(deleted(CREATING), ReasonCode.POD_LOST, "deleted by somebody else"),
    "the model was not fetched": Row(
        with_init("model-fetch", ended("Error", 7, "connecting\nno such bucket\n")),
        ReasonCode.MODEL_NOT_DELIVERED,
        "exit code 7: Error: no such bucket",
    ),
    "the upload's container failed": Row(
        with_init("model-upload", ended("Error", 1, "No space left on device")),
        ReasonCode.MODEL_NOT_DELIVERED,
        "No space left on device",
    ),
    "an init container of the template failed": Row(
        with_init("warm", ended("Error", 2)), ReasonCode.CONTAINER_NOT_STARTED, "init container warm failed"
    ),
    "an init container's image is not there": Row(
        with_init("model-fetch", waiting("ErrImageNeverPull", "not present")),
        ReasonCode.POD_IMAGE_NOT_PULLED,
        "container model-fetch",
    ),
    "OOMKilled": Row(
        pod(ended("OOMKilled", 137), "Failed"), ReasonCode.SERVER_OUT_OF_MEMORY, "OOMKilled (exit code 137)", ran=True
    ),
    "a signal": Row(pod(ended("Error", 139), "Failed"), ReasonCode.SERVER_KILLED, "signal SIGSEGV", ran=True),
    "an exit code": Row(pod(ended("Error", 1), "Failed"), ReasonCode.SERVER_EXITED, "exit code 1"),
    "an exit code above 128 that is no signal": Row(
        pod(ended("Error", 255), "Failed"), ReasonCode.SERVER_EXITED, "exit code 255", ran=True
    ),
    "an end without an error": Row(
        pod(ended("Completed", 0), "Succeeded"), ReasonCode.SERVER_EXITED, "exit code 0", ran=True
    ),
    "a failed pod that tells nothing": Row(pod(CREATING, "Failed"), ReasonCode.POD_LOST, "phase Failed"),
}

ROWS: dict[str, Row] = {
    **{name: Row(pod(waiting(name, said)), code, said, grace) for name, (said, code, grace) in WAITING.items()},
    **{
        name: Row(pod(CREATING), code, said, grace, events=(event("Scheduled", "ok"), event(name, said)))
        for name, (said, code, grace) in EVENTS.items()
    },
    **{
        name: Row(pod(ended(name, code, said), "Failed"), ReasonCode.CONTAINER_NOT_STARTED, said)
        for name, (code, said) in NEVER_RAN.items()
    },
    **{name: Row(failed_pod(name, said), ReasonCode.POD_UNSCHEDULABLE, said) for name, said in REFUSED_BY_NODE.items()},
    **OTHER,
}

GRACES = {
    Grace.NONE: 0.0,
    Grace.PULL: KubernetesConfig().pull_grace_seconds,
    Grace.SCHEDULE: KubernetesConfig().unschedulable_grace_seconds,
    Grace.MOUNT: KubernetesConfig().mount_grace_seconds,
}

#: The line between the model's fault, an end that the platform brought about (tried again), and all the rest: it never ran.
KINDS: dict[ReasonCode, type[Exception]] = {
    ReasonCode.SERVER_EXITED: AttemptFailed,
    ReasonCode.SERVER_KILLED: AttemptFailed,
    ReasonCode.SERVER_OUT_OF_MEMORY: AttemptFailed,
    ReasonCode.JOB_ABORTED: JobAborted,
}


@pytest.mark.parametrize(
    ("table", "cases"),
    [
        (causes.WAITING, WAITING),
        (causes.EVENTS, EVENTS),
        (causes.NEVER_RAN, NEVER_RAN),
        (causes.REFUSED_BY_NODE, REFUSED_BY_NODE),
    ],
    ids=["WAITING", "EVENTS", "NEVER_RAN", "REFUSED_BY_NODE"],
)
def test_every_row_of_the_tables_has_a_case(table: Any, cases: Any) -> None:
    assert set(cases) == set(table)


def test_every_grace_has_a_length() -> None:
    assert set(GRACES) == set(Grace)
    assert all(seconds > 0 for grace, seconds in GRACES.items() if grace is not Grace.NONE)


@pytest.mark.parametrize("cause", ROWS)
def test_a_cause_ends_the_wait_after_its_grace_and_blames_whom_it_should(cause: str) -> None:
    row = ROWS[cause]
    time = Time()
    judge = Judge(KubernetesConfig(), time)
    if row.ran:
        assert judge.judge(pod(RUNNING, "Running")).life is Life.RUNNING
    grace = GRACES[row.grace]
    if grace:
        for at in (0.0, grace - 0.1):
            time.now = at
            seen = judge.judge(row.pod, row.events)
            assert (seen.life, seen.reason) == (Life.PENDING, row.reason)
            assert row.words in seen.detail
        time.now = grace
    seen = judge.judge(row.pod, row.events)
    assert (seen.life, seen.reason) == (Life.GONE, row.reason)
    assert row.words in seen.detail
    assert row.grace.value in seen.detail
    assert type(failure_of(seen)) is KINDS.get(row.reason, InfrastructureError)


@pytest.mark.parametrize("cause", [name for name, row in ROWS.items() if row.grace is not Grace.NONE])
def test_a_trouble_that_passes_begins_its_grace_anew(cause: str) -> None:
    row = ROWS[cause]
    time = Time()
    judge = Judge(KubernetesConfig(), time)
    judge.judge(row.pod, row.events)
    time.now = GRACES[row.grace]
    assert judge.judge(pod(CREATING)).life is Life.PENDING
    assert judge.judge(row.pod, row.events).life is Life.PENDING


@pytest.mark.parametrize(
    "given",
    [
        pod(CREATING),
        pod(waiting("PodInitializing")),
        with_init("model-fetch", RUNNING),
        with_init("model-fetch", ended("Completed", 0)),
        {"metadata": {"name": "p"}, "spec": {}, "status": {"phase": "Pending"}},
        {"metadata": {"name": "p"}, "spec": {}},
    ],
    ids=["creating", "initializing", "fetching", "fetched", "new", "no status"],
)
def test_a_pod_on_its_way_is_no_trouble(given: Json) -> None:
    seen = Judge(KubernetesConfig(), Time()).judge(given, [event("BackOff", "of something else")])
    assert (seen.life, seen.reason) == (Life.PENDING, None)


@pytest.mark.parametrize(
    "conditions",
    [
        (condition("ContainersReady", "True"), condition("Ready", "True")),
        (condition("ContainersReady", "True"), condition("Ready", "False", "ReadinessGatesNotReady")),
        (
            condition("ContainersReady", "False", "ContainersNotReady"),
            condition("Ready", "False", "ContainersNotReady"),
        ),
    ],
    ids=["ready", "a readiness gate", "a sidecar is not ready"],
)
def test_a_server_that_runs_on_a_node_that_reports_runs(conditions: tuple[Json, ...]) -> None:
    seen = Judge(KubernetesConfig(), Time()).judge(pod(RUNNING, "Running", conditions=conditions))
    assert seen.life is Life.RUNNING


#: name -> (status, reason and message of the API server's refusal to create the pod, the code it means).
REFUSALS: dict[str, tuple[int, str, str, ReasonCode]] = {
    "quota exceeded": (
        403,
        "Forbidden",
        'pods "p" is forbidden: exceeded quota: team, requested: pods=1, used: pods=4, limited: pods=4',
        ReasonCode.QUOTA_EXCEEDED,
    ),
    "a webhook denies it": (
        403,
        "Forbidden",
        'admission webhook "policy.example.com" denied the request: no latest tags',
        ReasonCode.POD_REFUSED,
    ),
    "a policy denies it": (
        422,
        "Invalid",
        "pods \"p\" is forbidden: ValidatingAdmissionPolicy 'limits' with binding 'b' denied request: too large",
        ReasonCode.POD_REFUSED,
    ),
    "Pod Security": (
        403,
        "Forbidden",
        'pods "p" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true',
        ReasonCode.POD_REFUSED,
    ),
    "no right": (
        403,
        "Forbidden",
        'pods is forbidden: User "ci" cannot create resource "pods" in API group "" in the namespace "ml"',
        ReasonCode.KUBERNETES_FORBIDDEN,
    ),
    "no namespace": (404, "NotFound", 'namespaces "ml" not found', ReasonCode.NAMESPACE_NOT_USABLE),
    "namespace terminating": (
        403,
        "Forbidden",
        'pods "p" is forbidden: unable to create new content in namespace ml because it is being terminated',
        ReasonCode.NAMESPACE_NOT_USABLE,
    ),
    "no credentials": (401, "Unauthorized", "Unauthorized", ReasonCode.KUBERNETES_UNAUTHORIZED),
    "invalid": (
        422,
        "Invalid",
        'Pod "p" is invalid: spec.containers[0].image: Required value',
        ReasonCode.POD_REFUSED,
    ),
    "wrong type": (400, "BadRequest", "json: cannot unmarshal object into Go struct field", ReasonCode.POD_REFUSED),
    **{
        f"status {status}": (status, "InternalError", words, ReasonCode.KUBERNETES_UNREACHABLE)
        for status, words in RETRIED.items()
    },
}


@pytest.mark.parametrize("cause", REFUSALS)
def test_a_pod_that_is_not_created_blames_the_infrastructure(cause: str) -> None:
    status, reason, message, code = REFUSALS[cause]
    meaning = meaning_of(ApiError(status, reason, message, "create pods in ml"), role="kind: Role")
    assert meaning.reason is code
    assert code.blames is not Blames.MODEL
    assert message.rstrip(".") in meaning.detail
    assert ("kind: Role" in str(meaning)) is (code is ReasonCode.KUBERNETES_FORBIDDEN)


@pytest.mark.parametrize(
    ("words", "heals"),
    [
        ('failed to pull and unpack image "a/b:1": a/b:1: not found', False),
        ("pull access denied, repository does not exist or may require authorization", False),
        ("failed to do request: dial tcp: lookup registry: i/o timeout", None),
    ],
)
def test_only_a_pull_that_may_heal_is_tried_again_and_a_back_off_repeats_the_registrys_words(
    words: str, heals: bool | None
) -> None:
    now = Time()
    judge = Judge(KubernetesConfig(pull_grace_seconds=30.0), now)
    assert judge.judge(pod(waiting("ErrImagePull", words))).life is Life.PENDING
    now.now = 31.0
    seen = judge.judge(pod(waiting("ImagePullBackOff", 'Back-off pulling image "a/b:1"')))
    assert (seen.life, seen.reason, seen.heals) == (Life.GONE, ReasonCode.POD_IMAGE_NOT_PULLED, heals)
    assert words in seen.detail


@pytest.mark.parametrize(
    ("words", "heals"),
    [('MountVolume.SetUp failed for volume "v" : secret "gone" not found', False), ("the disk is busy", None)],
)
def test_only_a_mount_that_may_heal_is_tried_again(words: str, heals: bool | None) -> None:
    now = Time()
    judge = Judge(KubernetesConfig(mount_grace_seconds=45.0), now)
    event = {"type": "Warning", "reason": "FailedMount", "message": words}
    judge.judge(pod(CREATING), [event])
    now.now = 46.0
    seen = judge.judge(pod(CREATING), [event])
    assert (seen.reason, seen.heals) == (ReasonCode.VOLUME_NOT_MOUNTED, heals)
