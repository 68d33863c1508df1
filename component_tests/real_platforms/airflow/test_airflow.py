"""A real Airflow 2.11 on sqlite: DAG runs of the demo pipeline, and tasks under Airflow's own job runner.

Runs in the Airflow environment (make test-platforms).
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import shutil
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from component_tests.fakes.saved_models import ROOT, SavedModels
from component_tests.real_platforms.airflow.session import AirflowSession, Result
from component_tests.real_platforms.docker_images import build
from pipelines.local import data
from pipelines.outcome import read_outcome

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(1200)]

VALIDATE_ONLY = """
    import datetime, sys
    sys.path.insert(0, {root!r})
    from tfx import v1 as tfx
    from tfx.orchestration.airflow.airflow_dag_runner import AirflowDagRunner, AirflowPipelineConfig
    from tfx.orchestration.data_types import RuntimeParameter
    from infra_validator.component import InfraValidator

    model = tfx.dsl.Importer(source_uri={model!r}, artifact_type=tfx.types.standard_artifacts.Model).with_id("Model")
    validator = InfraValidator(model=model.outputs["result"], serving_spec={serving_spec}, validation_spec={validation_spec!r})
    DAG = AirflowDagRunner(
        AirflowPipelineConfig(airflow_dag_config={{"schedule": None, "start_date": datetime.datetime(2024, 1, 1)}})
    ).run(
        tfx.dsl.Pipeline(
            pipeline_name={name!r},
            pipeline_root={directory!r} + "/root",
            components=[model, validator],
            enable_cache=True,
            metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config({directory!r} + "/metadata.sqlite"),
        )
    )
"""


ON_DOCKER = """
    import datetime, pathlib, sys
    sys.path.insert(0, {root!r})
    from tfx.orchestration.airflow.airflow_dag_runner import AirflowDagRunner, AirflowPipelineConfig
    from pipelines.local.pipeline import create_pipeline

    DAG = AirflowDagRunner(
        AirflowPipelineConfig(airflow_dag_config={{"schedule": None, "start_date": datetime.datetime(2024, 1, 1)}})
    ).run(
        create_pipeline(
            {name!r},
            pathlib.Path({directory!r}),
            serving_spec={{"tensorflow_serving": {{"tags": ["latest"]}}, "local_docker": {{}}}},
            python_in_graph={broken},
        )
    )
