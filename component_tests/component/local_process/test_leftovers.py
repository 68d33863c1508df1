"""What ``infra-validator gc`` removes of local runs, and what it leaves alone."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from component_tests.fakes.hand_clock import HandClock
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.model_server_runners.cleanup.labels import Label, mark_of
from infra_validator.model_server_runners.cleanup.temporary_directory import PREFIX
from infra_validator.model_server_runners.cleanup.watchdog import marked_processes
from infra_validator.model_server_runners.local_process.leftovers import collect_garbage

CLOCK = HandClock()
MINE = Label.of_this_process("5f", CLOCK)
NEVER_A_PID = 2**22 + 1  # above the kernel's highest


def made(base: pathlib.Path, label: Label) -> pathlib.Path:
    path = base / f"{PREFIX}{label.run_id}"
    path.mkdir()
    label.write(str(path))
    (path / "models").mkdir()
    return path


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"pid": NEVER_A_PID}, "does not run any more"),
        ({"pid_started": MINE.pid_started - 1}, "does not run any more"),  # the id was given to somebody else since
        ({"boot": "before", "pid": os.getpid()}, "the machine was started again"),
        ({"host": "elsewhere", "deadline": CLOCK.utc() - 1}, "its time is over"),
        ({"namespace": "pid:[1]", "deadline": CLOCK.utc() - 1}, "its time is over"),
    ],
)
def test_what_nobody_can_want_any_more_is_removed(tmp_path: pathlib.Path, changes: dict[str, object], why: str) -> None:
    path = made(tmp_path, dataclasses.replace(MINE, **changes))  # type: ignore[arg-type]
    (looked,) = collect_garbage(str(tmp_path), remove=False, clock=CLOCK)
    assert path.exists()
    (found,) = collect_garbage(str(tmp_path), clock=CLOCK)
    assert found == looked
    assert found.path == str(path)
    assert why in found.why
    assert found.problem == ""
    assert not path.exists()
    assert collect_garbage(str(tmp_path), clock=CLOCK) == []


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"deadline": CLOCK.utc() - 1},  # its owner lives
        {"host": "elsewhere", "pid": NEVER_A_PID},
        {"namespace": "pid:[1]", "pid": NEVER_A_PID},
    ],
)
def test_what_somebody_may_want_is_left_alone(tmp_path: pathlib.Path, changes: dict[str, object]) -> None:
    path = made(tmp_path, dataclasses.replace(MINE, **changes))  # type: ignore[arg-type]
    assert collect_garbage(str(tmp_path), clock=CLOCK) == []
    assert path.exists()


def no_label(path: pathlib.Path) -> None:
    (path / "owner.json").unlink()


def somebody_else_s_label(path: pathlib.Path) -> None:
    data = json.loads((path / "owner.json").read_text())
    (path / "owner.json").write_text(json.dumps({**data, "owner": "somebody"}))


def half_a_label(path: pathlib.Path) -> None:
    (path / "owner.json").write_text((path / "owner.json").read_text()[:50])


def a_label_that_is_no_object(path: pathlib.Path) -> None:
    (path / "owner.json").write_text("[1]")


def another_name(path: pathlib.Path) -> None:
    path.rename(path.with_name("other"))


@pytest.mark.parametrize(
    "change", [no_label, somebody_else_s_label, half_a_label, a_label_that_is_no_object, another_name]
)
def test_what_is_not_surely_ours_is_left_alone(tmp_path: pathlib.Path, change: Callable[[pathlib.Path], None]) -> None:
    change(made(tmp_path, dataclasses.replace(MINE, pid=NEVER_A_PID)))
    assert collect_garbage(str(tmp_path), clock=CLOCK) == []
    assert len(list(tmp_path.iterdir())) == 1


def test_a_link_is_not_followed(tmp_path: pathlib.Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    made(elsewhere, dataclasses.replace(MINE, pid=NEVER_A_PID)).rename(elsewhere / "precious")
    base = tmp_path / "base"
    base.mkdir()
    (base / f"{PREFIX}5f").symlink_to(elsewhere / "precious")
    assert collect_garbage(str(base), clock=CLOCK) == []
    assert (elsewhere / "precious").exists()


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    name, _, value = mark_of(MINE.run_id).partition("=")
    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)"
    with subprocess.Popen([sys.executable, "-c", program], env={name: value}) as process:
        wait_until(lambda: marked_processes(mark_of(MINE.run_id)) or None, Deadline.after(30))
        yield process
        process.kill()


def test_its_processes_are_ended(tmp_path: pathlib.Path, process: subprocess.Popen[bytes]) -> None:
    made(tmp_path, dataclasses.replace(MINE, pid=NEVER_A_PID))
    (found,) = collect_garbage(str(tmp_path), clock=CLOCK)
    assert found.processes == (process.pid,)
    assert process.wait(30) == -9


def test_the_processes_of_a_living_run_are_left_alone(tmp_path: pathlib.Path, process: subprocess.Popen[bytes]) -> None:
    made(tmp_path, MINE)
    assert collect_garbage(str(tmp_path), clock=CLOCK) == []
    assert process.poll() is None
