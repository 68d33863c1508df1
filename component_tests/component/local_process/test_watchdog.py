"""The watchdog, with processes that are really killed."""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.errors import DeadlineExceeded
from infra_validator.model_server_runners.cleanup import watchdog
from infra_validator.model_server_runners.cleanup.watchdog import Watchdog, kill_marked, marked_processes

ROOT = pathlib.Path(__file__).parents[3]
SECONDS = 30.0


def holder(directory: pathlib.Path, mode: str = "good", *options: str) -> subprocess.Popen[str]:
    """A process that holds a runner (see runner_holder.py); all that it starts bears TMPDIR=directory in its environment."""
    return subprocess.Popen(
        [sys.executable, "-m", "component_tests.fakes.runner_holder", str(directory.parent), mode, *options],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(directory)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def temporary(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    path = tmp_path / "temporary"
    path.mkdir()
    yield path
    kill_marked(f"TMPDIR={path}")  # what a failed test left


def left(directory: pathlib.Path) -> list[str]:
    """Processes, with what they execute, and files."""
    processes = [f"process {pid}: {command(pid)}" for pid in marked_processes(f"TMPDIR={directory}")]
    return [*processes, *(os.path.join(at, name) for at, inner, files in os.walk(directory) for name in inner + files)]


def command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return "ended"


def all_gone(directory: pathlib.Path) -> None:
    with contextlib.suppress(DeadlineExceeded):
        wait_until(lambda: not left(directory) or None, Deadline.after(SECONDS))
    assert left(directory) == []


def read_until(process: subprocess.Popen[str], phase: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == phase:
            return
    pytest.fail(f"the holder ended before it was {phase}")


@pytest.mark.parametrize("phase", ["made", "started", "running"])
@pytest.mark.parametrize("mode", ["good", "forks"])
def test_nothing_outlives_a_killed_holder(temporary: pathlib.Path, phase: str, mode: str) -> None:
    with holder(temporary, mode) as process:
        read_until(process, phase)
        process.kill()
    all_gone(temporary)


@pytest.mark.parametrize("number", range(8))
def test_nothing_outlives_a_holder_killed_at_a_random_moment(temporary: pathlib.Path, number: int) -> None:
    with holder(temporary, "forks") as process:
        read_until(process, "made")
        time.sleep(random.Random(number).uniform(0, 0.08))  # the start takes about this long
        process.kill()
    all_gone(temporary)


def test_it_survives_the_end_of_its_maker_s_process_group(temporary: pathlib.Path) -> None:
    with holder(temporary) as process:
        read_until(process, "running")
        os.killpg(process.pid, signal.SIGKILL)
    all_gone(temporary)


def test_a_forked_child_that_holds_the_pipe_does_not_keep_it_waiting(temporary: pathlib.Path) -> None:
    with holder(temporary, "good", "fork") as process:
        read_until(process, "running")
        process.kill()
    wait_until(lambda: not list(temporary.iterdir()) or None, Deadline.after(SECONDS))
    # The forked child belongs to the holder and is none of ours: it alone stays, once the watchdog has ended, too.
    wait_until(lambda: len(marked_processes(f"TMPDIR={temporary}")) == 1 or None, Deadline.after(SECONDS))


def test_an_ordinary_end_of_the_maker_counts_as_its_death(temporary: pathlib.Path) -> None:
    program = (
        "from infra_validator.model_server_runners.cleanup.watchdog import Watchdog\n"
        "import os, sys\n"
        "Watchdog().remove_tree(sys.argv[1])\n"
        "os._exit(0)"
    )
    doomed = temporary / "doomed"
    doomed.mkdir()
    subprocess.run([sys.executable, "-c", program, str(doomed)], cwd=ROOT, check=True)
    wait_until(lambda: not doomed.exists() or None, Deadline.after(SECONDS))


def test_last_told_is_undone_first_and_what_was_forgotten_is_not(tmp_path: pathlib.Path) -> None:
    story = tmp_path / "story"
    watchdog = Watchdog()
    for word in ("third", "never", "second", "first"):
        told = watchdog.run(["/bin/sh", "-c", f"echo {word} >> {story}"])
        if word == "never":
            watchdog.forget(told)
    watchdog.close()
    assert story.read_text().split() == ["first", "second", "third"]


def test_one_failure_does_not_keep_the_others_from_being_undone(tmp_path: pathlib.Path) -> None:
    directory = tmp_path / "directory"
    (directory / "inside").mkdir(parents=True)
    (directory / "link").symlink_to(tmp_path)
    for depth in range(1, 1501):  # deeper than Python calls
        os.mkdir(f"{directory}{'/d' * depth}")
    watchdog = Watchdog()
    watchdog.remove_tree(str(directory))
    watchdog.run(["/no/such/program"])
    watchdog.remove_tree(str(tmp_path / "absent"))
    watchdog.close()
    assert list(tmp_path.iterdir()) == []
    assert tmp_path.exists()  # the link was removed, not followed


def test_with_nothing_to_undo_it_ends_at_once_and_may_be_closed_twice() -> None:
    watchdog = Watchdog()
    watchdog.close()
    watchdog.close()
    assert not pathlib.Path(f"/proc/{watchdog.pid}").exists()


def test_signals_do_not_end_it(tmp_path: pathlib.Path) -> None:
    doomed = tmp_path / "doomed"
    doomed.mkdir()
    watchdog = Watchdog()
    wait_until(lambda: _ignores(watchdog.pid, signal.SIGTERM) or None, Deadline.after(SECONDS))
    os.kill(watchdog.pid, signal.SIGTERM)
    os.kill(watchdog.pid, signal.SIGINT)
    watchdog.remove_tree(str(doomed))
    watchdog.close()
    assert not doomed.exists()


def _ignores(pid: int, number: signal.Signals) -> bool:
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "SigIgn":
            return bool(int(value, 16) >> (number - 1) & 1)
    return False


def test_without_its_watchdog_the_maker_goes_on() -> None:
    watchdog = Watchdog()
    os.kill(watchdog.pid, signal.SIGKILL)
    wait_until(lambda: _zombie(watchdog.pid) or None, Deadline.after(SECONDS))
    watchdog.forget(watchdog.remove_tree("/no/such/directory"))
    watchdog.close()


def _zombie(pid: int) -> bool:
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_only_whole_marks_count() -> None:
    with subprocess.Popen(["/bin/sleep", "60"], env={"MARK": "abc", "OTHER": "xMARK=ab"}) as process:
        wait_until(lambda: marked_processes("MARK=abc") == [process.pid] or None, Deadline.after(SECONDS))
        assert marked_processes("MARK=ab") == []
        assert marked_processes("MARK=abcd") == []
        kill_marked("MARK=abc")
        assert process.wait(SECONDS) == -signal.SIGKILL


def test_what_is_executed_again_and_again_does_not_escape() -> None:
    again = ["/bin/sh", "-c", 'exec /bin/sh -c "$0" "$0"', 'exec /bin/sh -c "$0" "$0"']
    for number in range(10):
        with subprocess.Popen(again, env={"MARK": f"again-{number}"}, start_new_session=True) as process:
            kill_marked(f"MARK=again-{number}")
            assert process.wait(SECONDS) == -signal.SIGKILL


def test_a_process_without_any_environment_is_let_live() -> None:
    with subprocess.Popen(["/bin/sleep", "60"], env={}) as process:
        kill_marked("MARK=of-nobody")
        assert process.poll() is None
        process.kill()


#: The watchdog's other half; what its maker was starting shows up only when everything was undone once.
LATE = """
import subprocess, sys
from infra_validator.model_server_runners.cleanup import watchdog
sleep = watchdog.time.sleep
def late(seconds):
    if seconds == watchdog._LATE_SECONDS:
        print(subprocess.Popen(["/bin/sleep", "60"], env={"MARK": "late"}, stdout=subprocess.DEVNULL).pid, flush=True)
    sleep(min(seconds, 0.01))
watchdog.time.sleep = late
watchdog.main()
"""


def test_what_shows_up_after_everything_was_undone_is_found() -> None:
    told = '{"tell": 1, "undo": "kill_marked", "what": "MARK=late"}\n'
    command = [sys.executable, "-c", LATE, str(os.getpid())]
    done = subprocess.run(command, input=told, capture_output=True, text=True, check=True, cwd=ROOT, timeout=SECONDS)
    assert int(done.stdout) not in marked_processes("MARK=late")


def test_a_process_that_is_just_being_executed_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """For longer than three sweeps; there is no way to hold a real one at that moment, so the sweeps say that there is one."""
    with subprocess.Popen(["/bin/sleep", "60"], env={}) as process:
        seen: list[tuple[list[int], bool]] = [*([([], True)] * 10), ([process.pid], False)]
        monkeypatch.setattr(watchdog, "_sweep", lambda mark: seen.pop(0) if seen else ([], False))
        kill_marked("MARK=executed")
        assert process.wait(SECONDS) == -signal.SIGKILL


def test_where_an_environment_ends_is_read_from_the_right_field() -> None:
    """The field that is 0 while a process has no environment yet; the one before it says where the environment begins."""
    with subprocess.Popen(["/bin/sleep", "60"], env={"A": "b" * 100}) as process:
        wait_until(lambda: watchdog._environment(str(process.pid)), Deadline.after(SECONDS))
        fields = pathlib.Path(f"/proc/{process.pid}/stat").read_bytes().rpartition(b")")[2].split()
        process.kill()
    assert int(fields[watchdog._ENV_END]) - int(fields[watchdog._ENV_END - 1]) == len("A=") + 100 + 1
