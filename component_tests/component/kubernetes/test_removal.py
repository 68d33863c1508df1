"""The pod of a validator that is gone: deleted without the official client where that is enough, by it where it is not."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import pathlib
import ssl
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from component_tests.component.kubernetes.jobs import SECONDS, Jobs, jobs_in
from component_tests.component.kubernetes.test_connection import nowhere, plugin
from component_tests.fakes.certificates import make_certificates
from component_tests.fakes.kubernetes_api import Account, FakeCluster, Fault
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.model_server_runners.cleanup.watchdog import Watchdog
from infra_validator.model_server_runners.kubernetes import removal
from infra_validator.model_server_runners.kubernetes.api.client import connect
from infra_validator.model_server_runners.kubernetes.leftovers import undo_command
from infra_validator.specs import KubernetesConfig

POD = "infra-validator-5f"


def told(directory: pathlib.Path, kubeconfig: str, proxy: str = "") -> tuple[list[str], str]:
    """What the watchdog of a validator with this kubeconfig is told."""
    config, here = KubernetesConfig(kubeconfig=kubeconfig), nowhere(directory)
    access = connect(config, here, Deadline.after(SECONDS)).access
    access.configuration.proxy = proxy or access.configuration.proxy
    return undo_command(access, config, "default", POD, here)


def undone(command: list[str], words: str) -> None:
    """As after the validator's death. The command itself ends soon, whatever the API server does."""
    watchdog = Watchdog()
    watchdog.run(command, words)
    watchdog.close(SECONDS)


def without_client(words: str) -> str:
    """The same words, with nobody to turn to."""
    return json.dumps({**json.loads(words), "otherwise": ["/bin/false"]})


def add_pod(cluster: FakeCluster) -> None:
    cluster.add_pod_object(
        {"metadata": {"name": POD, "namespace": "default"}, "spec": {"containers": [{"name": "main"}]}}
    )


@pytest.fixture(params=[False, True], ids=["http", "tls"])
def jobs(tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> Iterator[Jobs]:
    yield from jobs_in(tmp_path, tls=request.param)


@pytest.mark.parametrize("when", ["at once", "while it is away", "before it is there"])
def test_it_takes_no_official_client(jobs: Jobs, tmp_path: pathlib.Path, when: str) -> None:
    command, words = told(tmp_path, jobs.kubeconfig)
    away = Fault("DELETE", "/pods/", status=0, times=5)
    if when == "while it is away":
        jobs.cluster.faults += [away, Fault("DELETE", "/pods/", status=503, times=5)]
    if when != "before it is there":
        add_pod(jobs.cluster)
    undone(command, without_client(words))
    if when == "before it is there":  # its creation was on its way when its maker died
        jobs.cluster.wait_for(lambda: any(method == "DELETE" for method, _ in jobs.cluster.requests), SECONDS)
        add_pod(jobs.cluster)
    jobs.cluster.wait_for(lambda: not jobs.cluster.pods(), SECONDS)
    assert when != "while it is away" or away.times == 0


def test_credentials_that_are_refused_by_now_are_read_anew(jobs: Jobs, tmp_path: pathlib.Path) -> None:
    command, words = told(tmp_path, jobs.kubeconfig)
    jobs.cluster.accounts["renewed"] = jobs.cluster.accounts.pop("admin-token")
    jobs.cluster.accounts["admin-token"] = Account("me", expired=True)
    jobs.cluster.kubeconfig(tmp_path, token="renewed")
    add_pod(jobs.cluster)
    undone(command, words)
    jobs.cluster.wait_for(lambda: not jobs.cluster.pods(), SECONDS)


def test_the_token_of_an_exec_plugin_is_asked_for_once(jobs: Jobs, tmp_path: pathlib.Path) -> None:
    answer = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "admin-token"},
    }
    path = jobs.cluster.kubeconfig(tmp_path, name="plugged", **plugin(tmp_path, f"print(json.dumps({answer!r}))"))
    command, words = told(tmp_path, path)
    add_pod(jobs.cluster)
    undone(command, without_client(words))
    jobs.cluster.wait_for(lambda: not jobs.cluster.pods(), SECONDS)


def test_a_proxy_is_left_to_the_official_client(tmp_path: pathlib.Path) -> None:
    with FakeCluster() as cluster:
        command, words = told(tmp_path, cluster.kubeconfig(tmp_path), proxy="http://proxy.example.com:3128")
    assert json.loads(words)["pod"] == ""
    left_to_the_official_client(command, words, tmp_path)


def test_a_certificate_that_is_not_believed_is_left_to_the_official_client(tmp_path: pathlib.Path) -> None:
    certificates = make_certificates(tmp_path)
    words = {
        "pod": "",
        "authorization": "",
        "tls": {"verify": True, "ca": "", "ca_file": "", "certificate": ""},
        "seconds": SECONDS,
    }
    with strict_server(certificates) as (url, deleted):
        command = [sys.executable, "-I", "-S", removal.__file__, POD]
        left_to_the_official_client(command, json.dumps({**words, "pod": f"{url}/api/v1/pods/{POD}"}), tmp_path)
    assert deleted == []


def left_to_the_official_client(command: list[str], words: str, directory: pathlib.Path) -> None:
    came = directory / "came"
    otherwise = [sys.executable, "-c", f"open({str(came)!r}, 'w')"]
    undone(command, json.dumps({**json.loads(words), "otherwise": otherwise}))
    wait_until(lambda: came.exists() or None, Deadline.after(SECONDS))


@contextlib.contextmanager
def strict_server(certificates: pathlib.Path) -> Iterator[tuple[str, list[Any]]]:
    """An API server that knows its callers by their certificates alone: its address, and who deleted what."""
    deleted: list[Any] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_DELETE(self) -> None:
            subject = self.connection.getpeercert()["subject"]
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            deleted.append((subject, self.path, body["gracePeriodSeconds"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates / "ca.pem"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}", deleted
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("inline", [True, False], ids=["in the kubeconfig", "in files"])
def test_a_client_certificate(tmp_path: pathlib.Path, inline: bool) -> None:
    certificates = make_certificates(tmp_path)

    def given(field: str, name: str) -> str:
        content = base64.b64encode((certificates / name).read_bytes()).decode()
        return f"{field}-data: {content}" if inline else f"{field}: {certificates / name}"

    with strict_server(certificates) as (url, deleted):
        path = tmp_path / "kubeconfig"
        user = f"{given('client-certificate', 'client.pem')}, {given('client-key', 'client.key')}"
        path.write_text(
            "current-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n"
            f"clusters: [{{name: a, cluster: {{server: '{url}', {given('certificate-authority', 'ca.pem')}}}}}]\n"
            f"users: [{{name: a, user: {{{user}}}}}]\n"
        )
        command, words = told(tmp_path, str(path))
        undone(command, without_client(words))
        wait_until(lambda: deleted or None, Deadline.after(SECONDS))
    assert deleted == [(((("commonName", "client"),),), f"/api/v1/namespaces/default/pods/{POD}", 0)]


def test_nothing_secret_is_on_the_command_line(jobs: Jobs, tmp_path: pathlib.Path) -> None:
    command, words = told(tmp_path, jobs.kubeconfig)
    assert "admin-token" in words
    assert "admin-token" not in json.dumps([command, json.loads(words)["otherwise"]])
