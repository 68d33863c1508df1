#!/usr/bin/env python3
"""Makes an environment of the project: finds a Python for it, makes the virtual environment, installs the locked packages.

    python3 tools/bootstrap.py main       .venv          tests, demo, command line tools
    python3 tools/bootstrap.py airflow    .venv-airflow  Airflow 2.11 and Kubeflow Pipelines beside TFX
    python3 tools/bootstrap.py caikit     .venv-caikit   caikit's ModelRuntime, for the conformance test
    python3 tools/bootstrap.py mlserver   .venv-mlserver MLServer, for the Open Inference client
    python3 tools/bootstrap.py kserve     .venv-kserve   KServe's model server, for the same
    python3 tools/bootstrap.py triton     .venv-triton   Triton, for the same
    python3 tools/bootstrap.py docs       .venv-docs   the documentation site, and checkers of files for CI
    python3 tools/bootstrap.py fuzz       .venv-fuzz   the fuzzer of the parsers
    python3 tools/bootstrap.py release    .venv-release  what builds and checks the wheel and its supply chain
    python3 tools/bootstrap.py mutants    .venv-mutants  what makes the mutants of mutation testing

Runs on any Python 3 with the standard library alone. Does nothing when the environment is up to date: its stamp holds a
hash of the lock file, of pyproject.toml and of the interpreter. ``main`` has two ways, TFX 1.16 and TFX 1.21, and takes the
first that this machine can go. PYTHON310, PYTHON311, ... name the interpreter to use, and with it the way.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fcntl
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
UV_VERSION = "0.9"  # at least


@dataclasses.dataclass(frozen=True)
class Way:
    """One way to make an environment.

    Attributes:
      lock: the lock file's name in requirements/.
      gives: what the way is called.
      pythons: versions of Python that it runs on, the preferred first.
      glibc: the oldest glibc that its wheels run on.
    """

    lock: str
    gives: str
    pythons: tuple[str, ...] = ("3.10",)
    glibc: tuple[int, int] = (2, 17)

    def needs(self) -> str:
        """What the machine has to have, in words."""
        versions = " or ".join(filter(None, [", ".join(sorted(self.pythons)[:-1]), max(self.pythons)]))
        glibc = f" on glibc {_dotted(self.glibc)} or newer" if self.glibc > Way.glibc else ""
        return f"Python {versions} with its venv module{glibc} for {self.gives}"


#: Of each environment the directory, and the ways to make it, the preferred first.
ENVIRONMENTS: dict[str, tuple[str, tuple[Way, ...]]] = {
    "main": (
        ".venv",
        (
            Way("main", "TFX 1.16"),  # has wheels for no newer Python
            Way("tfx_next", "TFX 1.21", ("3.13", "3.12", "3.11"), (2, 39)),
        ),
    ),
    "airflow": (".venv-airflow", (Way("airflow", "Airflow beside TFX 1.16"),)),
    "caikit": (".venv-caikit", (Way("caikit", "caikit"),)),
    "mlserver": (".venv-mlserver", (Way("mlserver", "MLServer", ("3.12", "3.11", "3.10")),)),
    "kserve": (".venv-kserve", (Way("kserve", "KServe", ("3.12", "3.11", "3.10")),)),
    "triton": (".venv-triton", (Way("triton", "Triton, which is linked with libpython3.11", ("3.11",)),)),
    "docs": (".venv-docs", (Way("docs", "the documentation site"),)),
    "fuzz": (".venv-fuzz", (Way("fuzz", "atheris"),)),
    "release": (".venv-release", (Way("release", "the release tools", ("3.10", "3.11", "3.12", "3.13")),)),
    "mutants": (".venv-mutants", (Way("mutants", "mutation testing", ("3.10", "3.11", "3.12", "3.13")),)),
}


class Missing(Exception):
    """What is missing, in one sentence."""


def run(command: Sequence[str | pathlib.Path]) -> None:
    """Run a command with its output shown; raises CalledProcessError if it fails."""
    subprocess.run([str(part) for part in command], check=True)


def say(text: str) -> None:
    print("bootstrap: " + text, file=sys.stderr, flush=True)


def _dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version))


def glibc() -> tuple[int, ...] | None:
    """The version of this machine's glibc; None where there is none."""
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
    except (AttributeError, OSError, ValueError):
        return None
    return tuple(map(int, version.split(".")[:2])) if name == "glibc" else None


def _new_enough(here: tuple[int, ...] | None, way: Way) -> bool:
    """Whether a way's wheels run here. The usual wheels have counterparts for macOS, those for a new glibc have none."""
    return way.glibc <= Way.glibc or (here is not None and here >= way.glibc)


def version_of(python: str | pathlib.Path) -> str | None:
    """Of which version ``python`` is; None unless it really runs (a pyenv shim may not), is CPython and can make environments."""
    question = "import sys, venv, ensurepip, ssl; print('%d.%d' % sys.version_info[:2], sys.implementation.name)"
    try:
        answer = subprocess.run(
            [python, "-c", question], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60, check=False
        ).stdout.decode()
    except (OSError, subprocess.TimeoutExpired):
        return None
    version, _, implementation = answer.strip().partition(" ")
    return version if implementation == "cpython" else None


def variable(version: str) -> str:
    """The environment variable that names an interpreter of this version."""
    return "PYTHON" + version.replace(".", "")


