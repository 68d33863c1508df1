"""A ``Model`` artifact that is no SavedModel: through the component, both drivers and the executor to a blessing that ``verify`` takes."""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Any

import pytest

from component_tests.fakes import tfx_artifacts
from component_tests.fakes.saved_models import ROOT
from infra_validator.cli.main import main

pytestmark = [pytest.mark.tfx, pytest.mark.slow]

CONFIG = 'backend: "python"\n'


def serving_spec(layout: dict[str, Any]) -> dict[str, Any]:
    return {
        "open_inference": {
            "command": [sys.executable, "-m", "component_tests.fakes.servers.repository_server"],
            "env": {"PYTHONPATH": str(ROOT)},
            "layout": layout,
            "inputs": {"x": "FP32[-1]"},
            "outputs": {"x": "FP32[-1]"},
        },
        "local_process": {},
        "model_name": "m",
    }


def exec_properties(
    spec: dict[str, Any], launcher: str = "portable", asked: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What the component's execution gets from its driver."""
    from tfx import types
    from tfx.orchestration.portable.data_types import ExecutionInfo
    from tfx.types import standard_artifacts

    from infra_validator.component import InfraValidator
    from infra_validator.driver import Driver

    asked = asked or {"generate": {}, "num_examples": 2}
    channel = types.Channel(type=standard_artifacts.Model)
    given = InfraValidator(model=channel, serving_spec=spec, request_spec=asked).exec_properties
    driver = Driver(None)
    if launcher == "legacy":
        return driver.resolve_exec_properties(given, None, None)
    output = driver.run(ExecutionInfo(exec_properties=given))
    return {**given, **{name: value.string_value for name, value in output.exec_properties.items()}}


@pytest.mark.parametrize("launcher", ["portable", "legacy"])
@pytest.mark.parametrize(
    ("layout", "files", "inside"),
    [
        ({"triton": {}}, {"config.pbtxt": CONFIG, "1/weights.bin": "weights"}, "Format-Serving"),
        ({"mlserver": {"implementation": "x.Y", "uri": "weights.bin"}}, {"weights.bin": "weights"}, ""),
    ],
    ids=["in Format-Serving", "in the artifact's directory"],
)
def test_it_is_blessed(
    tmp_path: pathlib.Path, launcher: str, layout: dict[str, Any], files: dict[str, str], inside: str
) -> None:
    from tfx.components.util import model_utils
    from tfx.types import standard_artifacts

    from infra_validator.executor import Executor

    directory = tmp_path / "artifact"
    model = directory / inside
    for name, text in files.items():
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_text(text)
    blessing = tfx_artifacts.blessing_artifact(tmp_path / "blessing")
    inputs = {"model": [tfx_artifacts.at(standard_artifacts.Model(), directory)]}
    Executor().Do(inputs, {"blessing": [blessing]}, exec_properties(serving_spec(layout), launcher))
    verdict = json.loads((tmp_path / "blessing" / "verdict.json").read_text())
    assert model_utils.is_infra_validated(blessing), verdict
    assert (verdict["model"], verdict["evidence"]["requests"]) == (str(model).rstrip("/"), 2)
    told = ["--verdict", str(tmp_path / "blessing"), "--require", "answered"]
    assert main(["verify", "--model", str(model), *told]) == 0
    next(model.rglob("weights.bin")).write_text("others")
    assert main(["verify", "--model", str(model), *told]) == 1


def test_examples_become_requests(tmp_path: pathlib.Path) -> None:
    """Each feature is the input of its name, as the spec describes it."""
    from tfx.types import standard_artifacts

    from infra_validator.executor import Executor

    (tmp_path / "artifact").mkdir()
    (tmp_path / "artifact" / "weights.bin").write_text("weights")
    examples = tfx_artifacts.examples_artifact(tmp_path / "examples", [{"x": [1.5]}, {"x": [-2.0]}, {"x": [3.0]}])
    blessing = tfx_artifacts.blessing_artifact(tmp_path / "blessing")
    inputs = {"model": [tfx_artifacts.at(standard_artifacts.Model(), tmp_path / "artifact")], "examples": [examples]}
    properties = exec_properties(serving_spec({"kserve": {}}), asked={"num_examples": 3, "batch_sizes": [2]})
    Executor().Do(inputs, {"blessing": [blessing]}, properties)
    verdict = json.loads((tmp_path / "blessing" / "verdict.json").read_text())
    assert (verdict["verdict"], verdict["evidence"]["source"]) == ("BLESSED", "examples"), verdict
    assert (verdict["evidence"]["level"], verdict["evidence"]["requests"]) == ("ANSWERED", 2)


def test_one_whose_own_file_is_broken_is_not(tmp_path: pathlib.Path) -> None:
    from tfx.components.util import model_utils
    from tfx.types import standard_artifacts

    from infra_validator.executor import Executor

    (tmp_path / "artifact" / "1").mkdir(parents=True)
    (tmp_path / "artifact" / "config.pbtxt").write_text("name: {")
    blessing = tfx_artifacts.blessing_artifact(tmp_path / "blessing")
    inputs = {"model": [tfx_artifacts.at(standard_artifacts.Model(), tmp_path / "artifact")]}
    Executor().Do(inputs, {"blessing": [blessing]}, exec_properties(serving_spec({"triton": {}})))
    assert not model_utils.is_infra_validated(blessing)
    assert blessing.get_string_custom_property("reason_code") == "MODEL_REPOSITORY_BROKEN"
