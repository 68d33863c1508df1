"""A signal is noticed by every program, whichever of its threads it lands on, and never makes an exit code that lies."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from component_tests.component.cli.test_command_line import held_in, nothing_left
from component_tests.component.cli.test_command_line import scratch as scratch
from component_tests.component.probe.test_sidecar import sidecar_of
from component_tests.fakes.model_runtime.process import running
from component_tests.fakes.saved_models import SavedModels
from component_tests.fakes.servers.embedded_server_process import embedded_server
from infra_validator.core.deadline import Deadline, wait_until

STOP_SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
PATIENCE = 60.0


def send_to_another_thread(process: subprocess.Popen[str] | subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To a thread that is not the main one: what the kernel does when it pleases, done on purpose."""
    libc = ctypes.CDLL(None, use_errno=True)
    threads = sorted(int(name) for name in os.listdir(f"/proc/{process.pid}/task"))
    other = next(thread for thread in threads if thread != process.pid)
    libc.tgkill.argtypes = [ctypes.c_int] * 3
    assert libc.tgkill(process.pid, other, number) == 0, os.strerror(ctypes.get_errno())


@STOP_SIGNALS
def test_model_runtime_notices_a_signal_on_another_thread(
    saved_models: SavedModels, tmp_path: pathlib.Path, number: signal.Signals
) -> None:
    with running("embedded", saved_models.base_path("half_plus_two").parent, tmp_path) as runtime:
        send_to_another_thread(runtime.process, number)
        assert runtime.process.wait(PATIENCE) == 0


@STOP_SIGNALS
def test_the_sidecar_notices_a_signal_on_another_thread(number: signal.Signals) -> None:
    with sidecar_of("--addr=127.0.0.1:1", "--model=m") as sidecar:
        send_to_another_thread(sidecar.process, number)
        assert sidecar.process.wait(PATIENCE) == 0


@STOP_SIGNALS
@pytest.mark.parametrize("grace", [0, 30])
def test_serve_notices_a_signal_on_another_thread(
    saved_models: SavedModels, number: signal.Signals, grace: int
) -> None:
    base = saved_models.base_path("half_plus_two")
    with embedded_server(f"--model_base_path={base}", f"--shutdown_grace_seconds={grace}") as server:
        send_to_another_thread(server.process, number)
        assert server.wait_for_exit() == -number


@STOP_SIGNALS
@pytest.mark.parametrize("phase", ["load", "query"])
def test_validate_notices_a_signal_on_another_thread(
    saved_models: SavedModels, scratch: pathlib.Path, tmp_path: pathlib.Path, number: signal.Signals, phase: str
) -> None:
    command = held_in(phase, saved_models, scratch, tmp_path)
    send_to_another_thread(command.process, number)
    code, output, errors = command.end()
    assert code == 128 + number, output + errors
    assert "INTERRUPTED" in output
    nothing_left(scratch)


# ---------------------------------------------------------------- before and after