def candidates(version: str) -> Iterator[str]:
    """Interpreters that may be of this version, the likeliest first."""
    name = "python" + version
    if os.environ.get(variable(version)):
        yield os.environ[variable(version)]
        return
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        yield os.path.join(directory, name)
    home = os.path.expanduser("~")
    roots = [os.environ.get("PYENV_ROOT") or os.path.join(home, ".pyenv"), "/opt/pyenv", "/usr/local/pyenv"]
    patterns = [os.path.join(root, "versions", version + ".*", "bin", name) for root in roots]
    patterns += [os.path.join(home, f".local/share/uv/python/cpython-{version}*", "bin", name)]
    patterns += [os.path.join(directory, name) for directory in ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin")]
    patterns += [f"/opt/python/{version}*/bin/{name}", os.path.join(home, "miniconda3/envs/*/bin", name)]
    for pattern in patterns:
        yield from sorted(glob.glob(pattern), reverse=True)
    yield sys.executable


def find_python(version: str) -> str | None:
    """The path of an interpreter of this version; None if there is none."""
    for candidate in candidates(version):
        if os.path.exists(candidate) and version_of(candidate) == version:
            return candidate
    return None


def named_in(ways: Sequence[Way]) -> tuple[Way, str] | None:
    """The way and the version whose interpreter an environment variable names."""
    for way in ways:
        for version in way.pythons:
            if os.environ.get(variable(version)):
                return way, version
    return None


def choose(ways: Sequence[Way]) -> tuple[Way, str]:
    """The way that this machine can go, the preferred first, and the path of its interpreter; says why. Missing if there is none."""
    here = glibc()
    libc = f" (glibc here: {_dotted(here or ()) or 'none'})" if any(way.glibc > Way.glibc for way in ways) else ""
    named = named_in(ways)
    if named:
        way, version = named
        python = find_python(version)
        if not python:
            raise Missing(
                f"{variable(version)} names {os.environ[variable(version)]}, which is no Python {version} with its venv module: "
                "correct it, or unset it to have one looked for."
            )
        if not _new_enough(here, way):
            raise Missing(f"{variable(version)} asks for {way.gives}, and that takes {way.needs()}{libc}.")
        say(f"{way.gives}, because {variable(version)} names {python}")
        return way, python
    passed_over: list[str] = []
    for way in ways:
        if not _new_enough(here, way):
            continue
        for version in way.pythons:
            python = find_python(version)
            if python:
                lacking = f", and there is no {' and no '.join(passed_over)}" if passed_over else ""
                say(f"{way.gives}, because there is a Python {version} ({python}){lacking}")
                return way, python
        passed_over.append(way.needs())
    first, uv = ways[0].pythons[0], shutil.which("uv")
    if uv:
        say(f"no Python {first} found; asking uv for one")
        subprocess.run([uv, "python", "install", first], check=False)
        found = subprocess.run([uv, "python", "find", first], stdout=subprocess.PIPE, check=False).stdout.decode()
        if found.strip() and version_of(found.strip()) == first:
            return ways[0], found.strip()
    raise Missing(
        f"{', or '.join(way.needs() for way in ways)} is missing{libc}: install it, for example with "
        f"'pyenv install {first}' or 'uv python install {first}', or set {variable(first)} to its path."
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
    if version_of(inside) is None or version_of(inside) != version_of(python):
        say(f"making {environment.name} with {python}")
        run([python, "-m", "venv", "--clear", environment])
    count = sum(1 for line in lock.read_text().splitlines() if "==" in line and not line.startswith("#"))
    say(f"installing {count} locked packages")
    uv = find_uv(python)
    if uv:
        run([*uv, "pip", "sync", "--require-hashes", "--python", inside, lock])
        run([*uv, "pip", "install", "--python", inside, "--no-deps", "--no-build-isolation", "-e", ROOT])
    else:
        run([inside, "-m", "pip", "install", "--require-hashes", "-r", lock])
        run([inside, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "-e", ROOT])


def up_to_date(environment: pathlib.Path, ways: Sequence[Way]) -> bool:
    """Whether the environment is what its stamp says, and no variable names another interpreter."""
    stamp = environment / "stamp"
    known = stamp.read_text().split("\n") if stamp.exists() else []
    if len(known) != 3 or known[2] not in {way.lock for way in ways}:
        return False
    digest, python, lock = known
    named = named_in(ways)
    if named and os.environ[variable(named[1])] != python:
        return False
    inside = version_of(environment / "bin" / "python")
    return digest == stamp_of(lock_file(lock), python) and any(
        inside in way.pythons for way in ways if way.lock == lock
    )


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Environments that are made at once (make -j) wait for each other: each builds the project in its own directory."""
    cache = ROOT / ".cache"
    cache.mkdir(exist_ok=True)
    with (cache / "bootstrap.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def lock_file(lock: str) -> pathlib.Path:
    return ROOT / "requirements" / (lock + ".lock")


def bootstrap(name: str) -> None:
    """Make the environment called ``name`` unless it is up to date; Missing says what it lacks."""
    directory, ways = ENVIRONMENTS[name]
    if name == "triton":  # the system's own Python: its library is the one that Triton finds
        os.environ.setdefault("PYTHON311", "/usr/bin/python3.11")
    environment = ROOT / directory
    if up_to_date(environment, ways):
        return
    way, python = choose(ways)
    start = time.monotonic()
    try:
        with one_at_a_time():
            install(environment, lock_file(way.lock), python)
    except subprocess.CalledProcessError as error:
        raise Missing(
            f"the packages of requirements/{way.lock}.lock could not be installed ({os.path.basename(error.cmd[0])} failed): "
            "check that a Python package index is reachable and that the disk has 6 GB left."
        ) from error
    (environment / "stamp").write_text(f"{stamp_of(lock_file(way.lock), python)}\n{python}\n{way.lock}")
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
        say(f"cannot make {ENVIRONMENTS[arguments.environment][0]}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
