"""A fleet on Kubeflow Pipelines: compiled by kfp, every compiled task of the fan-out executed as the backend executes it."""

# No `from __future__` names: kfp reads the annotations of the components in here.

import json
import pathlib
import shutil
from typing import Any

import pytest

from component_tests.fakes.saved_models import SavedModels
from component_tests.real_platforms.kubeflow.test_kfp import ENVIRONMENT

pytestmark = [pytest.mark.kfp, pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]

LOCAL = '{"tensorflow_serving": {}, "local_process": {}, "model_name": "m"}'


def backend_for(pipeline: Any, directory: pathlib.Path) -> Any:
    import yaml
    from kfp import compiler

    from pipelines.kubeflow.local_backend import LocalBackend

    path = directory / "pipeline.yaml"
    compiler.Compiler().compile(pipeline, package_path=str(path))
    return LocalBackend(yaml.safe_load(path.read_text()), directory / "run", environment=ENVIRONMENT)


def repository(directory: pathlib.Path, saved_models: SavedModels, names: list[str]) -> pathlib.Path:
    for name in names:
        shutil.copytree(saved_models.base_path(name), directory / "models" / name)
    return directory / "models"


@pytest.mark.parametrize(
    ("names", "verdicts", "whole"),
    [
        (["half_plus_two", "no_variables", "nan"], ["BLESSED", "NOT_BLESSED"], "NOT_BLESSED"),
        (["half_plus_two", "no_variables"], ["BLESSED", "BLESSED"], "BLESSED"),
    ],
)
def test_a_task_validates_each_part_and_the_last_one_joins_them(
    saved_models: SavedModels, tmp_path: pathlib.Path, names: list[str], verdicts: list[str], whole: str
) -> None:
    from pipelines.kubeflow.fleet_pipeline import pipeline

    backend = backend_for(pipeline, tmp_path)
    models = repository(tmp_path, saved_models, names)
    backend.run({"models_uri": str(models), "parts": ["1/2", "2/2"], "serving_spec": LOCAL})
    parts = [iteration["validate-part"] for iteration in backend.runs["for-loop-1"].within]
    assert sorted(part.parameters["verdict"] for part in parts) == verdicts
    told = [json.loads(pathlib.Path(part.artifacts["report"]["uri"], "fleet.json").read_text()) for part in parts]
    assert [one["shard"]["index"] for one in told] == [1, 2]
    assert [line["name"] for one in told for line in one["models"]] == [*sorted(names)[::2], *sorted(names)[1::2]]
    merged = backend.runs["merge-parts"]
    assert merged.parameters["verdict"] == whole
    report = json.loads(pathlib.Path(merged.artifacts["report"]["uri"], "fleet.json").read_text())
    assert (report["verdict"], [line["name"] for line in report["models"]]) == (whole, sorted(names))


def test_a_part_that_could_not_be_tested_fails_and_lets_the_others_end(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    from pipelines.kubeflow.fleet_pipeline import pipeline
    from pipelines.kubeflow.local_backend import TaskFailed

    backend = backend_for(pipeline, tmp_path)
    repository(tmp_path, saved_models, ["half_plus_two", "no_variables"])
    nowhere = {"tensorflow_serving": {}, "local_process": {"binary_path": "/no/such/binary"}}
    listed = tmp_path / "models.json"
    listed.write_text(json.dumps([{"model": "models/half_plus_two", "serving_spec": nowhere}, "models/no_variables"]))
    with pytest.raises(TaskFailed, match="BINARY_NOT_FOUND"):
        backend.run({"models_uri": str(listed), "parts": ["1/2", "2/2"], "serving_spec": LOCAL})
    loop = tmp_path / "run" / "for-loop-1"
    assert json.loads((loop / "1/validate-part/report/fleet.json").read_text())["verdict"] == "BLESSED"
    assert (loop / "0/validate-part/log").read_text().count("could not be tested") == 3  # it was tried again twice
    assert "merge-parts" not in backend.runs


def test_what_comes_after_asks_for_the_verdict(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    """As a pipeline of the user's has it: the fleet is a component, its verdict a condition."""
    from kfp import dsl

    from pipelines.kubeflow.fleet_pipeline import merge_parts, validate_part

    @dsl.container_component  # type: ignore
    def deploy(note: dsl.OutputPath(str)):  # type: ignore
        return dsl.ContainerSpec(
            image="any", command=["python", "-c", "import sys; open(sys.argv[1], 'w').write('x')", note]
        )

    @dsl.pipeline(name="deploying")  # type: ignore
    def deploying(models_uri: str):  # type: ignore
        models = dsl.importer(artifact_uri=models_uri, artifact_class=dsl.Artifact, reimport=True)
        with dsl.ParallelFor(["1/2", "2/2"]) as part:
            specs = {"serving_spec": LOCAL, "validation_spec": "{}", "request_spec": '{"generate": {}}'}
            gate = validate_part(models=models.output, part=part, **specs)
        whole = merge_parts(parts=dsl.Collected(gate.outputs["report"]))
        with dsl.If(whole.outputs["verdict"] == "BLESSED"):
            deploy()

    backend = backend_for(deploying, tmp_path)
    models = repository(tmp_path, saved_models, ["half_plus_two", "no_variables"])
    backend.run({"models_uri": str(models)})
    assert backend.runs["condition-3"].within[0]["deploy"].parameters == {"note": "x"}
    shutil.copytree(saved_models.base_path("nan"), models / "nan")
    backend.runs.clear()
    backend.run({"models_uri": str(models)})
    assert "condition-3" not in backend.runs
