"""Models and programs of strangers as local processes, without a sandbox and in one: what docs/security.md says of what they take."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator

import pytest

from component_tests.fakes.hostile_model import Asking, Listener, few_descriptors
from component_tests.fakes.planners import Planner
from component_tests.fakes.saved_models import SavedModels
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.states import Life
from infra_validator.model_server_runners.cleanup.processes import stat
from infra_validator.model_server_runners.cleanup.watchdog import marked_processes
from infra_validator.model_server_runners.local_process.runner import LocalProcessRunner
from infra_validator.report.verdict import Verdict
from infra_validator.specs import ServingSpec

SECONDS = 120.0
R = ReasonCode
MARK = "HOSTILE_MODELS"

#: Without a sandbox, and in one.
SANDBOXES = ["off", pytest.param("required", marks=pytest.mark.bubblewrap)]


@pytest.fixture(autouse=True)
def temporary(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pathlib.Path]:
    """The system's place for temporary files, in which nothing is left, and of whose servers no process."""
    path = tmp_path / "temporary"
    path.mkdir()
    monkeypatch.setenv("TMPDIR", str(path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield path
    assert list(path.iterdir()) == []
    assert marked_processes(f"{MARK}={tmp_path}") == []


@pytest.fixture(params=SANDBOXES)
def sandbox(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ask(tmp_path: pathlib.Path, saved_models: SavedModels, sandbox: str) -> Asking:
    local = {"sandbox": sandbox, "memory_limit": "1500m", "env": {MARK: str(tmp_path)}}
    return Asking(tmp_path, saved_models.path("hostile"), {"tensorflow_serving": {}, "local_process": local})


# -------------------------------------------------------------------- models


def test_a_model_reaches_whatever_listens_on_this_machine(ask: Asking) -> None:
    """Not contained, neither way: the sandbox has the machine's network."""
    with Listener() as listener:
        report = ask("dial", address=f"127.0.0.1:{listener.port}")
        assert any("DispatcherService" in method for method in listener.called)
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, R.REQUEST_FAILED)


def test_a_model_that_takes_all_descriptors_takes_its_own(ask: Asking) -> None:
    with few_descriptors() as most:
        assert ask("descriptors", path="/etc/passwd", files=20).verdict is Verdict.BLESSED
        report = ask("descriptors", path="/etc/passwd", files=4 * most)
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, R.REQUEST_FAILED)
    assert "Too many open files" in report.finding.detail


def test_a_model_that_takes_all_processors_ends_with_its_limit(ask: Asking) -> None:
    report = ask("burn", {"max_query_time_seconds": 3}, start=1.0)
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, R.QUERY_TIMEOUT)


def test_a_model_that_takes_all_processors_ends_with_the_total_time(ask: Asking) -> None:
    """Which decides nothing: whoever had so little time for other reasons would say the same."""
    report = ask("burn", {"total_time_seconds": 8}, start=1.0)
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, R.TOTAL_TIMEOUT)


def test_a_model_starts_threads_as_it_likes(ask: Asking) -> None:
    assert ask("threads", number=200).verdict is Verdict.BLESSED


def test_a_model_fills_the_users_disk_only_without_a_sandbox(tmp_path: pathlib.Path, ask: Asking, sandbox: str) -> None:
    target = tmp_path / "filled"
    report = ask("fill", path=str(target), mebibytes=300)
    if sandbox == "off":
        assert report.verdict is Verdict.BLESSED
        assert target.stat().st_size == 300 * 2**20
    else:
        assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, R.REQUEST_FAILED)
        assert "No space left on device" in report.finding.detail  # of what it has in memory below /tmp
        assert not target.exists()


@pytest.mark.parametrize("sandbox", ["off"], indirect=True)
@pytest.mark.parametrize("name", ["saved_model.pb", "variables/variables.index", "assets.extra/more"])
def test_a_model_with_a_pipe_in_it_holds_nobody_up(
    tmp_path: pathlib.Path, saved_models: SavedModels, ask: Asking, name: str
) -> None:
    """Nobody writes to it: whoever read it would wait for good."""
    model = saved_models.copy("half_plus_two", tmp_path / "piped")
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).unlink(missing_ok=True)
    os.mkfifo(model / name)
    ask.model = model
    report = ask("serving_default", x=[1.0])
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, R.MODEL_NOT_A_SAVED_MODEL)
    assert "is a named pipe, not a file" in report.finding.detail


# -------------------------------------------------------------------- programs

Start = Callable[[str], LocalProcessRunner]


@pytest.fixture
def start(tmp_path: pathlib.Path, sandbox: str) -> Iterator[Start]:
    """Starts a Python program as if it were a server."""
    runners = []
    model = tmp_path / "model"
    model.mkdir()

    def start(program: str) -> LocalProcessRunner:
        spec = ServingSpec.of({"tensorflow_serving": {}, "local_process": {"sandbox": sandbox}})
        planner = Planner((sys.executable, "-c", program), ("${port_file}",), {MARK: str(tmp_path)})
        runner = LocalProcessRunner(str(model), planner, spec)
        runners.append(runner)
        runner.Start()
        return runner

    yield start
    for runner in runners:
        runner.Stop()
        assert runner.stop_problems == []


