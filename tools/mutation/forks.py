"""Runs tests on mutants: each in a fork of a process that is ready for it, so that a mutant costs what its tests cost.

    .venv/bin/python -m tools.mutation.forks

reads a task a line from its standard input and answers each with a line. Nothing on the disk is changed. Two processes are made ready for a
file: one has collected its tests, so that a fork need only put a mutant's code into the functions that it changes; the other has
imported what can be imported without the file, and its fork imports the mutant's source. A mutant lives if the second says so: what
other modules made of the file at their import is the mutant's there. The tests must import the file in their own process.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import resource
import signal
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import pytest

from tools.mutation.swap import functions_of, functions_that_differ

ROOT = pathlib.Path(__file__).parents[2]

_ARGUMENTS = (
    *("-x", "-q", "--no-header", "--tb=short", "--disable-plugin-autoload", "-p", "pytest_timeout"),
    *("-p", "no:cacheprovider", "-p", "no:unraisableexception", "-p", "no:threadexception"),
    *(
        "-p",
        "_hypothesis_pytestplugin",
        "--hypothesis-profile=mutants",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
    ),
)
_NO_TESTS = 5  # pytest's exit code
_IDLE_SECONDS = 20  # without any work: even a busy machine gives a process that can go on a tick in that time
_LAST_WORDS = 2000  # characters of the tests' output

Task = dict[str, Any]


class Missing(Exception):
    """The file's module, where it is not to be had."""


class Source(importlib.machinery.SourceFileLoader):
    """Loads a module from a text that is not in its file; without a text not at all."""

    def __init__(self, name: str, path: str, text: str | None) -> None:
        super().__init__(name, path)
        self._text = text

    def get_code(self, fullname: str) -> types.CodeType:
        if self._text is None:
            raise Missing()
        return compile(self._text, self.path, "exec", dont_inherit=True)


class Finder(importlib.abc.MetaPathFinder):
    """Finds a file's module in a text."""

    def __init__(self, file: str, text: str | None) -> None:
        self._name = file.removesuffix(".py").replace("/", ".")
        self._loader = Source(self._name, str(ROOT / file), text)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.util.spec_from_loader(fullname, self._loader) if fullname == self._name else None


class Ready:
    """A process that is ready for tasks, and forks for each."""

    def __init__(self, prepare: Callable[[Ready], None]) -> None:
        (tasks, self._tasks), (self._answers, answers) = os.pipe(), os.pipe()
        self._child = os.fork()
        if self._child == 0:
            os.close(self._tasks)
            os.close(self._answers)
            self._in, self._out = os.fdopen(tasks), os.fdopen(answers, "w")
            try:
                prepare(self)
            finally:
                os._exit(0)
        os.close(tasks)
        os.close(answers)
        self._in, self._out = os.fdopen(self._answers), os.fdopen(self._tasks, "w")

    def say(self, message: Any) -> None:
        """A line to the other process."""
        print(json.dumps(message), file=self._out, flush=True)

    def hear(self) -> Any:
        """The other process's next line; None if it is gone."""
        line = self._in.readline()
        return json.loads(line) if line else None

    def ask(self, task: Task) -> Any:
        """What becomes of the tests."""
        self.say(task)
        return self.hear()

    def serve(self, tests: Callable[[Task], int]) -> None:
        """In the process that is ready: answer tasks until there are no more."""
        from hypothesis import given
        from hypothesis.strategies import integers

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that this costs time: it does so once
            given(integers())(lambda _: None)()  # reads the whole project's source for constants
        gc.collect()
        gc.freeze()
        while task := self.hear():
            self.say(carry_out(task, tests))

    def end(self) -> None:
        """No more tasks."""
        self._in.close()
        self._out.close()
        os.waitpid(self._child, 0)


class Judge:
    """What is ready for one file."""

    def __init__(self, file: str, tests: list[str], limits: Task) -> None:
        self.key = (file, tests)
        self._file, self._tests = file, tests
        self._sound = (ROOT / file).read_text()
        self._modules: list[str] = []
        self._collected: Ready | None = Ready(self._collect)
        self._modules = self._collected.hear() or []
        if not self._modules or self._collected.ask(limits | {"source": self._sound})["outcome"] != "survived":
            self._collected.end()
            self._collected = None
        self._fresh = Ready(self._import)

    def carry_out(self, task: Task) -> Any:
        """What becomes of the tests with a mutant; see the function of this name."""
        if self._collected and functions_that_differ(self._sound, task["source"], str(ROOT / self._file)):
            answer = self._collected.ask(task)
            if answer["outcome"] != "survived":
                return answer
        return self._fresh.ask(task)

    def end(self) -> None:
        """End the processes that are ready."""
        self._fresh.end()
        if self._collected:
            self._collected.end()

    def _collect(self, ready: Ready) -> None:
        with tempfile.TemporaryFile() as output:
            _redirect(output.fileno())
            pytest.main([*_ARGUMENTS, *self._tests], plugins=[Collected(ready, self._sound, str(ROOT / self._file))])

    def _import(self, ready: Ready) -> None:
        missing = Finder(self._file, None)
        sys.meta_path.insert(0, missing)
        for name in self._modules:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        sys.meta_path.remove(missing)

        def tests(task: Task) -> int:
            sys.meta_path.insert(0, Finder(self._file, task["source"]))
            return int(pytest.main([*_ARGUMENTS, *self._tests]))

        ready.serve(tests)


