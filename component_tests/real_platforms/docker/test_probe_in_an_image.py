"""The probe in a container: configs/probe/Dockerfile built on a server's image, and asked as a kubelet's exec probe would."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from component_tests.real_platforms.docker_images import build

pytestmark = pytest.mark.docker

ROOT = pathlib.Path(__file__).parents[3]
PROBE = "/usr/bin/tfs_model_status_probe"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A model server's image with the probe in it."""
    context = tmp_path_factory.mktemp("dist")
    name = f"{build.PREFIX}/probe:{context.parent.name}"
    builder = [
        sys.executable,
        str(ROOT / "tools" / "build_probe_pyz.py"),
        "--output",
        str(context / "tfs_model_status_probe.pyz"),
    ]
    subprocess.run(builder, check=True, timeout=120)
    dockerfile = str(ROOT / "configs" / "probe" / "Dockerfile")
    build.docker(
        "build",
        "-q",
        "--network=host",
        "-f",
        dockerfile,
        "-t",
        name,
        "--build-arg",
        f"BASE={build.fake()}",
        str(context),
    )
    yield name
    build.docker("rmi", name)


@pytest.fixture
def container(image: str) -> Iterator[str]:
    """A container whose server says AVAILABLE of every model."""
    command = ["python3", "-m", "component_tests.fakes.servers.misbehaving_servers", "good", "--port=8500"]
    name = build.docker(
        "run", "-d", "--init", "--network=none", "--cap-drop=ALL", "--read-only", image, *command
    ).strip()
    yield name
    build.docker("rm", "-f", name)


def probe(container: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["docker", "exec", "--user=65534", container, PROBE, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_kubelets_exec_probe(container: str) -> None:
    done = probe(container, "-addr=:8500", "-model-name=m", "-connect-timeout=60s")
    assert (done.returncode, done.stderr.splitlines()[-1][20:]) == (0, "Servable state is AVAILABLE"), done.stderr
    assert probe(container, "-addr=:8500", "-model-name=m", "-model-version=77").returncode == 12
    assert probe(container, "-addr=:1", "-connect-timeout=200ms").returncode == 2
    assert probe(container, "-nonsense").returncode == 2


def test_it_runs_on_the_images_bare_python(container: str) -> None:
    done = subprocess.run(
        [
            "docker",
            "exec",
            container,
            "python3",
            "-I",
            "-S",
            PROBE,
            "-addr=localhost:8500",
            "-model-name=m",
            "-connect-timeout=60s",
            "--output=json",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"result": "AVAILABLE"' in done.stdout
