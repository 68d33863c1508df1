"""The image of pipelines/kubeflow/Dockerfile, built on the local daemon and run as a task is.

The base is a Debian root file system with this machine's own Python put in, since no registry is needed for it; the wheels lie in the
base, so that the build needs no network.
"""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import sys

import pytest
import yaml

from component_tests.real_platforms.docker_images import build

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = pathlib.Path(__file__).parents[3]
REQUIREMENTS = ("grpcio<2", "protobuf<7", "PyYAML", "kubernetes>=26", "websocket-client", "setuptools>=64", "wheel")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    context = tmp_path_factory.mktemp("base")
    wheels = [sys.executable, "-m", "pip", "download", "-q", "-d", str(context / "wheels"), *REQUIREMENTS]
    wheels[0] = str(pathlib.Path(sys.base_prefix) / "bin" / "python3")
    subprocess.run(wheels, check=True, timeout=300)
    ignored = shutil.ignore_patterns("site-packages", "test", "tests", "__pycache__", "*.a", "idlelib")
    shutil.copytree(sys.base_prefix, context / "python", ignore=ignored, symlinks=True)
    pip = pathlib.Path("lib") / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages" / "pip"
    shutil.copytree(pathlib.Path(sys.base_prefix) / pip, context / "python" / pip)
    lines = [
        f"FROM {build.root()}",
        f"COPY python {sys.base_prefix}",
        "COPY wheels /wheels",
        f"ENV PATH={sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin",
        f"RUN chmod 755 /root && ln -s {sys.base_prefix}/bin/python3 /usr/local/bin/python",
    ]
    (context / "Dockerfile").write_text("\n".join(lines) + "\n")
    base = f"{build.PREFIX}/kubeflow-base:test"
    build.docker("build", "-q", "-t", base, str(context))
    name = f"{build.PREFIX}/kubeflow:test"
    arguments = {
        "BASE": base,
        "EXTRAS": "kubernetes",
        "PIP_INSTALL": "python3 -m pip install -q --no-index --find-links /wheels",
    }
    given = [part for key, value in arguments.items() for part in ("--build-arg", f"{key}={value}")]
    build.docker(
        "build", "-q", "-t", name, "-f", str(ROOT / "pipelines" / "kubeflow" / "Dockerfile"), *given, str(ROOT)
    )
    return name


def run(image: str, *arguments: str, volume: str = "") -> subprocess.CompletedProcess[str]:
    mounts = ["-v", volume] if volume else []
    command = ["docker", "run", "--rm", "--network=none", *mounts, image, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_image_runs_the_command_line_as_a_user(image: str) -> None:
    printed = run(image, "kubernetes", "rbac", "--namespace", "kubeflow", "--service-account", "pipeline-runner")
    assert printed.returncode == 0, printed.stderr
    role, binding = yaml.safe_load_all(printed.stdout)
    assert (role["kind"], binding["kind"]) == ("Role", "RoleBinding")
    user = subprocess.run(
        ["docker", "run", "--rm", "--entrypoint", "id", image, "-u"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert user.stdout.strip() == "1000"


def test_a_task_of_the_container_component_in_the_image(image: str, tmp_path: pathlib.Path) -> None:
    """Without a cluster it could not be tested: the task fails and says why, and no model is blamed."""
    (tmp_path / "model").mkdir()
    spec = json.dumps({"tensorflow_serving": {"tags": ["2.19.0"]}, "kubernetes": {}})
    done = run(
        image,
        *("validate", "--model", "gs://bucket/model", "--serving-spec", spec, "--format", "json"),
        volume=f"{tmp_path}:/task",
    )
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout)["reason_code"] == "KUBECONFIG_NOT_USABLE"
