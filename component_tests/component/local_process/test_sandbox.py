"""A server in a sandbox: what a model and a program cannot do there, what becomes of it where there is none, and what the report says."""

from __future__ import annotations

import os
import pathlib
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from component_tests.fakes.hostile_model import Asking
from component_tests.fakes.planners import Planner
from component_tests.fakes.saved_models import SavedModels
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.states import Life, Observation
from infra_validator.model_server_runners.cleanup.processes import stat
from infra_validator.model_server_runners.local_process.runner import LocalProcessRunner
from infra_validator.report.verdict import ValidationReport, Verdict
from infra_validator.specs import ServingSpec
from infra_validator.specs.local_process import SANDBOX

SECONDS = 60.0
SECRET = "a token of somebody's"


@pytest.fixture(autouse=True)
def temporary(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pathlib.Path]:
    """The system's place for temporary files, in which nothing is left."""
    path = tmp_path / "temporary"
    path.mkdir()
    monkeypatch.setenv("TMPDIR", str(path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield path
    assert list(path.iterdir()) == []


Ask = Callable[..., ValidationReport]


@pytest.fixture
def ask(tmp_path: pathlib.Path, saved_models: SavedModels) -> Ask:
    """Validates the model of strangers with one request for one of its signatures."""

    def ask(sandbox: str, signature: str, limits: dict[str, Any] | None = None, **inputs: object) -> ValidationReport:
        model = inputs.pop("model", saved_models.path("hostile"))
        local = {"sandbox": sandbox, "memory_limit": "1500m"}
        asking = Asking(tmp_path, pathlib.Path(str(model)), {"tensorflow_serving": {}, "local_process": local})
        return asking(signature, limits, **inputs)

    return ask


def attempts(report: ValidationReport) -> list[tuple[ReasonCode, bool]]:
    return [(one.finding.reason, bool(one.restrictions)) for one in report.serving_binaries[0].attempts]


BLESSED, REFUSED = (ReasonCode.BLESSED, False), (ReasonCode.REQUEST_FAILED, True)


# -------------------------------------------------------------------- models


@pytest.mark.bubblewrap
def test_a_model_reads_no_file_of_the_user(tmp_path: pathlib.Path, ask: Ask) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    assert attempts(ask("off", "read", path=str(secret))) == [BLESSED]
    refused = ask("required", "read", path=str(secret))
    assert attempts(refused) == [REFUSED]
    assert refused.serving_binaries[0].attempts[0].restrictions == (SANDBOX,)
    assert "No such file" in refused.finding.detail


@pytest.mark.bubblewrap
@pytest.mark.parametrize("path", ["/etc/shadow", "/proc/{pid}/environ", "/var/log/dpkg.log"])
def test_a_model_reads_nothing_of_the_system_and_of_processes(path: str, ask: Ask) -> None:
    path = path.format(pid=os.getpid())
    assert os.path.exists(path)
    assert attempts(ask("required", "read", path=path)) == [REFUSED]


@pytest.mark.bubblewrap
def test_a_model_writes_no_file(tmp_path: pathlib.Path, saved_models: SavedModels, ask: Ask) -> None:
    target = tmp_path / "written"
    ask("required", "write", path=str(target), content="x")  # below /tmp it may: in its own memory
    assert not target.exists()
    own = saved_models.path("hostile") / "assets.extra" / "written"
    assert attempts(ask("required", "write", path=str(own), content="x")) == [REFUSED]
    assert not own.exists()
    assert attempts(ask("off", "write", path=str(target), content="x")) == [BLESSED]
    assert target.read_text() == "x"


@pytest.mark.bubblewrap
def test_a_model_changes_no_setting_of_the_kernels(ask: Ask) -> None:
    """Asked to write what is there already."""
    path = pathlib.Path("/proc/sys/kernel/core_pattern")
    before = path.read_text()
    assert attempts(ask("required", "write", path=str(path), content=before.strip())) == [REFUSED]
    assert path.read_text() == before


@pytest.mark.bubblewrap
def test_a_model_takes_no_checkpoint_away(tmp_path: pathlib.Path, saved_models: SavedModels, ask: Ask) -> None:
    source = saved_models.copy("half_plus_two", tmp_path / "theirs") / "variables"
    before = sorted(path.name for path in source.iterdir())
    target = str(tmp_path / "taken" / "variables")
    assert attempts(ask("required", "merge", source=str(source / "variables"), target=target)) == [REFUSED]
    assert sorted(path.name for path in source.iterdir()) == before
    ask("off", "merge", source=str(source / "variables"), target=target)
    assert not (source / "variables.index").exists()


@pytest.mark.bubblewrap
def test_auto_steps_aside_for_a_model_that_needs_more_and_says_so(tmp_path: pathlib.Path, ask: Ask) -> None:
    needed = tmp_path / "needed"
    needed.write_text("a vocabulary")
    report = ask("auto", "read", path=str(needed))
    assert attempts(report) == [REFUSED, BLESSED]
    assert report.verdict is Verdict.BLESSED
    (warning,) = [one for one in report.warnings if "does not bear" in one]
    assert f"The server does not bear {SANDBOX}. It was validated without it" in warning


@pytest.mark.bubblewrap
@pytest.mark.parametrize("sandbox", ["auto", "required"])
def test_a_good_model_is_blessed_in_it_and_the_report_says_so(sandbox: str, ask: Ask) -> None:
    report = ask(sandbox, "serving_default", x=[1.0])
    assert attempts(report) == [(ReasonCode.BLESSED, True)]
    assert report.serving_binaries[0].attempts[0].restrictions == (SANDBOX,)
    assert report.warnings == ()


@pytest.mark.bubblewrap
def test_a_model_that_takes_all_memory_is_ended_there_too(ask: Ask) -> None:
    report = ask("required", "hungry", mebibytes=4000)
    assert attempts(report) == [(ReasonCode.SERVER_OUT_OF_MEMORY, True)]


@pytest.mark.bubblewrap
def test_a_model_that_never_ends_is_ended_there_too(ask: Ask) -> None:
    report = ask("required", "spin", {"max_query_time_seconds": 3}, start=1.0)
    assert attempts(report) == [(ReasonCode.QUERY_TIMEOUT, True)]
    assert report.serving_binaries[0].attempts[0].left_behind == ()


@pytest.mark.bubblewrap
def test_a_model_with_a_link_out_of_it_is_not_followed(
    tmp_path: pathlib.Path, saved_models: SavedModels, ask: Ask
) -> None:
    model = saved_models.copy("hostile", tmp_path / "linked")
    (model / "assets.extra").mkdir(exist_ok=True)
    (model / "assets.extra" / "more").symlink_to(saved_models.path("half_plus_two"))
    assert ask("required", "serving_default", model=model, x=[1.0]).finding.reason is ReasonCode.MODEL_LINKS_OUTSIDE
    report = ask("auto", "serving_default", model=model, x=[1.0])
    assert attempts(report) == [BLESSED]
    assert "The server ran without a sandbox: a link leads out of the model" in report.warnings[0]


# -------------------------------------------------------------------- where it cannot be had


def test_a_machine_without_bubblewrap(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, ask: Ask) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    report = ask("required", "serving_default", x=[1.0])
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.finding.reason is ReasonCode.SANDBOX_NOT_AVAILABLE
    assert "bubblewrap (bwrap) is not installed" in report.finding.detail
    assert not report.serving_binaries[0].attempts[0].server_started
    report = ask("auto", "serving_default", x=[1.0])
    assert attempts(report) == [BLESSED]
    assert "The server ran without a sandbox: bubblewrap (bwrap) is not installed." in report.warnings[0]


def test_a_machine_that_does_not_allow_it(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, ask: Ask) -> None:
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    report = ask("required", "serving_default", x=[1.0])
    assert report.finding.reason is ReasonCode.SANDBOX_NOT_AVAILABLE
    assert "No permissions to create new namespace" in report.finding.detail
    assert "user namespaces" in report.finding.next_step
    assert attempts(ask("auto", "serving_default", x=[1.0])) == [BLESSED]


# -------------------------------------------------------------------- programs


Start = Callable[[str], LocalProcessRunner]


@pytest.fixture
def start(tmp_path: pathlib.Path) -> Iterator[Start]:
    """Starts a Python program in a sandbox as if it were a server."""
    runners = []
    model = tmp_path / "model"
    model.mkdir()

    def start(program: str) -> LocalProcessRunner:
        spec = ServingSpec.of({"tensorflow_serving": {}, "local_process": {"sandbox": "required"}})
        runner = LocalProcessRunner(str(model), Planner((sys.executable, "-c", program), ("${port_file}",)), spec)
        runners.append(runner)
        runner.Start()
        return runner

    yield start
    for runner in runners:
        runner.Stop()
        assert runner.stop_problems == []


def end_of(runner: LocalProcessRunner) -> Observation:
    def gone() -> Observation | None:
        seen = runner.Observe()
        return seen if seen.life is Life.GONE else None

    return wait_until(gone, Deadline.after(SECONDS), news=runner.news)


@pytest.mark.bubblewrap
@pytest.mark.parametrize(
    ("program", "reason", "detail"),
    [
        ("raise SystemExit(3)", ReasonCode.SERVER_EXITED, "exit code 3"),
        ("import os; os.kill(os.getpid(), 11)", ReasonCode.SERVER_KILLED, "signal SIGSEGV"),
    ],
)
def test_how_a_server_ended_is_told(start: Start, program: str, reason: ReasonCode, detail: str) -> None:
    seen = end_of(start(program))
    assert (seen.reason, seen.detail) == (reason, detail)


@pytest.mark.bubblewrap
def test_a_program_cannot_leave_the_memory_that_it_has_for_files(start: Start) -> None:
    runner = start(
        "import os\n"
        "for place in ('/tmp', '/dev/shm'):\n"
        "  try:\n"
        "    with open(place + '/big', 'wb') as file:\n"
        "      for _ in range(300): file.write(bytes(2**20))\n"
        "  except OSError as error: print(place, error.strerror)\n"
        "  os.unlink(place + '/big')\n"
        "for place in ('/', '/dev', '/usr', '/sys', '/etc', '/proc'):\n"
        "  try: open(place + '/new', 'w')\n"
        "  except OSError as error: print(place, 'refused')\n"
    )
    end_of(runner)
    said = runner.GetLogs().splitlines()
    assert said[:2] == ["/tmp No space left on device", "/dev/shm No space left on device"]
    assert said[2:] == [f"{place} refused" for place in ("/", "/dev", "/usr", "/sys", "/etc", "/proc")]


@pytest.mark.bubblewrap
def test_a_program_can_write_no_setting_of_the_kernels(start: Start) -> None:
    """Those of /proc and /sys belong to root, which a sandbox of root's is to whoever asks for no capability."""
    runner = start(
        "import os\n"
        "for top in ('/proc', '/sys'):\n"
        "  for folder, folders, files in os.walk(top):\n"
        "    if folder == '/proc': folders[:] = [name for name in folders if not name.isdigit()]\n"
        "    for path in (os.path.join(folder, name) for name in files):\n"
        "      if not os.path.islink(path) and os.access(path, os.W_OK): print(path)\n"
        "print('looked')\n"
    )
    end_of(runner)
    assert runner.GetLogs().splitlines() == ["looked"]


@pytest.mark.bubblewrap
def test_a_child_that_hides_from_us_ends_with_its_server(start: Start) -> None:
    """Without its mark, in a session of its own: nothing but its process namespace tells whose it is."""
    unique = f"infra-validator-hidden-{os.getpid()}"
    runner = start(
        "import os, subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', '{unique}'], env={{}}, start_new_session=True)\n"
        "print('started', flush=True)\n"
        "time.sleep(600)\n"
    )
    wait_until(lambda: "started" in runner.GetLogs() or None, Deadline.after(SECONDS))
    hidden = wait_until(lambda: _with_argument(unique) or None, Deadline.after(SECONDS))
    runner.Stop()
    assert runner.stop_problems == []
    assert not [pid for pid in hidden if (seen := stat(pid)) and seen.alive]


@pytest.mark.bubblewrap
def test_a_program_can_signal_nobody_and_has_no_rights(start: Start) -> None:
    runner = start(
        "import os, signal\n"
        f"try: os.kill({os.getpid()}, 0)\n"
        "except OSError as error: print(error.strerror)\n"
        "print(len([name for name in os.listdir('/proc') if name.isdigit()]) < 5)\n"
        "print([line.split()[1] for line in open('/proc/self/status') if line.startswith(('CapEff', 'NoNewPrivs'))])\n"
    )
    end_of(runner)
    assert runner.GetLogs().splitlines() == ["No such process", "True", "['0000000000000000', '1']"]


@pytest.mark.bubblewrap
def test_a_program_that_cannot_be_executed_is_not_the_models_fault(tmp_path: pathlib.Path) -> None:
    program = tmp_path / "server"
    program.write_bytes(b"\x7fELF of another processor")
    program.chmod(0o755)
    spec = ServingSpec.of({"tensorflow_serving": {}, "local_process": {"sandbox": "required"}})
    (tmp_path / "model").mkdir()
    runner = LocalProcessRunner(str(tmp_path / "model"), Planner((str(program),)), spec)
    foreign = LocalProcessRunner(str(tmp_path / "model"), Planner((str(program),)), spec)
    missing = LocalProcessRunner(str(tmp_path / "model"), Planner((str(tmp_path / "nothing"),)), spec)
    for runner, reason in ((foreign, ReasonCode.BINARY_NOT_EXECUTABLE), (missing, ReasonCode.BINARY_NOT_FOUND)):
        with pytest.raises(InfrastructureError) as caught:
            runner.Start()
        runner.Stop()
        assert caught.value.reason is reason


@pytest.mark.bubblewrap
def test_a_server_that_is_killed_is_told_as_such(start: Start) -> None:
    runner = start("import time; print('up', flush=True); time.sleep(600)")
    wait_until(lambda: "up" in runner.GetLogs() or None, Deadline.after(SECONDS))
    os.kill(runner.pid, signal.SIGKILL)
    seen = end_of(runner)
    assert (seen.reason, seen.detail) == (ReasonCode.SERVER_KILLED, "signal SIGKILL")


def _with_argument(argument: str) -> list[int]:
    """The processes with this argument, as the host sees them."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if argument.encode() in pathlib.Path("/proc", name, "cmdline").read_bytes().split(b"\0")[1:]:
                found.append(int(name))
        except OSError:
            continue
    return found