"""


class Dag:
    """A DAG that imports a model and validates it; its artifacts and metadata are in a directory of its own."""

    def __init__(self, airflow: AirflowSession, directory: pathlib.Path) -> None:
        self.airflow = airflow
        self.directory = directory
        self.name = f"validate_{uuid.uuid4().hex[:8]}"

    def write(
        self, saved_model: pathlib.Path, serving_spec: str, validation_spec: dict[str, Any] | None = None
    ) -> None:
        """Write the DAG file. ``serving_spec`` is Python source."""
        model = self.directory / "model"
        shutil.copytree(saved_model, model / "Format-Serving", dirs_exist_ok=True)
        (self.airflow.dags_folder / f"{self.name}.py").write_text(
            textwrap.dedent(VALIDATE_ONLY).format(
                root=str(ROOT),
                model=str(model),
                serving_spec=serving_spec,
                validation_spec=validation_spec or {},
                name=self.name,
                directory=str(self.directory),
            )
        )

    def test(self, *arguments: str) -> Result:
        """``airflow dags test``."""
        return self.airflow.call("dags", "test", self.name, *arguments)

    def logs(self) -> str:
        """What the tasks and the commands that were started have written."""
        files = [*self.airflow.directory.glob(f"logs/dag_id={self.name}/**/*.log"), *self.directory.glob("*.log")]
        return "\n".join(f"== {path.name}\n{path.read_text()}" for path in sorted(files))

    def blessings(self) -> list[Any]:
        """The InfraBlessing artifacts that say something, oldest first; the legacy launcher registers empty ones beforehand."""
        artifacts = self._store().get_artifacts_by_type("InfraBlessing")
        return sorted((a for a in artifacts if "blessed" in a.custom_properties), key=lambda artifact: artifact.id)

    def states(self) -> list[str]:
        """The state of every execution of the validator, oldest first."""
        from ml_metadata.proto import metadata_store_pb2

        store = self._store()
        kinds = [kind.name for kind in store.get_execution_types() if kind.name.endswith("InfraValidator")]
        executions = sorted(store.get_executions_by_type(kinds[0]), key=lambda execution: execution.id) if kinds else []
        return [str(metadata_store_pb2.Execution.State.Name(execution.last_known_state)) for execution in executions]

    def _store(self) -> Any:
        from ml_metadata.metadata_store import metadata_store
        from ml_metadata.proto import metadata_store_pb2

        config = metadata_store_pb2.ConnectionConfig()
        config.sqlite.filename_uri = str(self.directory / "metadata.sqlite")
        return metadata_store.MetadataStore(config)


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowSession]:
    session = AirflowSession(tmp_path_factory.mktemp("airflow"))
    yield session
    session.close()


@pytest.fixture
def dag(airflow: AirflowSession, tmp_path: pathlib.Path) -> Iterator[Dag]:
    made = Dag(airflow, tmp_path)
    yield made
    for file in airflow.dags_folder.iterdir():
        if file.is_file():
            file.unlink()


def succeeded(result: Result) -> None:
    assert result.returncode == 0, result.output[-6000:]


def test_make_demo_airflow_pushes_the_good_model_and_not_the_broken_one(tmp_path: pathlib.Path) -> None:
    result = subprocess.run(
        [sys.executable, str(ROOT / "pipelines" / "airflow" / "demo.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=1000,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-6000:]
    blessed, not_blessed = result.stdout.splitlines()[-2:]
    pushed = list((tmp_path / "pushed").iterdir())
    assert len(pushed) == 1
    assert blessed == f"blessed: pushed to {pushed[0]}"
    assert not_blessed.startswith("not blessed: ")
    assert not_blessed.endswith(", not pushed")


@pytest.mark.docker
def test_the_demo_pipeline_on_docker(airflow: AirflowSession, tmp_path: pathlib.Path) -> None:
    build.serving("latest")
    data.write_csv(tmp_path / "data", rows=60)
    for name, broken in (("on_docker_good", False), ("on_docker_broken", True)):
        (airflow.dags_folder / f"{name}.py").write_text(
            textwrap.dedent(ON_DOCKER).format(root=str(ROOT), name=name, directory=str(tmp_path), broken=broken)
        )
    pushed = tmp_path / "pushed"
    succeeded(airflow.call("dags", "test", "on_docker_good"))
    outcome = read_outcome(tmp_path / "metadata.sqlite")
    assert outcome.blessed
    assert outcome.pushed_to == next(pushed.iterdir())
    succeeded(airflow.call("dags", "test", "on_docker_broken"))
    outcome = read_outcome(tmp_path / "metadata.sqlite")
    assert (outcome.blessed, outcome.pushed_to) == (False, None)
    assert len(list(pushed.iterdir())) == 1


def test_no_docker_daemon_is_a_failed_task_and_no_verdict(dag: Dag, saved_models: SavedModels) -> None:
    spec = {
        "tensorflow_serving": {"tags": ["latest"]},
        "local_docker": {"client_base_url": f"unix://{dag.directory}/no-daemon.sock"},
    }
    dag.write(saved_models.path("half_plus_two"), repr(spec), {"num_tries": 1})
    result = dag.test()
    assert result.returncode != 0
    assert "DOCKER_NOT_RUNNING" in result.output, result.output[-6000:]
    assert dag.blessings() == []


def test_braces_in_a_spec_survive_the_templates(dag: Dag, saved_models: SavedModels) -> None:
    note = "{{ ds }} {% raw %} {# no comment #} {{{"
    binary = dag.directory / "server"
    seen = dag.directory / "note"
    binary.write_text(
        f'#!/bin/sh\nprintf %s "$NOTE" > "{seen}"\nexec "{sys.executable}" -m infra_validator.embedded_server "$@"\n'
    )
    binary.chmod(0o755)
    spec = {"tensorflow_serving": {}, "local_process": {"binary_path": str(binary), "env": {"NOTE": note}}}
    dag.write(saved_models.path("half_plus_two"), repr(spec))
    succeeded(dag.test())
    assert seen.read_text() == note
    assert [blessing.custom_properties["blessed"].int_value for blessing in dag.blessings()] == [1]


def test_the_legacy_launcher_caches_and_its_driver_refuses_a_broken_spec(dag: Dag, saved_models: SavedModels) -> None:
    spec = json.dumps({"tensorflow_serving": {}, "local_process": {}})
    dag.write(saved_models.path("half_plus_two"), f'RuntimeParameter(name="serving_spec", ptype=str, default={spec!r})')
    succeeded(dag.test("2024-01-02"))
    succeeded(dag.test("2024-01-03"))
    assert dag.states() == ["COMPLETE", "CACHED"]

    broken = json.dumps({"serving_spec": json.dumps({"tensorflow_serving": {}, "local_proces": {}})})
    result = dag.test("2024-01-04", "--conf", broken)
    assert result.returncode != 0
    assert "Did you mean 'local_process'?" in result.output, result.output[-6000:]
    assert dag.states() == ["COMPLETE", "CACHED"]  # the driver refused before an execution was registered


@pytest.mark.docker
def test_the_legacy_launcher_validates_again_when_a_tag_has_moved(dag: Dag, saved_models: SavedModels) -> None:
    serving = build.serving()
    tag = f"{build.PREFIX}/moving-{uuid.uuid4().hex[:8]}:latest"
    spec = {"tensorflow_serving": {"image_name": tag.partition(":")[0], "tags": ["latest"]}, "local_docker": {}}
    dag.write(saved_models.path("half_plus_two"), repr(spec), {"num_tries": 1})
    try:
        build.docker("tag", serving, tag)
        succeeded(dag.test("2024-01-02"))
        succeeded(dag.test("2024-01-03"))
        assert dag.states() == ["COMPLETE", "CACHED"]
        build.docker("tag", build.variant("moved", serving, f"LABEL moved={uuid.uuid4().hex}"), tag)
        succeeded(dag.test("2024-01-04"))
    finally:
        build.docker("rmi", tag)
    assert dag.states() == ["COMPLETE", "CACHED", "COMPLETE"]


@pytest.mark.docker
def test_a_task_marked_failed_while_it_waits_leaves_no_container(dag: Dag, saved_models: SavedModels) -> None:
    command = '["python3", "-m", "component_tests.fakes.servers.misbehaving_servers", "mute"]'
    mute = build.variant("mute", build.fake(), f"ENTRYPOINT {command}", f"LABEL run={uuid.uuid4().hex}")
    name, _, tag = mute.partition(":")
    spec = {"tensorflow_serving": {"image_name": name, "tags": [tag]}, "local_docker": {}}
    dag.write(saved_models.path("half_plus_two"), repr(spec), {"max_loading_time_seconds": 600})

    def containers() -> list[str]:
        return build.docker("ps", "-aq", "--filter", f"ancestor={mute}").split()

    with running_task(dag) as task:
        until(lambda: task.poll() is not None or containers() != [], 300, dag)
        assert task.returncode is None, dag.logs()[-6000:]
        mark_failed(dag)
        until(lambda: containers() == [], 60, dag)
        task.wait(120)
    assert dag.blessings() == []


def test_a_task_marked_failed_while_it_waits_leaves_no_server(dag: Dag, saved_models: SavedModels) -> None:
    binary = dag.directory / "mute-server"
    pid_file = dag.directory / "pid"
    binary.write_text(f'#!/bin/sh\necho $$ > "{pid_file}"\nexec sleep 600\n')
    binary.chmod(0o755)
    spec = {"tensorflow_serving": {}, "local_process": {"binary_path": str(binary)}}
    dag.write(saved_models.path("half_plus_two"), repr(spec), {"max_loading_time_seconds": 600})
    with running_task(dag) as task:
        until(lambda: task.poll() is not None or (pid_file.exists() and pid_file.read_text().strip() != ""), 300, dag)
        assert task.returncode is None, dag.logs()[-6000:]
        server = pathlib.Path("/proc", pid_file.read_text().strip())
        assert server.exists()
        mark_failed(dag)
        until(lambda: not server.exists(), 60, dag)
        task.wait(120)
    assert dag.blessings() == []


@contextlib.contextmanager
def running_task(dag: Dag) -> Iterator[subprocess.Popen[str]]:
    """The validator's task of a DAG run called ``killed``, under Airflow's job runner, the model imported before it."""
    airflow = dag.airflow
    succeeded(airflow.call("dags", "reserialize"))
    succeeded(airflow.call("dags", "trigger", dag.name, "--run-id", "killed"))
    succeeded(airflow.call("tasks", "run", dag.name, "Model", "killed", "--local"))
    arguments = ("tasks", "run", dag.name, "InfraValidator", "killed", "--local")
    task = airflow.start(*arguments, log=dag.directory / "task.log")
    try:
        yield task
    finally:
        task.kill()
        task.wait()


def mark_failed(dag: Dag) -> None:
    """What the button in Airflow's web page does to a running task."""
    script = f"""
        from airflow.models import TaskInstance
        from airflow.utils.session import create_session
        with create_session() as session:
            key = dict(dag_id={dag.name!r}, task_id="InfraValidator", run_id="killed")
            one = session.query(TaskInstance).filter_by(**key).one()
            assert one.state == "running", one.state
            one.set_state("failed", session=session)
    """
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], env=dag.airflow.environment, check=True, timeout=120
    )


def until(holds: Callable[[], bool], seconds: float, dag: Dag) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not in {seconds} s; the logs:\n{dag.logs()[-6000:]}"
        time.sleep(0.1)
