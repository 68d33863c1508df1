"""The probe against a real gRPC server: one test body over both transports, the original's corners, and what goes beyond it."""

from __future__ import annotations

import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator

import grpc
import pytest

from component_tests.fakes.certificates import make_certificates
from component_tests.fakes.servers.model_status_server import AVAILABLE, END, LOADING, START, ModelStatusServer, version
from component_tests.fakes.servers.slow_greeting import SlowGreeting
from infra_validator.probe.command import main
from infra_validator.protos import tensorflow_serving_pb2 as serving

pytestmark = pytest.mark.parametrize("transport", ["own", "grpcio"])


@pytest.fixture
def server() -> Iterator[ModelStatusServer]:
    with ModelStatusServer() as server:
        server.models["m"] = [version(2, AVAILABLE), version(1, END)]
        yield server


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def tls_server(certificates: pathlib.Path, *, client_needed: bool = False) -> ModelStatusServer:
    pair = ((certificates / "server.key").read_bytes(), (certificates / "server.pem").read_bytes())
    credentials = grpc.ssl_server_credentials(
        [pair], root_certificates=(certificates / "ca.pem").read_bytes(), require_client_auth=client_needed
    )
    server = ModelStatusServer(credentials=credentials)
    server.models["m"] = [version(2, AVAILABLE)]
    return server


class Run:
    """Runs the probe against a server in this process."""

    def __init__(self, transport: str, capfd: pytest.CaptureFixture[str]) -> None:
        self._transport = transport
        self._capfd = capfd
        self.out = ""
        self.err = ""

    def __call__(self, address: str, *arguments: str) -> int:
        code = main([f"-addr={address}", "-connect-timeout=10s", f"-transport={self._transport}", *arguments])
        self.out, self.err = self._capfd.readouterr()
        assert "Traceback" not in self.err
        return code


@pytest.fixture
def probe(transport: str, capfd: pytest.CaptureFixture[str]) -> Run:
    return Run(transport, capfd)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["-model-name=m"], 0),
        (["-model-name=m", "-model-version=2"], 0),
        (["-model-name=m", "-model-version=1"], 34),
        (["-model-name=m", "-model-version=3"], 12),
        (["-model-name=other"], 10),
        (["-model-name="], 10),
        (["-model-name=empty"], 11),
        (["-model-name=new"], 100),
        (["-model-name=failed"], 34),
        (["-model-name=failed", "--distinguish-failed"], 35),
        (["-model-name=loading"], 0),
        (["-model-name=loading", "--policy=latest"], 32),
        (["-model-name=m", "-rpc-timeout=0"], 3),
        (["-model-name=m", "-connect-timeout=0"], 2),
        (["--model=m", "--model=m:2"], 0),
        (["--model=m", "--model=other", "--model=m:1"], 10),
        (["-model-name=m", "--version-label=stable"], 0),
        (["-model-name=m", "--version-label=old"], 34),
        (["-model-name=m", "--version-label=none"], 12),
        (["-model-name=other", "--version-label=stable"], 10),
    ],
)
def test_the_exit_code(server: ModelStatusServer, probe: Run, arguments: list[str], code: int) -> None:
    server.models |= {
        "empty": [],
        "new": [version(1, 77)],
        "failed": [version(1, END, 5, "no such file")],
        "loading": [version(2, LOADING), version(1, AVAILABLE)],
    }
    server.labels = {("m", "stable"): 2, ("m", "old"): 1}
    assert probe(f"127.0.0.1:{server.port}", *arguments) == code, probe.err


