"""Ways to a cluster that do not work, each with one sentence and a next step; and those that do."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import stat
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from component_tests.fakes.kubernetes_api import Account, FakeCluster, Fault
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_runners.kubernetes.api.client import KubernetesApi, connect
from infra_validator.model_server_runners.kubernetes.api.errors import ApiError, ApiUnreachable, meaning_of
from infra_validator.model_server_runners.kubernetes.identity import Surroundings
from infra_validator.specs import KubernetesConfig
from infra_validator.specs.kubernetes.config import ApiServer

PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture
def cluster() -> Iterator[FakeCluster]:
    with FakeCluster() as cluster:
        yield cluster


def nowhere(directory: pathlib.Path, **environment: str) -> Surroundings:
    """Outside a cluster, with nothing in the home directory."""
    return Surroundings({"HOME": str(directory), **environment}, "laptop", frozenset(), "", str(directory / "none"))


def listed(config: KubernetesConfig, here: Surroundings, seconds: float = 30.0) -> dict[str, Any]:
    """Connect and list the pods: what a validation begins with."""
    api = connect(config, here, Deadline.after(seconds))
    try:
        return api.call("GET", PODS, Deadline.after(seconds), "list pods in default")
    except (ApiError, ApiUnreachable) as error:
        raise meaning_of(error) from error
    finally:
        api.close()


def refusal(config: KubernetesConfig, here: Surroundings, seconds: float = 30.0) -> InfrastructureError:
    with pytest.raises(InfrastructureError) as caught:
        listed(config, here, seconds)
    return caught.value


def kubeconfig(directory: pathlib.Path, text: str) -> KubernetesConfig:
    path = directory / "broken"
    path.write_text(text)
    return KubernetesConfig(kubeconfig=str(path))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("contexts: [", "is no YAML"),
        ("just words", "it holds str, not an object"),
        ("contexts: {a: b}\n", "contexts must be a list"),
        ("contexts: [{name: a}]\n", "contexts[0] is no context with a name"),
        ("contexts: []\n", "has no current-context"),
        ("current-context: gone\ncontexts: [{name: dev, context: {}}]\n", "There is no context 'gone'"),
        ("current-context: a\ncontexts: [{name: a, context: {cluster: gone}}]\nclusters: []\n", "gone in"),
    ],
)
def test_a_broken_kubeconfig(tmp_path: pathlib.Path, text: str, words: str) -> None:
    error = refusal(kubeconfig(tmp_path, text), nowhere(tmp_path))
    assert error.reason is ReasonCode.KUBECONFIG_NOT_USABLE
    assert words in error.detail
    assert "broken" in error.detail
    assert error.next_step


def test_no_kubeconfig_at_all(tmp_path: pathlib.Path) -> None:
    missing = str(tmp_path / "missing")
    for config, here in (
        (KubernetesConfig(kubeconfig=missing), nowhere(tmp_path)),
        (KubernetesConfig(), nowhere(tmp_path, KUBECONFIG=missing)),
    ):
        error = refusal(config, here)
        assert error.reason is ReasonCode.KUBECONFIG_NOT_USABLE
        assert missing in error.detail
        assert "does not run in a pod" in error.detail


def test_an_unknown_context_names_the_known_ones(cluster: FakeCluster, tmp_path: pathlib.Path) -> None:
    error = refusal(KubernetesConfig(kubeconfig=cluster.kubeconfig(tmp_path), context="prod"), nowhere(tmp_path))
    assert "There is no context 'prod'" in error.detail
    assert "(known: fake)" in error.detail


def test_several_files_in_kubeconfig_are_one(cluster: FakeCluster, tmp_path: pathlib.Path) -> None:
    (tmp_path / "first").write_text("current-context: fake\ncontexts: []\nclusters: []\nusers: []\n")
    both = f"{tmp_path / 'first'}:{cluster.kubeconfig(tmp_path)}"
    assert listed(KubernetesConfig(), nowhere(tmp_path, KUBECONFIG=both))["kind"] == "PodList"


def test_an_expired_token(cluster: FakeCluster, tmp_path: pathlib.Path) -> None:
    cluster.accounts["old"] = Account("me", expired=True)
    error = refusal(KubernetesConfig(kubeconfig=cluster.kubeconfig(tmp_path, token="old")), nowhere(tmp_path))
    assert error.reason is ReasonCode.KUBERNETES_UNAUTHORIZED


def plugin(directory: pathlib.Path, body: str) -> dict[str, Any]:
    """The user of a kubeconfig whose credentials come from an exec plugin."""
    path = directory / "plugin.py"
    path.write_text(f"#!{sys.executable}\nimport json, os, pathlib, sys, time\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(path), "interactiveMode": "Never"}}


def test_an_exec_plugin_gives_the_token(cluster: FakeCluster, tmp_path: pathlib.Path) -> None:
    answer = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "admin-token"},
    }
    user = plugin(tmp_path, f"print(json.dumps({answer!r}))")
    path = cluster.kubeconfig(tmp_path, **user)
    assert listed(KubernetesConfig(kubeconfig=path), nowhere(tmp_path))["kind"] == "PodList"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("sys.exit('you are not logged in')", "you are not logged in"),
        ("print('no json')", "failed to decode process output"),
    ],
)
def test_an_exec_plugin_that_fails(cluster: FakeCluster, tmp_path: pathlib.Path, body: str, words: str) -> None:
    path = cluster.kubeconfig(tmp_path, **plugin(tmp_path, body))
    error = refusal(KubernetesConfig(kubeconfig=path), nowhere(tmp_path))
    assert error.reason is ReasonCode.KUBECONFIG_NOT_USABLE
    assert words in error.detail


def test_an_exec_plugin_that_hangs_is_ended(cluster: FakeCluster, tmp_path: pathlib.Path) -> None:
    body = f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\ntime.sleep(600)"
    path = cluster.kubeconfig(tmp_path, **plugin(tmp_path, body))
    error = refusal(KubernetesConfig(kubeconfig=path, call_timeout_seconds=2.0), nowhere(tmp_path))
    assert error.reason is ReasonCode.KUBECONFIG_NOT_USABLE
    assert "exec plugin hangs" in error.detail
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: None if _alive(pid) else True, Deadline.after(20))


def _alive(pid: int) -> bool:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_an_api_server_that_refuses_connections(tmp_path: pathlib.Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        address = f"http://127.0.0.1:{held.getsockname()[1]}"
    error = refusal(KubernetesConfig(api_server=ApiServer(url=address)), nowhere(tmp_path))
    assert error.reason is ReasonCode.KUBERNETES_UNREACHABLE
    assert address in error.detail
    assert "Connection refused" in error.detail


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_api_server_that_hangs(tmp_path: pathlib.Path, scheme: str) -> None:
    """Over https it hangs in the TLS handshake."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        config = KubernetesConfig(
            api_server=ApiServer(url=f"{scheme}://127.0.0.1:{deaf.getsockname()[1]}"), call_timeout_seconds=0.3
        )
        error = refusal(config, nowhere(tmp_path), seconds=2.0)
    assert error.reason is ReasonCode.KUBERNETES_UNREACHABLE


