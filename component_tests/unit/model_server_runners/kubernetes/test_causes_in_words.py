"""What is said of a pod, and what of it decides: the words that are final, init containers, the look at the model, the node."""

from __future__ import annotations

from typing import Any

import pytest

from component_tests.unit.model_server_runners.kubernetes.test_causes import (
    CREATING,
    IMAGE,
    RUNNING,
    Json,
    Time,
    condition,
    container,
    deleted,
    ended,
    event,
    pod,
    waiting,
    with_init,
)
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.states import Life, Observation
from infra_validator.model_server_runners.kubernetes import causes
from infra_validator.model_server_runners.kubernetes.causes import Judge, container_status, is_running, why_not_ready
from infra_validator.specs import KubernetesConfig


def seen(given: Any, events: Any = ()) -> Observation:
    return Judge(KubernetesConfig(), Time()).judge(given, events)


def when_given_up(given: Json, events: tuple[Json, ...] = ()) -> Observation:
    """What is said after every grace."""
    time = Time()
    judge = Judge(KubernetesConfig(), time)
    judge.judge(given, events)
    time.now = 1e6
    return judge.judge(given, events)


@pytest.mark.parametrize(
    "words",
    ["not found", "manifest unknown", "does not exist", "denied", "unauthorized", "forbidden", "of Never", "InvalidImageName"],
)  # fmt: skip
def test_a_pull_that_the_registry_refuses_for_good_is_not_tried_again(words: str) -> None:
    assert when_given_up(pod(waiting("ErrImagePull", f"a/b: {words}"))).heals is False


@pytest.mark.parametrize("words", ["secret not found", "path does not exist", "it is not a directory"])
def test_a_mount_of_what_is_not_there_is_not_tried_again(words: str) -> None:
    assert when_given_up(pod(CREATING), (event("FailedMount", words),)).heals is False


def test_a_trouble_is_told_with_its_container_its_image_and_how_long_it_lasted() -> None:
    told = f"container model-server, image {IMAGE}"
    assert seen(pod(waiting("InvalidImageName", "No  Image\n"))).detail == f"InvalidImageName: No Image, {told}"
    assert when_given_up(pod(waiting("ErrImagePull"))).detail == (
        f"ErrImagePull, {told} (for 30 s, kubernetes.pull_grace_seconds)"
    )


def test_the_registrys_words_are_repeated_only_where_a_back_off_lacks_them() -> None:
    judge = Judge(KubernetesConfig(), Time())
    failed = judge.judge(pod(waiting("ErrImagePull", "503"))).detail
    backing_off, other = pod(waiting("ImagePullBackOff", "Back-off")), pod(waiting("RegistryUnavailable", "502"))
    first = judge.judge(backing_off).detail
    assert first == f"ImagePullBackOff: Back-off, container model-server, image {IMAGE}; before: {failed}"
    assert "before" not in judge.judge(other).detail
    assert "before" not in judge.judge(pod(waiting("ImagePullBackOff", f"Back-off: {failed}"))).detail
    assert "before" not in seen(backing_off).detail


def test_only_warnings_tell_why_a_pod_does_not_start() -> None:
    failed = event("FailedMount", "no such secret")
    assert seen(pod(CREATING), [failed]).reason is ReasonCode.VOLUME_NOT_MOUNTED
    assert seen(pod(CREATING), [failed | {"type": "Normal"}]).reason is None


@pytest.mark.parametrize("last", [None, "Error", "StartError", causes.UNKNOWN_END])
def test_a_server_that_ran_and_waits_to_be_restarted_has_run(last: str | None) -> None:
    given = deleted(CREATING)
    if last:
        given["status"]["containerStatuses"][0]["lastState"] = ended(last, 1)
    assert seen(given).reason is (ReasonCode.JOB_ABORTED if last == "Error" else ReasonCode.POD_LOST)


def test_the_servers_end_is_told_by_its_signal_or_its_exit_code() -> None:
    told = seen(pod(ended("Error", 1, signal=11), "Failed"))
    assert (told.reason, told.detail, told.fingerprint) == (
        ReasonCode.SERVER_KILLED,
        "signal SIGSEGV",
        "signal SIGSEGV",
    )
    told = seen(pod({"terminated": {"reason": "Completed"}}, "Succeeded"))
    assert (told.reason, told.detail, told.fingerprint) == (ReasonCode.SERVER_EXITED, "exit code 0", "exit code 0")