class Collected:
    """pytest's plugin that runs the tests in forks, once for each task, in place of once."""

    def __init__(self, ready: Ready, sound: str, path: str) -> None:
        self._ready, self._sound, self._path = ready, sound, path

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Serve, then leave."""
        names = [name for name in sys.modules if not name.rpartition(".")[2].startswith(("test_", "conftest", "__"))]
        functions = functions_of(self._path)
        self._ready.say(names)

        def tests(task: Task) -> int:
            for place, code in functions_that_differ(self._sound, task["source"], self._path).items():
                for function in functions.get(place, ()):
                    function.__code__ = code
            session.config.pluginmanager.unregister(self)
            try:
                session.config.hook.pytest_runtestloop(session=session)
            except (pytest.Session.Failed, pytest.Session.Interrupted):
                return 1
            return 1 if session.testsfailed else 0

        self._ready.serve(tests)
        os._exit(0)


def carry_out(task: Task, tests: Callable[[Task], int]) -> dict[str, Any]:
    """Run tests in a fork.

    Args:
      task: ``source``, ``cpu_seconds``, ``seconds``.
      tests: runs them in the fork; says pytest's exit code.

    Returns:
      ``outcome``: survived, killed, timeout or no_tests; ``cpu_seconds`` and ``seconds`` that it took; ``output``, its end.
    """
    with tempfile.TemporaryFile() as output:
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            _become(task, output.fileno(), tests)
        status, usage = _wait_for(child, began + task["seconds"])
        taken = time.monotonic() - began
        output.seek(0)
        words = output.read().decode(errors="replace")[-_LAST_WORDS:]
    if status is None or (os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)):
        outcome = "timeout"
    elif os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
        outcome = "survived"
    else:
        outcome = "no_tests" if os.WIFEXITED(status) and os.WEXITSTATUS(status) == _NO_TESTS else "killed"
    return {"outcome": outcome, "cpu_seconds": usage, "seconds": taken, "output": words}


def _redirect(output: int) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, source in ((0, nothing), (1, output), (2, output)):
        os.dup2(source, descriptor)


def _wait_for(child: int, until: float) -> tuple[int | None, float]:
    """The child's status and its processor seconds; the status is None if it was not done in time, or waits for what does not come."""
    used, since = -1, time.monotonic()
    while True:
        pid, status, usage = os.wait4(child, os.WNOHANG)
        if pid:
            _end_group(child)
            return status, usage.ru_utime + usage.ru_stime
        now, ticks = time.monotonic(), _ticks(child)
        if ticks != used:
            used, since = ticks, now
        if now >= until or now - since >= _IDLE_SECONDS:
            _end_group(child)
            os.waitpid(child, 0)
            return None, 0.0
        time.sleep(0.01)


def _ticks(process: int) -> int:
    """How much processor time all its threads have used, in the kernel's ticks."""
    fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _end_group(child: int) -> None:
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _become(task: Task, output: int, tests: Callable[[Task], int]) -> NoReturn:
    """The fork: runs the tests and ends."""
    code = 3
    try:
        os.setsid()
        _redirect(output)
        seconds = max(1, round(task["cpu_seconds"]))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        resource.setrlimit(resource.RLIMIT_DATA, (4 << 30, 4 << 30))
        code = tests(task)
    finally:
        sys.stdout.flush()
        os._exit(code)


def main() -> None:
    """Answer tasks until the input ends."""
    from hypothesis import HealthCheck, Phase, settings

    settings.register_profile(
        "mutants",
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=20,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    judge = None
    for line in sys.stdin:
        task = json.loads(line)
        if judge is None or judge.key != (task["file"], task["tests"]):
            if judge:
                judge.end()
            judge = Judge(task["file"], task["tests"], task)
        print(json.dumps(judge.carry_out(task)), flush=True)


if __name__ == "__main__":
    main()