def test_a_proxy_that_answers_html(cluster: FakeCluster, tmp_path: pathlib.Path) -> None:
    page = b"<html><title>Please log in</title></html>"
    cluster.faults.append(Fault("GET", "/pods", status=200, body=page, headers={"Content-Type": "text/html"}, times=3))
    error = refusal(KubernetesConfig(kubeconfig=cluster.kubeconfig(tmp_path)), nowhere(tmp_path))
    assert error.reason is ReasonCode.KUBERNETES_UNREACHABLE
    assert "text/html" in error.detail
    assert "Please log in" in error.detail


@pytest.mark.parametrize("status", ["Failure", "Success"])
def test_a_status_object_with_200(cluster: FakeCluster, tmp_path: pathlib.Path, status: str) -> None:
    body = b'{"kind": "Status", "status": "%s", "code": 403, "message": "no", "reason": "Forbidden"}' % status.encode()
    cluster.faults.append(Fault("GET", "/pods", status=200, body=body, times=3))
    error = refusal(KubernetesConfig(kubeconfig=cluster.kubeconfig(tmp_path)), nowhere(tmp_path))
    assert error.reason in (ReasonCode.POD_REFUSED, ReasonCode.KUBERNETES_UNREACHABLE)
    assert ("Forbidden: no" if status == "Failure" else "a Status object") in error.detail


@pytest.mark.parametrize("status", [429, 500, 503, 504, 0])
def test_what_is_tried_again(cluster: FakeCluster, tmp_path: pathlib.Path, status: int) -> None:
    cluster.faults.append(Fault("GET", "/pods", status=status, times=2, headers={"Retry-After": "0"}))
    assert listed(KubernetesConfig(kubeconfig=cluster.kubeconfig(tmp_path)), nowhere(tmp_path))["kind"] == "PodList"
    assert len(cluster.requests) == 3


@pytest.mark.parametrize("status", [400, 404, 409, 422])
def test_what_is_final(cluster: FakeCluster, tmp_path: pathlib.Path, status: int) -> None:
    cluster.faults.append(Fault("GET", "/pods", status=status, times=2))
    refusal(KubernetesConfig(kubeconfig=cluster.kubeconfig(tmp_path)), nowhere(tmp_path))
    assert len(cluster.requests) == 1


