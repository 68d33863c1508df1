"""The Kubernetes runner against the fake cluster: the model's ways into the pod, talking, watching, identity, rights, endings."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from component_tests.component.kubernetes.jobs import SECONDS, Jobs, jobs_in
from component_tests.fakes.kubernetes_api import Account, Claim, FakeCluster, Fault, Image
from component_tests.fakes.kubernetes_pods import (
    ROOT,
    SERVER,
    SHELL,
    TAG,
    MisbehavingImagePlanner,
    embedded_image,
    misbehaving_image,
)
from component_tests.fakes.saved_models import SavedModels
from infra_validator import validate
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.errors import InfrastructureError, JobAborted, SpecError
from infra_validator.core.reason_codes import Blames, ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.core.states import Life
from infra_validator.model_server_clients.base_client import JobGone
from infra_validator.model_server_clients.tensorflow_serving import TensorFlowServingClient
from infra_validator.model_server_runners.base_runner import failure_of
from infra_validator.model_server_runners.kubernetes.identity import Surroundings
from infra_validator.model_server_runners.kubernetes.leftovers import collect_garbage
from infra_validator.model_server_runners.kubernetes.rights import rights_for, role
from infra_validator.model_server_runners.kubernetes.runner import KubernetesRunner
from infra_validator.report.verdict import Verdict
from infra_validator.specs import KubernetesConfig

Json = dict[str, Any]


@pytest.fixture
def jobs(tmp_path: pathlib.Path) -> Iterator[Jobs]:
    yield from jobs_in(tmp_path)


def root_of(jobs: Jobs, runner: KubernetesRunner) -> pathlib.Path:
    """The file system that the server's container sees."""
    return jobs.cluster.process_of(runner.pod_name).containers["model-server"].root


