"""The sidecar as a process of its own, beside a real gRPC server: gRPC health, HTTP, and its end."""

from __future__ import annotations

import contextlib
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import grpc
import pytest

from component_tests.fakes.certificates import make_certificates
from component_tests.fakes.servers.model_status_server import AVAILABLE, END, LOADING, ModelStatusServer, version
from component_tests.fakes.servers.slow_greeting import SlowGreeting
from component_tests.fakes.without_threads import without_threads
from infra_validator.protos import health_pb2 as health

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
PATIENCE = 60.0  # seconds; for a busy machine


def eventually(question: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not question():
        assert time.monotonic() < until, "it did not come true"
        time.sleep(0.01)


class Sidecar:
    """A running sidecar."""

    def __init__(self, *arguments: str) -> None:
        command = [
            sys.executable,
            "-m",
            "infra_validator",
            "probe-sidecar",
            "--grpc-listen=127.0.0.1:0",
            "--http-listen=127.0.0.1:0",
        ]
        self.process = subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self.grpc_port = int(self.line_with("gRPC").rpartition(":")[2])
        self.http_port = int(self.line_with("HTTP").rpartition(":")[2])
        self._channel = grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}")

    def line_with(self, words: str) -> str:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if words in line:
                return line.strip()
        raise AssertionError(f"no line with {words!r} in {self.lines}")

    def check(self, service: str = "") -> int:
        call = self._channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            health.HealthCheckRequest.SerializeToString,
            health.HealthCheckResponse.FromString,
        )
        return int(call(health.HealthCheckRequest(service=service), timeout=PATIENCE).status)

    def watch(self, service: str) -> Iterator[int]:
        call = self._channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            health.HealthCheckRequest.SerializeToString,
            health.HealthCheckResponse.FromString,
        )
        for response in call(health.HealthCheckRequest(service=service), timeout=PATIENCE):
            yield int(response.status)

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=PATIENCE) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        self._channel.close()
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def server() -> Iterator[ModelStatusServer]:
    with ModelStatusServer() as server:
        server.models = {"a": [version(1, AVAILABLE)], "b": [version(2, LOADING), version(1, END)]}
        yield server


@contextlib.contextmanager
def sidecar_of(*arguments: str) -> Iterator[Sidecar]:
    sidecar = Sidecar(*arguments)
    try:
        yield sidecar
    finally:
        sidecar.close()


def test_health_follows_the_models(server: ModelStatusServer) -> None:
    with sidecar_of(f"--addr=127.0.0.1:{server.port}", "--model=a", "--model=b:2") as sidecar:
        eventually(lambda: sidecar.check("a") == SERVING)
        assert [sidecar.check(name) for name in ("b", "b:2", "")] == [NOT_SERVING] * 3
        watch = sidecar.watch("b")
        everything = sidecar.watch("")
        assert (next(watch), next(everything)) == (NOT_SERVING, NOT_SERVING)
        server.models["b"] = [version(2, AVAILABLE)]
        assert (next(watch), next(everything)) == (SERVING, SERVING)
        assert sidecar.check("b:2") == SERVING
        server.models["b"] = [version(2, END, 2, "out of memory")]
        assert (next(watch), next(everything)) == (NOT_SERVING, NOT_SERVING)
        assert next(sidecar.watch("nobody's")) == SERVICE_UNKNOWN
        with pytest.raises(grpc.RpcError) as caught:
            sidecar.check("nobody's")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_http(server: ModelStatusServer) -> None:
    with sidecar_of(f"--addr=127.0.0.1:{server.port}", "--model=a", "--model=b") as sidecar:
        eventually(lambda: sidecar.get("/readyz/a")[0] == 200)
        assert sidecar.get("/healthz") == (200, "ok\n")
        assert sidecar.get("/readyz/a") == (200, "a: Servable state is AVAILABLE\n")
        assert sidecar.get("/readyz?model=b") == (503, "b: Servable state is LOADING\n")
        assert sidecar.get("/readyz") == (503, "a: Servable state is AVAILABLE\nb: Servable state is LOADING\n")
        assert sidecar.get("/readyz/c")[0] == 404
        assert sidecar.get("/")[0] == 404
        metrics = sidecar.get("/metrics")[1]
        for line in (
            'tfs_model_ready{model="a"} 1',
            'tfs_model_ready{model="b"} 0',
            'tfs_model_probe_exit_code{model="b"} 32',
            'tfs_model_versions{model="b",state="LOADING"} 1',
            'tfs_model_versions{model="b",state="END"} 1',
            "tfs_connected 1",
        ):
            assert line in metrics.splitlines()
        assert all(re.fullmatch(r"(# .*|[a-z_]+(\{[^}]*\})? [0-9.]+)", line) for line in metrics.splitlines())


