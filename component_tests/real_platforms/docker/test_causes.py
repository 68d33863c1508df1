"""Every cause of failure that Docker has, made real on a daemon: the right outcome, the right reason code, nothing left."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pathlib
import socket
import struct
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from component_tests.fakes.planners import ContainerPlanner, misbehaving_container
from component_tests.real_platforms.docker.daemons import OwnDaemon, daemon_url, make_certificates, over_tcp
from component_tests.real_platforms.docker.validations import Outcome, validate
from component_tests.real_platforms.docker_images import build
from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import InfrastructureError, SpecError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_runners.cleanup.stop_method import StopMethod
from infra_validator.model_server_runners.local_docker.daemon import DockerDaemon
from infra_validator.model_server_runners.local_docker.errors import Ending
from infra_validator.model_server_runners.local_docker.runner import LocalDockerRunner
from infra_validator.report.verdict import Verdict
from infra_validator.specs import LocalDockerConfig, ServingSpec

pytestmark = pytest.mark.docker

REASON = ReasonCode


@pytest.fixture
def model(tmp_path: pathlib.Path) -> pathlib.Path:
    directory = tmp_path / "model" / "7"
    directory.mkdir(parents=True)
    (directory / "saved_model.pb").write_bytes(b"a model")
    os.chmod(tmp_path, 0o755)
    return directory


@pytest.fixture(scope="module")
def fake() -> str:
    return build.fake()


def check(outcome: Outcome, verdict: Verdict, reason: ReasonCode, *words: str) -> None:
    finding = outcome.report.finding
    assert (outcome.verdict, finding.reason) == (verdict, reason), finding
    for word in words:
        assert word in finding.detail
    assert finding.next_step or verdict is Verdict.BLESSED
    assert outcome.attempt.left_behind == ()
    assert outcome.left == []


# ---------------------------------------------------------------- the server ran: the attempt failed


@pytest.mark.parametrize(
    ("mode", "reason", "words", "log"),
    [
        ("exits_0", REASON.SERVER_EXITED, "exit code 0", ""),
        ("exits_1", REASON.SERVER_EXITED, "exit code 1", "cannot go on: the moon is full"),
        ("segfault", REASON.SERVER_KILLED, "signal SIGSEGV", "about to crash"),
        ("deaf", REASON.LOAD_TIMEOUT, "", ""),
        ("mute", REASON.LOAD_TIMEOUT, "never answered", ""),
    ],
)
def test_a_bad_server_fails_the_attempt(
    fake: str, model: pathlib.Path, mode: str, reason: ReasonCode, words: str, log: str
) -> None:
    outcome = validate(misbehaving_container(mode, fake), model, limits={"max_loading_time_seconds": 4})
    check(outcome, Verdict.NOT_BLESSED, reason, words)
    assert outcome.attempt.server_started
    assert log in outcome.attempt.server_log


def test_a_server_without_memory_is_the_models_fault(fake: str, model: pathlib.Path) -> None:
    outcome = validate(misbehaving_container("eats_memory", fake), model, {"memory_limit": "96m"})
    check(outcome, Verdict.NOT_BLESSED, REASON.SERVER_OUT_OF_MEMORY, "killed for memory")


def test_a_port_opened_late_is_waited_for(fake: str, model: pathlib.Path) -> None:
    outcome = validate(misbehaving_container("late", fake), model)
    check(outcome, Verdict.BLESSED, REASON.BLESSED)


def test_a_port_closed_later_fails_the_requests(fake: str, model: pathlib.Path) -> None:
    outcome = validate(
        misbehaving_container("dies_at_predict", fake), model, query=True, limits={"max_query_time_seconds": 5}
    )
    check(outcome, Verdict.NOT_BLESSED, REASON.SERVER_EXITED, "exit code 3")


def test_a_server_that_ignores_sigterm_is_killed(fake: str, model: pathlib.Path) -> None:
    outcome = validate(misbehaving_container("ignores_sigterm", fake), model)
    check(outcome, Verdict.BLESSED, REASON.BLESSED)
    assert outcome.runners[0].stopped_by is StopMethod.KILL


def test_a_log_of_100_megabytes_is_kept_short(fake: str, model: pathlib.Path) -> None:
    program = (
        "import os, sys\n"
        "for _ in range(100): os.write(2, b'x' * 1000000 + b'\\n')\n"
        "sys.argv = ['', 'good', '--port=8500']\n"
        "from component_tests.fakes.servers.misbehaving_servers import main; main()\n"
    )
    sizes: list[int] = []

    def measure(runner: LocalDockerRunner) -> None:
        path = build.docker("inspect", "-f", "{{.LogPath}}", runner.name).strip()
        sizes.append(sum(file.stat().st_size for file in pathlib.Path(path).parent.glob("*.log*")))

    outcome = validate(ContainerPlanner(fake, ("python3", "-c", program)), model, meanwhile=measure)
    check(outcome, Verdict.BLESSED, REASON.BLESSED)
    assert len(outcome.attempt.server_log) < 2_000_000
    assert sizes[0] < 25_000_000


def test_an_unhealthy_health_check_ends_the_attempt(fake: str, model: pathlib.Path) -> None:
    line = 'HEALTHCHECK --interval=300ms --timeout=5s --retries=1 CMD echo "the moon is full"; exit 1'
    unhealthy = build.variant("unhealthy", fake, line)
    outcome = validate(misbehaving_container("never_available", unhealthy), model)
    check(outcome, Verdict.NOT_BLESSED, REASON.SERVER_UNHEALTHY, "the moon is full")


def test_a_container_killed_by_somebody_else_is_aborted(fake: str, model: pathlib.Path) -> None:
    planner = misbehaving_container("never_available", fake)
    outcome = validate(planner, model, meanwhile=_kill)
    check(outcome, Verdict.NOT_BLESSED, REASON.JOB_ABORTED, "killed by somebody else")


def test_a_container_removed_by_somebody_else_is_aborted_and_tried_again(fake: str, model: pathlib.Path) -> None:
    removed: list[str] = []

    def remove_first(runner: LocalDockerRunner) -> None:
        if not removed:
            removed.append(_docker("rm", "-f", runner.name))

    planner = misbehaving_container("good", fake)
    outcome = validate(planner, model, meanwhile=remove_first, limits={"num_tries": 2})
    first = outcome.report.serving_binaries[0].attempts[0].finding
    assert (first.reason, "by somebody else" in first.detail) == (REASON.JOB_ABORTED, True)
    check(outcome, Verdict.BLESSED, REASON.BLESSED)


# ---------------------------------------------------------------- the server never ran: the infrastructure


def test_a_missing_entry_point_is_not_the_models_fault(fake: str, model: pathlib.Path) -> None:
    outcome = validate(ContainerPlanner(fake, ("/usr/bin/no-such-server",)), model)
    check(outcome, Verdict.INCONCLUSIVE, REASON.IMAGE_COMMAND_NOT_FOUND, "no-such-server")


def test_an_entry_point_that_lacks_the_server_is_not_the_models_fault(fake: str, model: pathlib.Path) -> None:
    outcome = validate(ContainerPlanner(fake, ("bash", "-c", "tensorflow_model_server --port=8500")), model)
    check(outcome, Verdict.INCONCLUSIVE, REASON.IMAGE_COMMAND_NOT_FOUND, "tensorflow_model_server")


def test_an_image_without_any_command_is_not_the_models_fault(model: pathlib.Path) -> None:
    outcome = validate(ContainerPlanner(build.root()), model)
    check(outcome, Verdict.INCONCLUSIVE, REASON.IMAGE_COMMAND_NOT_FOUND)


def test_an_image_for_another_processor_is_not_the_models_fault(model: pathlib.Path) -> None:
    foreign = _load_foreign_image()
    outcome = validate(ContainerPlanner(foreign, ("/server",)), model)
    check(outcome, Verdict.INCONCLUSIVE, REASON.IMAGE_WRONG_ARCHITECTURE, "arm64")


def test_a_server_that_needs_a_writable_root_is_not_the_models_fault(fake: str, model: pathlib.Path) -> None:
    planner = ContainerPlanner(fake, ("bash", "-c", "echo started > /var/log/server.log || exit 1"))
    outcome = validate(planner, model)
    check(outcome, Verdict.INCONCLUSIVE, REASON.IMAGE_NEEDS_WRITABLE_ROOT, "Read-only file system")
    assert "read_only_root" in outcome.report.finding.next_step


def test_a_taken_port_is_not_the_models_fault(fake: str, model: pathlib.Path) -> None:
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):  # taken by somebody else already: as good
            held.enter_context(socket.create_server(("0.0.0.0", 8500)))
        outcome = validate(misbehaving_container("good", fake), model, {"network_mode": "host"})
    check(outcome, Verdict.INCONCLUSIVE, REASON.PORT_NOT_AVAILABLE, "8500")


def test_a_port_that_the_server_finds_taken_is_not_the_models_fault() -> None:
    ending = Ending(255, port_taken="Failed to BuildAndStart gRPC server", port=8500)
    seen = ending.observation("Failed to start server. Error: INVALID_ARGUMENT: Failed to BuildAndStart gRPC server")
    assert seen.reason is REASON.PORT_NOT_AVAILABLE
    assert "its port 8500" in seen.detail


def test_an_address_that_is_not_the_daemons_is_not_the_models_fault(fake: str, model: pathlib.Path) -> None:
    outcome = validate(misbehaving_container("good", fake), model, {"publish_address": "203.0.113.7"})
    check(outcome, Verdict.INCONCLUSIVE, REASON.ADDRESS_NOT_AVAILABLE, "203.0.113.7")


def test_a_gpu_that_is_not_there_is_not_the_models_fault(fake: str, model: pathlib.Path) -> None:
    if pathlib.Path("/dev/nvidia0").exists():
        pytest.fail("this test expects a machine without a GPU")
    outcome = validate(misbehaving_container("good", fake), model, {"gpus": "all"})
    check(outcome, Verdict.INCONCLUSIVE, REASON.GPU_NOT_AVAILABLE)


def test_a_network_that_is_not_there_is_named(fake: str, model: pathlib.Path) -> None:
    outcome = validate(misbehaving_container("good", fake), model, {"network_mode": "no-such-network"})
    check(outcome, Verdict.INCONCLUSIVE, REASON.SERVER_NOT_STARTED, "no-such-network")


def test_an_extra_mount_that_is_not_there_is_named(fake: str, model: pathlib.Path) -> None:
    mounts = [{"source": "/no/such/directory", "target": "/extra"}]
    outcome = validate(misbehaving_container("good", fake), model, {"mounts": mounts})
    check(outcome, Verdict.INCONCLUSIVE, REASON.SERVER_NOT_STARTED, "/no/such/directory")


# ---------------------------------------------------------------- the daemon


@pytest.mark.parametrize(
    ("config", "reason", "words"),
    [
        ({"client_base_url": "unix:///no/such/docker.sock"}, REASON.DOCKER_NOT_RUNNING, "/no/such/docker.sock"),
        ({"client_base_url": "tcp://127.0.0.1:1"}, REASON.DOCKER_NOT_RUNNING, "Connection refused"),
        ({"client_api_version": "1.99"}, REASON.DOCKER_API_VERSION, "1.99 is too new"),
        ({"client_api_version": "1.10"}, REASON.DOCKER_API_VERSION, "1.24"),
    ],
)
def test_a_daemon_that_cannot_be_used(
    fake: str, model: pathlib.Path, config: dict[str, Any], reason: ReasonCode, words: str
) -> None:
    check(validate(misbehaving_container("good", fake), model, config), Verdict.INCONCLUSIVE, reason, words)


def test_a_tcp_address_that_hangs_costs_the_clients_time_limit(fake: str, model: pathlib.Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"tcp://127.0.0.1:{mute.getsockname()[1]}"
        config = {"client_base_url": url, "client_timeout_seconds": 1}
        outcome = validate(misbehaving_container("good", fake), model, config)
    check(outcome, Verdict.INCONCLUSIVE, REASON.DOCKER_NOT_ANSWERING, url)


def test_a_socket_that_this_user_may_not_use() -> None:
    directory = pathlib.Path(tempfile.mkdtemp(dir="/tmp"))
    path = directory / "docker.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        os.chmod(path, 0)
        os.chmod(directory, 0o755)
        was = os.geteuid()
        if was == 0:
            os.seteuid(65534)
        try:
            with pytest.raises(InfrastructureError) as caught:
                DockerDaemon(LocalDockerConfig(client_base_url=f"unix://{path}"), Deadline.after(5))
        finally:
            os.seteuid(was)
    path.unlink()
    directory.rmdir()
    assert caught.value.reason is REASON.DOCKER_PERMISSION_DENIED
    assert "group" in caught.value.next_step


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_a_socket_that_is_none(tmp_path: pathlib.Path, kind: str) -> None:
    path = tmp_path / "docker.sock"
    if kind == "directory":
        path.mkdir()
    else:
        path.touch()
    with pytest.raises(SpecError, match="client_base_url"):
        DockerDaemon(LocalDockerConfig(client_base_url=f"unix://{path}"), Deadline.after(5))


def test_the_seeds_keyword_for_the_model(model: pathlib.Path) -> None:
    spec = ServingSpec.of({"tensorflow_serving": {"tags": ["1"]}, "local_docker": {}})
    runner = LocalDockerRunner(model=str(model), serving_binary=ContainerPlanner("a:1"), serving_spec=spec)
    assert runner.model_path == str(model)
    with pytest.raises(TypeError, match="model_path"):
        LocalDockerRunner(serving_binary=ContainerPlanner("a:1"), serving_spec=spec)


class TestADaemonOfItsOwn:
    """What nobody may do to the daemon of the other tests."""

    @pytest.fixture
    def daemon(self, tmp_path: pathlib.Path) -> Iterator[OwnDaemon]:
        daemon = OwnDaemon(tmp_path)
        try:
            daemon.start()
            daemon.take(build.busybox())
            yield daemon
        finally:
            daemon.close()

    def _sleeper(self) -> ContainerPlanner:
        return ContainerPlanner(build.busybox(), ("/bin/busybox", "sleep", "1000"))

    #: Its own network is not reached from here, and nobody listens in it.
    _here: ClassVar[dict[str, str]] = {"network_mode": "host", "host_ip_address": "127.0.0.1"}

    def test_restarted(self, daemon: OwnDaemon, model: pathlib.Path) -> None:
        def restart(_: LocalDockerRunner) -> None:
            daemon.stop()
            daemon.start()

        config = {"client_base_url": daemon.url, **self._here, "client_timeout_seconds": 20}
        outcome = validate(self._sleeper(), model, config, meanwhile=restart)
        check(outcome, Verdict.NOT_BLESSED, REASON.JOB_ABORTED)
        assert daemon.docker("ps", "-aq").split() == []

    def test_gone_is_said_by_stop_which_does_not_raise(self, daemon: OwnDaemon, model: pathlib.Path) -> None:
        where = {"client_base_url": daemon.url, **self._here, "client_timeout_seconds": 5}
        spec = ServingSpec.of({"tensorflow_serving": {"tags": ["1"]}, "local_docker": where})
        runner = LocalDockerRunner(str(model), self._sleeper(), spec)
        runner.Start()
        assert runner.WaitUntilRunning(Deadline.after(20))
        daemon.kill()
        runner.Stop()
        assert any("remove container" in problem for problem in runner.stop_problems)
        daemon.start()
        runner.Stop()
        assert runner.stop_problems == []
        assert daemon.docker("ps", "-aq").split() == []


def test_no_room_left_is_not_the_models_fault(tmp_path: pathlib.Path, model: pathlib.Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(small)], check=True)
    daemon = OwnDaemon(tmp_path, data=small, arguments=("--storage-driver", "vfs"))
    try:
        daemon.start()
        daemon.take(build.busybox())
        with open(small / "filler", "wb", buffering=0) as filler, contextlib.suppress(OSError):
            while filler.write(b"x" * 65536):
                pass
        config = {"client_base_url": daemon.url, "network_mode": "host"}
        outcome = validate(ContainerPlanner(build.busybox(), args=("sleep", "60")), model, config)
        check(outcome, Verdict.INCONCLUSIVE, REASON.NO_SPACE)
    finally:
        daemon.close()
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_the_same_daemon_over_tcp_tells_the_same(fake: str, model: pathlib.Path) -> None:
    with over_tcp(daemon_url()) as url:
        outcome = validate(misbehaving_container("exits_1", fake), model, {"client_base_url": url})
    check(outcome, Verdict.NOT_BLESSED, REASON.SERVER_EXITED, "exit code 1")


class TestTls:
    """A daemon that wants to know whom it talks to."""

    @pytest.fixture
    def certificates(self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
        directory = make_certificates(tmp_path / "certificates")
        monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
        monkeypatch.setenv("DOCKER_CERT_PATH", str(directory))
        return directory

    def test_the_environments_certificates_are_shown(self, certificates: pathlib.Path) -> None:
        with over_tcp(daemon_url(), certificates) as url:
            with contextlib.closing(DockerDaemon(LocalDockerConfig(client_base_url=url), Deadline.after(20))) as daemon:
                assert daemon.version(Deadline.after(20))["ApiVersion"]

    def test_a_daemon_that_is_not_trusted(self, certificates: pathlib.Path, tmp_path: pathlib.Path) -> None:
        other = make_certificates(tmp_path / "other")
        with over_tcp(daemon_url(), other) as url, pytest.raises(InfrastructureError) as caught:
            DockerDaemon(LocalDockerConfig(client_base_url=url), Deadline.after(20))
        assert caught.value.reason is REASON.DOCKER_TLS_FAILED
        assert "DOCKER_CERT_PATH" in caught.value.next_step

    def test_certificates_that_are_not_there(self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
        monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
        with pytest.raises(InfrastructureError) as caught:
            DockerDaemon(LocalDockerConfig(client_base_url="tcp://127.0.0.1:1"), Deadline.after(20))
        assert caught.value.reason is REASON.DOCKER_TLS_FAILED


def _kill(runner: LocalDockerRunner) -> None:
    build.docker("kill", runner.name)


def _docker(*arguments: str) -> str:
    return build.docker(*arguments)


def _load_foreign_image() -> str:
    """An image for arm64 whose programs, its shell included, are for arm64: their ELF headers say so. As ``docker save`` writes."""
    name = f"{build.PREFIX}/foreign:1"
    fields = struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, 0, 64, 0, 0, 64, 56, 0, 64, 0, 0)
    elf = b"\x7fELF" + bytes([2, 1, 1, 0]) + bytes(8) + fields
    layer = _tar({"server": elf, "bin/sh": elf})
    digest = hashlib.sha256(layer).hexdigest()
    config = {
        "architecture": "arm64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    files = {
        "layer.tar": layer,
        "config.json": json.dumps(config).encode(),
        "manifest.json": json.dumps(manifest).encode(),
    }
    subprocess.run(["docker", "load"], input=_tar(files), check=True, capture_output=True)
    return name


def _tar(files: dict[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path, content in files.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
    return archive.getvalue()
