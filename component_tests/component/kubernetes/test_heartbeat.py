"""The server of a validator that was killed with its whole container is ended by its node, for want of a heartbeat."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from component_tests.component.kubernetes.jobs import SECONDS, Jobs, jobs_in
from component_tests.component.kubernetes.test_connection import service_account
from component_tests.fakes.kubernetes_api import Fault
from component_tests.fakes.kubernetes_pods import ROOT, MisbehavingImagePlanner, misbehaving_image
from infra_validator.core.deadline import Deadline
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.states import Life
from infra_validator.model_server_runners.cleanup.watchdog import marked_processes
from infra_validator.model_server_runners.kubernetes.identity import Surroundings
from infra_validator.model_server_runners.kubernetes.pod.liveness import ANNOTATION
from infra_validator.model_server_runners.kubernetes.rights import rights_for, role
from infra_validator.model_server_runners.kubernetes.runner import KubernetesRunner

Json = dict[str, Any]


class Inside:
    """A cluster, and what a process sees from inside a pod of it, in the namespace ml."""

    def __init__(self, jobs: Jobs, here: Surroundings) -> None:
        self.jobs = jobs
        self.cluster = jobs.cluster
        self.here = here
        self.cluster.add_pod_object(
            {
                "metadata": {"name": "executor-0", "namespace": "ml"},
                "spec": {"nodeName": "node-1", "containers": [{"name": "main"}]},
                "status": {"phase": "Running", "podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}]},
            }
        )

    def running(self, limits: tuple[float, float] = (30.0, 150.0), **config: Any) -> KubernetesRunner:
        runner = self.jobs.runner("good", kubeconfig=None, **config)
        runner.surroundings = self.here
        runner.heartbeat_limits = limits
        runner.Prepare(Deadline.after(SECONDS))
        runner.Start()
        runner.WaitUntilRunning(Deadline.after(SECONDS))
        return runner

    def pod(self) -> Json:
        (pod,) = [one for one in self.cluster.pods() if one["metadata"]["name"] != "executor-0"]
        return pod

    def beat_file(self) -> pathlib.Path:
        return self.cluster.process_of(self.pod()["metadata"]["name"]).directory / "volumes" / "heartbeat" / "beat"


@pytest.fixture
def inside(tmp_path: pathlib.Path) -> Iterator[Inside]:
    for jobs in jobs_in(tmp_path, tls=True, namespaces=("ml", "default")):
        yield Inside(jobs, service_account(jobs.cluster, tmp_path))


_VALIDATOR = """
import json, sys, time
from component_tests.fakes.kubernetes_pods import MisbehavingImagePlanner
from infra_validator.core.deadline import Deadline
from infra_validator.model_server_runners.kubernetes.identity import Surroundings
from infra_validator.model_server_runners.kubernetes.runner import KubernetesRunner
from infra_validator.specs import ServingSpec
here = json.loads(sys.argv[1])
spec = ServingSpec.of({"tensorflow_serving": {"tags": ["1"]}, "kubernetes": {"model": {"host_path": {"path": sys.argv[2]}}}})
runner = KubernetesRunner(sys.argv[2], MisbehavingImagePlanner("good"), spec)
runner.surroundings = Surroundings(here["environment"], "executor-0", frozenset({"10.1.2.3"}), "", here["directory"])
runner.Start()
runner.WaitUntilRunning(Deadline.after(60))
print("running", flush=True)
time.sleep(600)
"""


def test_the_server_of_a_validator_whose_container_was_killed_is_ended_by_its_node(inside: Inside) -> None:
    """kill -9 of the first process of a container ends all of it, the watchdog too; the pod stays as an object, in Error."""
    cluster = inside.cluster
    cluster.images["misbehaving/good"] = misbehaving_image("good")
    here = {"environment": dict(inside.here.environment), "directory": inside.here.service_account_directory}
    mark = f"TEST_CONTAINER={secrets.token_hex(8)}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **dict([mark.split("=")])}
    command = [sys.executable, "-c", _VALIDATOR, json.dumps(here), str(inside.jobs.model)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"running\n"
        container = marked_processes(mark)
        assert len(container) == 2  # with the watchdog
        for pid in container:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    server = cluster.process_of(inside.pod()["metadata"]["name"]).containers["model-server"].process
    assert server is not None
    assert server.poll() is None
    old = inside.beat_file().stat().st_mtime - 10 * 60.0  # the node's clock goes on
    os.utime(inside.beat_file(), (old, old))
    cluster.wait_for(lambda: inside.pod()["status"]["phase"] == "Failed")
    assert server.poll() is not None
    assert any("failed liveness probe" in event["message"] for event in cluster.store.all("events", "ml"))
    cluster.delete("ml", "executor-0", grace=0)  # its object goes with that of its owner
    cluster.wait_for(lambda: not cluster.pods())


def test_a_heartbeat_is_renewed_and_the_file_in_the_pod_with_it(inside: Inside) -> None:
    runner = inside.running((0.5, 60.0))
    inside.cluster.wait_for(lambda: int(inside.pod()["metadata"]["annotations"][ANNOTATION]) >= 3)
    inside.cluster.wait_for(lambda: int(inside.beat_file().read_text() or 0) >= 3)
    assert runner.Observe().life is Life.RUNNING
    patches = [path for method, path in inside.cluster.requests if method == "PATCH"]
    assert set(patches) == {f"/api/v1/namespaces/ml/pods/{runner.pod_name}"}


def test_a_heartbeat_that_does_not_get_through_ends_the_attempt_before_the_node_ends_the_server(inside: Inside) -> None:
    runner = inside.running((1.0, 5.0))
    inside.cluster.faults.append(Fault("PATCH", "/pods/", status=0, times=1_000_000))
    seen = inside.jobs.end(runner)
    assert seen.reason is ReasonCode.JOB_ABORTED
    assert "heard nothing of the validator" in seen.detail


def test_without_the_right_there_is_no_probe(inside: Inside) -> None:
    rules = [one for one in role("ml", rights_for(uploads=True, forwards=True))["rules"] if one["verbs"] != ["patch"]]
    inside.cluster.accounts["pod-token"].rules = rules
    inside.running()
    (server,) = inside.pod()["spec"]["containers"]
    assert "livenessProbe" not in server
    assert ANNOTATION not in inside.pod()["metadata"]["annotations"]


def test_a_probe_of_the_templates_own_stays(inside: Inside) -> None:
    probe = {"tcpSocket": {"port": 28500}, "failureThreshold": 1000}
    inside.running(pod_template={"spec": {"containers": [{"name": "model-server", "livenessProbe": probe}]}})
    (server,) = inside.pod()["spec"]["containers"]
    assert server["livenessProbe"] == probe
    assert [one["name"] for one in inside.pod()["spec"]["volumes"]] == ["model"]


def test_an_image_without_a_shell_is_left_alone(inside: Inside) -> None:
    """The node throws away a probe that it cannot run."""
    image = misbehaving_image("good")
    programs = {name: program for name, program in image.programs.items() if name != "sh"}
    inside.cluster.images["bare"] = type(image)(programs, env=image.env)
    runner = inside.running(planner=MisbehavingImagePlanner(image="bare"), look_before_start=False)
    old = inside.beat_file().stat().st_mtime - 10 * 60.0
    os.utime(inside.beat_file(), (old, old))
    process = inside.cluster.process_of(runner.pod_name)
    inside.cluster.wait_for(lambda: process.probes > 5)
    assert runner.Observe().life is Life.RUNNING