def test_the_log_is_the_originals(server: ModelStatusServer, probe: Run) -> None:
    server.models["m"] = [version(123, AVAILABLE)]
    assert probe(f"127.0.0.1:{server.port}", "-model-name=m") == 0
    lines = probe.err.splitlines()
    assert re.fullmatch(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d ", lines[0][:20])
    assert [line[20:] for line in lines] == [
        "ModelStatusResponse: model_version_status:{version:123 state:AVAILABLE status:{}}",
        "Servable state is AVAILABLE",
    ]
    assert probe(f"127.0.0.1:{server.port}", "-model-name=no-such-model") == 10
    assert [line[20:] for line in probe.err.splitlines()] == [
        "ModelStatusResponse: <nil>",
        "Model not found: rpc error: code = NotFound desc = Could not find any versions of model no-such-model",
    ]


def test_the_deadline_of_the_call(server: ModelStatusServer, probe: Run) -> None:
    server.delay = 30
    assert probe(f"127.0.0.1:{server.port}", "-model-name=m", "-rpc-timeout=200ms") == 3
    assert "Error calling tfs: rpc error: code = DeadlineExceeded desc = " in probe.err  # the server may say so first


def test_a_server_without_the_service(probe: Run) -> None:
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    assert probe(f"127.0.0.1:{port}", "-model-name=m") == 3
    assert "code = Unimplemented" in probe.err
    server.stop(None).wait()


def test_a_refused_port_ends_with_the_connect_timeout(probe: Run) -> None:
    began = time.monotonic()
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # held and not listening: refused, and nobody else's
        assert probe(f"127.0.0.1:{held.getsockname()[1]}", "-connect-timeout=300ms") == 2
    assert time.monotonic() - began >= 0.3
    assert "Error dialing grpc service: context deadline exceeded" in probe.err


def test_a_server_that_comes_up_within_the_time_is_found(probe: Run, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "socket"
    server = ModelStatusServer(address=f"unix:{tmp_path}/other")
    server.models["m"] = [version(1, AVAILABLE)]
    with server:
        timer = threading.Timer(0.3, lambda: (tmp_path / "other").rename(path))
        timer.start()
        assert probe(f"unix:{path}", "-model-name=m", "-connect-timeout=30s") == 0, probe.err
        timer.join()


def test_names_that_do_not_resolve(probe: Run) -> None:
    assert probe("no-such-host.invalid:8500", "-connect-timeout=400ms") == 2
    assert "Error dialing grpc service: context deadline exceeded" in probe.err


@pytest.mark.parametrize("host", ["", "localhost", "0.0.0.0", "127.0.0.1", "dns:///localhost"])
def test_addresses_of_this_machine(server: ModelStatusServer, probe: Run, host: str) -> None:
    assert probe(f"{host}:{server.port}", "-model-name=m") == 0, probe.err


def test_ipv6_in_brackets(probe: Run) -> None:
    try:
        server = ModelStatusServer(address="[::1]:0")
    except RuntimeError:
        pytest.skip("this machine has no IPv6 loopback")
    server.models["m"] = [version(1, AVAILABLE)]
    with server:
        assert probe(f"[::1]:{server.port}", "-model-name=m") == 0, probe.err


def test_a_unix_socket(probe: Run, tmp_path: pathlib.Path) -> None:
    server = ModelStatusServer(address=f"unix:{tmp_path}/tfs.sock")
    server.models["m"] = [version(1, AVAILABLE)]
    with server:
        assert probe(f"unix:{tmp_path}/tfs.sock", "-model-name=m") == 0, probe.err


def test_the_user_agent(server: ModelStatusServer, probe: Run) -> None:
    assert probe(f"127.0.0.1:{server.port}", "-model-name=m", "--user-agent=kubelet-probe/7") == 0
    assert str(server.metadata["user-agent"]).startswith("kubelet-probe/7")


def test_json(server: ModelStatusServer, probe: Run) -> None:
    server.models["bad"] = [version(3, END, 5, "no 'file'\n"), version(2, LOADING), version(1, END)]
    assert probe(f"127.0.0.1:{server.port}", "--model=m", "--model=bad:3", "--output=json") == 34
    report = json.loads(probe.out)
    assert (report["exit_code"], report["result"]) == (34, "STATE_END")
    assert [(model["model"], model["version"], model["exit_code"]) for model in report["models"]] == [
        ("m", None, 0),
        ("bad", 3, 34),
    ]
    assert report["models"][1]["versions"][0] == {
        "version": 3,
        "state": "END",
        "ended": "failed",
        "error_code": "NOT_FOUND",
        "error_message": "no 'file'\n",
    }
    assert [status["ended"] for status in report["models"][1]["versions"]] == ["failed", None, "retired"]
    assert r"Version 3: NOT_FOUND: no 'file'\n" in probe.err


def test_json_without_a_server(probe: Run) -> None:
    assert probe("127.0.0.1:1", "-connect-timeout=0", "--output=json") == 2
    report = json.loads(probe.out)
    assert (report["exit_code"], report["result"]) == (2, "NOT_CONNECTED")
    assert "context deadline exceeded" in report["models"][0]["message"]


def test_wait_until_the_model_is_available(server: ModelStatusServer, probe: Run) -> None:
    server.models["m"] = [version(1, START)]

    def load() -> None:
        server.wait_for_calls(2)
        server.models["m"] = [version(1, LOADING)]
        server.wait_for_calls(2)
        server.models["m"] = [version(1, AVAILABLE)]

    loading = threading.Thread(target=load)
    loading.start()
    assert probe(f"127.0.0.1:{server.port}", "-model-name=m", "--wait=60s") == 0
    loading.join()
    said = [line[20:] for line in probe.err.splitlines() if "Servable" in line]
    assert said == ["Servable state is START", "Servable state is LOADING", "Servable state is AVAILABLE"]


def test_wait_ends_with_the_last_state(server: ModelStatusServer, probe: Run) -> None:
    server.models["m"] = [version(1, LOADING)]
    assert probe(f"127.0.0.1:{server.port}", "-model-name=m", "--wait=8s") == 32


def test_the_end_of_the_wait_cuts_a_question_short_and_the_state_before_it_stays(
    server: ModelStatusServer, probe: Run
) -> None:
    server.models["m"] = [version(1, LOADING)]

    def falls_silent() -> None:
        server.wait_for_calls(2)
        server.delay = 300.0

    falling_silent = threading.Thread(target=falls_silent)
    falling_silent.start()
    assert probe(f"127.0.0.1:{server.port}", "-model-name=m", "-rpc-timeout=250s", "--wait=8s") == 32
    falling_silent.join()


def test_wait_ends_at_once_when_the_version_failed(server: ModelStatusServer, probe: Run) -> None:
    server.models["m"] = [version(1, END, 2, "broken")]
    began = time.monotonic()
    assert probe(f"127.0.0.1:{server.port}", "-model-name=m", "--wait=120s") == 34
    assert time.monotonic() - began < 60


def test_a_sample_request(server: ModelStatusServer, probe: Run, tmp_path: pathlib.Path) -> None:
    sample = serving.PredictRequest(
        model_spec=serving.ModelSpec(name="file's", signature_name="s"), output_filter=["y"]
    )
    (tmp_path / "request.pb").write_bytes(sample.SerializeToString())
    arguments = [f"127.0.0.1:{server.port}", "-model-name=m", "-model-version=2", f"--infer={tmp_path}/request.pb"]
    assert probe(*arguments) == 0
    request = server.requests[0]
    spec = request.model_spec
    assert (spec.name, spec.version.value, spec.signature_name, list(request.output_filter)) == ("m", 2, "s", ["y"])
    server.predict_code = grpc.StatusCode.FAILED_PRECONDITION
    assert probe(*arguments) == 40
    assert "Sample request failed: rpc error: code = FailedPrecondition desc = no prediction today" in probe.err


def test_a_large_sample_request(server: ModelStatusServer, probe: Run, tmp_path: pathlib.Path) -> None:
    """Larger than HTTP/2's first window."""
    sample = serving.PredictRequest(output_filter=["y" * 1000] * 1000)
    (tmp_path / "request.pb").write_bytes(sample.SerializeToString())
    assert probe(f"127.0.0.1:{server.port}", "-model-name=m", f"--infer={tmp_path}/request.pb") == 0, probe.err
    assert len(server.requests[0].output_filter) == 1000


def test_a_long_answer(server: ModelStatusServer, probe: Run) -> None:
    server.models["m"] = [version(number, END, 2, "e" * 1000) for number in range(2000, 1, -1)] + [
        version(1, AVAILABLE)
    ]
    assert probe(f"127.0.0.1:{server.port}", "-model-name=m") == 0
    assert len(probe.err) < 2100 * 1100


def test_tls(certificates: pathlib.Path, probe: Run) -> None:
    with tls_server(certificates) as server:
        address, ca = f"127.0.0.1:{server.port}", f"--tls-ca-cert={certificates}/ca.pem"
        assert probe(address, "-model-name=m", "--tls", ca) == 0, probe.err
        assert probe(address, "-model-name=m", "--tls", ca, "--tls-server-name=tfs.example") == 0, probe.err
        assert probe(address, "-model-name=m", "--tls", ca, "--tls-server-name=other", "-connect-timeout=500ms") == 2
        assert probe(address, "-model-name=m", "--tls", "-connect-timeout=500ms") == 2, "a CA that nobody trusts"
        assert probe(address, "-model-name=m", "-connect-timeout=500ms") == 2, "plain text"


def test_mutual_tls(certificates: pathlib.Path, probe: Run) -> None:
    with tls_server(certificates, client_needed=True) as server:
        arguments = [f"127.0.0.1:{server.port}", "-model-name=m", "--tls", f"--tls-ca-cert={certificates}/ca.pem"]
        client = [f"--tls-client-cert={certificates}/client.pem", f"--tls-client-key={certificates}/client.key"]
        assert probe(*arguments, *client) == 0, probe.err
        assert probe(*arguments, "-connect-timeout=500ms", "-rpc-timeout=500ms") in (2, 3), "without a certificate"


def test_tls_to_a_server_without(server: ModelStatusServer, probe: Run) -> None:
    assert probe(f"127.0.0.1:{server.port}", "-model-name=m", "--tls", "-connect-timeout=500ms") == 2


def test_files_of_tls_are_read_anew_while_waiting(
    certificates: pathlib.Path, probe: Run, tmp_path: pathlib.Path
) -> None:
    other = make_certificates(tmp_path)
    used = tmp_path / "used.pem"
    shutil.copy(other / "ca.pem", used)

    def rotate() -> None:
        shutil.copy(certificates / "ca.pem", tmp_path / "new.pem")
        (tmp_path / "new.pem").rename(used)

    with tls_server(certificates) as server:
        timer = threading.Timer(0.5, rotate)
        timer.start()
        flags = ["-model-name=m", "--tls", f"--tls-ca-cert={used}", "-connect-timeout=1s", "--wait=60s"]
        assert probe(f"127.0.0.1:{server.port}", *flags) == 0, probe.err
        timer.join()


def test_the_longest_timeouts_are_no_trouble(server: ModelStatusServer, probe: Run) -> None:
    longest = "2562047h47m16.854775807s"
    assert (
        probe(f"127.0.0.1:{server.port}", "-model-name=m", f"-connect-timeout={longest}", f"-rpc-timeout={longest}")
        == 0
    )


def test_an_abstract_socket(probe: Run) -> None:
    with ModelStatusServer(address=f"unix-abstract:probe-test-{os.getpid()}") as server:
        server.models["m"] = [version(2, AVAILABLE)]
        assert probe(f"unix:@probe-test-{os.getpid()}", "-model-name=m") == 0


def test_a_slow_greeting_within_the_connect_timeout(server: ModelStatusServer, probe: Run) -> None:
    with SlowGreeting(server.port, 0.4) as slow:
        assert probe(f"127.0.0.1:{slow.port}", "-model-name=m") == 0
