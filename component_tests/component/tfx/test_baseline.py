"""The baseline as an input of the TFX component: Model or PushedModel, or none yet."""

from __future__ import annotations

import json
import pathlib
import shutil
from typing import Any

import pytest

from component_tests.component.tfx.test_component import component
from component_tests.component.tfx.test_executor import EMBEDDED, Task, remote_model, task
from component_tests.component.tfx.test_pipeline import Demo
from component_tests.fakes import tfx_artifacts
from component_tests.fakes.saved_models import SavedModels
from infra_validator.core.errors import InfrastructureError, SpecError
from infra_validator.core.reason_codes import ReasonCode

__all__ = ["task"]
pytestmark = [pytest.mark.tfx, pytest.mark.slow]

NONE_YET = "There is no baseline yet."
RELATIVE = {"limits": {"latency": [{"percentile": "p50", "at_most_times": 50}]}}


def pushed_model(directory: pathlib.Path, saved_model: pathlib.Path | None) -> Any:
    """What TFX's Pusher leaves: the SavedModel at the artifact's root, or nothing where it did not push."""
    from tfx.types import standard_artifacts

    directory.mkdir()
    artifact = tfx_artifacts.at(standard_artifacts.PushedModel(), directory)
    artifact.set_int_custom_property("pushed", int(saved_model is not None))
    if saved_model is not None:
        shutil.copytree(saved_model, directory, dirs_exist_ok=True)
    return artifact


def run(task: Task, baseline: list[Any] | None, **specs: Any) -> Any:
    from infra_validator.executor import Executor

    model = tfx_artifacts.model_artifact(task.directory / "model", task.saved_models.path("half_plus_two_tf2"))
    inputs = {"model": [model], **({"baseline_model": baseline} if baseline is not None else {})}
    properties = {name: json.dumps(spec) for name, spec in {"serving_spec": EMBEDDED, **specs}.items()}
    Executor().Do(inputs, {"blessing": [task.blessing]}, properties)
    return task.verdict


def test_a_channel_of_either_type_is_taken_and_no_other() -> None:
    from tfx import types
    from tfx.types import standard_artifacts

    for kind in (standard_artifacts.Model, standard_artifacts.PushedModel):
        channel = types.Channel(type=kind)
        made = component(baseline_model=channel, validation_spec=RELATIVE, request_spec={"num_examples": 1})
        assert made.inputs["baseline_model"] == channel
    assert "baseline_model" not in component().inputs
    with pytest.raises(TypeError, match="baseline_model"):
        component(baseline_model=types.Channel(type=standard_artifacts.Examples))
    with pytest.raises(SpecError, match=r"at_most_times: .*there is no baseline"):
        component(validation_spec=RELATIVE, request_spec={"num_examples": 1})


def test_what_the_pusher_pushed_is_the_baseline(task: Task, tmp_path: pathlib.Path) -> None:
    pushed = pushed_model(tmp_path / "pushed", task.saved_models.path("half_plus_two_tf2"))
    verdict = run(task, [pushed])
    assert verdict["verdict"] == "BLESSED"
    assert verdict["baseline"] == pushed.uri
    assert verdict["baseline_digest"].startswith("sha256:")
    assert verdict["signature_changes"] == []


def test_a_model_whose_callers_would_break_is_not_blessed(task: Task, tmp_path: pathlib.Path) -> None:
    model = tfx_artifacts.model_artifact(tmp_path / "old", task.saved_models.path("two_inputs"))
    verdict = run(task, [model])
    assert verdict["reason_code"] == "SIGNATURE_BROKE"
    assert "INFRA_NOT_BLESSED" in task.files


@pytest.mark.parametrize("empty", ["no artifact", "nothing pushed", "no input"])
def test_where_there_is_none_yet_relative_limits_are_not_applied(
    task: Task, tmp_path: pathlib.Path, empty: str
) -> None:
    baseline = {"no artifact": [], "no input": None}.get(empty, [pushed_model(tmp_path / "pushed", None)])
    load = {"seconds": 0.2, "warm_up_seconds": 0}
    verdict = run(task, baseline, validation_spec={**RELATIVE, "load": load}, request_spec={"generate": {}})
    assert verdict["verdict"] == "BLESSED"
    assert any(warning.startswith(NONE_YET[:-1]) and "at_most_times" in warning for warning in verdict["warnings"])


def test_both_models_are_measured(task: Task, tmp_path: pathlib.Path) -> None:
    model = tfx_artifacts.model_artifact(tmp_path / "old", task.saved_models.path("half_plus_two_tf2"))
    load = {"seconds": 0.8, "warm_up_seconds": 0.1}
    verdict = run(task, [model], validation_spec={**RELATIVE, "load": load}, request_spec={"generate": {}})
    assert verdict["verdict"] == "BLESSED"
    (binary,) = verdict["serving_binaries"]
    comparison = binary["attempts"][0]["measurements"]["baseline"]
    assert comparison["interleaved"]
    assert [ratio["outcome"] for ratio in comparison["ratios"]] == ["kept"] * len(comparison["ratios"])


def test_a_baseline_in_a_remote_store(task: Task, saved_models: SavedModels) -> None:
    from tfx.types import standard_artifacts

    baseline = remote_model(saved_models.path("half_plus_two_tf2"))
    assert run(task, [baseline])["verdict"] == "BLESSED"
    assert task.verdict["baseline"] == "ram://model/Format-Serving"

    gone = standard_artifacts.Model()
    gone.uri = "ram://gone"
    shutil.rmtree(task.directory / "model")
    with pytest.raises(InfrastructureError) as error:
        run(task, [gone])
    assert error.value.reason is ReasonCode.BASELINE_FAILED
    assert "ram://gone" in error.value.detail


def test_the_latest_pushed_model_of_a_pipeline_is_the_baseline_and_part_of_the_cache_key(
    tmp_path: pathlib.Path,
) -> None:
    demo = Demo(tmp_path)

    def verdict() -> Any:
        newest = max((tmp_path / "root").rglob("verdict.json"), key=lambda path: path.stat().st_mtime_ns)
        return json.loads(newest.read_text())

    demo.run(compare_with_pushed=True)
    assert demo.outcome().blessed
    assert NONE_YET in verdict()["warnings"]
    demo.run(compare_with_pushed=True)
    assert demo.outcome().blessed
    assert demo.states() == [
        "COMPLETE",
        "COMPLETE",
    ]  # the same model, but another baseline: nothing is taken from the cache
    assert verdict()["baseline"].startswith(str(tmp_path / "root" / "Pusher"))
