"""The connection to a daemon, with something in the daemon's place that only tells its version."""

from __future__ import annotations

import contextlib
import http.server
import os
import pathlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from typing import ClassVar

import pytest

from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_runners.local_docker.daemon import DockerDaemon
from infra_validator.specs import LocalDockerConfig


class TellsItsVersion(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer(200, b'{"ApiVersion": "1.41", "Version": "20.10.24"}')

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def address_string(self) -> str:
        return "somebody"


class RemovesOnAnothersBehalf(TellsItsVersion):
    """Somebody else's removal is in progress; each look at the container takes one of ``looks``, and it is gone after the last one."""

    looks: ClassVar[list[int]] = []

    def do_GET(self) -> None:
        if "/containers/" not in self.path:
            super().do_GET()
        elif self.looks:
            self.looks.pop()
            self.answer(200, b'{"Id": "c", "State": {"Status": "removing"}}')
        else:
            self.answer(404, b'{"message": "No such container: c"}')

    def do_DELETE(self) -> None:
        self.answer(409, b'{"message": "removal of container c is already in progress"}')


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@contextlib.contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment whose proxies lead nowhere."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, nowhere)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


def version_of(url: str) -> str:
    deadline = Deadline.after(30)
    with contextlib.closing(DockerDaemon(LocalDockerConfig(client_base_url=url), deadline)) as daemon:
        return str(daemon.version(deadline)["Version"])


@pytest.mark.usefixtures("proxied")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_daemon_on_this_machine_is_not_asked_for_through_a_proxy(host: str) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), TellsItsVersion)
    with serving(server):
        assert version_of(f"tcp://{host}:{server.server_port}") == "20.10.24"


@pytest.mark.usefixtures("proxied")
def test_a_unix_socket_knows_no_proxy(tmp_path: pathlib.Path) -> None:
    with serving(UnixServer(str(tmp_path / "docker.sock"), TellsItsVersion)):
        assert version_of(f"unix://{tmp_path}/docker.sock") == "20.10.24"


@pytest.mark.filterwarnings("error")
def test_a_daemon_that_goes_away_leaves_no_socket_open(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "docker.sock"
    before = len(os.listdir("/proc/self/fd"))
    with serving(UnixServer(str(path), TellsItsVersion)):
        daemon = DockerDaemon(LocalDockerConfig(client_base_url=f"unix://{path}"), Deadline.after(30))
    for here in (True, False):  # nobody listens; nothing is there
        if not here:
            path.unlink()
        with pytest.raises(InfrastructureError) as caught:
            daemon.version(Deadline.after(30))
        assert caught.value.reason is ReasonCode.DOCKER_NOT_RUNNING
        assert caught.value.detail.endswith("refused." if here else "No such file or directory.")
        assert len(os.listdir("/proc/self/fd")) == before  # while the error is still held
    daemon.close()


def test_what_somebody_else_is_removing_is_waited_for(tmp_path: pathlib.Path) -> None:
    """A killed validator's watchdog and its next validation may remove the same container; done is done when it is gone."""
    path = tmp_path / "docker.sock"
    with serving(UnixServer(str(path), RemovesOnAnothersBehalf)):
        config = LocalDockerConfig(client_base_url=f"unix://{path}")
        with contextlib.closing(DockerDaemon(config, Deadline.after(30))) as daemon:
            RemovesOnAnothersBehalf.looks[:] = [0] * 3
            assert daemon.remove_container("c", Deadline.after(30)) is False
            assert RemovesOnAnothersBehalf.looks == []
            RemovesOnAnothersBehalf.looks[:] = [0] * 10_000
            with pytest.raises(InfrastructureError, match="removed by somebody else"):
                daemon.remove_container("c", Deadline.after(0.3))


@pytest.mark.usefixtures("proxied")
def test_a_daemon_elsewhere_is_asked_for_through_the_proxy() -> None:
    with pytest.raises(InfrastructureError) as caught:
        version_of("tcp://192.0.2.77:2375")
    assert caught.value.reason is ReasonCode.DOCKER_NOT_RUNNING
    assert "refused" in caught.value.detail  # by the proxy, which is not there
