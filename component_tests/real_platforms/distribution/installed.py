"""The wheel and the sdist as users get them: built once, installed into empty environments."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from component_tests.conftest import python_of
from component_tests.fakes.saved_models import ROOT
from tools import bootstrap

OUTPUT = ROOT / ".cache" / "distribution"


@functools.cache
def built() -> tuple[pathlib.Path, pathlib.Path]:
    """The wheel and the sdist of this checkout."""
    command = [python_of("release"), str(ROOT / "tools" / "build_distribution.py"), "--output", str(OUTPUT)]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    (wheel,), (sdist,) = OUTPUT.glob("*.whl"), OUTPUT.glob("*.tar.gz")
    return wheel, sdist


@functools.cache
def uv() -> str:
    found = bootstrap.find_uv(sys.executable)
    assert found, "uv cannot be had"
    return found[0]


@dataclasses.dataclass(frozen=True)
class Environment:
    """A virtual environment that holds what a user has asked pip for."""

    home: pathlib.Path

    def program(self, name: str) -> str:
        return str(self.home / "bin" / name)

    def run(self, *command: str | pathlib.Path) -> subprocess.CompletedProcess[str]:
        """A program of the environment, run far from the checkout."""
        return subprocess.run(
            [self.program(str(command[0])), *map(str, command[1:])],
            cwd=self.home,
            env={"PATH": f"{self.home / 'bin'}:/usr/bin:/bin", "HOME": str(self.home), "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )

    def python(self, code: str) -> str:
        """What Python code prints; its errors fail the test."""
        done = self.run("python", "-I", "-c", code)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout.strip()


@contextlib.contextmanager
def environment(*extras: str) -> Iterator[Environment]:
    """An environment of this Python with the wheel and these extras, and nothing else; pip has nothing to complain of."""
    with tempfile.TemporaryDirectory() as home:
        made = Environment(pathlib.Path(home))
        wanted = f"infra-validator[{','.join(extras)}] @ {built()[0].as_uri()}"
        for command in (
            ["venv", "-q", "--python", sys.executable, "--allow-existing", home],
            ["pip", "install", "-q", "--python", made.program("python"), wanted],
            ["pip", "check", "--python", made.program("python")],
        ):
            done = subprocess.run([uv(), *command], capture_output=True, text=True, timeout=1500, check=False)
            assert done.returncode == 0, f"uv {command[0]} {command[1]}: {done.stderr[-3000:]}"
        yield made
