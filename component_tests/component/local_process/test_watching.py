"""Whose the server's port or socket is, and what its end, its log and its port file say: with real programs."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import signal
import socket
import sys

import pytest

from component_tests.component.local_process.test_runner import SECONDS, Make, end_of
from component_tests.component.local_process.test_runner import make as make
from component_tests.component.local_process.test_runner import temporary as temporary
from component_tests.fakes.planners import PORT_IN_USE, Planner, misbehaving
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.errors import InfrastructureError
from infra_validator.core.launch_plan import LaunchPlan
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.states import Life

# ---------------------------------------------------------------- what the log, the port file and the watch can and cannot say


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        ("kill -SEGV $$", ReasonCode.SERVER_KILLED),
        ("for n in 1 2 3 4 5 6 7 8; do echo went on $n; done; exit 1", ReasonCode.SERVER_EXITED),
        ("exit 0", ReasonCode.SERVER_EXITED),
        ("exit 1", ReasonCode.PORT_NOT_AVAILABLE),
    ],
    ids=["crash", "old line", "success", "its last word"],
)
def test_the_end_that_was_seen_decides_and_not_a_line_of_the_log(make: Make, rest: str, reason: ReasonCode) -> None:
    runner = make(Planner(("/bin/sh", "-c", f"echo '{PORT_IN_USE}: Address already in use'; {rest}")))
    runner.Start()
    assert end_of(runner).reason is reason


@pytest.mark.parametrize(
    "nonsense",
    ["", "[1]", "null", '{"grpc": 1e999}', '{"grpc": 70000}', '{"grpc": true}', "[" * 4000, '{"grpc": "8500"}'],
)
def test_a_port_file_with_nonsense_is_told_and_watched_on(make: Make, nonsense: str) -> None:
    runner = make(Planner(("/bin/sh", "-c", 'printf %s "$1" > "$2"; sleep 600', "sh", nonsense), ("${port_file}",)))
    runner.Start()
    wait_until(lambda: "port file" in runner.Observe().detail or None, Deadline.after(SECONDS))
    assert runner.Observe().life is Life.PENDING
    os.kill(runner.pid, signal.SIGKILL)
    assert end_of(runner).reason is ReasonCode.SERVER_KILLED


def test_a_watch_that_fails_ends_the_attempt_at_once(make: Make) -> None:
    runner = make(misbehaving("mute"))
    runner.Start()
    assert runner._log is not None
    file = runner._log.fileno()
    os.close(file)  # what a program does that closes every descriptor it does not know
    seen = end_of(runner)
    os.dup2(os.open(os.devnull, os.O_RDWR), file)
    assert seen.reason is ReasonCode.INTERNAL_ERROR
    assert "Bad file descriptor" in seen.detail
    pid = runner.pid
    runner.Stop()
    assert runner.stop_problems == []
    assert not os.path.exists(f"/proc/{pid}")


def test_a_system_without_waitid_is_served_as_well(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "waitid")
    runner = make(misbehaving("exits_1"))
    runner.Start()
    seen = end_of(runner)
    assert (seen.reason, seen.detail) == (ReasonCode.SERVER_EXITED, "exit code 1")


# ---------------------------------------------------------------- Unix sockets


@dataclasses.dataclass(frozen=True)
class OnSocket(Planner):
    """A program whose server is reached at a Unix socket, told to it as its only argument."""

    path: str = ""

    def MakeLaunchPlan(self, model_path: str, platform: str) -> LaunchPlan:
        return dataclasses.replace(super().MakeLaunchPlan(model_path, platform), unix_socket=self.path)


LISTENS = """
import os, socket, sys, time
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
if sys.argv[2] == "child" and os.fork(): time.sleep(600)
time.sleep(600)
"""


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    return str(tmp_path / "grpc.sock")


@pytest.mark.parametrize("who", ["itself", "child"])
def test_a_server_on_its_socket_is_ours(make: Make, path: str, who: str) -> None:
    runner = make(OnSocket((sys.executable, "-c", LISTENS, path, who), path=path))
    runner.Start()
    wait_until(lambda: os.path.exists(path) or None, Deadline.after(SECONDS))
    wait_until(
        lambda: (runner.Observe().life is Life.RUNNING and runner._port_is_ours) or None, Deadline.after(SECONDS)
    )
    assert runner.WaitUntilRunning(Deadline.after(SECONDS))
    assert runner.GetEndpoint() == f"unix:{path}"


def test_somebody_else_on_the_socket_is_noticed(make: Make, path: str) -> None:
    runner = make(OnSocket(("/bin/sleep", "600"), path=path))
    runner.Start()
    assert runner.WaitUntilRunning(Deadline.after(SECONDS))
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        seen = runner.Observe()
    assert seen.reason is ReasonCode.SERVER_NOT_OURS
    assert path in seen.detail


def test_a_socket_in_use_is_refused_before_anything_is_made(make: Make, path: str) -> None:
    runner = make(OnSocket(("/bin/sleep", "600"), path=path))
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        with pytest.raises(InfrastructureError, match="already") as caught:
            runner.Start()
    assert caught.value.reason is ReasonCode.PORT_NOT_AVAILABLE
    assert runner.pid == 0


def test_a_stale_socket_is_nobody_s(make: Make, path: str) -> None:
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(path)
    runner = make(OnSocket(("/bin/sleep", "600"), path=path))
    runner.Start()
    assert runner.WaitUntilRunning(Deadline.after(SECONDS))
