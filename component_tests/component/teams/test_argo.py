"""The Argo files: their containers' commands run for real, their pods' fields held against Kubernetes' own."""

from __future__ import annotations

import json
import pathlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import kubernetes.client
import pytest

from component_tests.component.teams.ci_job import Checkout, checkout, config, environment_of
from component_tests.fakes.kubernetes_api.pod_rules import violations_of_restricted
from component_tests.fakes.saved_models import SavedModels
from component_tests.fakes.servers.embedded_server_process import embedded_server

pytestmark = pytest.mark.slow

WORKFLOW = config("argo/workflow_template.yaml")
ANALYSIS = config("argo/analysis_template.yaml")
TEMPLATES = {template["name"]: template for template in WORKFLOW["spec"]["templates"]}
JOB = ANALYSIS["spec"]["metrics"][0]["provider"]["job"]["spec"]


def unknown_fields(data: Any, kind: str, where: str = "") -> list[str]:
    """The fields that Kubernetes' type has not got, by their paths."""
    inner = re.fullmatch(r"(?:list|dict)[\[(](?:str, )?(\w+)[\])]", kind)
    if inner and isinstance(data, list):
        return [bad for number, item in enumerate(data) for bad in unknown_fields(item, inner[1], f"{where}[{number}]")]
    model = getattr(kubernetes.client, kind, None)
    if model is None or not isinstance(data, dict):
        return []
    types = {model.attribute_map[name]: type_ for name, type_ in model.openapi_types.items()}
    found = [f"{where}.{name}" for name in data if name not in types]
    return found + [
        bad
        for name, value in data.items()
        if name in types
        for bad in unknown_fields(value, types[name], f"{where}.{name}")
    ]


def filled_in(text: str, values: dict[str, str]) -> str:
    """A text with Argo's ``{{name}}`` replaced; one that has no value is an error."""
    return re.sub(r"\{\{(.+?)\}\}", lambda found: values[found[1].strip()], text)


def ran(
    container: dict[str, Any], values: dict[str, str], mounts: dict[str, pathlib.Path], where: Checkout
) -> subprocess.CompletedProcess[str]:
    """The container's command, with the directories that it mounts elsewhere on this machine."""
    command = [filled_in(part, values) for part in [*container["command"], *container["args"]]]
    for mounted, directory in mounts.items():
        command = [re.sub(rf"{mounted}\b", str(directory), part) for part in command]
    return where.run(command, environment_of())


class Workflow:
    """The workflow's steps, run as its controller would: the push only if its condition holds.

    Args:
      directory: an empty one.
      model: what is gated.
    """

    def __init__(self, directory: pathlib.Path, model: pathlib.Path) -> None:
        self.where = checkout(directory, model)
        self.pipeline, self.gate = directory / "pipeline", directory / "gate"
        shutil.copytree(model, self.pipeline / "models" / "my_model")
        self.gate.mkdir()
        mounts = {"/pipeline": self.pipeline, "/gate": self.gate}
        values = {
            f"workflow.parameters.{one['name']}": one["value"] for one in WORKFLOW["spec"]["arguments"]["parameters"]
        }
        self.validated = ran(TEMPLATES["validate"]["container"], values, mounts, self.where)
        outputs = TEMPLATES["validate"]["outputs"]
        (verdict,) = (
            (self.gate / pathlib.Path(one["valueFrom"]["path"]).name).read_text() for one in outputs["parameters"]
        )
        (self.report,) = (self.gate / pathlib.Path(one["path"]).name for one in outputs["artifacts"])
        (step,) = TEMPLATES["gated-push"]["steps"][1]
        left, right = filled_in(step["when"], {"steps.gate.outputs.parameters.verdict": verdict}).split(" == ")
        self.pushed = ran(TEMPLATES["push"]["container"], values, mounts, self.where) if left == right else None
        self.target = self.pipeline / "serving" / "my_model" / "1"


def test_a_blessed_model_is_pushed(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    workflow = Workflow(tmp_path, saved_models.path("half_plus_two"))
    assert workflow.validated.returncode == 0, workflow.validated.stderr
    assert workflow.pushed is not None
    assert workflow.pushed.returncode == 0, workflow.pushed.stderr
    assert (workflow.target / "saved_model.pb").is_file()
    assert json.loads((workflow.report / "verdict.json").read_text())["verdict"] == "BLESSED"


def test_a_rejected_model_is_not_pushed_and_the_workflow_goes_on(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    workflow = Workflow(tmp_path, saved_models.path("nan"))
    assert workflow.validated.returncode == 0, workflow.validated.stderr
    assert workflow.pushed is None
    assert not workflow.target.exists()


def test_the_workflow_names_what_it_has() -> None:
    assert WORKFLOW["kind"] == "WorkflowTemplate"
    named = {step["template"] for group in TEMPLATES["gated-push"]["steps"] for step in group}
    assert named <= set(TEMPLATES)
    assert WORKFLOW["spec"]["entrypoint"] in TEMPLATES
    for template in TEMPLATES.values():
        volumes = {one["name"] for one in [*WORKFLOW["spec"]["volumes"], *template.get("volumes", [])]}
        assert {one["name"] for one in template.get("container", {}).get("volumeMounts", [])} <= volumes
        assert unknown_fields(template.get("container"), "V1Container", "container") == []
        assert unknown_fields(template.get("volumes"), "list[V1Volume]", "volumes") == []
    assert unknown_fields(WORKFLOW["spec"]["volumes"], "list[V1Volume]", "volumes") == []
    assert TEMPLATES["validate"]["retryStrategy"]["expression"].endswith("== 3")


@pytest.fixture(scope="module")
def canary(saved_models: SavedModels) -> Iterator[str]:
    """The address of a server that a rollout has started."""
    with embedded_server(
        f"--model_base_path={saved_models.base_path('half_plus_two')}", "--model_name=my_model"
    ) as server:
        yield f"127.0.0.1:{server.ports()['grpc']}"


@pytest.mark.parametrize(("name", "code"), [("my_model", 0), ("another_model", 1)])
def test_the_analysis_asks_the_canary(
    canary: str, saved_models: SavedModels, tmp_path: pathlib.Path, name: str, code: int
) -> None:
    (container,) = JOB["template"]["spec"]["containers"]
    short = [part.replace("max_loading_time_seconds: 60", "max_loading_time_seconds: 2") for part in container["args"]]
    where = checkout(tmp_path, saved_models.path("half_plus_two"))
    done = ran({**container, "args": short}, {"args.address": canary, "args.model-name": name}, {}, where)
    assert done.returncode == code, done.stdout + done.stderr


def test_the_analysis_is_a_job_that_kubernetes_takes() -> None:
    assert ANALYSIS["kind"] == "AnalysisTemplate"
    assert unknown_fields(JOB, "V1JobSpec", "job") == []
    assert unknown_fields({"backofLimit": 0, "template": {"spec": {"containers": [{"imag": ""}]}}}, "V1JobSpec") == [
        ".backofLimit",
        ".template.spec.containers[0].imag",
    ]
    told = {f"args.{one['name']}" for one in ANALYSIS["spec"]["args"]}
    (container,) = JOB["template"]["spec"]["containers"]
    assert set(re.findall(r"\{\{(.+?)\}\}", " ".join(container["args"]))) == told
    assert violations_of_restricted({"spec": JOB["template"]["spec"]}) == []
