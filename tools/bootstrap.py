#!/usr/bin/env python3
"""Makes an environment of the project: finds Python 3.10, makes the virtual environment, installs the locked packages.

    python3 tools/bootstrap.py main       .venv          tests, demo, command line tools
    python3 tools/bootstrap.py airflow    .venv-airflow  Airflow 2.11 and Kubeflow Pipelines beside TFX
    python3 tools/bootstrap.py caikit     .venv-caikit   caikit's ModelRuntime, for the conformance test
    python3 tools/bootstrap.py mlserver   .venv-mlserver MLServer, for the Open Inference client
    python3 tools/bootstrap.py kserve     .venv-kserve   KServe's model server, for the same

Runs on any Python 3 with the standard library alone. Does nothing when the environment is up to date: its stamp holds a
hash of the lock file, of pyproject.toml and of the interpreter. PYTHON310 names the interpreter to use.
"""

from __future__ import annotations

import argparse
import glob
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

ROOT = pathlib.Path(__file__).resolve().parent.parent
ENVIRONMENTS = {
    "main": ".venv",
    "airflow": ".venv-airflow",
    "caikit": ".venv-caikit",
    "mlserver": ".venv-mlserver",
    "kserve": ".venv-kserve",
}
WANTED = "3.10"  # TFX 1.16 has wheels for no newer Python
UV_VERSION = "0.9"  # at least


class Missing(Exception):
    """What is missing, in one sentence."""


def run(command: Sequence[str | pathlib.Path]) -> None:
    """Run a command with its output shown; raises CalledProcessError if it fails."""
    subprocess.run([str(part) for part in command], check=True)


def say(text: str) -> None:
    print("bootstrap: " + text, file=sys.stderr, flush=True)


def answers_as_wanted(python: str | pathlib.Path) -> bool:
    """Whether ``python`` really runs (a pyenv shim may not), is CPython 3.10, and can make virtual environments."""
    question = "import sys, venv, ensurepip, ssl; print('%d.%d' % sys.version_info[:2], sys.implementation.name)"
    try:
        answer = subprocess.run(
            [python, "-c", question], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60, check=False
        ).stdout.decode()
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.split() == [WANTED, "cpython"]


def candidates() -> Iterator[str]:
    """Interpreters that may be a Python 3.10, the likeliest first."""
    name = "python" + WANTED
    if os.environ.get("PYTHON310"):
        yield os.environ["PYTHON310"]
        return
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        yield os.path.join(directory, name)
    home = os.path.expanduser("~")
    roots = [os.environ.get("PYENV_ROOT") or os.path.join(home, ".pyenv"), "/opt/pyenv", "/usr/local/pyenv"]
    patterns = [os.path.join(root, "versions", "3.10*", "bin", name) for root in roots]
    patterns += [os.path.join(home, ".local/share/uv/python/cpython-3.10*", "bin", name)]
    patterns += [os.path.join(directory, name) for directory in ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin")]
    patterns += ["/opt/python/3.10*/bin/" + name, os.path.join(home, "miniconda3/envs/*/bin", name)]
    for pattern in patterns:
        yield from sorted(glob.glob(pattern), reverse=True)
    yield sys.executable


def find_python() -> str:
    """The path of an interpreter that answers as wanted; Missing if there is none."""
    for candidate in candidates():
        if os.path.exists(candidate) and answers_as_wanted(candidate):
            return candidate
    uv = shutil.which("uv")
    if uv:
        say("no Python 3.10 found; asking uv for one")
        subprocess.run([uv, "python", "install", "3.10"], check=False)
        found = subprocess.run([uv, "python", "find", "3.10"], stdout=subprocess.PIPE, check=False).stdout.decode()
        if found.strip() and answers_as_wanted(found.strip()):
            return found.strip()
    raise Missing(
        "Python 3.10 with its venv module is missing (TFX 1.16 runs on no newer one): install it, for example with "
        "'pyenv install 3.10' or 'uv python install 3.10', or set PYTHON310 to its path."
    )


def stamp_of(lock: pathlib.Path, python: str) -> str:
    """What an environment made now from this lock file with this interpreter depends on, as a hash."""
    digest = hashlib.sha256()
    for file in (lock, ROOT / "pyproject.toml", ROOT / "setup.py", ROOT / "infra_validator" / "_version.py"):
        digest.update(file.read_bytes())
    digest.update(str(ROOT).encode())
    digest.update(str(python).encode())
    return digest.hexdigest()


def find_uv(python: str) -> list[str] | None:
    """A uv command, from the PATH or installed into a small environment of its own; None if it cannot be had."""
    uv = shutil.which("uv")
    if uv and subprocess.run([uv, "--version"], stdout=subprocess.DEVNULL, check=False).returncode == 0:
        return [uv]
    home = ROOT / ".cache" / "uv-venv"
    if not (home / "bin" / "uv").exists():
        say("installing uv, the fast package installer, into .cache")
        try:
            run([python, "-m", "venv", "--clear", home])
            run([home / "bin" / "python", "-m", "pip", "install", "--quiet", "uv>=" + UV_VERSION])
        except subprocess.CalledProcessError:
            say("uv cannot be had; going on with pip, which is slower")
            return None
    return [str(home / "bin" / "uv")]


def install(environment: pathlib.Path, lock: pathlib.Path, python: str) -> None:
    inside = environment / "bin" / "python"
    if not answers_as_wanted(inside):
        say(f"making {environment.name} with {python}")
        run([python, "-m", "venv", "--clear", environment])
    count = sum(1 for line in lock.read_text().splitlines() if line and not line.startswith("#"))
    say(f"installing {count} locked packages")
    uv = find_uv(python)
    if uv:
        run([*uv, "pip", "sync", "--python", inside, lock])
        run([*uv, "pip", "install", "--python", inside, "--no-deps", "--no-build-isolation", "-e", ROOT])
    else:
        run([inside, "-m", "pip", "install", "-r", lock])
        run([inside, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "-e", ROOT])


def bootstrap(name: str) -> None:
    """Make the environment called ``name`` unless it is up to date; Missing says what it lacks."""
    environment = ROOT / ENVIRONMENTS[name]
    lock = ROOT / "requirements" / (name + ".lock")
    stamp_file = environment / "stamp"
    known = stamp_file.read_text().split("\n") if stamp_file.exists() else ["", ""]
    if known[0] == stamp_of(lock, known[1]) and answers_as_wanted(environment / "bin" / "python"):
        return
    python = find_python()
    start = time.monotonic()
    try:
        install(environment, lock, python)
    except subprocess.CalledProcessError as error:
        raise Missing(
            f"the packages of requirements/{name}.lock could not be installed ({os.path.basename(error.cmd[0])} failed): "
            "check that a Python package index is reachable and that the disk has 6 GB left."
        ) from error
    stamp_file.write_text(stamp_of(lock, python) + "\n" + python)
    say(f"{environment.name} is ready after {time.monotonic() - start:.0f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", choices=sorted(ENVIRONMENTS))
    arguments = parser.parse_args()
    try:
        bootstrap(arguments.environment)
    except Missing as missing:
        say(str(missing))
        return 1
    except OSError as error:
        say(f"cannot make {ENVIRONMENTS[arguments.environment]}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
