"""Nothing is left on the daemon: after SIGKILL of the validator, after its machine's end, and nothing of anybody else is touched."""

from __future__ import annotations

import os
import pathlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from component_tests.fakes.planners import ContainerPlanner
from component_tests.real_platforms.docker.daemons import OwnDaemon, daemon_url, over_tcp
from component_tests.real_platforms.docker.validations import left, make_model
from component_tests.real_platforms.docker_images import build
from infra_validator import wiring
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.model_server_runners.local_docker import leftovers as docker_leftovers
from infra_validator.model_server_runners.local_docker.leftovers import (
    DEADLINE,
    OURS,
    OWNER,
    PROCESS,
    RUN_ID,
    expired,
    labels,
)
from infra_validator.model_server_runners.local_docker.runner import LocalDockerRunner
from infra_validator.specs import LocalDockerConfig, ServingSpec

pytestmark = pytest.mark.docker

#: A validator that tells its container's name, and then goes through all its phases again and again.
VALIDATOR = """
import sys
from component_tests.fakes.planners import misbehaving_container
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.model_server_runners.local_docker.runner import LocalDockerRunner
from infra_validator.specs import ServingSpec
image, model, delivery, url = sys.argv[1:]
config = {"model_delivery": delivery, "client_base_url": url}
spec = ServingSpec.of({"tensorflow_serving": {"tags": ["1"]}, "local_docker": config})
while True:
    runner = LocalDockerRunner(model, misbehaving_container("good", image), spec)
    print(runner.name, flush=True)
    runner.Start()
    runner.WaitUntilRunning(Deadline.after(30))
    runner.Stop()
"""


def kill_at(moment: float, model: pathlib.Path, delivery: str = "mount", url: str = "") -> list[str]:
    """Kill a validator ``moment`` seconds after its first container was named; returns what is left 2 seconds later."""
    command = [sys.executable, "-c", VALIDATOR, build.fake(), str(model), delivery, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=build.ROOT) as validator:
        assert validator.stdout is not None
        names = [validator.stdout.readline().strip()]
        time.sleep(moment)
        validator.send_signal(signal.SIGKILL)
        names += [line.strip() for line in validator.stdout]
    assert names[0].startswith("infra-validator-")
    time.sleep(2)
    return left(names)


@pytest.mark.parametrize("delivery", ["mount", "upload"])
def test_nothing_is_left_two_seconds_after_sigkill(tmp_path: pathlib.Path, delivery: str) -> None:
    model = make_model(tmp_path / "model")
    dice = random.Random(7)
    for _ in range(4):
        moment = dice.uniform(0.0, 1.5)
        assert kill_at(moment, model, delivery) == [], f"killed after {moment:.3f} s"


def test_nothing_is_left_on_a_daemon_reached_over_tcp(tmp_path: pathlib.Path) -> None:
    with over_tcp(daemon_url()) as url:
        assert kill_at(0.8, make_model(tmp_path / "model"), url=url) == []


@pytest.fixture(scope="module")
def busybox() -> str:
    return build.busybox()


class TestGarbage:
    """What a validator left whose machine died with its watchdog. On a daemon of its own: any validation removes what is expired."""

    @pytest.fixture
    def daemon(self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, busybox: str) -> Iterator[OwnDaemon]:
        daemon = OwnDaemon(tmp_path)
        try:
            daemon.start()
            daemon.take(busybox)
            monkeypatch.setenv("DOCKER_HOST", daemon.url)
            yield daemon
        finally:
            daemon.close()

    @pytest.fixture
    def made(self, daemon: OwnDaemon, busybox: str) -> Iterator[dict[str, str]]:
        """Containers and volumes: ours and expired, ours and not, of an owner that lives, with an odd deadline, and somebody else's."""
        lives, future = labels("test-past", -5), labels("test-future", 1000)
        past = {**lives, PROCESS: "of another machine"}
        odd = {**past, DEADLINE: "tomorrow"}
        theirs = {**past, OWNER: "somebody-else"}
        names = {}
        for kind, given in (("expired", past), ("alive", future), ("lives", lives), ("odd", odd), ("theirs", theirs)):
            name = f"infra-validator-test-{kind}-{os.getpid()}"
            options = [f"--label={key}={value}" for key, value in given.items()]
            build.docker("volume", "create", *options, name)
            build.docker("run", "-d", "--name", name, "-v", f"{name}:/v", *options, busybox, "sleep", "1000")
            names[kind] = name
        try:
            yield names
        finally:
            for name in names.values():
                subprocess.run(["docker", "rm", "-f", name], capture_output=True, check=False)
                subprocess.run(["docker", "volume", "rm", name], capture_output=True, check=False)

    def test_only_what_is_ours_and_expired_is_removed(self, made: dict[str, str]) -> None:
        collect = wiring.garbage_collector("local_docker")
        found = [leftover.path for leftover in collect(remove=False)]
        assert {f"container {made['expired']}", f"volume {made['expired']}"} <= set(found)
        assert len(left([made["expired"]])) == 2
        assert all(leftover.problem == "" for leftover in collect(remove=True))
        assert sorted(left(list(made.values()))) == sorted(
            2 * [name for kind, name in made.items() if kind != "expired"]
        )

    def test_the_command_line_does_it(self, made: dict[str, str]) -> None:
        command = [sys.executable, "-m", "infra_validator", "gc", "--docker"]
        result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=build.ROOT)
        assert (result.returncode, result.stderr) == (0, "")
        assert made["expired"] in result.stdout
        assert left([made["expired"]]) == []

    def test_the_next_validation_does_it(self, made: dict[str, str], busybox: str, tmp_path: pathlib.Path) -> None:
        spec = ServingSpec.of({"tensorflow_serving": {"tags": ["1"]}, "local_docker": {}})
        planner = ContainerPlanner(busybox, args=("sleep", "1"))
        runner = LocalDockerRunner(str(make_model(tmp_path / "model")), planner, spec)
        runner.Prepare(Deadline.after(60))
        runner.Stop()
        assert left([made["expired"]]) == []
        assert len(left([made["alive"], made["lives"]])) == 4


