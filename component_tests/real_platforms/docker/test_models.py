"""How a model gets into a container, and where the server is then reached: mounts without a copy, uploads, odd paths and owners."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from component_tests.fakes.planners import ContainerPlanner, misbehaving_container
from component_tests.real_platforms.docker.daemons import daemon_url, over_tcp
from component_tests.real_platforms.docker.validations import Outcome, left, make_model, reads_model, validate
from component_tests.real_platforms.docker_images import build
from infra_validator.core.deadline import Deadline
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_runners.local_docker.runner import LocalDockerRunner
from infra_validator.report.verdict import Verdict
from infra_validator.specs import ServingSpec

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def fake() -> str:
    return build.fake()


def check_read(outcome: Outcome) -> None:
    assert outcome.verdict is Verdict.BLESSED, outcome.report.finding
    log = outcome.attempt.server_log
    assert "/models/m/1/saved_model.pb a model" in log
    assert "/models/m/1/variables/variables.index an index" in log
    assert "/models/m/1/variables/numbers an index" in log
    assert "Read-only file system" in log
    assert (outcome.left, outcome.attempt.left_behind) == ([], ())


@pytest.mark.parametrize(
    "name",
    ["model", "with space", "a:b,c", "ünïcode", "readonly=false,source=x"],
    ids=["plain", "space", "colon", "utf8", "option"],
)
def test_a_mount_copies_nothing_whatever_the_path(fake: str, tmp_path: pathlib.Path, name: str) -> None:
    outcome = validate(reads_model(fake), make_model(tmp_path / name))
    check_read(outcome)
    assert outcome.runners[0].bytes_copied == 0
    assert any("127.0.0.1" in line and "the daemon is on this machine" in line for line in outcome.progress)


def test_a_path_that_is_a_link(fake: str, tmp_path: pathlib.Path) -> None:
    make_model(tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    check_read(validate(reads_model(fake), tmp_path / "link"))


def test_over_tcp_the_model_is_uploaded(fake: str, tmp_path: pathlib.Path) -> None:
    model = make_model(tmp_path / "model")
    (model / "variables" / "odd, name: ü").write_bytes(os.urandom(1000))
    (model / "variables" / "odd, name: ü").write_text("odd")
    os.chmod(model / "saved_model.pb", 0o600)
    with over_tcp(daemon_url()) as url:
        outcome = validate(reads_model(fake), model, {"client_base_url": url})
    check_read(outcome)
    assert "/models/m/1/variables/odd, name: ü odd" in outcome.attempt.server_log
    assert outcome.runners[0].bytes_copied == len("a model") + len("an index") + len("odd")
    assert any("the daemon is at 127.0.0.1" in line for line in outcome.progress)


def test_small_files_of_the_plan_are_delivered_both_ways(fake: str, tmp_path: pathlib.Path) -> None:
    model = make_model(tmp_path / "model")
    for delivery in ("mount", "upload"):
        planner = ContainerPlanner(
            fake,
            (
                "bash",
                "-c",
                'cat "$1"; exec python3 -m component_tests.fakes.servers.misbehaving_servers good --port=8500',
                "sh",
            ),
            ("${files_dir}/models.config",),
            files={"models.config": "base_path: ${model_base_path}\n"},
        )
        outcome = validate(planner, model, {"model_delivery": delivery})
        assert outcome.verdict is Verdict.BLESSED, outcome.report.finding
        assert "base_path: /models/m\n" in outcome.attempt.server_log
        assert outcome.left == []


def test_an_upload_that_takes_too_long_is_not_the_models_fault(fake: str, tmp_path: pathlib.Path) -> None:
    config = {"model_delivery": "upload", "upload_timeout_seconds": 0.0001}
    outcome = validate(reads_model(fake), make_model(tmp_path / "model"), config)
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert "upload_timeout_seconds" in outcome.report.finding.next_step
    assert outcome.left == []


def test_a_daemon_that_takes_an_upload_too_slowly_is_no_daemon_that_does_not_answer(
    fake: str, tmp_path: pathlib.Path
) -> None:
    model = make_model(tmp_path / "model")
    with open(model / "variables" / "large", "wb") as large:
        large.truncate(64 * 2**20)
    with over_tcp(daemon_url(), longest_upload=2**20) as url:
        outcome = validate(reads_model(fake), model, {"client_base_url": url, "upload_timeout_seconds": 3})
    finding = outcome.report.finding
    assert finding.reason is ReasonCode.MODEL_NOT_VISIBLE, finding
    assert (outcome.attempt.left_behind, outcome.left) == ((), [])
    assert "upload_timeout_seconds" in finding.next_step


def test_a_published_port_that_is_not_reached_is_not_the_models_fault(fake: str, tmp_path: pathlib.Path) -> None:
    """It is published on one address of the machine, and looked for on another, where somebody refuses."""
    config = {"publish_address": "127.0.0.1", "host_ip_address": "127.0.0.2"}
    outcome = validate(
        reads_model(fake), make_model(tmp_path / "model"), config, limits={"max_loading_time_seconds": 3}
    )
    finding = outcome.report.finding
    assert (outcome.verdict, finding.reason) == (Verdict.INCONCLUSIVE, ReasonCode.SERVER_NOT_REACHABLE)
    assert "127.0.0.2" in finding.detail
    assert "host_ip_address" in finding.next_step
    assert outcome.left == []


def test_the_address_that_is_named_is_where_the_server_is_reached(fake: str, tmp_path: pathlib.Path) -> None:
    outcome = validate(reads_model(fake), make_model(tmp_path / "model"), {"publish_address": "127.0.0.3"})
    check_read(outcome)
    assert any("127.0.0.3" in line for line in outcome.progress)


def test_a_validator_that_shares_the_daemon_s_network_is_no_container_to_it(fake: str, tmp_path: pathlib.Path) -> None:
    """As in a virtual machine made from an image, or with Docker in Docker: there is a /.dockerenv, and nobody knows our container."""
    root = pathlib.Path("/.dockerenv")
    made = not root.exists()
    if made:
        root.touch()
    try:
        outcome = validate(reads_model(fake), make_model(tmp_path / "model"))
    finally:
        if made:
            root.unlink()
    check_read(outcome)
    assert any("the daemon is on this machine" in line for line in outcome.progress)


def test_a_file_system_that_the_daemon_does_not_see(fake: str, tmp_path: pathlib.Path) -> None:
    """A mount of this process alone: the daemon sees an empty directory in its place, or another one."""
    model = make_model(tmp_path / "hidden" / "model")
    shutil.copytree(model, tmp_path / "other", symlinks=True)
    (tmp_path / "other" / "saved_model.pb").write_bytes(b"another")
    program = (
        "import ctypes, json, os, pathlib, sys\n"
        "model, other, image = (pathlib.Path(a) for a in sys.argv[1:])\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "assert libc.unshare(0x00020000) == 0\n"  # CLONE_NEWNS
        "assert libc.mount(b'none', b'/', None, 0x44000, None) == 0\n"  # MS_REC | MS_PRIVATE
        "assert libc.mount(os.fsencode(other), os.fsencode(model), None, 4096, None) == 0\n"  # MS_BIND
        "(model / 'saved_model.pb').write_bytes(b'a model')\n"
        "os.utime(model / 'saved_model.pb', (1, 1))\n"
        "from component_tests.real_platforms.docker.validations import reads_model, validate\n"
        "for delivery in ('auto', 'mount'):\n"
        "    outcome = validate(reads_model(str(image)), model, {'model_delivery': delivery})\n"
        "    print(json.dumps([outcome.verdict.value, outcome.report.finding.reason.name, outcome.attempt.server_log,\n"
        "        outcome.left, outcome.runners[0].bytes_copied, outcome.progress, outcome.attempt.left_behind]))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(model), str(tmp_path / "other"), fake],
        capture_output=True,
        text=True,
        check=False,
        cwd=build.ROOT,
    )
    assert result.returncode == 0, result.stderr
    auto, mount = (json.loads(line) for line in result.stdout.splitlines())
    assert auto[0] == "BLESSED"
    assert "/models/m/1/saved_model.pb a model" in auto[2]
    assert auto[3:5] == [[], len("a model") + len("an index")]
    assert any("copied" in line for line in auto[5])
    assert auto[6] == mount[6] == []  # the volume goes after the container that holds it
    assert mount[:2] == ["INCONCLUSIVE", "MODEL_NOT_VISIBLE"]
    assert mount[3] == []


class TestOwners:
    """Without capabilities, root in a container cannot read what another user keeps to himself."""

    def test_a_private_model_is_served_as_its_owner(self, fake: str, tmp_path: pathlib.Path) -> None:
        outcome = validate(reads_model(fake), self._private(tmp_path, 12345))
        check_read(outcome)
        assert "user 12345" in outcome.attempt.server_log

    def test_roots_private_model(self, fake: str, tmp_path: pathlib.Path) -> None:
        outcome = validate(reads_model(fake), self._private(tmp_path, 0))
        check_read(outcome)
        assert "user 0" in outcome.attempt.server_log

    def test_another_user_in_the_spec_is_refused(self, fake: str, tmp_path: pathlib.Path) -> None:
        outcome = validate(reads_model(fake), self._private(tmp_path, 12345), {"user": "54321"})
        self._check_unreadable(outcome, "54321")

    def test_the_owner_in_the_spec(self, fake: str, tmp_path: pathlib.Path) -> None:
        check_read(validate(reads_model(fake), self._private(tmp_path, 12345), {"user": "12345:12345"}))

    def test_two_owners(self, fake: str, tmp_path: pathlib.Path) -> None:
        model = self._private(tmp_path, 12345)
        os.chown(model / "saved_model.pb", 23456, 23456)
        self._check_unreadable(validate(reads_model(fake), model), "chmod")

    def _private(self, tmp_path: pathlib.Path, owner: int) -> pathlib.Path:
        if os.geteuid() != 0:
            pytest.skip("only root can give files away")
        model = make_model(tmp_path / "model")
        for top, directories, files in os.walk(model):
            for name in [".", *directories, *files]:
                os.chown(os.path.join(top, name), owner, owner, follow_symlinks=False)
        os.chmod(model, 0o700)
        os.chmod(model / "saved_model.pb", 0o600)
        return model

    def _check_unreadable(self, outcome: Outcome, word: str) -> None:
        finding = outcome.report.finding
        assert (outcome.verdict, finding.reason) == (Verdict.INCONCLUSIVE, ReasonCode.MODEL_NOT_READABLE)
        assert word in finding.detail + finding.next_step
        assert outcome.left == []


@pytest.mark.parametrize("target", ["../outside", "/etc/hostname", "variables/../../outside"])
def test_a_link_out_of_the_model_is_not_followed(fake: str, tmp_path: pathlib.Path, target: str) -> None:
    model = make_model(tmp_path / "model")
    (tmp_path / "outside").write_text("not the model's")
    (model / "assets").symlink_to(target)
    outcome = validate(reads_model(fake), model)
    finding = outcome.report.finding
    assert (outcome.verdict, finding.reason) == (Verdict.INCONCLUSIVE, ReasonCode.MODEL_LINKS_OUTSIDE)
    assert str(model / "assets") in finding.detail


def test_a_model_that_is_not_there(fake: str, tmp_path: pathlib.Path) -> None:
    for path, reason in ((tmp_path / "none", "MODEL_NOT_FOUND"), (tmp_path / "file", "MODEL_NOT_A_SAVED_MODEL")):
        (tmp_path / "file").touch()
        assert validate(reads_model(fake), path).report.finding.reason.name == reason


def test_what_the_container_may_do(fake: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "extra").mkdir()
    config = {
        "memory_limit": "256m",
        "cpus": 1.5,
        "pids_limit": 100,
        "env": {"GREETING": "hello, world=1"},
        "mounts": [{"source": str(tmp_path / "extra"), "target": "/extra"}, {"type": "tmpfs", "target": "/scratch"}],
    }
    spec = ServingSpec.of({"tensorflow_serving": {"tags": ["1"]}, "local_docker": config})
    runner = LocalDockerRunner(str(make_model(tmp_path / "model")), misbehaving_container("good", fake), spec)
    try:
        runner.Start()
        runner.WaitUntilRunning(Deadline.after(20))
        seen: dict[str, Any] = json.loads(build.docker("inspect", runner.name))[0]
        host = seen["HostConfig"]
        assert (host["Memory"], host["MemorySwap"]) == (256 << 20, 256 << 20)
        assert (host["NanoCpus"], host["PidsLimit"], host["Init"]) == (1_500_000_000, 100, True)
        assert (host["CapDrop"], host["SecurityOpt"], host["Privileged"]) == (["ALL"], ["no-new-privileges"], False)
        assert (host["ReadonlyRootfs"], host["AutoRemove"]) == (True, False)
        assert "GREETING=hello, world=1" in seen["Config"]["Env"]
        targets = {mount["Destination"]: mount["RW"] for mount in seen["Mounts"]}
        assert targets == {"/models/m/1": False, "/extra": False, "/scratch": True}
        ports = seen["NetworkSettings"]["Ports"]
        assert {port: [b["HostIp"] for b in bound] for port, bound in ports.items()} == {
            "8500/tcp": ["127.0.0.1"],
            "8501/tcp": ["127.0.0.1"],
        }
        labels = seen["Config"]["Labels"]
        assert labels["infra-validator.owner"] == "infra-validator"
        assert labels["infra-validator.run-id"] in runner.name
        assert labels["infra-validator.host"]
        assert int(labels["infra-validator.deadline"]) > 0
    finally:
        runner.Stop()
    assert left([runner.name]) == []


class TestInsideAContainer:
    """A validator in a container with the daemon's socket mounted: paths are the daemon's, not ours, and 127.0.0.1 is not its machine."""

    PROGRAM = """
