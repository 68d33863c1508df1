"""Progress on a real pseudo-terminal: drawn, taken away again, and standard output left to the result; plain lines everywhere else."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from component_tests.fakes.saved_models import ROOT, SavedModels
from infra_validator.core.deadline import SYSTEM_CLOCK

LOCAL = json.dumps({"tensorflow_serving": {}, "local_process": {}, "model_name": "m"})
_AT_MOST = 90  # seconds of one run

#: Makes the terminal on standard error the one whose Ctrl-C is this process's, and becomes the command.
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(2, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)

_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"


class Terminal:
    """A run of the command on a pseudo-terminal of its own; standard output is a pipe unless it is to be on the terminal too.

    Attributes:
      process: the command.
      drawn: all that was written to the terminal.
      printed: all of standard output.
    """

    def __init__(
        self,
        *arguments: str,
        columns: int = 80,
        both: bool = False,
        code: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._master, slave = pty.openpty()
        self.resize(columns)
        unwanted = ("NO_COLOR", "GITHUB_ACTIONS", "GITLAB_CI", "COLUMNS")
        inherited = {name: value for name, value in os.environ.items() if name not in unwanted}
        start = ["-c", code] if code else ["-m", "infra_validator"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, sys.executable, *start, *arguments],
            stdin=slave,
            stdout=slave if both else subprocess.PIPE,
            stderr=slave,
            start_new_session=True,
            env={**inherited, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT), **(environment or {})},
        )
        os.close(slave)
        self._ends = _AT_MOST + SYSTEM_CLOCK.monotonic()
        self.drawn = self.printed = ""

    def resize(self, columns: int) -> None:
        """Change the terminal's width; the process is told as by a terminal."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def type(self, octets: bytes) -> None:
        """Type something."""
        os.write(self._master, octets)

    def read_until(self, words: str) -> None:
        """Read what is drawn until some words come."""
        self._read(lambda: words in self.drawn)
        assert words in self.drawn, self.drawn

    def end(self) -> int:
        """The exit code, with everything read."""
        self._read(lambda: False)
        return self.process.wait(_AT_MOST)

    def close(self) -> None:
        """Kill what still runs, and close the terminal."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(_AT_MOST)
        os.close(self._master)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _read(self, enough: Callable[[], bool]) -> None:
        open_ends = {self._master} | ({self.process.stdout.fileno()} if self.process.stdout is not None else set())
        while open_ends and not enough():
            left = self._ends - SYSTEM_CLOCK.monotonic()
            assert left > 0, f"not ended:\n{self.drawn}\n{self.printed}"
            for end in select.select(list(open_ends), [], [], left)[0]:
                try:
                    data = os.read(end, 65536)
                except OSError:  # how a terminal ends whose other end is closed
                    data = b""
                if not data:
                    open_ends.discard(end)
                elif end == self._master:
                    self.drawn += data.decode(errors="replace")
                else:
                    self.printed += data.decode()


@pytest.fixture
def run() -> Iterator[Callable[..., Terminal]]:
    """Makes a Terminal, and closes it in the end."""
    with contextlib.ExitStack() as closing:

        def made(*arguments: str, **more: Any) -> Terminal:
            return closing.enter_context(contextlib.closing(Terminal(*arguments, **more)))

        yield made


@pytest.fixture
def requests(tmp_path: pathlib.Path) -> str:
    file = tmp_path / "requests.json"
    file.write_text("\n".join(json.dumps({"instances": [number]}) for number in range(50)))
    return str(file)


@pytest.fixture
def refused(tmp_path: pathlib.Path) -> str:
    """Requests that the model ``quoting`` refuses, and says so in the log."""
    file = tmp_path / "refused.json"
    file.write_text('{"signature_name": "to_number", "instances": ["no number"]}')
    return str(file)


@pytest.fixture
def model(saved_models: SavedModels) -> str:
    return str(saved_models.path("half_plus_two_tf2"))


def validate(model: str, *more: str) -> list[str]:
    return ["validate", "--model", model, "--serving-spec", LOCAL, *more]


def screen(drawn: str) -> str:
    """What is left of it on the terminal: rows that were taken away are not."""
    lines = [""]
    for piece in re.split(r"(\x1b\[\??[0-9;]*[A-Za-z]|\r\n|\r|\n)", drawn):
        if piece in ("\r\n", "\n"):
            lines.append("")
        elif piece == "\x1b[1A":
            lines.pop()
        elif piece == "\x1b[2K":
            lines[-1] = ""
        elif not piece.startswith("\x1b") and piece != "\r":
            lines[-1] += piece
    return "\n".join(lines)


def assert_given_back(terminal: Terminal) -> None:
    """That the cursor is visible, and no row of the display is left."""
    assert terminal.drawn.count(_HIDE) == terminal.drawn.count(_SHOW)
    assert terminal.drawn.rfind(_SHOW) >= terminal.drawn.rfind(_HIDE)
    assert not re.search("[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏✓✗]", screen(terminal.drawn))


@pytest.mark.parametrize("columns", [80, 20])
def test_a_run(run: Callable[..., Terminal], model: str, requests: str, tmp_path: pathlib.Path, columns: int) -> None:
    output = str(tmp_path / "output")
    arguments = validate(model, "--requests", requests, "--output", output, "--format", "json")
    terminal = run(*arguments, columns=columns)
    assert terminal.end() == 0, terminal.drawn
    assert json.loads(terminal.printed)["verdict"] == "BLESSED"  # standard output holds the result and nothing else
    assert _HIDE in terminal.drawn
    assert re.search(r" (start|schedule|load|query|stop) \d+\.\d s", terminal.drawn)
    assert_given_back(terminal)
    left = screen(terminal.drawn)
    assert "BLESSED" in left
    assert f"the report: {output}/" in left.replace("\n", "")
    assert "load ok" not in left  # no line for what is drawn
    if columns == 80:
        assert re.search(r"embedded model server \S+ +BLESSED +\d+\.\d\d +50", left)


def test_the_result_on_the_same_terminal(run: Callable[..., Terminal], model: str, requests: str) -> None:
    terminal = run(*validate(model, "--requests", requests), both=True)
    assert terminal.end() == 0
    assert_given_back(terminal)
    assert screen(terminal.drawn).rstrip().endswith("\nBLESSED")


def test_a_rejection_and_a_terminal_that_changes_its_size(
    run: Callable[..., Terminal], saved_models: SavedModels, refused: str
) -> None:
    limits = ["--validation-spec", '{"num_tries": 1}']
    terminal = run(*validate(str(saved_models.path("quoting")), "--requests", refused, *limits), columns=120)
    terminal.read_until(_HIDE)
    for columns in (40, 10, 200):
        terminal.resize(columns)
        os.kill(terminal.process.pid, signal.SIGWINCH)
    assert terminal.end() == 1
    assert_given_back(terminal)
    assert "NOT_BLESSED REQUEST_FAILED" in terminal.printed


@pytest.mark.parametrize(
    ("stop", "code"),
    [
        (lambda terminal: terminal.type(b"\x03"), 130),
        (lambda terminal: os.kill(terminal.process.pid, signal.SIGTERM), 143),
    ],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_an_interruption_gives_the_terminal_back(
    run: Callable[..., Terminal],
    saved_models: SavedModels,
    tmp_path: pathlib.Path,
    stop: Callable[[Terminal], None],
    code: int,
) -> None:
    slow = tmp_path / "slow.json"
    slow.write_text('{"inputs": 60}')
    terminal = run(*validate(str(saved_models.path("slow")), "--requests", str(slow)))
    terminal.read_until(" query ")
    stop(terminal)
    assert terminal.end() == code
    assert_given_back(terminal)
    assert "INTERRUPTED" in terminal.printed


#: environment, arguments -> a word that stands there, or empty: nothing is said
PLAIN: list[tuple[dict[str, str], list[str], str]] = [
    ({"NO_COLOR": "1"}, [], "load ok"),
    ({"TERM": "dumb"}, [], "load ok"),
    ({"TERM": ""}, [], "load ok"),
    ({}, ["--quiet"], ""),
]


@pytest.mark.parametrize(("environment", "more", "said"), PLAIN)
def test_plain_lines(
    run: Callable[..., Terminal], model: str, environment: dict[str, str], more: list[str], said: str
) -> None:
    terminal = run(*validate(model, *more), environment=environment)
    assert terminal.end() == 0
    assert "\x1b" not in terminal.drawn
    assert said in terminal.drawn
    assert bool(terminal.drawn) == bool(said)


_WITHOUT_RICH = """
import sys, importlib.abc
class Without(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "rich":
            raise ModuleNotFoundError("No module named 'rich'", name="rich")
sys.meta_path.insert(0, Without())
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "rich" else found(name, package)
from infra_validator.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_without_rich_there_are_lines(run: Callable[..., Terminal], model: str) -> None:
    terminal = run(*validate(model), code=_WITHOUT_RICH)
    assert terminal.end() == 0, terminal.drawn
    assert "load ok" in terminal.drawn
    assert "\x1b" not in terminal.drawn


def test_rich_is_imported_only_for_a_terminal(model: str) -> None:
    code = (
        "import sys\nfrom infra_validator.cli.main import main\ncode = main(sys.argv[1:])\n"
        "print('rich' in sys.modules, file=sys.stderr)\nsys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *validate(model)],
        capture_output=True,
        text=True,
        check=False,
        timeout=_AT_MOST,
        env={**os.environ, "TERM": "xterm"},
    )
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("variable", "begin", "end"),
    [("GITHUB_ACTIONS", "::group::", "::endgroup::"), ("GITLAB_CI", "section_start:", "section_end:")],
)
def test_log_groups_of_ci(saved_models: SavedModels, refused: str, variable: str, begin: str, end: str) -> None:
    arguments = validate(str(saved_models.path("quoting")), "--requests", refused)
    done = subprocess.run(
        [sys.executable, "-m", "infra_validator", *arguments, "--validation-spec", '{"num_tries": 1}'],
        capture_output=True,
        text=True,
        check=False,
        timeout=_AT_MOST,
        env={**os.environ, variable: "true"},
    )
    assert done.returncode == 1
    assert done.stderr.count(begin) == done.stderr.count(end) == 2  # the progress, and the server's log
    assert "load ok" in done.stderr
    assert ("::error title=NOT_BLESSED REQUEST_FAILED::" in done.stderr) == (variable == "GITHUB_ACTIONS")
    assert "::" not in done.stdout.replace("::1", "")