def lines_of(runner: LocalProcessRunner) -> list[str]:
    """What a program has said when it has ended."""
    wait_until(lambda: runner.Observe().life is Life.GONE or None, Deadline.after(SECONDS), news=runner.news)
    return runner.GetLogs().splitlines()


def test_a_program_has_the_machines_network_and_in_a_sandbox_none_of_its_sockets_with_a_path(
    tmp_path: pathlib.Path, start: Start, sandbox: str
) -> None:
    path, name = str(tmp_path / "socket"), f"\0infra-validator-test-{os.getpid()}"
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as named,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        for unix, where in ((named, path), (abstract, name)):
            unix.bind(where)
            unix.listen()
        said = lines_of(
            start(
                "import socket\n"
                f"places = [(socket.AF_INET, {tcp.getsockname()!r}), (socket.AF_UNIX, {name!r}), (socket.AF_UNIX, {path!r})]\n"
                "for family, address in places:\n"
                "  try: socket.socket(family).connect(address)\n"
                "  except OSError as error: print(error.strerror)\n"
                "  else: print('connected')\n"
                "socket.create_server(('0.0.0.0', 0)); print('listens')\n"
            )
        )
    last = "connected" if sandbox == "off" else "No such file or directory"
    assert said == ["connected", "connected", last, "listens"]


def test_a_program_starts_processes_as_it_likes_and_they_end_with_it(start: Start) -> None:
    runner = start(
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "for number in range(300):\n"
        "  if os.fork() == 0:\n"
        "    if number % 2: os.setsid()\n"
        "    time.sleep(600)\n"
        "print('forked', flush=True)\n"
        "time.sleep(600)\n"
    )
    wait_until(lambda: "forked" in runner.GetLogs() or None, Deadline.after(SECONDS))
    runner.Stop()


def test_a_program_that_keeps_all_processors_busy_is_ended_all_the_same(start: Start) -> None:
    runner = start(
        "import os, signal\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "for _ in range(2 * os.cpu_count()):\n"
        "  if os.fork() == 0: break\n"
        "else: print('burns', flush=True)\n"
        "while True: pass\n"
    )
    wait_until(lambda: "burns" in runner.GetLogs() or None, Deadline.after(SECONDS))
    runner.Stop()


@pytest.mark.parametrize("sandbox", ["off"], indirect=True)
def test_a_child_that_hides_outlives_its_server_without_a_sandbox(start: Start) -> None:
    """Not contained: without its mark, in a session of its own, nothing tells whose it is. Of a sandbox see test_sandbox.py."""
    runner = start(
        "import subprocess, sys, time\n"
        "child = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
        "print(subprocess.Popen(child, env={}, start_new_session=True).pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    hidden = int(wait_until(lambda: runner.GetLogs().strip() or None, Deadline.after(SECONDS)))
    try:
        runner.Stop()
        seen = stat(hidden)
        assert seen
        assert seen.alive
    finally:
        os.kill(hidden, signal.SIGKILL)


def test_whatever_a_program_leaves_in_its_directory_is_removed_and_no_link_followed(
    tmp_path: pathlib.Path, start: Start
) -> None:
    """Directories as deep as no path is long, some that nobody may enter: ``temporary`` looks for what is left."""
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    said = lines_of(
        start(
            "import os, sys\n"
            "os.chdir(os.path.dirname(sys.argv[1]))\n"
            f"os.symlink({str(kept)!r}, 'link')\n"
            "os.mkfifo('fifo')\n"
            "os.makedirs('closed/within/it')\n"
            "os.chmod('closed/within', 0); os.chmod('closed', 0o500)\n"
            "for _ in range(5000): os.mkdir('deep'); os.chdir('deep')\n"
            "print('left')\n"
        )
    )
    assert said == ["left"]
    assert (kept / "file").exists()


@pytest.mark.parametrize(
    "made", ["os.mkfifo(path)", "os.symlink('/etc/passwd', path)", "os.symlink('/dev/zero', path)", "os.mkdir(path)"]
)
def test_what_is_no_port_file_is_not_waited_for(start: Start, made: str) -> None:
    runner = start(f"import os, sys, time; path = sys.argv[1]; {made}; print('made', flush=True); time.sleep(600)")
    wait_until(lambda: "made" in runner.GetLogs() or None, Deadline.after(SECONDS))
    seen = runner.Observe()
    assert (seen.life, seen.reason) == (Life.PENDING, R.LOAD_TIMEOUT)
    assert "not {" in seen.detail


@pytest.mark.parametrize("sandbox", SANDBOXES[1:], indirect=True)
def test_the_directory_of_the_port_file_has_no_limit_and_is_removed(start: Start) -> None:
    """Not contained, but for its end: ``temporary`` looks for what is left."""
    runner = start(
        "import os, sys\n"
        "with open(os.path.dirname(sys.argv[1]) + '/big', 'wb') as file: os.posix_fallocate(file.fileno(), 0, 300 * 2**20)\n"
        "print(os.stat(file.name).st_blocks * 512 >> 20)\n"
    )
    assert lines_of(runner) == ["300"]
