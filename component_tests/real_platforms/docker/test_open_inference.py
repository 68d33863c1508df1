"""Open Inference servers in containers: each layout with made and with given files, over gRPC and REST; a baseline; what is not told."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from component_tests.component.open_inference.test_layouts import LAYOUTS, PROTOCOLS, files_in, model_of, served
from component_tests.component.open_inference.test_layouts import SERVER as REPOSITORY
from component_tests.component.open_inference.test_rest_validation import SERVER as REST
from component_tests.component.open_inference.test_rest_validation import check, compared_or_cleaned
from component_tests.real_platforms.docker_images import build
from infra_validator.cli.main import main
from infra_validator.model_server_runners.cleanup.labels import own_process
from infra_validator.model_server_runners.local_docker.leftovers import PROCESS

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def image() -> str:
    return build.fake("serving_binaries", "specs", "_lazy_names.py")


def left() -> list[str]:
    """Containers and volumes of this process's validations that are still there."""
    ours = f"label={PROCESS}={own_process()}"
    return [
        *build.docker("ps", "-a", "-q", "--filter", ours).split(),
        *build.docker("volume", "ls", "-q", "--filter", ours).split(),
    ]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_layout_is_blessed_and_its_digest_holds(
    image: str, tmp_path: pathlib.Path, kind: str, protocol: str, capsys: pytest.CaptureFixture[str]
) -> None:
    layout, files = LAYOUTS[kind]
    model = model_of(tmp_path, files)
    container = {"image": image, "command": ["python3", "-m", REPOSITORY], "port": 9000, "env": {}}
    spec = {**served(layout, protocol, "--bind_address=${bind_address}", **container), "local_docker": {}}
    asked = ["--model", str(model), "--serving-spec", json.dumps(spec), "--generate", "--quiet"]
    assert main(["validate", *asked, "--output", str(tmp_path / "o")]) == 0, capsys.readouterr()
    assert main(["verify", "--model", str(model), "--verdict", str(tmp_path / "o"), "--require", "answered"]) == 0
    assert files_in(model) == {name: text.encode() for name, text in files.items()}
    (weights,) = model.rglob("weights.bin")
    weights.write_text("others")
    assert main(["verify", "--model", str(model), "--verdict", str(tmp_path / "o")]) == 1
    assert not left()


@pytest.mark.parametrize("compared", [False, True], ids=["redaction", "baseline"])
def test_over_rest(image: str, tmp_path: pathlib.Path, compared: bool) -> None:
    model = model_of(tmp_path, {"weights.bin": "weights"})
    modes = [] if compared else ["--no_binary", "--refuses"]
    spec: dict[str, Any] = served(
        {"plain": {}},
        "rest",
        image=image,
        command=["python3", "-m", REST],
        extra_args=["--port=${rest_port}", "--bind_address=${bind_address}", "--model_name=m", *modes],
        env={},
        port=8000,
        binary_data=True,
    )
    check(compared_or_cleaned(model, {**spec, "local_docker": {}}, compared), compared)
    assert not left()