@STOP_SIGNALS
def test_a_signal_while_python_imports_is_no_verdict(tmp_path: pathlib.Path, number: signal.Signals) -> None:
    """An import that takes for ever, before the command has anything to clean up."""
    reached = tmp_path / "reached"
    stuck = tmp_path / "argparse.py"
    stuck.write_text(f"import pathlib, time\npathlib.Path({str(reached)!r}).touch()\nwhile True: time.sleep(1)\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "infra_validator", "validate", "--model", "/", "--serving-spec", "a: b"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        wait_until(lambda: reached.exists() or process.poll() is not None or None, Deadline.after(PATIENCE))
        process.send_signal(number)
        output, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert process.returncode in (-number, 128 + number), output  # a shell calls both 128 + number
    assert output == b""


class FullPipe:
    """A pipe that is full: who writes to it waits until somebody reads."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(self.writer, False)
        self._filled = os.write(self.writer, b" " * 4096)
        os.set_blocking(self.writer, True)

    def read_all(self) -> bytes:
        os.close(self.writer)
        with open(self.reader, "rb") as reader:
            return reader.read()[self._filled :]


@pytest.fixture
def full_pipe() -> FullPipe:
    return FullPipe()


@STOP_SIGNALS
@pytest.mark.parametrize(
    ("model", "code", "verdict"), [("half_plus_two", 0, "BLESSED"), ("unknown_op", 1, "NOT_BLESSED")]
)
def test_a_signal_after_the_verdict_changes_neither_it_nor_the_exit_code(
    saved_models: SavedModels,
    tmp_path: pathlib.Path,
    full_pipe: FullPipe,
    number: signal.Signals,
    model: str,
    code: int,
    verdict: str,
) -> None:
    spec = json.dumps({"tensorflow_serving": {}, "local_process": {}, "model_name": "m"})
    command = ["validate", "--model", str(saved_models.path(model)), "--serving-spec", spec, "--quiet"]
    command += ["--format", "json", "--output", str(tmp_path)]
    process = subprocess.Popen([sys.executable, "-m", "infra_validator", *command], stdout=full_pipe.writer)
    try:
        wait_until(
            lambda: (tmp_path / "verdict.json").exists() or process.poll() is not None or None, Deadline.after(PATIENCE)
        )
        process.send_signal(number)
        printed = full_pipe.read_all()
        assert process.wait(PATIENCE) == code
    finally:
        process.kill()
        process.wait()
    assert json.loads(printed)["verdict"] == verdict
    assert json.loads((tmp_path / "verdict.json").read_text())["verdict"] == verdict


# ---------------------------------------------------------------- no error of ours is a verdict


@pytest.fixture
def odd_model(saved_models: SavedModels, tmp_path: pathlib.Path) -> pathlib.Path:
    """A model whose path is not ASCII."""
    path = tmp_path / "modèle"
    path.symlink_to(saved_models.path("unknown_op"))
    return path


def run(arguments: list[str], shell_more: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    program = [sys.executable, "-m", "infra_validator", *arguments]
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {shell_more}', "sh", *program],
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
        timeout=120,
    )


def test_a_path_that_the_terminal_cannot_print(tmp_path: pathlib.Path) -> None:
    arguments = ["validate", "--model", str(tmp_path / "modèle"), "--serving-spec", "{}"]
    ended = run(arguments, "", LC_ALL="C", PYTHONIOENCODING="ascii", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert b"Traceback" not in ended.stderr
    assert ended.returncode in (2, 3)
    assert ended.stdout


def test_output_that_cannot_be_written(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    spec = '{"tensorflow_serving": {}, "local_process": {}, "model_name": "m"}'
    arguments = ["validate", "--model", str(saved_models.path("unknown_op")), "--serving-spec", spec]
    arguments += ["--output", str(tmp_path), "--quiet"]
    ended = run(arguments, "> /dev/full")
    assert ended.returncode == 3
    assert b"Traceback" not in ended.stderr
    assert b"No space left" in ended.stderr
    assert json.loads((tmp_path / "verdict.json").read_text())["verdict"] == "NOT_BLESSED"


@pytest.mark.parametrize(
    "redirection", ["> /dev/full", "> /dev/full 2>&1", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2> /dev/full"]
)
@pytest.mark.parametrize("arguments", [["--help"], ["validate", "--help"], ["gc", "--dry-run"], ["nonsense"]])
def test_no_output_of_any_command_can_make_exit_code_1(arguments: list[str], redirection: str) -> None:
    ended = run(arguments, redirection)
    assert ended.returncode in (0, 2, 3)
    assert b"Traceback" not in ended.stdout + ended.stderr


def test_closed_streams_do_not_change_a_verdict(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    spec = '{"tensorflow_serving": {}, "local_process": {}, "model_name": "m"}'
    arguments = ["validate", "--model", str(saved_models.path("half_plus_two")), "--serving-spec", spec]
    ended = run([*arguments, "--output", str(tmp_path)], "<&- >&- 2>&-")
    assert ended.returncode == 0
    assert json.loads((tmp_path / "verdict.json").read_text())["verdict"] == "BLESSED"


def test_an_error_that_nobody_foresaw_is_no_verdict(tmp_path: pathlib.Path) -> None:
    (tmp_path / "yaml.py").write_text("raise RuntimeError('broken installation')\n")
    ended = run(["validate", "--model", "/", "--serving-spec", "a: b"], "", PYTHONPATH=str(tmp_path))
    assert ended.returncode == 3
    assert b"no model is blamed" in ended.stderr
