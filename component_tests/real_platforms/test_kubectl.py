"""The fake cluster, driven by kubectl: so that it refuses and answers as a tool of the cluster's own expects.

Runs with any kubectl from 1.20 (Debian 12's) on. Validation by the server came to kubectl with 1.25, exec and cp over WebSocket with
1.31; before, and where the server has none, they go over SPDY. For port-forward every version speaks SPDY, from 1.31 on inside a WebSocket.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading
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

ECHO = """
import socketserver, sys

class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while received := self.request.recv(4096):
            self.request.sendall(received)

server = socketserver.ThreadingTCPServer((sys.argv[1], 8500), Echo)
print("listens", flush=True)
server.serve_forever()
"""


class Forward:
    """A ``kubectl port-forward`` that runs, and its two outputs."""

    def __init__(self, cluster: FakeCluster, process: subprocess.Popen[bytes], out: pathlib.Path) -> None:
        self.cluster = cluster
        self.process = process
        self._out = out

    def told(self, pattern: str) -> str:
        """The first group of what kubectl says, once it does."""
        self.cluster.wait_for(lambda: re.search(pattern, self._out.read_text()))
        match = re.search(pattern, self._out.read_text())
        assert match is not None
        return match[1]

    def connection(self) -> socket.socket:
        port = int(self.told(r"Forwarding from 127\.0\.0\.1:(\d+) -> "))
        return socket.create_connection(("127.0.0.1", port), timeout=30.0)


class Kubectl:
    """kubectl with the kubeconfig of a fake cluster. It sends no credentials over plain HTTP, so the cluster has TLS."""

    def __init__(self, cluster: FakeCluster, directory: pathlib.Path) -> None:
        self.cluster = cluster
        self._directory = directory
        self._kubeconfig = cluster.kubeconfig(directory)
        self.environment: dict[str, str] = {}

    def __call__(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        command = self._command(*arguments)
        environment = {**os.environ, **self.environment}
        return subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=60, check=False, env=environment
        )

    def _command(self, *arguments: str) -> list[str]:
        cache = str(self._directory / "cache")
        return ["kubectl", "--kubeconfig", self._kubeconfig, "--cache-dir", cache, *arguments]

    @contextlib.contextmanager
    def forward(self, pod: str, port: int) -> Iterator[Forward]:
        """A free port of this machine is forwarded to the pod's ``port`` while this is open."""
        out = self._directory / "forward.out"
        command = self._command("port-forward", "--address", "127.0.0.1", f"pod/{pod}", f":{port}")
        with out.open("wb") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, **self.environment})
        try:
            yield Forward(self.cluster, process, out)
        finally:
            process.kill()
            process.wait(30)

    def minor(self) -> int:
        told = json.loads(self("version", "--client", "-o", "json").stdout)
        return int(told["clientVersion"]["minor"].rstrip("+"))

    def echo_pod(self) -> None:
        """A pod that sends back on port 8500 what it gets there; it listens."""
        spec = {"containers": [{"name": "c", "image": "echo"}]}
        done = self("apply", "--validate=false", "-f", "-", text=json.dumps({**POD, "spec": spec}))
        assert done.stdout == "pod/p created\n", done.stderr
        self.cluster.wait_for(lambda: self.cluster.pods()[0]["status"]["phase"] == "Running")
        self.cluster.wait_for(self.cluster.process_of("p").containers["c"].log.read_bytes)

    def pod(self) -> None:
        validation = "--validate=strict" if self.minor() >= 25 else "--validate=false"
        done = self("apply", validation, "-f", "-", text=json.dumps(POD))
        assert done.stdout == "pod/p created\n", done.stderr
        self.cluster.wait_for(lambda: self.cluster.pods()[0]["status"]["phase"] == "Running")


@pytest.fixture
def kubectl(tmp_path: pathlib.Path) -> Iterator[Kubectl]:
    shell = {program: (f"/bin/{program}",) for program in ("sh", "cat", "tar")}
    echo = Image({"echo": (sys.executable, "-c", ECHO, "{ip}")}, entrypoint="echo")
    with FakeCluster(images={"shell": Image(shell), "echo": echo}, tls=True) as cluster:
        yield Kubectl(cluster, tmp_path)


