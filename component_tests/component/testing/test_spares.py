"""The spare server of ``serving``: used by the next one where it fits, as much a process of its own as any other, and never left behind."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from component_tests.fakes.saved_models import ROOT, SavedModels
from infra_validator import serving
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.states import ModelStatus
from infra_validator.model_server_runners.cleanup.watchdog import marked_processes
from infra_validator.model_server_runners.local_process.runner import LocalProcessRunner
from infra_validator.testing import spares
from infra_validator.testing.running_server import RunningServer


@pytest.fixture(autouse=True)
def temporary(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pathlib.Path]:
    """An empty TMPDIR; there is no spare before the test, and nothing is left after it."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    spares.end()
    monkeypatch.setenv("TMPDIR", str(directory))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield directory
    spares.end()
    assert list(directory.iterdir()) == []


def pid_of(server: RunningServer) -> int:
    runner = server._runner
    assert isinstance(runner, LocalProcessRunner)
    return runner.pid


def is_ready(server: RunningServer) -> bool:
    with server.client() as client:
        return client.GetModelStatus(Deadline.after(30)).status is ModelStatus.READY


def test_the_spare_becomes_the_next_server_of_whatever_model(saved_models: SavedModels) -> None:
    seen = []
    for name in ("half_plus_two", "identity", "half_plus_two_tf2"):
        spare = spares.current()
        with serving(saved_models.path(name)) as server:
            assert is_ready(server)
            seen.append((pid_of(server), spare))
    assert seen[0][1] == 0
    assert [pid for pid, _ in seen[1:]] == [spare for _, spare in seen[1:]]
    assert len({pid for pid, _ in seen}) == 3


def test_two_at_once_and_the_end_of_one_is_not_the_others(saved_models: SavedModels) -> None:
    model = saved_models.path("half_plus_two")
    with serving(model) as first:
        with serving(model) as second:
            os.kill(pid_of(first), signal.SIGSEGV)
            assert is_ready(second)
            with serving(model) as third:
                assert is_ready(third)
        assert len({pid_of(server) for server in (first, second, third)}) == 3


def inherited(pid: int) -> dict[str, Any]:
    """What a process has of its maker's."""
    place = pathlib.Path(f"/proc/{pid}")
    status = dict(line.split(":\t", 1) for line in (place / "status").read_text().splitlines() if ":\t" in line)
    environment = (place / "environ").read_bytes().split(b"\0")
    kinds = sorted(
        {os.readlink(fd).split(":")[0].split("/")[-1] for fd in (place / "fd").iterdir() if int(fd.name) < 3}
    )
    return {
        "environment": sorted(line for line in environment if not line.startswith(b"INFRA_VALIDATOR_RUN=")),
        "marks": sum(line.startswith(b"INFRA_VALIDATOR_RUN=") for line in environment),
        "cwd": os.readlink(place / "cwd"),
        "streams": kinds,
        "signals": {name: status[name] for name in ("SigIgn", "SigBlk")},
        "umask": status["Umask"],
        "limits": (place / "limits").read_text(),
        "leads its session": os.getsid(pid) == pid == os.getpgid(pid),
        "parent": status["PPid"].strip(),
    }


def test_it_is_a_process_like_any_other_servers(saved_models: SavedModels) -> None:
    model = saved_models.path("half_plus_two")
    with serving(model) as from_nothing, serving(model) as from_the_spare:
        told = [inherited(pid_of(server)) for server in (from_nothing, from_the_spare)]
        marks = [
            pathlib.Path(f"/proc/{pid_of(server)}/environ").read_bytes() for server in (from_nothing, from_the_spare)
        ]
    assert told[0] == told[1]
    assert told[0]["marks"] == 1
    assert marks[0] != marks[1]  # each has its own, by which it is found and ended


@pytest.mark.parametrize("what", ["environment", "directory", "spec"])
def test_a_spare_that_does_not_fit_is_not_used(
    saved_models: SavedModels, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, what: str
) -> None:
    model = saved_models.path("half_plus_two")
    with serving(model):
        spare = spares.current()
    spec: Any = {"tensorflow_serving": {}, "local_process": {}}
    if what == "environment":
        monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    elif what == "directory":
        monkeypatch.chdir(tmp_path)
    else:
        spec["local_process"]["env"] = {"TF_NUM_INTRAOP_THREADS": "1"}
    with serving(model, spec) as server:
        pid = pid_of(server)
        assert pid != spare
        assert os.readlink(f"/proc/{pid}/cwd") == os.getcwd()
        assert not pathlib.Path(f"/proc/{spare}").exists()
        variables = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
        assert (b"TF_NUM_INTRAOP_THREADS=1" in variables) == (what != "directory")


def test_a_spare_that_has_died_is_not_missed(saved_models: SavedModels) -> None:
    model = saved_models.path("half_plus_two")
    with serving(model):
        os.kill(spares.current(), signal.SIGKILL)
    with serving(model) as server:
        assert is_ready(server)


def test_a_forked_child_leaves_its_parents_spare_alone(saved_models: SavedModels) -> None:
    with serving(saved_models.path("half_plus_two")):
        spare = spares.current()
        child = os.fork()
        if child == 0:
            seen = spares.current()
            spares.end()
            os._exit(1 if seen else 0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert spares.current() == spare
        os.kill(spare, 0)


PROGRAM = """
import sys, time, infra_validator
from infra_validator.testing import spares
with infra_validator.serving(sys.argv[1]):
    assert spares.current()
    print("ready", flush=True)
    if sys.argv[2] == "killed":
        time.sleep(600)
"""


@pytest.mark.parametrize("end", ["killed", "returns"])
def test_whatever_becomes_of_the_process_nothing_is_left(
    saved_models: SavedModels, temporary: pathlib.Path, tmp_path: pathlib.Path, end: str
) -> None:
    mark = f"TF_SPARES_TEST={tmp_path}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_SPARES_TEST": str(tmp_path)}
    command = [sys.executable, "-c", PROGRAM, str(saved_models.path("half_plus_two")), end]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        if end == "killed":
            assert len(marked_processes(mark)) >= 3  # it, its server, the spare
            process.send_signal(signal.SIGKILL)
    assert process.returncode == (-signal.SIGKILL if end == "killed" else 0)
    if end == "killed":  # the watchdogs are at work
        wait_until(lambda: None if marked_processes(mark) or any(temporary.iterdir()) else True, Deadline.after(60))
    assert marked_processes(mark) == []
    assert list(temporary.iterdir()) == []
