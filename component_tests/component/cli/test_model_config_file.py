"""Production's model config file in a validation with a real server."""

from __future__ import annotations

import pathlib

import pytest

from component_tests.fakes.saved_models import SavedModels
from infra_validator import ReasonCode, Verdict, run_validation

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