def test_a_policy(server: ModelStatusServer) -> None:
    server.models["b"] = [version(2, LOADING), version(1, AVAILABLE)]
    with sidecar_of(f"--addr=127.0.0.1:{server.port}", "--model=b", "--policy=latest") as sidecar:
        sidecar.line_with("Servable state is LOADING")
        assert sidecar.check("b") == NOT_SERVING
        server.models["b"] = [version(2, AVAILABLE), version(1, AVAILABLE)]
        eventually(lambda: sidecar.check("b") == SERVING)


def test_a_label(server: ModelStatusServer) -> None:
    with sidecar_of(f"--addr=127.0.0.1:{server.port}", "--model=a@stable") as sidecar:
        sidecar.line_with("No version is served under label stable")
        server.labels["a", "stable"] = 1
        eventually(lambda: sidecar.check("a") == SERVING)
        assert sidecar.check("a@stable") == SERVING


def test_a_server_that_comes_goes_and_comes_back(tmp_path: pathlib.Path) -> None:
    address = f"unix:{tmp_path}/tfs.sock"
    with sidecar_of(f"--addr={address}", "--model=a") as sidecar:
        sidecar.line_with("No connection")
        assert sidecar.check("a") == NOT_SERVING
        for _ in range(2):
            with ModelStatusServer(address=address) as server:
                server.models = {"a": [version(1, AVAILABLE)]}
                eventually(lambda: sidecar.check("a") == SERVING)
            eventually(lambda: sidecar.check("a") == NOT_SERVING)
        assert "tfs_connected 0" in sidecar.get("/metrics")[1]


def test_a_server_that_hangs_is_not_ready(server: ModelStatusServer) -> None:
    with sidecar_of(f"--addr=127.0.0.1:{server.port}", "--model=a", "--rpc-timeout=200ms") as sidecar:
        eventually(lambda: sidecar.check("a") == SERVING)
        server.delay = 20
        eventually(lambda: sidecar.check("a") == NOT_SERVING)
        assert sidecar.get("/healthz")[0] == 200
        server.delay = 0
        eventually(lambda: sidecar.check("a") == SERVING)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("seconds", [0.15, 1.0, 2.5])
def test_a_server_that_greets_late_is_found(seconds: float, tls: bool, tmp_path: pathlib.Path) -> None:
    credentials, flags = None, []
    if tls:
        make_certificates(tmp_path)
        pair = ((tmp_path / "server.key").read_bytes(), (tmp_path / "server.pem").read_bytes())
        credentials = grpc.ssl_server_credentials([pair])
        flags = ["--tls", "--tls-server-name=localhost", f"--tls-ca-cert={tmp_path}/ca.pem"]
    with ModelStatusServer(credentials=credentials) as server, SlowGreeting(server.port, seconds) as slow:
        server.models = {"a": [version(1, AVAILABLE)]}
        with sidecar_of(f"--addr=127.0.0.1:{slow.port}", "--model=a", "--connect-timeout=20s", *flags) as sidecar:
            eventually(lambda: sidecar.check("a") == SERVING)


def test_both_families_are_listened_on_by_default(server: ModelStatusServer) -> None:
    with sidecar_of(f"--addr=127.0.0.1:{server.port}", "--model=a", "--grpc-listen=:0", "--http-listen=:0") as sidecar:
        eventually(lambda: sidecar.check("a") == SERVING)
        assert sidecar.get("/readyz")[0] == 200
        for port in (sidecar.grpc_port, sidecar.http_port):
            for host in ("127.0.0.1", "::1"):
                socket.create_connection((host, port), timeout=PATIENCE).close()


def test_a_call_that_hangs_does_not_hold_up_the_end(server: ModelStatusServer) -> None:
    server.delay = 1000
    with sidecar_of(f"--addr=127.0.0.1:{server.port}", "--model=a", "--rpc-timeout=1000s") as sidecar:
        eventually(lambda: server.calls == 1)
        assert sidecar.stop() == 0