import json, pathlib, sys
from component_tests.real_platforms.docker.validations import make_model, reads_model, validate
outcome = validate(reads_model(sys.argv[1]), make_model(pathlib.Path('/tmp/model')), json.loads(sys.argv[2]))
print(json.dumps([outcome.verdict.value, outcome.attempt.server_log, outcome.left, outcome.progress, str(outcome.report.finding)]))
"""

    @pytest.fixture
    def network(self) -> Iterator[str]:
        name = f"infra-validator-test-{os.getpid()}"
        build.docker("network", "create", name)
        yield name
        build.docker("network", "rm", name)

    def _validate(self, fake: str, options: list[str], config: dict[str, Any]) -> list[Any]:
        socket_path = daemon_url().removeprefix("unix://")
        site = next(path for path in sys.path if path.endswith("site-packages"))
        # The image's Python is another one: only what is pure Python is taken from here, and the command line docker for the rest.
        result = build.docker(
            *(
                "run",
                "--rm",
                "-v",
                f"{socket_path}:/var/run/docker.sock",
                "-e",
                "DOCKER_HOST=unix:///var/run/docker.sock",
            ),
            *(
                "-v",
                f"{build.ROOT}:/checkout:ro",
                "-v",
                f"{site}:/site:ro",
                "-v",
                f"{shutil.which('docker')}:/usr/bin/docker:ro",
            ),
            *("-e", "PYTHONPATH=/checkout:/pure", "-w", "/", *options),
            *(build.fake(), "bash", "-c"),
            "mkdir /pure && cd /pure && for p in docker requests urllib3 idna certifi "
            'charset_normalizer; do ln -s /site/$p .; done; python3 -c "$@"',
            *("sh", self.PROGRAM, fake, json.dumps(config)),
        )
        answer: list[Any] = json.loads(result.splitlines()[-1])
        assert answer[0] == "BLESSED", answer
        assert "/models/m/1/saved_model.pb a model" in answer[1]
        assert answer[2] == []
        return answer

    def test_a_shared_network_is_used(self, fake: str, network: str) -> None:
        answer = self._validate(fake, ["--network", network], {})
        assert any(f"share the network {network}" in line for line in answer[3])
        assert any("the model is copied" in line for line in answer[3])

    def test_the_default_bridge_is_shared_as_well(self, fake: str) -> None:
        answer = self._validate(fake, [], {})
        assert any("share the network bridge" in line for line in answer[3])

    def test_the_gateway_reaches_what_is_published(self, fake: str, network: str) -> None:
        answer = self._validate(fake, ["--network", network], {"network_mode": "bridge"})
        assert any("its gateway, the daemon's machine" in line for line in answer[3])

    def test_in_the_host_network_nothing_is_special(self, fake: str) -> None:
        answer = self._validate(fake, ["--network", "host"], {})
        assert any("the daemon is on this machine" in line for line in answer[3])


def test_a_host_name_that_means_nothing(fake: str, tmp_path: pathlib.Path) -> None:
    outcome = validate(reads_model(fake), make_model(tmp_path / "m"), {"host_ip_address": "no-such-host.invalid"})
    assert outcome.report.finding.reason is ReasonCode.ADDRESS_NOT_AVAILABLE
