"""The Argo Workflow of a fleet: its containers' commands run for real, a part after the other, then the merge."""

from __future__ import annotations

import json
import pathlib
import shutil
from typing import Any

import pytest

from component_tests.component.teams.ci_job import checkout, config
from component_tests.component.teams.test_argo import ran, unknown_fields
from component_tests.fakes.saved_models import SavedModels

pytestmark = pytest.mark.slow

WORKFLOW = config("argo/fleet_workflow_template.yaml")
TEMPLATES = {template["name"]: template for template in WORKFLOW["spec"]["templates"]}


def fleet(
    directory: pathlib.Path, saved_models: SavedModels, names: list[str]
) -> tuple[list[int], int, dict[str, Any]]:
    """(the parts' exit codes, the merge's, the report), run as the controller would."""
    where = checkout(directory, saved_models.path("half_plus_two"))
    pipeline = directory / "pipeline"
    for name in names:
        shutil.copytree(saved_models.base_path(name), pipeline / "models" / name)
    (pipeline / "models.yaml").write_text("".join(f"- models/{name}\n" for name in names))
    values = {"workflow.parameters.models": "/pipeline/models.yaml", "workflow.parameters.parts": "2"}
    mounts = {"/pipeline": pipeline, "/tmp/verdict": directory / "verdict"}
    codes = []
    for part in ("1", "2"):
        container = TEMPLATES["validate-part"]["container"]
        codes.append(ran(container, {**values, "inputs.parameters.part": part}, mounts, where).returncode)
    merged = ran(TEMPLATES["merge"]["container"], values, mounts, where)
    return codes, merged.returncode, json.loads((pipeline / "fleet" / "fleet.json").read_text())


@pytest.mark.parametrize(("names", "code"), [(["half_plus_two", "no_variables"], 0), (["half_plus_two", "nan"], 1)])
def test_parts_then_one_report(saved_models: SavedModels, tmp_path: pathlib.Path, names: list[str], code: int) -> None:
    parts, merged, told = fleet(tmp_path, saved_models, names)
    assert parts == [0, 0]
    assert merged == code
    assert [line["name"] for line in told["models"]] == names
    assert told["counts"]["BLESSED"] == 2 - code


def test_the_workflow_names_what_it_has() -> None:
    steps = [step for group in TEMPLATES["fleet"]["steps"] for step in group]
    assert [step["template"] for step in steps] == ["validate-part", "merge"]
    assert steps[0]["withSequence"] == {"start": "1", "end": "{{workflow.parameters.parts}}"}
    assert {one["name"] for one in WORKFLOW["spec"]["arguments"]["parameters"]} == {"models", "parts"}
    for template in TEMPLATES.values():
        assert unknown_fields(template.get("container"), "V1Container", "container") == []
    assert unknown_fields(WORKFLOW["spec"]["volumes"], "list[V1Volume]", "volumes") == []