def contents(directory: pathlib.Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def sees_the_model(jobs: Jobs, runner: KubernetesRunner) -> None:
    mount = root_of(jobs, runner) / "models" / "m" / "1"
    assert contents(mount.resolve()) == contents(jobs.model)


def answered(runner: KubernetesRunner) -> None:
    """The server answers over the runner's endpoint."""
    with TensorFlowServingClient(runner.GetEndpoint(), "m", 1) as client:
        client.WaitUntilModelLoaded(Deadline.after(SECONDS), runner.Observe, runner.news)


def our_pod(jobs: Jobs) -> Json:
    (pod,) = [pod for pod in jobs.cluster.pods() if "infra-validator.run" in (pod["metadata"].get("labels") or {})]
    return pod


# ------------------------------------------------------------------ the whole


@pytest.mark.parametrize(
    ("model", "verdict"), [("half_plus_two", Verdict.BLESSED), ("unknown_op", Verdict.NOT_BLESSED)]
)
def test_a_verdict_with_the_embedded_server_in_a_pod(
    saved_models: SavedModels, tmp_path: pathlib.Path, model: str, verdict: Verdict
) -> None:
    with FakeCluster(images={TAG: embedded_image()}) as cluster:
        cluster.pod_security["default"] = "restricted"
        spec = {"tensorflow_serving": {"tags": ["2.19.0"]}, "kubernetes": {"kubeconfig": cluster.kubeconfig(tmp_path)}}
        report = validate(str(saved_models.path(model)), spec)
        assert report.verdict is verdict
        if verdict is Verdict.NOT_BLESSED:
            assert report.finding.reason is ReasonCode.OP_NOT_REGISTERED
        cluster.wait_for(lambda: not cluster.pods())


# ------------------------------------------------------------------ the model


def test_upload_brings_every_byte(jobs: Jobs) -> None:
    (jobs.model / "assets").mkdir()
    (jobs.model / "assets" / "empty").write_bytes(b"")
    (jobs.model / "assets" / ("long" * 40)).write_bytes(os.urandom(3_000_001))
    (jobs.model / "linked").symlink_to(jobs.model / "saved_model.pb")
    runner = jobs.running(model={"upload": {}})
    mount = root_of(jobs, runner) / "models" / "m" / "1"
    assert contents(mount.resolve()) == contents(jobs.model)
    assert any("uploaded through the API server" in line for line in jobs.progress)
    assert any("the model is there" in line for line in jobs.progress)


def test_upload_is_what_a_laptop_does_unasked_and_says(jobs: Jobs) -> None:
    sees_the_model(jobs, jobs.running(model=None))
    assert any("uploaded through the API server" in line for line in jobs.progress)


def test_upload_works_with_the_older_exec_protocol(jobs: Jobs) -> None:
    jobs.cluster.minor = 29
    sees_the_model(jobs, jobs.running(model={"upload": {}}))


def test_upload_has_a_limit(jobs: Jobs) -> None:
    failure = jobs.refusal(model={"upload": {"max_size": "1k"}})
    assert failure.reason is ReasonCode.MODEL_NOT_DELIVERED
    assert "upload.max_size (1k)" in failure.detail
    assert not failure.heals
    assert jobs.cluster.pods() == []


def test_an_upload_that_the_pod_cannot_take_says_why(jobs: Jobs) -> None:
    shell = jobs.directory / "sh"
    shell.write_text('#!/bin/sh\ncase "$2" in *head*) echo no space left >&2; exit 2;; *) exec /bin/sh "$@";; esac\n')
    shell.chmod(0o755)
    jobs.cluster.images["full"] = Image({"sh": (str(shell),)})
    failure = jobs.refusal(model={"upload": {"image": "full"}})
    assert failure.reason is ReasonCode.MODEL_NOT_DELIVERED
    assert "exit status 2: no space left" in failure.detail


def test_an_upload_that_is_forbidden_brings_the_role(jobs: Jobs) -> None:
    words = 'pods "p" is forbidden: User "me" cannot create resource "pods/exec"'
    jobs.cluster.images["shell"] = Image(SHELL)
    jobs.cluster.faults.append(Fault("GET", "/exec", 403, 1, words, "Forbidden"))
    failure = jobs.refusal(model={"upload": {"image": "shell"}})
    assert failure.reason is ReasonCode.KUBERNETES_FORBIDDEN
    assert "pods/exec" in failure.next_step or "pods/exec" in failure.detail


def test_a_file_that_shrinks_while_it_is_sent(jobs: Jobs) -> None:
    runner = jobs.runner(model={"upload": {}})
    jobs.cluster.latencies.start = 0.5

    def shrink() -> None:
        jobs.cluster.wait_for(jobs.cluster.pods)
        (jobs.model / "saved_model.pb").write_bytes(b"x")

    thread = threading.Thread(target=shrink)
    thread.start()
    with pytest.raises(InfrastructureError, match="changed while it was copied"):
        runner.Prepare(Deadline.after(SECONDS))
    thread.join()


def test_a_link_that_leads_out_of_the_model_never_brings_anything_into_the_pod(jobs: Jobs) -> None:
    (jobs.model / "assets.extra").symlink_to("/etc")
    failure = jobs.refusal(model={"upload": {}})
    assert failure.reason is ReasonCode.MODEL_LINKS_OUTSIDE
    assert jobs.cluster.pods() == []


def test_a_claim_is_mounted_at_its_path(jobs: Jobs) -> None:
    (jobs.directory / "volume" / "runs").mkdir(parents=True)
    jobs.model.rename(jobs.directory / "volume" / "runs" / "model")
    jobs.model = jobs.directory / "volume" / "runs" / "model"
    jobs.cluster.claims["default", "artifacts"] = Claim(str(jobs.directory / "volume"))
    runner = jobs.running(model={"pvc": {"claim_name": "artifacts", "sub_path": "runs/model"}})
    sees_the_model(jobs, runner)
    (mount,) = [one for one in our_pod(jobs)["spec"]["containers"][0]["volumeMounts"] if one["name"] == "model"]
    assert mount == {"name": "model", "mountPath": "/models/m/1", "subPath": "runs/model", "readOnly": True}


def test_a_sub_path_that_is_not_there_is_said_and_not_made(jobs: Jobs) -> None:
    volume = jobs.directory / "volume"
    (volume / "runs").mkdir(parents=True)
    jobs.cluster.claims["default", "artifacts"] = Claim(str(volume))
    for sub_path, words in (
        ("runs/7", "there is no runs/7 on the claim artifacts"),
        ("runs", "runs on the claim artifacts is empty"),
    ):
        failure = jobs.refusal(model={"pvc": {"claim_name": "artifacts", "sub_path": sub_path}})
        assert failure.reason is ReasonCode.MODEL_NOT_FOUND
        assert failure.detail == f"{words}."
        assert not failure.heals
    assert sorted(volume.rglob("*")) == [volume / "runs"]


@pytest.mark.parametrize("unreadable", ["saved_model.pb", "variables", "."])
def test_files_that_the_server_cannot_read_are_named_with_the_user(jobs: Jobs, unreadable: str) -> None:
    """Root's alone, on the node's own file system; the container's user is another one."""
    shell = ("/bin/sh",) if os.getuid() else ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "/bin/sh")
    jobs.cluster.images["misbehaving/good"] = dataclasses.replace(
        misbehaving_image("good"), programs={**misbehaving_image("good").programs, "sh": shell}
    )
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        directory = pathlib.Path(name)
        directory.chmod(0o755)
        shutil.copytree(jobs.model, directory / "model")
        (directory / "model" / unreadable).chmod(0)
        failure = jobs.refusal(model={"host_path": {"path": str(directory / "model")}})
        (directory / "model" / unreadable).chmod(0o755)
    assert failure.reason is ReasonCode.MODEL_NOT_READABLE
    assert "cannot be read by user " in failure.detail
    assert f"{directory / 'model'} on the node" in failure.detail
    assert unreadable == "." or failure.detail.startswith(unreadable)


def test_an_image_without_a_shell_is_told_what_to_set(jobs: Jobs) -> None:
    program = misbehaving_image("good").programs[SERVER]
    jobs.cluster.images["bare"] = Image({SERVER: program}, env=misbehaving_image("good").env)
    planner = MisbehavingImagePlanner(image="bare")
    failure = jobs.refusal(planner=planner)
    assert failure.reason is ReasonCode.CONTAINER_NOT_STARTED
    assert "set kubernetes.look_before_start to false" in failure.detail
    answered(jobs.running(planner=planner, look_before_start=False))