@pytest.fixture(params=["as kubectl does by itself", "kubectl without WebSocket", "cluster of 1.29"])
def methods(request: pytest.FixtureRequest, kubectl: Kubectl) -> set[str]:
    """How kubectl has to ask for a stream: with GET for a WebSocket, with POST for SPDY, which it does too where a WebSocket is refused."""
    if request.param == "cluster of 1.29":  # it has neither exec's newest protocol nor tunnels
        kubectl.cluster.minor = 29
    elif request.param == "kubectl without WebSocket":
        kinds = ("PORT_FORWARD", "REMOTE_COMMAND")
        kubectl.environment = {f"KUBECTL_{kind}_WEBSOCKETS": "false" for kind in kinds}
    if kubectl.minor() < 31 or kubectl.environment:
        return {"POST"}
    return {"GET", "POST"} if kubectl.cluster.minor == 29 else {"GET"}


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


def test_exec_and_cp(kubectl: Kubectl, methods: set[str], tmp_path: pathlib.Path) -> None:
    kubectl.pod()
    done = kubectl("exec", "p", "--", "sh", "-c", "echo out; exit 3")
    assert (done.stdout, done.returncode) == ("out\n", 3)
    assert kubectl("exec", "-i", "p", "--", "cat", text="through\n").stdout == "through\n"
    (tmp_path / "file").write_text("data")
    target = tmp_path / "copied"  # the fake's containers share this machine's file system
    assert kubectl("cp", str(tmp_path / "file"), f"p:{target}").returncode == 0
    assert target.read_text() == "data"
    assert {method for method, path in kubectl.cluster.requests if "/exec" in path} == methods


def _send_all(connection: socket.socket, data: bytes) -> None:
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


def test_port_forward_carries_connections_to_the_pods_port(kubectl: Kubectl, methods: set[str]) -> None:
    kubectl.echo_pod()
    with kubectl.forward("p", 8500) as forward:
        with forward.connection() as one, forward.connection() as other:
            one.sendall(b"one")
            other.sendall(b"other")
            assert (other.recv(5, socket.MSG_WAITALL), one.recv(3, socket.MSG_WAITALL)) == (b"other", b"one")
        much = os.urandom(1 << 20)
        with forward.connection() as third:
            sender = threading.Thread(target=_send_all, args=(third, much))
            sender.start()
            with third.makefile("rb") as received:
                assert received.read() == much
            sender.join(30)
    assert {method for method, path in kubectl.cluster.requests if "/portforward" in path} == methods


@pytest.mark.usefixtures("methods")
def test_port_forward_tells_that_nobody_listens_on_a_port(kubectl: Kubectl) -> None:
    kubectl.echo_pod()
    with kubectl.forward("p", 8501) as forward, forward.connection() as connection:
        assert connection.recv(1) == b""
        told = forward.told(r"(?i)an error occurred forwarding(.+)")
        assert "error forwarding port 8501 to pod p, uid " in told
        assert "Connection refused" in told


@pytest.mark.usefixtures("methods")
def test_port_forward_that_is_not_granted_is_forbidden(kubectl: Kubectl) -> None:
    kubectl.echo_pod()
    kubectl.cluster.accounts["admin-token"] = Account(
        "me", [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    )
    with kubectl.forward("p", 8500) as forward:
        assert "portforward" in forward.told(r"(?i)error.+(pods \"p\" is forbidden.+)")
        assert forward.process.wait(30) == 1


def test_what_is_not_granted_is_forbidden(kubectl: Kubectl) -> None:
    kubectl.pod()
    kubectl.cluster.accounts["admin-token"] = Account(
        "me", [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    )
    for arguments in (("get", "pods"), ("logs", "p"), ("delete", "pod", "p"), ("exec", "p", "--", "sh")):
        assert "is forbidden" in kubectl(*arguments).stderr, arguments
    kubectl.cluster.accounts["admin-token"] = Account("kubernetes-admin")
