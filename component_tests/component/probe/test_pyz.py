"""The probe as one file, as an image has it: on bare interpreters of every version that this machine has."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from component_tests.fakes.pythons import VERSIONS, python_of
from component_tests.fakes.servers.model_status_server import AVAILABLE, LOADING, ModelStatusServer, version

ROOT = pathlib.Path(__file__).parents[3]
BUILD = [sys.executable, str(ROOT / "tools" / "build_probe_pyz.py")]


@pytest.fixture(scope="module")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Compiled for the interpreter of the tests only."""
    output = tmp_path_factory.mktemp("an image") / "probe.pyz"
    subprocess.run([*BUILD, "--output", str(output)], check=True, timeout=120)
    output.chmod(0o555)
    return output


@pytest.fixture(scope="module")
def server() -> Iterator[ModelStatusServer]:
    with ModelStatusServer() as server:
        server.models = {"m": [version(2, LOADING), version(1, AVAILABLE)]}
        yield server


def run(python: str, pyz: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [python, "-I", "-S", str(pyz), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/", env={}, check=False)


@pytest.mark.parametrize("wanted", VERSIONS)
def test_it_runs_on_a_bare_interpreter(wanted: str, pyz: pathlib.Path, server: ModelStatusServer) -> None:
    python = python_of(wanted)
    if python is None:
        pytest.skip(f"this machine has no Python {wanted}")
    address = f"-addr=127.0.0.1:{server.port}"
    done = run(python, pyz, address, "-model-name=m", "-model-version=1", "--output=json")
    assert (done.returncode, done.stderr[20:].splitlines()[0]) == (
        0,
        "ModelStatusResponse: model_version_status:{version:2 state:LOADING status:{}} "
        "model_version_status:{version:1 state:AVAILABLE status:{}}",
    )
    assert '"exit_code": 0' in done.stdout
    assert run(python, pyz, address, "-model-name=m", "--policy=latest").returncode == 32
    assert run(python, pyz, address, "-model-name=x").returncode == 10
    assert run(python, pyz, "-nonsense").returncode == 2
    done = run(python, pyz, "-help")
    assert (done.returncode, done.stderr.splitlines()[0]) == (0, f"Usage of {pyz}:")


def test_the_same_sources_give_the_same_file(pyz: pathlib.Path, tmp_path: pathlib.Path) -> None:
    subprocess.run([*BUILD, "--output", str(tmp_path / "again.pyz")], check=True, timeout=120)
    assert (tmp_path / "again.pyz").read_bytes() == pyz.read_bytes()
    assert os.listdir(tmp_path) == ["again.pyz"]


def test_compiled_for_several_pythons(tmp_path: pathlib.Path, server: ModelStatusServer) -> None:
    pythons = [python for python in map(python_of, VERSIONS) if python is not None]
    output = tmp_path / "probe.pyz"
    subprocess.run([*BUILD, "--output", str(output), "--compile-for", *pythons], check=True, timeout=120)
    for python in pythons:
        assert run(python, output, f"-addr=127.0.0.1:{server.port}", "-model-name=m").returncode == 0


def test_its_exit_code_stands_when_nobody_reads(pyz: pathlib.Path, server: ModelStatusServer) -> None:
    command = f"exec '{sys.executable}' -I -S '{pyz}' -addr=127.0.0.1:{server.port} --output=json -model-name="
    for redirections in ("<&- >&- 2>&-", ">/dev/full 2>/dev/full"):
        assert subprocess.run(["sh", "-c", f"{command}m {redirections}"], timeout=60, check=False).returncode == 0
        assert subprocess.run(["sh", "-c", f"{command}x {redirections}"], timeout=60, check=False).returncode == 10


def test_a_proxy_without_grpcio_is_said(pyz: pathlib.Path) -> None:
    command = [sys.executable, "-S", str(pyz), "-addr=models.invalid:8500", "-connect-timeout=1s"]
    environment = {"HTTPS_PROXY": "http://proxy.invalid:3128"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert done.returncode == 2
    assert "install grpcio, or name the host in NO_PROXY" in done.stderr


def test_the_console_script_is_the_same_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "infra_validator.probe", "-connect-timeout=0"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr[20:]) == (2, "Error dialing grpc service: context deadline exceeded\n")
