"""Production's model config file in a validation with a real server."""

from __future__ import annotations

import pathlib
import shutil
from typing import Any

import pytest

from component_tests.fakes.saved_models import SavedModels
from infra_validator import ReasonCode, Verdict, make_plan, run_validation

CONFIG = """model_config_list { config {
  name: "m" base_path: "/production/m" model_platform: "tensorflow"
  model_version_policy { specific { versions: 1 versions: 2 } }
  version_labels { key: "stable" value: 1 }
} }"""


@pytest.mark.parametrize(
    ("flags", "verdict"),
    [([], Verdict.INCONCLUSIVE), (["--allow_version_labels_for_unavailable_models=true"], Verdict.BLESSED)],
    ids=["as production is started", "with production's flag"],
)
def test_version_labels_do_here_what_they_do_in_production(
    saved_models: SavedModels, tmp_path: pathlib.Path, flags: list[str], verdict: Verdict
) -> None:
    file = tmp_path / "models.config"
    file.write_text(CONFIG)
    binary = {"model_config_file": str(file), "extra_args": flags}
    spec = {"tensorflow_serving": binary, "local_process": {}, "model_name": "m"}
    report = run_validation(saved_models.path("half_plus_two"), spec)
    assert report.verdict is verdict
    if report.blessed:
        (warning,) = report.warnings
        assert warning.endswith("version 1 is served in place of the policy's specific versions (1, 2).")
    else:
        assert report.finding.reason is ReasonCode.BAD_SPEC
        assert "Request to assign label to version 1 of model m" in report.finding.sentence


@pytest.mark.parametrize(
    ("policy", "served"), [("", "3"), ("all {}", "3"), ("specific { versions: 2 versions: 9 }", "2")]
)
def test_of_a_base_path_that_version_is_validated_which_the_server_would_serve(
    saved_models: SavedModels, tmp_path: pathlib.Path, policy: str, served: str
) -> None:
    base = tmp_path / "base"
    for version in ("1", "2", "3"):
        shutil.copytree(saved_models.path("half_plus_two"), base / version)
    plan = make_plan(base, spec_of(tmp_path, policy))
    assert plan.model == str(base / served)
    assert served in plan.note


def test_a_base_path_without_the_version_that_is_asked_for(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(saved_models.path("half_plus_two"), base / "1")
    report = run_validation(base, spec_of(tmp_path, "specific { versions: 7 }"))
    assert report.finding.reason is ReasonCode.MODEL_NOT_FOUND
    assert "versions 1; the server is told to serve 7 only" in report.finding.sentence


def spec_of(folder: pathlib.Path, policy: str) -> dict[str, Any]:
    """A serving spec with a model config file of this version policy."""
    file = folder / "models.config"
    policies = f"model_version_policy {{ {policy} }}" if policy else ""
    file.write_text(
        f'model_config_list {{ config {{ name: "m" base_path: "/x" model_platform: "tensorflow" {policies} }} }}'
    )
    return {"tensorflow_serving": {"model_config_file": str(file)}, "local_process": {}, "model_name": "m"}
