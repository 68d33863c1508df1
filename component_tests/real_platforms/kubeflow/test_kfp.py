"""Kubeflow Pipelines v2: compiled by TFX's runner and by kfp, and the compiled tasks executed as the backend executes them."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
from typing import Any

import pytest

from component_tests.fakes.saved_models import SavedModels

pytestmark = [pytest.mark.kfp, pytest.mark.tfx, pytest.mark.slow, pytest.mark.timeout(1200)]

ROOT = pathlib.Path(__file__).parents[3]
LOCAL = {"tensorflow_serving": {}, "local_process": {}, "model_name": "m"}
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "CUDA_VISIBLE_DEVICES": ""}

Json = dict[str, Any]


def compiled(directory: pathlib.Path, model: str, *, schema_2_1: bool, models: int = 1) -> Json:
    """A pipeline of an imported model (or a union of ``models``), our InfraValidator and the stock Pusher, compiled by TFX."""
    from tfx import v1 as tfx
    from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner

    from infra_validator.component import InfraValidator

    imported = tfx.dsl.Importer(source_uri=model, artifact_type=tfx.types.standard_artifacts.Model).with_id("Model")
    others = [
        tfx.dsl.Importer(source_uri=model, artifact_type=tfx.types.standard_artifacts.Model).with_id(f"Model{number}")
        for number in range(1, models)
    ]
    given = imported.outputs["result"]
    if others:
        from tfx.types import channel

        given = channel.union([given, *(other.outputs["result"] for other in others)])
    gate = InfraValidator(
        model=given,
        serving_spec=LOCAL,
        validation_spec={"max_loading_time_seconds": 120, "num_tries": 1},
    )
    destination = tfx.proto.PushDestination.Filesystem(base_directory=str(directory / "pushed"))
    pusher = tfx.components.Pusher(
        model=imported.outputs["result"],
        infra_blessing=gate.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(filesystem=destination),
    )
    pipeline = tfx.dsl.Pipeline(
        "gate", pipeline_root=str(directory / "root"), components=[imported, *others, gate, pusher]
    )
    config = kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(default_image="image", use_pipeline_spec_2_1=schema_2_1)
    kubeflow_v2_dag_runner.KubeflowV2DagRunner(
        config=config, output_dir=str(directory), output_filename="job.json"
    ).run(pipeline, write_out=True)
    job: Json = json.loads((directory / "job.json").read_text())
    spec: Json = job["pipelineSpec"]
    return spec


@pytest.fixture(autouse=True)
def quiet() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.mark.filterwarnings("ignore")
def test_tfx_compiles_the_component_with_standard_types_and_no_driver(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    spec = compiled(tmp_path, str(saved_models.path("half_plus_two")), schema_2_1=False)
    component = spec["components"]["InfraValidator"]
    assert "title: tfx.Model" in component["inputDefinitions"]["artifacts"]["model"]["artifactType"]["instanceSchema"]
    assert (
        "title: tfx.InfraBlessing"
        in component["outputDefinitions"]["artifacts"]["blessing"]["artifactType"]["instanceSchema"]
    )
    container = spec["deploymentSpec"]["executors"]["InfraValidator_executor"]["container"]
    assert "lifecycle" not in container  # no driver: everything the verdict needs is in the executor
    assert "infra_validator.executor.Executor" in container["args"]
    parameters = spec["root"]["dag"]["tasks"]["InfraValidator"]["inputs"]["parameters"]
    assert set(parameters) == {"serving_spec", "validation_spec"}
    assert all("stringValue" in one["runtimeValue"]["constantValue"] for one in parameters.values())


@pytest.mark.filterwarnings("ignore")
def test_every_input_is_a_single_channel(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    """Kubeflow knows no others: a union of channels is refused when the pipeline is compiled, and none is of our making."""
    model = str(saved_models.path("half_plus_two"))
    task = compiled(tmp_path, model, schema_2_1=False)["root"]["dag"]["tasks"]["InfraValidator"]
    made = {"producerTask": "Model", "outputArtifactKey": "result"}
    assert task["inputs"]["artifacts"] == {"model": {"taskOutputArtifact": made}}
    with pytest.raises(TypeError, match="single Channel"):
        compiled(tmp_path, model, schema_2_1=False, models=2)


def remote_backend(spec: Json, root: pathlib.Path, work: pathlib.Path) -> Any:
    """A backend that keeps everything below ``root`` in a remote store: its tasks see ``remote://`` paths, the executor output's too."""
    from pipelines.kubeflow.local_backend import LocalBackend

    class RemoteBackend(LocalBackend):
        def _execute(self, name: str, container: Json, executor_input: Json) -> None:
            given = json.dumps(executor_input).replace(f"{root}/", "remote://")
            command = list(map(str, [*container["command"], *container["args"]]))
            assert command[:2] == ["python", "-m"]
            parts = [sys.executable, "-m", "component_tests.fakes.remote_store", *command[2:]]
            subprocess.run(
                [given if part == "{{$}}" else part for part in parts],
                env={**self._environment, "REMOTE_STORE": str(root), "TMPDIR": str(work)},
                cwd=work,
                check=True,
                timeout=600,
            )

    return RemoteBackend(spec, root, environment=ENVIRONMENT)