def test_no_thread_is_to_be_had() -> None:
    command = [sys.executable, "-m", "infra_validator", "probe-sidecar", "--grpc-listen=", "--http-listen=127.0.0.1:0"]
    done = subprocess.run(without_threads(command), capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 3, done.stderr
    assert (
        "Cannot start: no thread can be started (can't start new thread); raise the limit of processes" in done.stderr
    )
    assert "Traceback" not in done.stderr


def test_rotated_certificates_count(tmp_path: pathlib.Path) -> None:
    first, second, used = (tmp_path / name for name in ("first", "second", "used"))
    for folder in (first, second):
        folder.mkdir()
        make_certificates(folder)
    shutil.copytree(first, used)

    def server_with(folder: pathlib.Path) -> ModelStatusServer:
        pair = ((folder / "server.key").read_bytes(), (folder / "server.pem").read_bytes())
        ca = (folder / "ca.pem").read_bytes()
        server = ModelStatusServer(
            address=f"unix:{tmp_path}/tfs.sock",
            credentials=grpc.ssl_server_credentials([pair], ca, require_client_auth=True),
        )
        server.models = {"a": [version(1, AVAILABLE)]}
        return server

    flags = [
        f"--tls-ca-cert={used}/ca.pem",
        f"--tls-client-cert={used}/client.pem",
        f"--tls-client-key={used}/client.key",
    ]
    with sidecar_of(
        f"--addr=unix:{tmp_path}/tfs.sock", "--model=a", "--tls", "--tls-server-name=localhost", *flags
    ) as sidecar:
        with server_with(first):
            eventually(lambda: sidecar.check("a") == SERVING)
        with server_with(second):
            sidecar.line_with("No connection")
            for name in ("ca.pem", "client.pem", "client.key"):
                shutil.copy(second / name, used / f"{name}.new")
                (used / f"{name}.new").rename(used / name)
            eventually(lambda: sidecar.check("a") == SERVING)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_its_end(server: ModelStatusServer, number: int) -> None:
    with sidecar_of(f"--addr=127.0.0.1:{server.port}", "--model=a") as sidecar:
        eventually(lambda: sidecar.check("a") == SERVING)
        watch = sidecar.watch("a")
        assert next(watch) == SERVING
        assert sidecar.stop(number) == 0
        assert list(watch) == [NOT_SERVING]


def test_a_port_in_use(server: ModelStatusServer) -> None:
    place = f"127.0.0.1:{server.port}"
    for flags in ([f"--grpc-listen={place}", "--http-listen="], [f"--http-listen={place}", "--grpc-listen="]):
        done = subprocess.run(
            [sys.executable, "-m", "infra_validator", "probe-sidecar", *flags],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 3
        assert "Cannot listen" in done.stderr
        assert "Traceback" not in done.stderr


def test_many_watches_leave_room_for_checks(server: ModelStatusServer) -> None:
    with sidecar_of(f"--addr=127.0.0.1:{server.port}", "--model=a") as sidecar:
        eventually(lambda: sidecar.check("a") == SERVING)
        watches = [sidecar.watch("a") for _ in range(100)]
        assert [next(watch) for watch in watches] == [SERVING] * 100
        with pytest.raises(grpc.RpcError) as caught:
            next(sidecar.watch("a"))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert sidecar.check("a") == SERVING
        del watches  # cancels them
        eventually(lambda: can_watch(sidecar))


def can_watch(sidecar: Sidecar) -> bool:
    try:
        return next(sidecar.watch("a")) == SERVING
    except grpc.RpcError:
        return False


def test_checks_take_no_memory(server: ModelStatusServer) -> None:
    def resident() -> int:
        status = pathlib.Path(f"/proc/{sidecar.process.pid}/status").read_text()
        return int(status[status.index("VmRSS:") :].split()[1])

    with sidecar_of(f"--addr=127.0.0.1:{server.port}", "--model=a") as sidecar:
        for _ in range(500):
            sidecar.check("")
            sidecar.get("/metrics")
        before = resident()
        for _ in range(2000):
            sidecar.check("")
        assert resident() - before < 4096, "KiB"


def test_clients_that_talk_nonsense(server: ModelStatusServer) -> None:
    with sidecar_of(f"--addr=127.0.0.1:{server.port}", "--model=a") as sidecar:
        eventually(lambda: sidecar.check("a") == SERVING)
        for port in (sidecar.http_port, sidecar.grpc_port):
            for octets in (
                b"",
                b"\0" * 100,
                b"GET",
                b"GET / HTTP/9.9\r\n\r\n",
                b"POST /readyz HTTP/1.1\r\n\r\n",
                b"GET /" + b"x" * 100_000,
            ):
                with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
                    client.sendall(octets)
        assert sidecar.get("/readyz/%00%ff%F0%9F%98%80")[0] == 404
        assert sidecar.get("/readyz?model=%22%0a")[0] == 404
        with socket.create_connection(("127.0.0.1", sidecar.http_port), timeout=PATIENCE) as client:
            client.sendall(b"GET http://[ HTTP/1.0\r\n\r\n")
            assert client.makefile("rb").readline().split()[1] == b"400"
        assert sidecar.check("a") == SERVING
        assert sidecar.get("/readyz")[0] == 200
        assert sidecar.stop() == 0
        assert sidecar.process.stderr is not None
        assert "Traceback" not in sidecar.process.stderr.read()