@pytest.mark.parametrize("way", [{"upload": {}}, None], ids=["upload", "host path"])
def test_a_quota_of_compute_resources_is_kept_by_every_container(jobs: Jobs, way: Json | None) -> None:
    jobs.cluster.compute_quotas["default"] = ("requests.cpu", "limits.memory")
    more: dict[str, Any] = {"model": way} if way else {}
    failure = jobs.refusal(**more)
    assert failure.reason is ReasonCode.POD_REFUSED
    assert "must specify requests.cpu for: model-" in failure.detail
    resources = {"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}}
    answered(jobs.running(**more, serving_pod_overrides={"resources": resources}))


def test_a_claim_that_is_not_there_is_said_before_a_pod_is_made(jobs: Jobs) -> None:
    failure = jobs.refusal(model={"pvc": {"claim_name": "gone"}})
    assert failure.reason is ReasonCode.VOLUME_NOT_MOUNTED
    assert jobs.cluster.pods() == []


def neighbour(node: str, claim: str) -> Json:
    return {
        "metadata": {"name": "trainer", "namespace": "default"},
        "spec": {"nodeName": node, "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]},
        "status": {"phase": "Running"},
    }


@pytest.mark.parametrize(("node", "starts"), [("node-1", True), ("node-2", False)])
def test_a_claim_in_use_on_one_node_sends_the_pod_there(jobs: Jobs, node: str, starts: bool) -> None:
    jobs.cluster.claims["default", "rwo"] = Claim(str(jobs.model), ("ReadWriteOnce",))
    jobs.cluster.add_pod_object(neighbour(node, "rwo"))
    spec: Json = {"model": {"pvc": {"claim_name": "rwo"}}, "unschedulable_grace_seconds": 0.1}
    if starts:
        sees_the_model(jobs, jobs.running(**spec))
    else:
        assert jobs.refusal(**spec).reason is ReasonCode.POD_UNSCHEDULABLE
    assert any(f"in use by the pod trainer on the node {node}" in line for line in jobs.progress)


def test_a_claim_for_one_pod_only_is_refused(jobs: Jobs) -> None:
    jobs.cluster.claims["default", "rwop"] = Claim(str(jobs.model), ("ReadWriteOncePod",))
    jobs.cluster.add_pod_object(neighbour("node-1", "rwop"))
    failure = jobs.refusal(model={"pvc": {"claim_name": "rwop"}})
    assert failure.reason is ReasonCode.VOLUME_NOT_MOUNTED
    assert "trainer" in failure.detail


def test_a_remote_store_is_fetched_by_an_init_container_with_its_secret(jobs: Jobs) -> None:
    jobs.cluster.images["fetcher"] = Image({"sh": ("/bin/sh",)})
    jobs.cluster.secrets["default", "store"] = {"STORE_PASSWORD": "s3cret"}
    copy = f'test -n "$STORE_PASSWORD" && test "$0" = s3://bucket/m && cp -r {jobs.model}/. "$1"'
    fetch = {"image": "fetcher", "command": ["sh", "-c", copy, "${source}", "${target}"], "secret_name": "store"}
    runner = jobs.running(model={"fetch": fetch}, model_path="s3://bucket/m")
    sees_the_model(jobs, runner)
    assert "s3cret" not in json.dumps(our_pod(jobs))


def test_an_image_volume_for_oci(jobs: Jobs) -> None:
    jobs.cluster.images["models/taxi:1"] = Image(directory=str(jobs.model))
    sees_the_model(jobs, jobs.running(model=None, model_path="oci://models/taxi:1"))


@pytest.mark.parametrize(("minor", "words"), [(30, "unknown field"), (33, "no image volumes")])
def test_an_older_server_does_not_get_an_empty_model(jobs: Jobs, minor: int, words: str) -> None:
    jobs.cluster.images["models/taxi:1"] = Image(directory=str(jobs.model))
    jobs.cluster.minor, jobs.cluster.image_volumes = minor, False
    failure = jobs.refusal(model=None, model_path="oci://models/taxi:1")
    assert failure.reason is ReasonCode.POD_REFUSED
    assert words in failure.detail


def test_an_unknown_store_is_a_spec_error(jobs: Jobs) -> None:
    with pytest.raises(SpecError, match="hdfs://"):
        jobs.prepared(model=None, model_path="hdfs://name/m")


def test_files_of_the_launch_plan_are_in_the_pod(jobs: Jobs) -> None:
    runner = jobs.running(planner=MisbehavingImagePlanner(files={"models.config": "base: ${model_base_path}"}))
    assert (root_of(jobs, runner) / "etc/infra-validator/models.config").read_text() == "base: /models/m"


# ------------------------------------------------------------------ talking


def test_a_port_forward_and_its_broken_stream(jobs: Jobs) -> None:
    runner = jobs.running("late")
    answered(runner)
    jobs.cluster.faults.append(Fault("GET", "/portforward", status=0))
    for held in list(runner._forward._sockets):  # type: ignore[union-attr]
        with contextlib.suppress(OSError):
            held.shutdown(2)
    answered(runner)
    assert any("port-forward, since this is not a pod of the cluster" in line for line in jobs.progress)


def test_a_port_forward_that_is_forbidden_is_not_the_models_fault(jobs: Jobs) -> None:
    words = 'pods "p" is forbidden: User "me" cannot create resource "pods/portforward"'
    jobs.cluster.faults.append(Fault("GET", "/portforward", 403, 99, words, "Forbidden"))
    runner = jobs.running("good")
    with pytest.raises(JobGone) as caught:
        answered(runner)
    assert caught.value.seen.reason is ReasonCode.KUBERNETES_FORBIDDEN


@pytest.mark.parametrize(
    ("status", "words"),
    [(400, "pod does not exist"), (404, "not found"), (406, "406: Not Acceptable"), (422, "Invalid")],
)
def test_a_port_forward_that_is_refused_ends_the_wait_at_once(jobs: Jobs, status: int, words: str) -> None:
    jobs.cluster.faults.append(Fault("GET", "/portforward", status, 99, words, "Refused"))
    runner = jobs.running("good")
    with pytest.raises(JobGone) as caught:
        answered(runner)
    assert caught.value.seen.reason is ReasonCode.SERVER_NOT_REACHABLE
    assert words in caught.value.seen.detail
    assert caught.value.seen.heals is False
    assert failure_of(caught.value.seen).reason.blames is Blames.INFRASTRUCTURE


def test_a_port_forward_is_opened_anew_while_the_node_restarts(jobs: Jobs) -> None:
    runner = jobs.running("good")
    answered(runner)
    words = "error dialing backend: dial tcp 10.0.0.1:10250: connect: connection refused"
    faults = [Fault("GET", "/portforward", 500, 2, words), Fault("GET", "/portforward", 0, 1)]
    jobs.cluster.faults.extend(faults)
    forward = runner._forward
    assert forward is not None
    for held in list(forward._sockets):
        with contextlib.suppress(OSError):
            held.shutdown(2)
    answered(runner)
    assert [fault.times for fault in faults] == [0, 0]


def broken_forward(jobs: Jobs, runner: KubernetesRunner, faults: list[Fault]) -> None:
    """What a node or an API server that restarts does to a port-forward: its streams break, and cannot be had again at once."""
    jobs.cluster.faults.extend(faults)
    assert runner._forward is not None
    for held in list(runner._forward._sockets):
        with contextlib.suppress(OSError):
            held.shutdown(2)


def requests_with(break_it: Callable[[], None]) -> Iterator[SampleRequest]:
    for number in range(40):
        if number == 20:
            break_it()
        yield SampleRequest("/tensorflow.serving.PredictionService/Predict", "serving_default", b"", f"record {number}")


def test_requests_are_answered_though_the_port_forward_breaks_in_the_middle(jobs: Jobs) -> None:
    runner = jobs.running("good", endpoint="port_forward")
    faults = [Fault("GET", "/portforward", 500, 2, "error dialing backend"), Fault("GET", "/portforward", 0, 1)]
    with TensorFlowServingClient(runner.GetEndpoint(), "m", 1) as client:
        client.WaitUntilModelLoaded(Deadline.after(SECONDS), runner.Observe, runner.news)
        requests = requests_with(lambda: broken_forward(jobs, runner, faults))
        assert client.SendRequests(requests, Deadline.after(60), runner.Observe) == 40
    assert [fault.times for fault in faults] == [0, 0]


def test_a_port_forward_that_does_not_come_back_is_not_the_models_fault(jobs: Jobs) -> None:
    runner = jobs.running("good", endpoint="port_forward")
    fault = Fault("GET", "/portforward", 500, 1_000_000, "error dialing backend")
    with TensorFlowServingClient(runner.GetEndpoint(), "m", 1) as client:
        client.WaitUntilModelLoaded(Deadline.after(SECONDS), runner.Observe, runner.news)
        assert runner._forward is not None
        runner._forward._patience_seconds = 1.0
        requests = requests_with(lambda: broken_forward(jobs, runner, [fault]))
        with pytest.raises((JobGone, InfrastructureError)) as caught:
            client.SendRequests(requests, Deadline.after(60), runner.Observe)
    failure = failure_of(caught.value.seen) if isinstance(caught.value, JobGone) else caught.value
    assert isinstance(failure, InfrastructureError)
    assert failure.reason in (ReasonCode.SERVER_NOT_REACHABLE, ReasonCode.CONNECTION_LOST)
    fault.times = 0


def test_who_waits_for_a_closed_port_hears_of_the_pods_end_at_once(jobs: Jobs) -> None:
    """A status call that is under way does not have to run into its own limit."""
    runner = jobs.running("late", endpoint="port_forward")
    host, _, port = runner.GetEndpoint().rpartition(":")
    with socket.create_connection((host, int(port)), timeout=SECONDS) as waiting:
        jobs.cluster.kill_container(runner.pod_name, "model-server", signal.SIGSEGV)
        assert waiting.recv(1) == b""
    assert jobs.failure(runner).reason is ReasonCode.SERVER_KILLED


def test_an_upload_that_is_refused_did_not_deliver_the_model(jobs: Jobs) -> None:
    jobs.cluster.faults.append(Fault("GET", "/exec", 406, 99, "406: Not Acceptable", "NotAcceptable"))
    failure = jobs.refusal(model={"upload": {}})
    assert failure.reason is ReasonCode.MODEL_NOT_DELIVERED
    assert "406" in failure.detail
    assert not failure.heals


def test_an_address_that_does_not_answer_is_not_the_models_fault(jobs: Jobs) -> None:
    runner = jobs.running(endpoint="pod_ip")
    pod = dict(our_pod(jobs))
    pod["status"]["podIP"] = "255.255.255.255"  # TCP never gets there
    runner._watcher.close()  # type: ignore[union-attr]
    runner._watcher.pod = pod  # type: ignore[union-attr]
    with pytest.raises(InfrastructureError) as caught:
        runner.GetEndpoint()
    assert caught.value.reason is ReasonCode.SERVER_NOT_REACHABLE


def test_the_pods_address_when_it_is_forced(jobs: Jobs) -> None:
    runner = jobs.running(endpoint="pod_ip")
    assert runner.GetEndpoint() == f"{our_pod(jobs)['status']['podIP']}:28500"
    answered(runner)
    assert not [path for _, path in jobs.cluster.requests if "portforward" in path]


def test_ports_that_a_webhook_changed_are_read_again(jobs: Jobs) -> None:
    def other_port(pod: Json) -> None:
        container = pod["spec"]["containers"][0]
        container["ports"][0]["containerPort"] = 28600
        container["args"] = ["--port=28600"]

    jobs.cluster.webhooks.append(other_port)
    runner = jobs.running(endpoint="pod_ip")
    assert runner.GetEndpoint().endswith(":28600")
    answered(runner)


def test_labels_that_a_webhook_removes_are_said(jobs: Jobs) -> None:
    jobs.cluster.webhooks.append(lambda pod: pod["metadata"]["labels"].pop("infra-validator.owner"))
    failure = jobs.refusal()
    assert failure.reason is ReasonCode.POD_REFUSED
    assert "the label infra-validator.owner is None" in failure.detail


# ------------------------------------------------------------------ watching


def test_a_watch_survives_breaks_and_too_old_versions(jobs: Jobs) -> None:
    jobs.cluster.break_watch_after.extend([0, 1, 0])
    runner = jobs.running("good")
    jobs.cluster.store.version += 5
    jobs.cluster.store.forget_changes()
    jobs.cluster.faults.append(Fault("GET", "watch=true", status=0))
    for stream in list(runner._watcher._streams):  # type: ignore[union-attr]
        stream.break_off()
    jobs.cluster.wait_for(
        lambda: any("watch" not in path and "fieldSelector" in path for _, path in jobs.cluster.requests)
    )
    jobs.cluster.delete("default", runner.pod_name)
    assert jobs.end(runner).reason is ReasonCode.JOB_ABORTED


def test_a_pod_deleted_while_nobody_watched(jobs: Jobs) -> None:
    runner = jobs.running("good")
    name = runner.pod_name
    jobs.cluster.faults.append(Fault("GET", "watch=true", status=503, times=3))
    for stream in list(runner._watcher._streams):  # type: ignore[union-attr]
        stream.break_off()
    jobs.cluster.delete("default", name, grace=0)
    jobs.cluster.wait_for(lambda: not jobs.cluster.pods())
    jobs.cluster.store.version += 1
    jobs.cluster.store.forget_changes()
    assert jobs.end(runner).reason is ReasonCode.JOB_ABORTED


def test_a_server_that_is_not_heard_is_not_blamed_for_an_api_server_that_is_away(jobs: Jobs) -> None:
    runner = jobs.running("good")
    runner.ExplainSilence()
    away = jobs.cluster.away(Fault("GET", "/pods", status=0, times=1_000_000))
    with away, pytest.raises(InfrastructureError) as caught:
        runner.ExplainSilence()
    assert caught.value.reason is ReasonCode.KUBERNETES_UNREACHABLE


def test_a_server_that_is_not_heard_may_have_been_deleted_while_nobody_watched(jobs: Jobs) -> None:
    runner = jobs.running("good")
    runner._watcher.close()  # type: ignore[union-attr]
    jobs.cluster.delete("default", runner.pod_name, grace=0)
    jobs.cluster.wait_for(lambda: not jobs.cluster.pods())
    with pytest.raises(JobAborted):
        runner.ExplainSilence()


def test_a_watch_reads_nothing_of_the_neighbours(jobs: Jobs) -> None:
    runner = jobs.running("good")
    watcher = runner._watcher
    assert watcher is not None
    jobs.cluster.wait_for(lambda: watcher.pod == our_pod(jobs))  # it has heard all there was
    before = jobs.cluster.watched_bytes
    for number in range(50):
        pod = neighbour("node-1", "c")
        pod["metadata"]["name"] = f"neighbour-{number}"
        jobs.cluster.add_pod_object(pod)
    jobs.cluster.annotate("default", runner.pod_name, {"metadata": {"annotations": {"last": "word"}}})
    jobs.cluster.wait_for(lambda: watcher.pod == our_pod(jobs))
    told = json.dumps({"type": "MODIFIED", "object": our_pod(jobs)})
    assert jobs.cluster.watched_bytes - before == len(told) + 1
    assert runner.Observe().life is Life.RUNNING


def test_a_watch_that_becomes_forbidden_is_said(jobs: Jobs) -> None:
    runner = jobs.running("good")
    jobs.cluster.faults.append(
        Fault("GET", "watch=true", 403, 99, 'pods is forbidden: User "me" cannot watch resource "pods"', "Forbidden")
    )
    for stream in list(runner._watcher._streams):  # type: ignore[union-attr]
        stream.break_off()
    assert jobs.end(runner).reason is ReasonCode.KUBERNETES_FORBIDDEN


def test_a_clock_that_is_hours_ahead_changes_nothing(jobs: Jobs) -> None:
    jobs.cluster.skew = 7 * 3600.0
    answered(jobs.running("good"))


def test_a_token_that_rotates_in_the_middle_of_a_validation(jobs: Jobs) -> None:
    """Talking, the log and the deletion go on with the new one."""
    token = jobs.directory / "token"
    token.write_text("first")
    jobs.cluster.accounts = {"first": Account("me")}
    path = jobs.cluster.kubeconfig(jobs.directory, name="rotating", tokenFile=str(token))
    runner = jobs.running("good", kubeconfig=path)
    jobs.cluster.accounts = {"second": Account("me")}
    token.write_text("second")
    answered(runner)
    assert "Running gRPC" in runner.GetLogs()
    runner.Stop()
    jobs.cluster.wait_for(lambda: not jobs.cluster.pods())


def test_the_reply_to_the_creation_is_lost(jobs: Jobs) -> None:
    jobs.cluster.faults.append(Fault("POST", "/pods", status=0, after=True))
    answered(jobs.running("good"))
    assert len(jobs.cluster.pods()) == 1


def test_few_calls_for_a_good_model(jobs: Jobs) -> None:
    runner = jobs.running("good", endpoint="pod_ip")
    answered(runner)
    runner.Stop()
    assert len(jobs.cluster.requests) <= 8, jobs.cluster.requests


def test_few_calls_too_while_a_port_is_closed_for_long(jobs: Jobs) -> None:
    """The log tells when it opens: nobody has to knock through the API server until then."""
    runner = jobs.running("late", endpoint="port_forward")
    log = jobs.cluster.process_of(runner.pod_name).containers["model-server"].log
    jobs.cluster.wait_for(lambda: b"reading the model" in log.read_bytes())
    answered(runner)
    assert "Running gRPC" in runner.GetLogs()
    runner.Stop()
    calls = [path for _, path in jobs.cluster.requests if "/events" not in path]  # those of a busy machine
    assert len(calls) <= 8, calls


def test_a_log_that_must_not_be_read_only_costs_calls(jobs: Jobs) -> None:
    jobs.cluster.faults.append(Fault("GET", "/log.*follow=true", 403, 9, "no", "Forbidden"))
    answered(jobs.running("late", endpoint="port_forward"))


# ------------------------------------------------------------------ who am I


def executor_pod(jobs: Jobs, namespace: str, name: str, **spec: Any) -> Json:
    pod = {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"nodeName": "node-1", "containers": [{"name": "main"}], **spec},
        "status": {"phase": "Running", "podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}]},
    }
    return jobs.cluster.add_pod_object(pod)


@pytest.fixture
def inside(tmp_path: pathlib.Path) -> Iterator[tuple[Jobs, Surroundings]]:
    """A cluster, and the surroundings of an executor's pod in it, in the namespace ml."""
    from component_tests.component.kubernetes.test_connection import service_account

    for jobs in jobs_in(tmp_path, tls=True, namespaces=("ml", "default")):
        yield jobs, service_account(jobs.cluster, tmp_path)


def run_inside(jobs: Jobs, here: Surroundings, **config: Any) -> KubernetesRunner:
    runner = jobs.runner("good", kubeconfig=None, **config)
    runner.surroundings = here
    runner.Prepare(Deadline.after(SECONDS))
    return runner


@pytest.mark.parametrize("how", ["KFP_POD_NAME", "HOSTNAME", "host name", "IP address", "mounts"])
def test_the_own_pod_owns_the_servers_pod(inside: tuple[Jobs, Surroundings], how: str) -> None:
    jobs, here = inside
    name = "executor-" + "x" * 60  # a host name is cut at 63 characters
    own = executor_pod(jobs, "ml", name)
    environment = {**here.environment, **({how: name} if how.isupper() or how.startswith("KFP") else {})}
    uid = own["metadata"]["uid"]
    here = {
        "host name": dataclasses.replace(here, host_name=name),
        "mounts": dataclasses.replace(
            here, host_name=name, mounts=f"1 2 8:1 /var/lib/kubelet/pods/{uid}/etc-hosts /etc/hosts"
        ),
    }.get(how, dataclasses.replace(here, host_name=name[:63], environment=environment))
    runner = run_inside(jobs, here)
    assert runner.namespace == "ml"
    (owner,) = our_pod(jobs)["metadata"]["ownerReferences"]
    assert (owner["name"], owner["uid"]) == (name, uid)
    jobs.cluster.delete("ml", name, grace=0)
    jobs.cluster.wait_for(lambda: not jobs.cluster.pods())


def test_another_pod_of_our_name_is_not_ours(inside: tuple[Jobs, Surroundings]) -> None:
    jobs, here = inside
    pod = executor_pod(jobs, "ml", "executor-0")
    jobs.cluster.store.update("pods", "ml", "executor-0", lambda pod: pod["status"].update(podIP="10.9.9.9", podIPs=[]))
    run_inside(jobs, here)
    assert "ownerReferences" not in our_pod(jobs)["metadata"]
    here = dataclasses.replace(here, environment={**here.environment, "POD_UID": pod["metadata"]["uid"] + "0"})
    assert here.in_pod


def test_no_owner_across_namespaces(inside: tuple[Jobs, Surroundings]) -> None:
    """The garbage collector would take the owner for gone, and the server's pod with it."""
    jobs, here = inside
    executor_pod(jobs, "ml", "executor-0")
    runner = run_inside(jobs, here, namespace="default")
    assert runner.namespace == "default"
    assert "ownerReferences" not in our_pod(jobs)["metadata"]


def test_the_claim_of_the_own_pod_is_found(inside: tuple[Jobs, Surroundings]) -> None:
    jobs, here = inside
    volume = jobs.directory / "volume"
    (volume / "root").mkdir(parents=True)
    jobs.model.rename(volume / "root" / "model")
    jobs.model = volume / "root" / "model"
    jobs.cluster.claims["ml", "artifacts"] = Claim(str(volume))
    mount = {"name": "artifacts", "mountPath": str(volume / "root"), "subPath": "root"}
    executor_pod(
        jobs,
        "ml",
        "executor-0",
        containers=[{"name": "base", "volumeMounts": [mount]}],
        volumes=[{"name": "artifacts", "persistentVolumeClaim": {"claimName": "artifacts"}}],
    )
    sees_the_model(jobs, run_inside(jobs, here, model=None))
    assert any("the claim artifacts, path root/model" in line for line in jobs.progress)


def test_inside_a_cluster_the_pods_address_is_tried_first(inside: tuple[Jobs, Surroundings]) -> None:
    jobs, here = inside
    runner = run_inside(jobs, here)
    runner.Start()
    runner.WaitUntilRunning(Deadline.after(SECONDS))
    assert runner.GetEndpoint().startswith("127.")
    assert runner.GetEndpoint().endswith(":28500")
    answered(runner)


@pytest.mark.parametrize(
    ("spec", "context", "expected"), [("default", "ml", "default"), (None, "ml", "ml"), (None, "", "default")]
)
def test_the_namespace_is_said(tmp_path: pathlib.Path, spec: str | None, context: str, expected: str) -> None:
    for jobs in jobs_in(tmp_path, namespaces=("ml", "default")):
        jobs.kubeconfig = jobs.cluster.kubeconfig(tmp_path, namespace=context)
        assert jobs.prepared(namespace=spec).namespace == expected
        assert f"namespace {expected} (" in jobs.progress[0]


# ------------------------------------------------------------------ rights


def account(jobs: Jobs, rules: list[Json]) -> None:
    jobs.cluster.accounts["limited"] = Account("system:serviceaccount:ml:limited", rules)
    jobs.kubeconfig = jobs.cluster.kubeconfig(jobs.directory, token="limited")


@pytest.mark.parametrize("minor", [34, 36])
def test_the_role_that_is_printed_is_enough(jobs: Jobs, minor: int) -> None:
    jobs.cluster.minor = minor
    account(jobs, role("default", rights_for(uploads=True, forwards=True))["rules"])
    runner = jobs.running(model=None)
    sees_the_model(jobs, runner)
    answered(runner)


@pytest.mark.parametrize("incomplete", [False, True])
def test_a_missing_right_is_named_before_anything_is_made(jobs: Jobs, incomplete: bool) -> None:
    rules = role("default", rights_for(uploads=True, forwards=True))["rules"]
    account(jobs, [{**rule, "verbs": [verb for verb in rule["verbs"] if verb != "delete"]} for rule in rules])
    jobs.cluster.rules_review_incomplete = incomplete
    failure = jobs.refusal()
    assert failure.reason is ReasonCode.KUBERNETES_FORBIDDEN
    assert "The verb delete on pods in the namespace default" in failure.detail
    assert "kind: Role" in failure.next_step
    assert jobs.cluster.pods() == []


def without_create(resource: str) -> list[Json]:
    rules = role("default", rights_for(uploads=True, forwards=True))["rules"]
    return [{**rule, "verbs": ["get"]} if rule["resources"] == [resource] else rule for rule in rules]


@pytest.mark.parametrize("resource", ["pods/exec", "pods/portforward"])
def test_get_without_create_is_enough_before_1_35_only(jobs: Jobs, resource: str) -> None:
    account(jobs, without_create(resource))
    failure = jobs.refusal(model={"upload": {}})
    assert failure.reason is ReasonCode.KUBERNETES_FORBIDDEN
    assert f"The verb create on {resource} in the namespace default is not granted" in failure.detail
    assert jobs.cluster.pods() == []
    jobs.cluster.minor = 34
    answered(jobs.running(model={"upload": {}}))


@pytest.mark.parametrize("resource", ["pods/exec", "pods/portforward"])
def test_a_refusal_without_a_reason_names_the_right(jobs: Jobs, resource: str) -> None:
    account(jobs, without_create(resource))
    jobs.cluster.faults.append(Fault("POST", "selfsubjectrulesreviews", status=404))
    seen: Any = None
    try:
        answered(jobs.running(model={"upload": {}}))
    except JobGone as gone:
        seen = gone.seen
    except InfrastructureError as error:
        seen = error
    assert seen.reason is ReasonCode.KUBERNETES_FORBIDDEN
    assert f'cannot create resource "{resource}"' in seen.detail


def test_rights_that_are_only_seen_one_by_one_are_enough(jobs: Jobs) -> None:
    account(jobs, role("default", rights_for(uploads=True, forwards=True))["rules"])
    jobs.cluster.rules_review_incomplete = True
    answered(jobs.running())


def test_a_right_that_is_missing_after_all_brings_the_role(jobs: Jobs) -> None:
    account(jobs, [])
    jobs.cluster.faults.append(Fault("POST", "selfsubjectrulesreviews", status=404))
    failure = jobs.refusal()
    assert failure.reason is ReasonCode.KUBERNETES_FORBIDDEN
    assert 'cannot create resource "pods"' in failure.detail
    assert "kind: Role" in failure.next_step


# ------------------------------------------------------------------ endings


@pytest.mark.parametrize("status", [404, 409])
def test_a_pod_that_is_gone_already_is_stopped(jobs: Jobs, status: int) -> None:
    runner = jobs.running("good")
    jobs.cluster.faults.append(Fault("DELETE", "/pods/", status=status, after=False))
    runner.Stop()
    assert runner.stop_problems == []
    jobs.cluster.delete("default", runner.pod_name)


def test_a_deletion_is_tried_again(jobs: Jobs) -> None:
    runner = jobs.running("good")
    jobs.cluster.faults.append(Fault("DELETE", "/pods/", status=500, times=3))
    runner.Stop()
    assert runner.stop_problems == []


def test_a_deletion_outlasts_an_api_server_that_is_away(jobs: Jobs) -> None:
    runner = jobs.running("good")
    fault = Fault("DELETE", "/pods/", status=0, times=6)
    jobs.cluster.faults.append(fault)
    runner.Stop(Deadline.after(SECONDS))
    assert runner.stop_problems == []
    assert fault.times == 0
    jobs.cluster.wait_for(lambda: not jobs.cluster.pods())


@pytest.mark.timeout(120)
def test_a_deletion_that_the_stop_limit_is_too_short_for_is_gone_on_with_by_another_process(jobs: Jobs) -> None:
    runner = jobs.running("good")
    fault = Fault("DELETE", "/pods/", status=0, times=1_000_000)
    jobs.cluster.faults.append(fault)
    runner.Stop(Deadline.after(0.5))
    (problem,) = runner.stop_problems
    assert problem.startswith(f"Could not delete pod default/{runner.pod_name}: ")
    assert "goes on trying for 15 minutes" in problem
    at_stop = fault.times
    jobs.cluster.wait_for(lambda: fault.times < at_stop, 60)
    fault.times = 0
    jobs.cluster.wait_for(lambda: not jobs.cluster.pods(), 60)
    jobs.cluster.wait_for(lambda: not _processes(runner.pod_name), 60)


def _processes(*words: str) -> list[int]:
    """The processes of this machine whose command line holds all the words."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().decode("utf-8", "replace")
            if all(word in line for word in words):
                found.append(int(path.parent.name))
    return found


def test_deletion_is_asked_for_with_grace_in_the_background(jobs: Jobs) -> None:
    runner = jobs.running("ignores_sigterm")
    log = jobs.cluster.process_of(runner.pod_name).containers["model-server"].log
    jobs.cluster.wait_for(lambda: b"Running gRPC" in log.read_bytes())  # it ignores the signal by then
    runner.Stop()
    assert all(pod["metadata"]["deletionGracePeriodSeconds"] == 1 for pod in jobs.cluster.pods())
    jobs.cluster.wait_for(lambda: not jobs.cluster.pods())


_VALIDATOR = """
import sys, time
from component_tests.fakes.kubernetes_pods import MisbehavingImagePlanner
from infra_validator.core.deadline import Deadline
from infra_validator.model_server_runners.kubernetes.runner import KubernetesRunner
from infra_validator.specs import ServingSpec
spec = ServingSpec.of({"tensorflow_serving": {"tags": ["1"]}, "kubernetes": {
    "kubeconfig": sys.argv[1], "model": {"host_path": {"path": sys.argv[2]}}}})
runner = KubernetesRunner(sys.argv[2], MisbehavingImagePlanner("good"), spec)
runner.Start()
runner.WaitUntilRunning(Deadline.after(60))
print("running", flush=True)
time.sleep(600)
"""


def test_the_pod_of_a_killed_validator_is_deleted(jobs: Jobs) -> None:
    jobs.cluster.images["misbehaving/good"] = misbehaving_image("good")
    command = [sys.executable, "-c", _VALIDATOR, jobs.kubeconfig, str(jobs.model)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"running\n"
        process.send_signal(signal.SIGKILL)
    jobs.cluster.wait_for(lambda: not jobs.cluster.pods(), 60)


def test_what_is_left_even_so_is_collected_when_its_time_is_over(jobs: Jobs) -> None:
    config = KubernetesConfig(kubeconfig=jobs.kubeconfig)
    runner = jobs.running("good")
    assert collect_garbage(config) == []
    name = runner.pod_name
    jobs.cluster.store.update(
        "pods", "default", name, lambda pod: pod["metadata"]["labels"].update({"infra-validator.deadline": "1000"})
    )
    jobs.cluster.add_pod_object(neighbour("node-1", "c"))
    (seen,) = collect_garbage(config, remove=False)
    assert (seen.name, seen.namespace, seen.problem) == (name, "default", "")
    assert name in [pod["metadata"]["name"] for pod in jobs.cluster.pods()]
    (removed,) = collect_garbage(config, all_namespaces=True)
    assert removed.name == name
    jobs.cluster.wait_for(lambda: [pod["metadata"]["name"] for pod in jobs.cluster.pods()] == ["trainer"])


def test_gc_knows_a_dead_validator_of_this_machine(jobs: Jobs) -> None:
    """Not only when its time is over."""
    config = KubernetesConfig(kubeconfig=jobs.kubeconfig)
    runner = jobs.running("good")
    boot, namespace, pid, started = our_pod(jobs)["metadata"]["annotations"]["infra-validator.process"].split()

    def made_by(process: str) -> None:
        jobs.cluster.store.update(
            "pods",
            "default",
            runner.pod_name,
            lambda pod: pod["metadata"]["annotations"].update({"infra-validator.process": process}),
        )

    made_by(f"another-boot {namespace} {pid} {int(started) + 1}")
    assert collect_garbage(config, remove=False) == []
    made_by(f"{boot} {namespace} {pid} {int(started) + 1}")
    (seen,) = collect_garbage(config, remove=False)
    assert "does not run any more" in seen.why


def test_the_gc_command_looks_at_the_cluster(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from infra_validator.cli.gc import main

    monkeypatch.setenv("KUBECONFIG", jobs.kubeconfig)
    runner = jobs.running("good")
    expired = {"infra-validator.deadline": "1000"}
    jobs.cluster.store.update("pods", "default", runner.pod_name, lambda pod: pod["metadata"]["labels"].update(expired))
    assert main(["--kubernetes", "--dry-run"]) == 0
    assert f"kubernetes: pod default/{runner.pod_name} of" in capsys.readouterr().out
    assert main(["--kubernetes", "--all-namespaces"]) == 0
    assert "removed: its time was over" in capsys.readouterr().out
    jobs.cluster.wait_for(lambda: not jobs.cluster.pods())
    jobs.cluster.accounts["admin-token"].expired = True
    assert main(["--kubernetes"]) == 3
    assert "KUBERNETES_UNAUTHORIZED" in capsys.readouterr().out
    jobs.cluster.accounts["admin-token"].expired = False


def test_the_pod_passes_the_restricted_standard_and_has_no_token(jobs: Jobs) -> None:
    jobs.cluster.pod_security["default"] = "restricted"
    jobs.running(model={"upload": {}})
    spec = our_pod(jobs)["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert [volume["name"] for volume in spec["volumes"]] == ["model"]
    assert spec["activeDeadlineSeconds"] > 600


def test_twenty_at_once(jobs: Jobs) -> None:
    problems: list[BaseException] = []

    def work(runner: KubernetesRunner) -> None:
        try:
            runner.Prepare(Deadline.after(60))
            runner.Start()
            runner.WaitUntilRunning(Deadline.after(60))
            answered(runner)
        except BaseException as error:
            problems.append(error)
        finally:
            runner.Stop()

    threads = [threading.Thread(target=work, args=(jobs.runner("good"),)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    jobs.cluster.wait_for(lambda: not jobs.cluster.pods(), 60)


def test_an_interruption_ends_prepare(jobs: Jobs) -> None:
    jobs.cluster.latencies.pull = 30.0
    runner = jobs.runner("good")
    problems: list[BaseException] = []

    def prepare() -> None:
        try:
            runner.Prepare(Deadline.after(SECONDS))
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=prepare)
    thread.start()
    jobs.cluster.wait_for(jobs.cluster.pods)
    runner.interruption.set("SIGTERM")
    thread.join()
    assert isinstance(problems[0], InfrastructureError)
    assert problems[0].reason is ReasonCode.INTERRUPTED
    runner.Stop()
    wait_until(lambda: None if jobs.cluster.pods() else True, Deadline.after(SECONDS))