@pytest.mark.filterwarnings("ignore")
def test_the_working_directory_is_local_although_the_tasks_is_remote(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    store, work = tmp_path / "store", tmp_path / "work"
    work.mkdir()
    shutil.copytree(saved_models.path("half_plus_two"), store / "model" / "Format-Serving")
    spec = compiled(tmp_path, str(store / "model"), schema_2_1=False)
    backend = remote_backend(spec, store, work)
    backend.run_task("Model")
    run = backend.run_task("InfraValidator")
    blessing = run.artifacts["blessing"]
    assert blessing["metadata"]["blessed"] == 1
    report = json.loads((store / "InfraValidator" / "blessing" / "verdict.json").read_text())
    assert report["model"] == "remote://model/Format-Serving"
    assert (store / "InfraValidator" / "blessing" / "INFRA_BLESSED").exists()
    assert not (store / "InfraValidator" / ".temp").exists()  # TFX's temporary directory, which a server could not read
    assert list(work.iterdir()) == []  # neither a directory called "remote:" nor a copy of the model is left


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("model", "blessed", "schema_2_1"), [("half_plus_two", 1, True), ("unknown_op", 0, False)])
def test_the_compiled_tasks_bless_and_the_stock_pusher_obeys(
    saved_models: SavedModels, tmp_path: pathlib.Path, model: str, blessed: int, schema_2_1: bool
) -> None:
    from pipelines.kubeflow.local_backend import LocalBackend

    shutil.copytree(saved_models.path(model), tmp_path / "model" / "Format-Serving")  # as a Trainer leaves it
    spec = compiled(tmp_path, str(tmp_path / "model"), schema_2_1=schema_2_1)
    backend = LocalBackend(spec, tmp_path / "run", environment=ENVIRONMENT)
    backend.run()
    blessing = backend.runs["InfraValidator"].artifacts["blessing"]
    assert blessing["metadata"]["blessed"] == blessed  # came back as a float
    mark = "INFRA_BLESSED" if blessed else "INFRA_NOT_BLESSED"
    assert (pathlib.Path(blessing["uri"]) / mark).exists()
    assert (pathlib.Path(blessing["uri"]) / "verdict.json").exists()
    assert (tmp_path / "pushed").exists() is bool(blessed)
    assert bool(backend.runs["Pusher"].artifacts["pushed_model"]["metadata"]["pushed"]) is bool(blessed)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("model", "verdict"), [("half_plus_two", "BLESSED"), ("unknown_op", "NOT_BLESSED")])
def test_the_container_component_gives_its_verdict_as_a_parameter(
    saved_models: SavedModels, tmp_path: pathlib.Path, model: str, verdict: str
) -> None:
    import yaml
    from kfp import compiler

    from pipelines.kubeflow.container_component import pipeline
    from pipelines.kubeflow.local_backend import LocalBackend

    path = tmp_path / "pipeline.yaml"
    compiler.Compiler().compile(pipeline, package_path=str(path))
    backend = LocalBackend(yaml.safe_load(path.read_text()), tmp_path / "run", environment=ENVIRONMENT)
    backend.run({"model_uri": str(saved_models.path(model)), "serving_spec": json.dumps(LOCAL)})
    run = backend.runs["infra-validator"]
    assert run.parameters["verdict"] == verdict
    report = json.loads((pathlib.Path(run.artifacts["report"]["uri"]) / "verdict.json").read_text())
    assert report["verdict"] == verdict


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_could_not_be_tested_fails_the_task(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    import yaml
    from kfp import compiler

    from pipelines.kubeflow.container_component import pipeline
    from pipelines.kubeflow.local_backend import LocalBackend, TaskFailed

    path = tmp_path / "pipeline.yaml"
    compiler.Compiler().compile(pipeline, package_path=str(path))
    backend = LocalBackend(yaml.safe_load(path.read_text()), tmp_path / "run", environment=ENVIRONMENT)
    nowhere = {"tensorflow_serving": {"tags": ["1"]}, "kubernetes": {"kubeconfig": str(tmp_path / "none")}}
    with pytest.raises(TaskFailed, match="KUBECONFIG_NOT_USABLE"):
        backend.run({"model_uri": str(saved_models.path("half_plus_two")), "serving_spec": json.dumps(nowhere)})
