#!/usr/bin/env python3
"""make test-matrix: the wheel on every Python and the libraries' oldest and newest versions; a table at the end.

Each row is an environment of its own, made by uv under ``.cache/matrix``: the wheel of this checkout with its extras, the versions of
the row, and what the tests need. The tests run on the wheel, not on the checkout. Rows are named on the command line, or all run:

    python tools/test_matrix.py [NAME ...]
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
CACHE = ROOT / ".cache" / "matrix"
WITH_TESTS = (
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    "hypothesis",
    "numpy",
    "h2",
    "jsonschema",
    "pyarrow",
    "Pillow",
    "google-crc32c",
    "lxml",
)

#: What is about the checkout itself, not about the package.
HOUSE = (
    "unit/test_bootstrap.py",
    "unit/test_docs.py",
    "unit/test_layers.py",
    "unit/test_map.py",
    "unit/test_vulnerabilities.py",
    "unit/probe/test_imports.py",
)
NEED_TENSORFLOW = (
    "unit/embedded_server",
    "unit/test_fuzz_corpus.py::test_a_parser_bears_what_is_kept[rest_body]",
    "unit/test_fuzz_corpus.py::test_a_parser_bears_what_is_kept[grpc_request]",
    "unit/cli/test_imports_of_validate.py",
    "component/probe/test_embedded_server.py",
)
#: Files, and tests of files that have others, which need the extras ``docker`` or ``kubernetes``.
NEED_PLATFORMS = (
    "unit/model_server_runners",
    "unit/test_fuzz_corpus.py",
    "unit/test_wiring.py::test_platforms[local_docker]",
    "unit/test_wiring.py::test_platforms[kubernetes]",
    "unit/test_wiring.py::test_every_platform_that_starts_something_has_its_garbage_collector[local_docker]",
    "unit/test_wiring.py::test_the_names_that_users_of_tfx_import",
    "unit/test_public_list.py::test_a_family_hands_on_its_public_names[model_server_runners]",
    "unit/core/test_systems.py::test_what_macos_is_promised_imports_there",
)
LIBRARY_TESTS = ("component_tests/unit", "component_tests/component/probe")
SERVER_TESTS = ("component_tests/contract/tensorflow_serving", "component_tests/component/cli")
FOREST_TESTS = ("--require-platforms", "component_tests/real_platforms/test_decision_forests.py")


@dataclasses.dataclass(frozen=True)
class Row:
    """One environment.

    Attributes:
      name: how it is called.
      python: its version.
      extras: of the wheel.
      pins: versions of libraries; what is not pinned is the newest that the wheel allows.
      tests: what pytest runs in it; ignored: files of that, or tests of files, which cannot.
    """

    name: str
    python: str
    extras: str
    pins: tuple[str, ...]
    tests: tuple[str, ...] = LIBRARY_TESTS
    ignored: tuple[str, ...] = NEED_TENSORFLOW


ROWS = (
    Row(
        "oldest",
        "3.10",
        "docker,kubernetes,load,cli",
        ("protobuf==3.20.3", "grpcio==1.54.3", "docker==7.1.0", "kubernetes==26.1.0", "websocket-client==1.0.0"),
    ),
    Row("protobuf-4", "3.11", "docker,kubernetes,load,cli", ("protobuf>=4,<5",)),
    Row("protobuf-5", "3.12", "docker,kubernetes,load,cli", ("protobuf>=5,<6",)),
    Row("protobuf-6", "3.13", "docker,kubernetes,load,cli", ("protobuf>=6,<7",)),
    Row("newest", "3.13", "docker,kubernetes,load,cli", ("protobuf>=7,<8",)),
    Row("core-alone", "3.12", "load,cli", (), ignored=(*NEED_TENSORFLOW, *NEED_PLATFORMS)),
    Row("tensorflow-oldest", "3.11", "embedded,text,load", ("tensorflow==2.16.*",), SERVER_TESTS),
    Row("tensorflow-2.18", "3.12", "embedded,text,load", ("tensorflow==2.18.*",), SERVER_TESTS),
    Row("tensorflow-newest", "3.13", "embedded,text,load", (), SERVER_TESTS),
    Row("decision-forests", "3.12", "embedded,decision_forests,load", ("ydf<0.12",), FOREST_TESTS),  # ydf: protobuf 5
)


def main(names: Sequence[str]) -> int:
    """Run the rows called ``names``, or all; the exit code."""
    unknown = set(names) - {row.name for row in ROWS}
    if unknown:
        print(f"test_matrix: there is no row {sorted(unknown)[0]!r}; there are: {', '.join(row.name for row in ROWS)}")
        return 2
    wheel = _wheel()
    results = [(row, *_run(row, wheel)) for row in ROWS if not names or row.name in names]
    print(f"{'row':<18} {'python':<7} {'versions':<58} {'tests':<34} seconds")
    for row, versions, outcome, seconds in results:
        print(f"{row.name:<18} {row.python:<7} {versions:<58} {outcome:<34} {seconds:.0f}")
    return 0 if all(_passed(outcome) for _, _, outcome, _ in results) else 1


def _passed(outcome: str) -> bool:
    return "passed" in outcome and "failed" not in outcome and "error" not in outcome


@functools.cache
def _uv() -> str:
    from tools import bootstrap

    found = bootstrap.find_uv(sys.executable)
    if found is None:
        raise SystemExit("test_matrix: uv cannot be had, and pip cannot make an environment of another Python")
    return found[0]


def _wheel() -> pathlib.Path:
    shutil.rmtree(CACHE / "dist", ignore_errors=True)
    subprocess.run([_uv(), "build", "-q", "--wheel", "--out-dir", str(CACHE / "dist"), str(ROOT)], check=True)
    (wheel,) = (CACHE / "dist").glob("*.whl")
    _check_content(wheel)
    return wheel


def _check_content(wheel: pathlib.Path) -> None:
    """That the wheel holds the package, all of it, and nothing else. Raises SystemExit."""
    names = zipfile.ZipFile(wheel).namelist()
    strange = [name for name in names if not re.match(r"infra_validator(/|-[^/]*\.dist-info/)", name)]
    tracked = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "infra_validator"], capture_output=True, text=True, check=True
    ).stdout.split()
    missing = sorted(set(tracked) - set(names))
    if strange or missing:
        raise SystemExit(
            f"test_matrix: {wheel.name} lacks {missing or 'nothing'}, and holds {strange or 'nothing'} too"
        )


def _run(row: Row, wheel: pathlib.Path) -> tuple[str, str, float]:
    """(the versions that were installed, how the tests ended, seconds)."""
    began = time.monotonic()
    from component_tests.fakes.pythons import python_of

    found = python_of(row.python)
    if found is None:
        return "", f"failed: there is no Python {row.python}", 0.0
    environment = CACHE / row.name
    python = environment / "bin" / "python"
    subprocess.run([_uv(), "venv", "-q", "--clear", "--python", found, str(environment)], check=True)
    package = f"infra-validator[{row.extras}] @ file://{wheel}" if row.extras else f"infra-validator @ file://{wheel}"
    install = [_uv(), "pip", "install", "-q", "--python", str(python), package, *row.pins, *WITH_TESTS]
    check = [_uv(), "pip", "check", "-q", "--python", str(python)]
    if subprocess.run(install, check=False).returncode or subprocess.run(check, check=False).returncode:
        return "", "failed: not installed", time.monotonic() - began
    for script in ("infra-validator", "tfs_model_status_probe"):
        if subprocess.run(
            [environment / "bin" / script, "--help"], capture_output=True, check=False
        ).returncode not in (0, 1):
            return _versions(python), f"failed: {script} --help", time.monotonic() - began
    outcome = _test(row, python)
    return _versions(python), outcome, time.monotonic() - began


def _test(row: Row, python: pathlib.Path) -> str:
    """How the tests ended, in pytest's own last words. They lie in a directory without the package: it comes from the wheel."""
    with tempfile.TemporaryDirectory() as place:
        for path in ROOT.iterdir():
            if path.name not in ("infra_validator", ".git", ".venv", ".cache"):
                os.symlink(path, pathlib.Path(place, path.name))
        if row.tests == SERVER_TESTS:  # the row's own TensorFlow makes the models; not in the time that a test has
            cache = CACHE / "models" / row.name
            cache.mkdir(parents=True, exist_ok=True)
            os.symlink(cache, pathlib.Path(place, ".cache"))
            making = [str(python), "-c", "from component_tests.fakes.saved_models import made_once; made_once()"]
            if subprocess.run(making, cwd=place, check=False).returncode:
                return "failed: no SavedModels"
        ignored = [
            f"--{'deselect' if '::' in name else 'ignore'}=component_tests/{name}" for name in (*HOUSE, *row.ignored)
        ]
        command = [
            str(python),
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            *("-n", "2", "--dist", "loadfile"),
            "--timeout=900",  # seconds; environments are made beside it
            "-m",
            "not tfx and not docker",
            *ignored,
            *row.tests,
        ]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    log = CACHE / f"{row.name}.log"
    log.write_text(done.stdout + done.stderr)
    last = done.stdout.strip().splitlines()[-1:] or [""]
    if done.returncode:
        said = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        print(f"--- {row.name}: {log}", *said, done.stderr[-2000:], sep="\n", flush=True)
    counted = re.findall(r"\d+ (?:passed|failed|skipped|errors?)", last[0])
    return ", ".join(counted) or f"failed: exit code {done.returncode}"


def _versions(python: pathlib.Path) -> str:
    names = ("protobuf", "grpcio", "docker", "kubernetes", "tensorflow")
    question = (
        "import importlib.metadata as m, sys\n"
        "known = {d.metadata['Name']: d.version for d in m.distributions()}\n"
        "print(', '.join(f'{n} {known[n]}' for n in sys.argv[1:] if n in known))"
    )
    return subprocess.run(
        [str(python), "-c", question, *names], capture_output=True, text=True, check=True
    ).stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
