"""A fleet on a real Airflow 2.11: a mapped task for each part, and the last task's state for all."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
from typing import Any

import pytest

from component_tests.fakes.saved_models import ROOT, SavedModels
from pipelines.airflow.airflow_home import AirflowHome

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900)]

DAG = "infra_validator_fleet"
LOCAL = {"tensorflow_serving": {}, "local_process": {}, "model_name": "m"}


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> AirflowHome:
    directory = tmp_path_factory.mktemp("airflow")
    (directory / "dags").mkdir()
    shutil.copy(ROOT / "pipelines" / "airflow" / "fleet_dag.py", directory / "dags")
    path = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    home = AirflowHome(directory, directory / "dags", {"PATH": path, "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO"})
    home.migrate()
    return home


def repository(directory: pathlib.Path, saved_models: SavedModels, names: list[str]) -> pathlib.Path:
    for name in names:
        shutil.copytree(saved_models.base_path(name), directory / "models" / name)
    return directory / "models"


def ran(
    airflow: AirflowHome, models: pathlib.Path, output: pathlib.Path, spec: object = LOCAL
) -> subprocess.CompletedProcess[str]:
    conf = {"models": str(models), "parts": 2, "output": str(output), "serving_spec": json.dumps(spec)}
    return airflow.run("dags", "test", DAG, "--conf", json.dumps(conf))


def states(airflow: AirflowHome) -> list[tuple[str, str]]:
    return sorted((one.task, one.state) for one in airflow.task_states(DAG))


def report(output: pathlib.Path) -> dict[str, Any]:
    (run,) = output.iterdir()
    told: dict[str, Any] = json.loads((run / "fleet.json").read_text())
    return told


def test_the_file_is_a_dag_without_mistakes(airflow: AirflowHome) -> None:
    result = airflow.run("dags", "list-import-errors")
    assert "No data found" in result.stdout, result.stdout[-3000:]


def test_a_blessed_fleet_succeeds_and_has_one_report(
    airflow: AirflowHome, saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    names = ["half_plus_two", "no_variables", "two_inputs"]
    result = ran(airflow, repository(tmp_path, saved_models, names), tmp_path / "out")
    assert result.returncode == 0, result.stdout[-6000:]
    each = [("merge", "success"), ("parts", "success"), ("validate_part", "success"), ("validate_part", "success")]
    assert states(airflow) == each
    told = report(tmp_path / "out")
    assert (told["verdict"], [line["name"] for line in told["models"]]) == ("BLESSED", names)


def test_a_rejected_model_fails_the_last_task_and_no_part(
    airflow: AirflowHome, saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    result = ran(airflow, repository(tmp_path, saved_models, ["half_plus_two", "nan"]), tmp_path / "out")
    assert result.returncode != 0
    each = [("merge", "failed"), ("parts", "success"), ("validate_part", "success"), ("validate_part", "success")]
    assert states(airflow) == each, result.stdout[-6000:]
    assert "NOT_BLESSED: 1 of 2 models are blessed, 1 not blessed." in result.stdout
    told = report(tmp_path / "out")
    assert [line["verdict"] for line in told["models"]] == ["BLESSED", "NOT_BLESSED"]


def test_what_could_not_be_tested_is_tried_again_and_fails(
    airflow: AirflowHome, saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    models = repository(tmp_path, saved_models, ["half_plus_two", "no_variables"])
    nowhere = {"tensorflow_serving": {}, "local_process": {"binary_path": "/no/such/binary"}}
    listed = tmp_path / "models.json"
    listed.write_text(
        json.dumps([{"model": str(models / "half_plus_two"), "serving_spec": nowhere}, str(models / "no_variables")])
    )
    result = ran(airflow, listed, tmp_path / "out")
    assert result.returncode != 0
    each = [("merge", "failed"), ("parts", "success"), ("validate_part", "failed"), ("validate_part", "success")]
    assert states(airflow) == each, result.stdout[-6000:]
    told = report(tmp_path / "out")
    assert [(line["verdict"], line["reason_code"]) for line in told["models"]] == [
        ("INCONCLUSIVE", "BINARY_NOT_FOUND"),
        ("BLESSED", "BLESSED"),
    ]
    assert result.stdout.count("BINARY_NOT_FOUND") >= 3