# ------------------------------------------------------------------ who am I


def service_account(cluster: FakeCluster, directory: pathlib.Path, namespace: str = "ml") -> Surroundings:
    """The surroundings of a pod: what a service account looks like from inside."""
    account = directory / "serviceaccount"
    account.mkdir()
    (account / "token").write_text("pod-token")
    (account / "namespace").write_text(namespace)
    (account / "ca.crt").write_text(pathlib.Path(cluster.ca_file).read_text())
    cluster.accounts["pod-token"] = Account("system:serviceaccount:ml:validator")
    host, _, port = cluster.url.rpartition("//")[2].partition(":")
    environment = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    return Surroundings(environment, "executor-0", frozenset({"10.1.2.3"}), "", str(account))


@pytest.fixture
def tls_cluster() -> Iterator[FakeCluster]:
    with FakeCluster(tls=True, namespaces=("ml", "default")) as cluster:
        yield cluster


def test_a_pod_uses_its_service_account_over_tls(tls_cluster: FakeCluster, tmp_path: pathlib.Path) -> None:
    here = service_account(tls_cluster, tmp_path)
    api = connect(KubernetesConfig(), here, Deadline.after(30))
    assert api.in_cluster
    assert "service account" in api.says
    assert api.call("GET", PODS, Deadline.after(30), "list")["kind"] == "PodList"
    with pytest.raises(ApiError) as caught:  # WebSockets have the same TLS and the same token
        api.websocket(f"{PODS}/p/portforward", "ports=1", ("v4.channel.k8s.io",), Deadline.after(30), "forward")
    assert caught.value.status == 404
    api.close()


def test_a_certificate_that_nobody_signed(tls_cluster: FakeCluster, tmp_path: pathlib.Path) -> None:
    error = refusal(KubernetesConfig(api_server=ApiServer(url=tls_cluster.url)), nowhere(tmp_path))
    assert error.reason is ReasonCode.KUBERNETES_UNREACHABLE
    assert "certificate verify failed" in error.detail
    (tmp_path / "token").write_text("admin-token\n")
    for more in ({"insecure_skip_tls_verify": True}, {"ca_file": tls_cluster.ca_file}):
        server = ApiServer(url=tls_cluster.url, token_file=str(tmp_path / "token"), **more)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # urllib3 warns of what the spec asks for
            assert listed(KubernetesConfig(api_server=server), nowhere(tmp_path))["kind"] == "PodList"


def test_a_token_file_is_read_again(cluster: FakeCluster, tmp_path: pathlib.Path) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    cluster.accounts["first"] = Account("me")
    cluster.accounts["second"] = Account("me")
    api = connect(
        KubernetesConfig(api_server=ApiServer(cluster.url, str(token))), nowhere(tmp_path), Deadline.after(30)
    )
    api.call("GET", PODS, Deadline.after(30), "list")
    cluster.accounts["first"].expired = True
    token.write_text("second")
    assert api.call("GET", PODS, Deadline.after(30), "list")["kind"] == "PodList"
    token.unlink()
    with pytest.raises(InfrastructureError) as caught:
        api.call("GET", PODS, Deadline.after(30), "list")
    assert caught.value.reason is ReasonCode.KUBERNETES_UNAUTHORIZED
    api.close()


def test_a_service_accounts_token_that_rotates_in_the_middle(tls_cluster: FakeCluster, tmp_path: pathlib.Path) -> None:
    """The client reads the file once a minute; the cluster may refuse the old token before that. Calls, watches and WebSockets."""
    here = service_account(tls_cluster, tmp_path)
    api = connect(KubernetesConfig(), here, Deadline.after(30))
    api.call("GET", PODS, Deadline.after(30), "list")

    def rotate(token: str) -> None:
        tls_cluster.accounts = {token: Account("system:serviceaccount:ml:validator")}
        (tmp_path / "serviceaccount" / "token").write_text(token)

    rotate("second")
    assert api.call("GET", PODS, Deadline.after(30), "list")["kind"] == "PodList"
    rotate("third")
    with api.stream(PODS, {"watch": "true", "timeoutSeconds": "0"}, "watch", 30.0) as stream:
        assert list(stream) == []
    rotate("fourth")
    with pytest.raises(ApiError) as caught:
        api.websocket(f"{PODS}/p/portforward", "ports=1", ("v4.channel.k8s.io",), Deadline.after(30), "forward")
    assert caught.value.status == 404
    assert api.calls == len(tls_cluster.requests) == 7
    api.close()


