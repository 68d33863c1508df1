"""The fake cluster, driven by kubectl: so that it refuses and answers as a tool of the cluster's own expects.

Runs with any kubectl from 1.20 (Debian 12's) on. Validation by the server came to kubectl with 1.25, exec and cp over WebSocket with
1.31. An older one speaks SPDY for them, and every version does for port-forward; the fake does not speak it and answers 400.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
from collections.abc import Iterator

import pytest

from component_tests.fakes.kubernetes_api import Account, FakeCluster, Image

pytestmark = [pytest.mark.kubectl, pytest.mark.timeout(120)]

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p"},
    "spec": {
        "restartPolicy": "Never",
        "containers": [{"name": "c", "image": "shell", "command": ["sh", "-c", "echo hello; sleep 100"]}],
    },
}


class Kubectl:
    """kubectl with the kubeconfig of a fake cluster. It sends no credentials over plain HTTP, so the cluster has TLS."""

    def __init__(self, cluster: FakeCluster, directory: pathlib.Path) -> None:
        self.cluster = cluster
        self._directory = directory
        self._kubeconfig = cluster.kubeconfig(directory)

    def __call__(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        command = [
            "kubectl",
            "--kubeconfig",
            self._kubeconfig,
            "--cache-dir",
            str(self._directory / "cache"),
            *arguments,
        ]
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)

    def minor(self) -> int:
        told = json.loads(self("version", "--client", "-o", "json").stdout)
        return int(told["clientVersion"]["minor"].rstrip("+"))

    def pod(self) -> None:
        validation = "--validate=strict" if self.minor() >= 25 else "--validate=false"
        done = self("apply", validation, "-f", "-", text=json.dumps(POD))
        assert done.stdout == "pod/p created\n", done.stderr
        self.cluster.wait_for(lambda: self.cluster.pods()[0]["status"]["phase"] == "Running")


@pytest.fixture
def kubectl(tmp_path: pathlib.Path) -> Iterator[Kubectl]:
    shell = {program: (f"/bin/{program}",) for program in ("sh", "cat", "tar")}
    with FakeCluster(images={"shell": Image(shell)}, tls=True) as cluster:
        yield Kubectl(cluster, tmp_path)


def test_apply_get_watch_logs_and_delete(kubectl: Kubectl) -> None:
    kubectl.pod()
    assert kubectl("get", "pod", "p", "-o", "jsonpath={.status.phase}").stdout == "Running"
    watched = kubectl("get", "pods", "--watch", "--request-timeout=1s", "-o", "name")
    assert watched.stdout.startswith("pod/p\n"), watched.stderr
    log = kubectl.cluster.process_of("p").containers["c"].log
    kubectl.cluster.wait_for(log.read_bytes)
    assert kubectl("logs", "p").stdout == "hello\n"
    assert "NotFound" in kubectl("get", "pod", "nobody").stderr
    assert kubectl("delete", "pod", "p", "--now").returncode == 0
    kubectl.cluster.wait_for(lambda: not kubectl.cluster.pods())


def test_apply_is_validated_by_the_server(kubectl: Kubectl) -> None:
    if kubectl.minor() < 25:
        pytest.skip("before 1.25 kubectl validates by itself")
    wrong = {**POD, "spec": {**POD["spec"], "restartPolice": "Never"}}  # type: ignore[dict-item]
    done = kubectl("apply", "--validate=strict", "-f", "-", text=json.dumps(wrong))
    assert done.returncode != 0
    assert 'unknown field "spec.restartPolice"' in done.stderr


def test_exec_and_cp(kubectl: Kubectl, tmp_path: pathlib.Path) -> None:
    kubectl.pod()
    done = kubectl("exec", "p", "--", "sh", "-c", "echo out; exit 3")
    if kubectl.minor() < 31:  # it speaks SPDY
        assert "Upgrade request required" in done.stderr
        return
    assert (done.stdout, done.returncode) == ("out\n", 3)
    assert kubectl("exec", "-i", "p", "--", "cat", text="through\n").stdout == "through\n"
    (tmp_path / "file").write_text("data")
    target = tmp_path / "copied"  # the fake's containers share this machine's file system
    assert kubectl("cp", str(tmp_path / "file"), f"p:{target}").returncode == 0
    assert target.read_text() == "data"


def test_what_is_not_granted_is_forbidden(kubectl: Kubectl) -> None:
    kubectl.pod()
    kubectl.cluster.accounts["admin-token"] = Account(
        "me", [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    )
    for arguments in (("get", "pods"), ("logs", "p"), ("delete", "pod", "p"), ("exec", "p", "--", "sh")):
        assert "is forbidden" in kubectl(*arguments).stderr, arguments
    kubectl.cluster.accounts["admin-token"] = Account("kubernetes-admin")
