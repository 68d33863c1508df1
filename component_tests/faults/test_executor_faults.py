"""What befalls the validator itself: signals, its own end, the end of its watchdog, a fork, a neighbour, a clock that jumps."""

from __future__ import annotations

import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from component_tests.fakes.servers.faulty_server import PHASES
from component_tests.faults.cells import Cell, executor_faults
from component_tests.faults.conftest import marked
from component_tests.faults.platforms.stages import PATIENCE, ROOT, STAGES, Stage
from component_tests.faults.validators.process import Executor
from infra_validator.core.deadline import Deadline, wait_until

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


@pytest.fixture
def executor(cell: Cell, stage: Stage, tmp_path: pathlib.Path) -> Iterator[Executor]:
    """A validator that has got to the cell's phase and stands still there, or whose server does."""
    env: dict[str, str] = {}
    if cell.fault == "clock_jump":
        if not os.path.exists(FAKETIME):
            pytest.fail("the package faketime is not installed", pytrace=False)
        clock = tmp_path / "clock"
        clock.write_text("+0")
        env = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
        env["FAKETIME_DONT_FAKE_MONOTONIC"] = env["DONT_FAKE_MONOTONIC"] = "1"
    by_server = cell.phase in PHASES
    stage.plan(cell.phase if by_server else "never", "hold")
    grace = 0.5
    if cell.phase == "stopping":  # the server has to say that it stands still before it is killed
        grace = 10.0 if cell.fault in ("sigterm", "sigint") else 30.0  # a signal waits for its end
    limits = {**cell.validation_spec, "stop_grace_seconds": grace}
    executor = Executor(stage, tmp_path / "executor", limits, hold="" if by_server else cell.phase, env=env)
    try:
        stage.wait_for(cell.phase, executor.alive)
        yield executor
    finally:
        executor.close()


@pytest.mark.parametrize("cell", [marked(cell) for cell in executor_faults()])
def test_cell(cell: Cell, stage: Stage, executor: Executor, tmp_path: pathlib.Path) -> None:
    globals()[cell.fault](cell, stage, executor, tmp_path)
    assert stage.left() == []


def _told(cell: Cell, executor: Executor) -> None:
    told = executor.end()
    assert told["reason"] in {reason.name for reason in cell.reasons}, told
    # Who can open nothing cannot ask a daemon to remove anything, and says so; the watchdog does it when the validator has ended.
    assert told["left_behind"] == [] or cell.fault == "no_descriptors"


def sigterm(cell: Cell, stage: Stage, executor: Executor, directory: pathlib.Path) -> None:
    """The server stands still for good: nothing but the signal can end the validation."""
    executor.process.send_signal(signal.SIGTERM)
    if cell.phase not in PHASES:
        stage.go()
    _told(cell, executor)


def sigint(cell: Cell, stage: Stage, executor: Executor, directory: pathlib.Path) -> None:
    executor.process.send_signal(signal.SIGINT)
    if cell.phase not in PHASES:
        stage.go()
    _told(cell, executor)


def stop_and_continue(cell: Cell, stage: Stage, executor: Executor, directory: pathlib.Path) -> None:
    executor.process.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    executor.process.send_signal(signal.SIGCONT)
    stage.go()
    _told(cell, executor)


def sigkill(cell: Cell, stage: Stage, executor: Executor, directory: pathlib.Path) -> None:
    """Its watchdog clears up."""
    executor.process.kill()
    executor.process.wait(PATIENCE)


def sigkill_of_the_watchdog_too(cell: Cell, stage: Stage, executor: Executor, directory: pathlib.Path) -> None:
    """Nobody is left who knows; ``gc`` finds it, since its owner does not live."""
    executor.process.send_signal(signal.SIGSTOP)
    for child in executor.children():
        if b"watchdog.py" in pathlib.Path(f"/proc/{child}/cmdline").read_bytes():
            os.kill(child, signal.SIGKILL)
    executor.process.kill()
    executor.process.wait(PATIENCE)
    arguments, env = stage.gc
    command = [sys.executable, "-m", "infra_validator", "gc", *arguments]
    env = {**os.environ, **env, "TMPDIR": str(stage.temporary)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=env, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def fork(cell: Cell, stage: Stage, executor: Executor, directory: pathlib.Path) -> None:
    """The host program forks, and the child lives on with all that was open."""
    executor.process.send_signal(signal.SIGUSR1)
    child = stage.faults / "child"
    if cell.phase not in PHASES:
        stage.go()
    wait_until(lambda: child.exists() or not executor.alive() or None, Deadline.after(PATIENCE))
    stage.go()
    try:
        assert executor.process.stdout is not None
        told = json.loads(executor.process.stdout.readline())  # the child holds the pipe: no end of file comes
        executor.process.wait(PATIENCE)
        assert told["reason"] in {reason.name for reason in cell.reasons}, told
        assert stage.left() == []
    finally:
        if child.exists():
            os.kill(int(child.read_text()), signal.SIGKILL)


def second_validator(cell: Cell, stage: Stage, executor: Executor, directory: pathlib.Path) -> None:
    """Another one begins and ends while the first stands still."""
    other_directory = directory / "other"
    other_directory.mkdir()
    other = STAGES[cell.platform](other_directory, stage.model)
    try:
        other.plan("never", "none")
        _told(cell, Executor(other, other_directory / "executor", cell.validation_spec))
        assert other.left() == []
    finally:
        other.close()
    stage.go()
    _told(cell, executor)


def clock_jump(cell: Cell, stage: Stage, executor: Executor, directory: pathlib.Path) -> None:
    """The wall clock of the validator goes three hours ahead, as after a suspended machine's correction."""
    (directory / "clock").write_text("+3h")
    stage.go()
    _told(cell, executor)


def no_descriptors(cell: Cell, stage: Stage, executor: Executor, directory: pathlib.Path) -> None:
    """Whatever is decided without a descriptor to spare, it is not the model's fault."""
    count = len(os.listdir(f"/proc/{executor.process.pid}/fd"))
    resource.prlimit(executor.process.pid, resource.RLIMIT_NOFILE, (count, count))
    stage.go()
    _told(cell, executor)