def test_credentials_are_read_anew_once_and_then_it_is_said(cluster: FakeCluster, tmp_path: pathlib.Path) -> None:
    config = KubernetesConfig(kubeconfig=cluster.kubeconfig(tmp_path))
    api = connect(config, nowhere(tmp_path), Deadline.after(30))
    api.call("GET", PODS, Deadline.after(30), "list")
    cluster.accounts.clear()
    with pytest.raises(ApiError, match="Unauthorized, also with the credentials read anew"):
        api.call("GET", PODS, Deadline.after(30), "list")
    assert len(cluster.requests) == 3
    pathlib.Path(config.kubeconfig).unlink()
    with pytest.raises(ApiError, match=r"the credentials cannot be read anew: .*config") as caught:
        api.call("GET", PODS, Deadline.after(30), "list")
    assert meaning_of(caught.value).reason is ReasonCode.KUBERNETES_UNAUTHORIZED
    api.close()


def test_an_exec_plugin_is_asked_again_when_its_token_is_refused(cluster: FakeCluster, tmp_path: pathlib.Path) -> None:
    (tmp_path / "now").write_text("first")
    status = f"{{'token': pathlib.Path({str(tmp_path / 'now')!r}).read_text()}}"
    kind = "'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'ExecCredential'"
    path = cluster.kubeconfig(tmp_path, **plugin(tmp_path, f"print(json.dumps({{{kind}, 'status': {status}}}))"))
    cluster.accounts = {"first": Account("me")}
    api = connect(KubernetesConfig(kubeconfig=path), nowhere(tmp_path), Deadline.after(30))
    api.call("GET", PODS, Deadline.after(30), "list")
    cluster.accounts = {"second": Account("me")}
    (tmp_path / "now").write_text("second")
    assert api.call("GET", PODS, Deadline.after(30), "list")["kind"] == "PodList"
    api.close()


class Dripping(threading.Thread):
    """A server that sends its answer byte by byte, without end: first ``head`` at once, then ``drop`` again and again.

    Attributes:
      over: ends the dripping.
      goes_on: what is sent between two drops, once.
    """

    def __init__(self, head: bytes, drop: bytes) -> None:
        super().__init__(daemon=True)
        self.goes_on = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._head = head
        self._drop = drop
        self.over = threading.Event()
        self.start()

    def run(self) -> None:
        while not self.over.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._drip, args=(client,), daemon=True).start()

    def _drip(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.recv(65536)
            client.sendall(self._head)
            while not self.over.wait(0.02):
                client.sendall(self._drop)
                goes_on, self.goes_on = self.goes_on, b""
                client.sendall(goes_on)

    def end(self) -> None:
        self.over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
    ],
    ids=["body", "chunks", "headers"],
)
def test_an_api_server_that_drips_does_not_stretch_a_call(tmp_path: pathlib.Path, head: bytes, drop: bytes) -> None:
    """It would take minutes or for ever: no silence is longer than a fiftieth of a second."""
    server = Dripping(head, drop)
    config = KubernetesConfig(api_server=ApiServer(url=server.url), call_timeout_seconds=0.6)
    try:
        error = refusal(config, nowhere(tmp_path), seconds=2.0)
        assert error.reason is ReasonCode.KUBERNETES_UNREACHABLE
        assert "did not end its answer within" in error.detail
        api = connect(config, nowhere(tmp_path), Deadline.after(30))
        with pytest.raises((ApiUnreachable, ApiError)):
            api.websocket(f"{PODS}/p/portforward", "ports=1", ("v4.channel.k8s.io",), Deadline.after(0.3), "forward")
        api.close()
    finally:
        server.end()


def test_an_answer_that_begins_when_nobody_waits_any_more_is_not_read(tmp_path: pathlib.Path) -> None:
    server = Dripping(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x")
    try:
        api = connect(KubernetesConfig(api_server=ApiServer(url=server.url)), nowhere(tmp_path), Deadline.after(30))
        with pytest.raises(ApiUnreachable, match="did not end its answer within"):
            api.call("GET", PODS, Deadline.after(1), "list")
        server.goes_on = b"\r\nContent-Length: 1000000\r\n\r\n"
        wait_until(lambda: not server.goes_on or None, Deadline.after(30))
        wait_until(
            lambda: all(thread.name != "bounded call" for thread in threading.enumerate()) or None, Deadline.after(30)
        )
        api.close()
    finally:
        server.end()


def test_calls_from_many_threads(cluster: FakeCluster, tmp_path: pathlib.Path) -> None:
    api: KubernetesApi = connect(
        KubernetesConfig(kubeconfig=cluster.kubeconfig(tmp_path)), nowhere(tmp_path), Deadline.after(30)
    )
    threads = [threading.Thread(target=lambda: api.call("GET", PODS, Deadline.after(30), "list")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert api.calls == 8
    api.close()
    api.close()
