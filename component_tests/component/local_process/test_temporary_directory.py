"""The executor's scratch directory: labelled, watched, and collected, whatever becomes of its maker."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import pytest

from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.model_server_runners.cleanup.labels import Label
from infra_validator.model_server_runners.cleanup.processes import members
from infra_validator.model_server_runners.cleanup.temporary_directory import temporary_directory
from infra_validator.model_server_runners.local_process.leftovers import collect_garbage

HOLDER = """
import os, pathlib, sys, time
from infra_validator.model_server_runners.cleanup.temporary_directory import temporary_directory
with temporary_directory() as path:
    pathlib.Path(path, "copy of a model").write_bytes(b"x" * 1000)
    print(path, flush=True)
    time.sleep(3600)
"""


@pytest.fixture
def temporary(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def holder() -> tuple[subprocess.Popen[str], pathlib.Path]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, pathlib.Path(process.stdout.readline().strip())


def test_it_is_labelled_and_gone_after_the_block(temporary: pathlib.Path) -> None:
    with temporary_directory() as path:
        assert pathlib.Path(path).parent == temporary
        assert Label.read(path) is not None
        assert collect_garbage(str(temporary)) == []  # its owner lives
        pathlib.Path(path, "file").touch()
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_it_goes_with_a_maker_that_is_killed(temporary: pathlib.Path, number: signal.Signals) -> None:
    process, path = holder()
    with process:
        assert path.is_dir()
        process.send_signal(number)
        process.wait(30)
    wait_until(lambda: not path.exists() or None, Deadline.after(30))


def test_gc_finds_it_where_the_watchdog_was_killed_as_well(temporary: pathlib.Path) -> None:
    process, path = holder()
    with process:
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for child in children:
            for member in members(int(child)):
                os.kill(member, signal.SIGKILL)
        process.kill()
        process.wait(30)
    assert path.is_dir()
    (found,) = collect_garbage(str(temporary))
    assert (found.path, found.problem) == (str(path), "")
    assert not path.exists()
