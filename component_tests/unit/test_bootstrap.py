"""tools/bootstrap.py: finds a Python that really runs, does nothing when all is up to date, says in one sentence what is missing."""

from __future__ import annotations

import importlib.util
import pathlib
import shutil
import subprocess
import sys
from types import ModuleType

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of what the script reads, without any environment."""
    for name in (
        "tools/bootstrap.py",
        "pyproject.toml",
        "setup.py",
        "infra_validator/_version.py",
        "requirements/main.lock",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def load(project: pathlib.Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", project / "tools" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def script(path: pathlib.Path, text: str) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def python_310(path: pathlib.Path) -> pathlib.Path:
    """A program that answers as a Python 3.10 does; the tests run on other versions, too."""
    return script(path, "echo 3.10 cpython")


def test_a_missing_python_is_told_in_one_sentence(project: pathlib.Path) -> None:
    done = subprocess.run(
        [sys.executable, str(project / "tools" / "bootstrap.py"), "main"],
        env={"PYTHON310": "/does/not/exist", "PATH": "/does/not/exist", "HOME": str(project)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("bootstrap: Python 3.10 with its venv module is missing")
    assert done.stderr.count("\n") == 1


def test_a_shim_that_does_not_run_is_passed_over(
    project: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = script(tmp_path / "shims" / "python3.10", "echo 'pyenv: python3.10: command not found' >&2; exit 127")
    other = script(tmp_path / "other" / "python3.10", "echo 3.11 cpython")
    good = python_310(tmp_path / "good" / "python3.10")
    monkeypatch.delenv("PYTHON310", raising=False)
    monkeypatch.setenv("PATH", ":".join(str(path.parent) for path in (shim, other, good)))
    assert load(project).find_python() == str(good)


def test_pyenv_is_looked_into(project: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = python_310(tmp_path / "pyenv" / "versions" / "3.10.99" / "bin" / "python3.10")
    monkeypatch.delenv("PYTHON310", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    assert load(project).find_python() == str(good)


def test_nothing_is_done_when_all_is_up_to_date_and_a_changed_lock_is_noticed(
    project: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrap = load(project)
    installed = []
    monkeypatch.setattr(bootstrap, "install", lambda environment, lock, python: installed.append(python))
    monkeypatch.setenv("PYTHON310", str(python_310(project / "python3.10")))
    python_310(project / ".venv" / "bin" / "python")

    bootstrap.bootstrap("main")
    bootstrap.bootstrap("main")
    assert len(installed) == 1
    with (project / "requirements" / "main.lock").open("a") as lock:
        lock.write("one-more==1\n")
    bootstrap.bootstrap("main")
    assert len(installed) == 2


def test_a_failed_installation_is_told_in_one_sentence(
    project: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bootstrap = load(project)
    monkeypatch.setenv("PYTHON310", str(python_310(project / "python3.10")))
    python_310(project / ".venv" / "bin" / "python")
    script(project / "bin" / "uv", '[ "$1" = --version ]')  # every other command fails
    monkeypatch.setenv("PATH", f"{project / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(sys, "argv", ["bootstrap.py", "main"])
    assert bootstrap.main() == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("bootstrap: the packages of requirements/main.lock could not be installed (uv failed)")
    assert not (project / ".venv" / "stamp").exists()


def test_lock_files_hold_versions_only_and_no_address() -> None:
    for lock in (ROOT / "requirements").glob("*.lock"):
        for line in lock.read_text().splitlines():
            assert "://" not in line, f"{lock.name}: {line}"
            assert line.startswith("#") or "==" in line, f"{lock.name}: {line}"