def with_inits(*containers: tuple[str, Json, Json]) -> Json:
    """A pod with init containers: name, state, what its spec says beyond that."""
    given = pod(CREATING, initContainerStatuses=[container(state, name) for name, state, _ in containers])
    given["spec"]["initContainers"] = [{"name": name, "image": IMAGE, **spec} for name, _, spec in containers]
    return given


def test_a_sidecar_that_is_restarted_has_not_failed() -> None:
    sidecar = ("proxy", ended("Error", 1), {"restartPolicy": "Always"})
    assert seen(with_inits(sidecar)).life is Life.PENDING
    told = seen(with_inits(sidecar, ("done", ended("Completed", 0), {}), ("warm", ended("Error", 2), {})))
    assert told.reason is ReasonCode.CONTAINER_NOT_STARTED
    assert told.detail == "The init container warm failed with exit code 2: Error"


def test_a_pod_that_failed_with_an_init_container_is_told_by_it() -> None:
    given = with_init("model-fetch", ended("Error", 7, "no such bucket"))
    given["status"]["phase"] = "Failed"
    assert seen(given).reason is ReasonCode.MODEL_NOT_DELIVERED


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        (66, ReasonCode.MODEL_NOT_FOUND, "/models/m is not there."),
        (77, ReasonCode.MODEL_NOT_READABLE, "/models/m is not there."),
        (
            127,
            ReasonCode.CONTAINER_NOT_STARTED,
            "The init container model-look, which looks whether the model can be read, failed with exit code 127:"
            " Error: /models/m is not there. For an image without sh and find set kubernetes.look_before_start to false.",
        ),
    ],
)
def test_the_look_at_the_model_before_the_start(code: int, reason: ReasonCode, words: str) -> None:
    told = seen(with_init("model-look", ended("Error", code, "looking\n /models/m is not there \n\n")))
    assert (told.life, told.reason, told.detail) == (Life.GONE, reason, words)


def node(*conditions: Json) -> Json:
    return {"metadata": {"name": "node-1"}, "status": {"conditions": list(conditions)}}


def test_why_a_node_is_not_ready() -> None:
    pressure = condition("MemoryPressure", "False", "KubeletHasSufficientMemory")
    assert why_not_ready(node(pressure, condition("Ready", "True", "KubeletReady"))) == ""
    assert why_not_ready(node(pressure)) == ""
    assert why_not_ready({}) == ""
    silent = condition("Ready", "Unknown", "NodeStatusUnknown") | {"message": "Kubelet stopped posting node status."}
    assert why_not_ready(node(pressure, silent)) == (
        "The node node-1 is not ready: NodeStatusUnknown: Kubelet stopped posting node status."
    )
    strange: Any = {"status": {"conditions": [3, {"type": "Ready", "status": "False", "reason": ["x"]}]}}
    assert why_not_ready(strange) == "The node ? is not ready: None"


def test_whether_a_container_runs_now() -> None:
    assert is_running(pod(RUNNING, "Running"), "model-server") is True
    assert is_running(with_init("model-upload", RUNNING), "model-upload") is True
    assert is_running(with_init("model-upload", RUNNING), "model-server") is False
    assert is_running({}, "model-server") is False


def test_a_pod_on_its_way_is_told_container_by_container() -> None:
    given = with_inits(("done", ended("Completed", 0), {}), ("fetch", RUNNING, {}))
    assert seen(given).detail == "pod infra-validator-1 is Pending (fetch: starting; model-server: ContainerCreating)"
    assert seen({"metadata": {"name": "p"}}).detail == "pod p is new (no node yet)"


def test_a_pod_of_another_form_tells_nothing() -> None:
    strange: Any = {"status": {"conditions": [None], "containerStatuses": [{"name": "model-server", "state": "x"}]}}
    assert seen(strange, [3, {"reason": ["FailedMount"]}]).life is Life.PENDING
    assert container_status(strange, "model-server") == {"name": "model-server"}
