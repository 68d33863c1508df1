"""tools/bootstrap.py: finds a Python that really runs, does nothing when all is up to date, says in one sentence what is missing."""

from __future__ import annotations

import dataclasses
import importlib.util
import pathlib
import re
import shutil
import subprocess
import sys
import types
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
        "requirements/tfx_next.lock",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def load(project: pathlib.Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", project / "tools" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where data classes look for it
    spec.loader.exec_module(module)
    return module


def script(path: pathlib.Path, text: str) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def python(path: pathlib.Path, version: str = "3.10") -> pathlib.Path:
    """A program that answers as a Python of this version does; the tests run on other versions, too."""
    return script(path, f"echo {version} cpython")


@dataclasses.dataclass
class Machine:
    """A machine that has what a test puts on it: the script, the folder that its PATH names, its glibc."""

    bootstrap: ModuleType
    folder: pathlib.Path
    monkeypatch: pytest.MonkeyPatch

    def has_python(self, version: str) -> str:
        return str(python(self.folder / f"python{version}", version))

    def has_glibc(self, *version: int) -> None:
        self.monkeypatch.setattr(self.bootstrap, "glibc", lambda: version or None)

    def chooses(self, environment: str = "main") -> tuple[str, str]:
        way, interpreter = self.bootstrap.choose(self.bootstrap.ENVIRONMENTS[environment][1])
        return way.lock, interpreter


@pytest.fixture
def machine(project: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    for version in ("310", "311", "312", "313"):
        monkeypatch.delenv(f"PYTHON{version}", raising=False)
    bootstrap = load(project)
    monkeypatch.setattr(bootstrap, "glob", types.SimpleNamespace(glob=lambda pattern: []))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    made = Machine(bootstrap, tmp_path / "bin", monkeypatch)
    made.has_glibc(2, 41)
    return made


def test_where_both_are_possible_it_is_tfx_1_16(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    old = machine.has_python("3.10")
    machine.has_python("3.13")
    assert machine.chooses() == ("main", old)
    assert capsys.readouterr().err == f"bootstrap: TFX 1.16, because there is a Python 3.10 ({old})\n"


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_without_a_python_3_10_it_is_tfx_1_21(
    machine: Machine, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    new = machine.has_python(version)
    assert machine.chooses() == ("tfx_next", new)
    assert capsys.readouterr().err == (
        f"bootstrap: TFX 1.21, because there is a Python {version} ({new}), "
        "and there is no Python 3.10 with its venv module for TFX 1.16\n"
    )


@pytest.mark.parametrize("glibc", [(2, 38), ()])
def test_tfx_1_21_needs_a_new_glibc(machine: Machine, glibc: tuple[int, ...]) -> None:
    machine.has_python("3.13")
    machine.has_glibc(*glibc)
    with pytest.raises(machine.bootstrap.Missing) as told:
        machine.chooses()
    here = "2.38" if glibc else "none"
    assert str(told.value) == (
        "Python 3.10 with its venv module for TFX 1.16, or Python 3.11, 3.12 or 3.13 with its venv module on glibc 2.39 or newer "
        f"for TFX 1.21 is missing (glibc here: {here}): install it, for example with 'pyenv install 3.10' or "
        "'uv python install 3.10', or set PYTHON310 to its path."
    )


def test_a_variable_that_names_an_interpreter_decides(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.has_python("3.10")
    machine.has_python("3.12")
    named = machine.has_python("3.11")
    machine.monkeypatch.setenv("PYTHON311", named)
    assert machine.chooses() == ("tfx_next", named)
    assert capsys.readouterr().err == f"bootstrap: TFX 1.21, because PYTHON311 names {named}\n"
    machine.has_glibc(2, 36)
    told = r"PYTHON311 asks for TFX 1\.21, .* glibc 2\.39 .* \(glibc here: 2\.36\)"
    with pytest.raises(machine.bootstrap.Missing, match=told):
        machine.chooses()


def test_a_variable_means_nothing_to_an_environment_that_has_no_such_way(machine: Machine) -> None:
    machine.monkeypatch.setenv("PYTHON313", machine.has_python("3.13"))
    old = machine.has_python("3.10")
    assert machine.chooses("airflow") == ("airflow", old)


def test_a_named_interpreter_that_is_none_is_told_in_one_sentence(project: pathlib.Path) -> None:
    done = subprocess.run(
        [sys.executable, str(project / "tools" / "bootstrap.py"), "main"],
        env={"PYTHON310": "/does/not/exist", "PATH": "/does/not/exist", "HOME": str(project)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("bootstrap: PYTHON310 names /does/not/exist, which is no Python 3.10")
    assert done.stderr.count("\n") == 1


def test_a_shim_that_does_not_run_is_passed_over(machine: Machine, tmp_path: pathlib.Path) -> None:
    shim = script(tmp_path / "shims" / "python3.10", "echo 'pyenv: python3.10: command not found' >&2; exit 127")
    other = python(tmp_path / "other" / "python3.10", "3.11")
    good = python(tmp_path / "good" / "python3.10")
    machine.monkeypatch.setenv("PATH", ":".join(str(path.parent) for path in (shim, other, good)))
    assert machine.bootstrap.find_python("3.10") == str(good)


@pytest.mark.parametrize("version", ["3.10", "3.13"])
def test_pyenv_is_looked_into(
    project: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    good = python(tmp_path / "pyenv" / "versions" / f"{version}.99" / "bin" / f"python{version}", version)
    monkeypatch.delenv("PYTHON" + version.replace(".", ""), raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    assert load(project).find_python(version) == str(good)


def test_nothing_is_done_when_all_is_up_to_date_and_a_changed_lock_is_noticed(
    project: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrap = load(project)
    installed = []
    monkeypatch.setattr(bootstrap, "install", lambda environment, lock, interpreter: installed.append(interpreter))
    monkeypatch.setenv("PYTHON310", str(python(project / "python3.10")))
    python(project / ".venv" / "bin" / "python")

    bootstrap.bootstrap("main")
    bootstrap.bootstrap("main")
    assert len(installed) == 1
    with (project / "requirements" / "main.lock").open("a") as lock:
        lock.write("one-more==1\n")
    bootstrap.bootstrap("main")
    assert len(installed) == 2
    monkeypatch.setenv("PYTHON310", str(python(project / "other" / "python3.10")))
    bootstrap.bootstrap("main")
    assert installed[2:] == [str(project / "other" / "python3.10")]


def test_a_failed_installation_is_told_in_one_sentence(
    project: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bootstrap = load(project)
    monkeypatch.setenv("PYTHON310", str(python(project / "python3.10")))
    python(project / ".venv" / "bin" / "python")
    script(project / "bin" / "uv", '[ "$1" = --version ]')  # every other command fails
    monkeypatch.setenv("PATH", f"{project / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(sys, "argv", ["bootstrap.py", "main"])
    assert bootstrap.main() == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("bootstrap: the packages of requirements/main.lock could not be installed (uv failed)")
    assert not (project / ".venv" / "stamp").exists()


def test_lock_files_hold_versions_and_hashes_only_and_no_address() -> None:
    for lock in (ROOT / "requirements").glob("*.lock"):
        requirements = lock.read_text().replace("\\\n", "").splitlines()
        assert len(requirements) > 20
        for line in requirements:
            assert "://" not in line, f"{lock.name}: {line}"
            assert re.fullmatch(r"[\w.\[\],-]+==\S+( ; .*?)?(\s+--hash=sha256:[0-9a-f]{64})+", line), (
                f"{lock.name}: {line}"
            )