@pytest.mark.parametrize("scheme", ["unix", "http"])
def test_a_run_is_removed_with_what_is_still_being_created(scheme: str) -> None:
    with over_tcp(daemon_url()) as url:
        _check_removal(daemon_url() if scheme == "unix" else url)


def test_gc_knows_a_dead_validator_whose_watchdog_was_killed_as_well(tmp_path: pathlib.Path) -> None:
    """Not only after three hours."""
    command = [sys.executable, "-c", VALIDATOR, build.fake(), str(make_model(tmp_path / "model")), "mount", ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=build.ROOT) as validator:
        assert validator.stdout is not None
        name = validator.stdout.readline().strip()
        wait_until(lambda: left([name]) or None, Deadline.after(60))
        validator.send_signal(signal.SIGSTOP)
        children = pathlib.Path(f"/proc/{validator.pid}/task/{validator.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        validator.send_signal(signal.SIGKILL)
        validator.wait(30)
    assert left([name]) != []
    gc = [sys.executable, "-m", "infra_validator", "gc", "--docker"]
    result = subprocess.run(gc, capture_output=True, text=True, check=False, cwd=build.ROOT, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"container {name}: removed: its owner, process {validator.pid}, does not run any more" in result.stdout
    assert left([name]) == []


def _check_removal(url: str) -> None:
    run_id = f"test-run-{os.getpid()}"
    name = f"infra-validator-test-late-{os.getpid()}"
    command = docker_leftovers.removal_command(run_id, LocalDockerConfig(client_base_url=url))
    removal = subprocess.Popen(command, cwd="/")
    build.docker("create", "--name", name, f"--label={RUN_ID}={run_id}", build.busybox(), "true")
    assert removal.wait(30) == 0
    wait_until(lambda: not left([name]) or None, Deadline.after(30))


def test_labels_that_cannot_be_read_keep_things_alive() -> None:
    assert expired({OWNER: OURS, DEADLINE: "1"})
    assert not expired({OWNER: OURS, DEADLINE: "soon"})
    assert not expired({OWNER: OURS})
    assert not expired({OWNER: "somebody-else", DEADLINE: "1"})
    assert not expired(labels("a", 100))
    assert labels("a", 100, validation="b") == {**labels("a", 100), "infra-validator.validation": "b"}
    assert not expired({**labels("a", 100), PROCESS: "what"})
    assert "its time was over" in expired({**labels("a", -100), PROCESS: "what"})


def test_what_an_owner_that_lives_made_is_kept_whatever_the_clock_says() -> None:
    assert not expired(labels("a", -100))


def test_a_dead_owner_is_known_only_where_it_could_be_seen() -> None:
    boot, namespace, pid, started = labels("a", 100)[PROCESS].split()
    ours = labels("a", 100)
    assert "does not run any more" in expired({**ours, PROCESS: f"{boot} {namespace} {pid} {int(started) + 1}"})
    assert "does not run any more" in expired({**ours, PROCESS: f"{boot} {namespace} {2**22 + 1} {started}"})
    for elsewhere in (f"another-boot {namespace} {2**22 + 1} 1", f"{boot} pid:[1] {2**22 + 1} 1"):
        assert not expired({**ours, PROCESS: elsewhere})
