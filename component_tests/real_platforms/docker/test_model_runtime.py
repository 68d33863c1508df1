"""model_runtime on a real Docker daemon: an image with our runtime, loaded, sized, asked and unloaded through the runner."""

from __future__ import annotations

from typing import Any

import pytest

from component_tests.component.model_runtime.test_runtime import requests
from component_tests.fakes.saved_models import SavedModels
from component_tests.real_platforms.docker_images import build
from infra_validator import api
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.verdict import Verdict

pytestmark = pytest.mark.docker

LIMITS = {"num_tries": 1, "max_loading_time_seconds": 240}


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    command = ["python3", "-m", "infra_validator", "model-runtime"]
    arguments = ["--host=${bind_address}", "--port=${grpc_port}", "--model-root=/models", "--capacity=1g"]
    config = {"image": build.serving(), "command": command, "extra_args": arguments}
    return {"model_runtime": config, "local_docker": {}, "model_name": "gate"}


def test_a_good_model_is_blessed(saved_models: SavedModels, spec: dict[str, Any]) -> None:
    report = api.run_validation(saved_models.path("half_plus_two"), spec, LIMITS, requests=requests)
    attempt = report.serving_binaries[0].attempts[0]
    assert report.verdict is Verdict.BLESSED, (report.finding, attempt.server_log)
    assert attempt.requests_sent == 20
    assert attempt.left_behind == ()


def test_a_model_that_does_not_load_is_not(saved_models: SavedModels, spec: dict[str, Any]) -> None:
    report = api.run_validation(saved_models.path("unknown_op"), spec, LIMITS)
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, ReasonCode.MODEL_LOAD_FAILED), (
        report.finding
    )


def test_a_container_that_is_no_runtime_breaks_the_contract(saved_models: SavedModels) -> None:
    config = {"image": build.serving(), "port": 8500}
    report = api.run_validation(
        saved_models.path("half_plus_two"),
        {"model_runtime": config, "local_docker": {"env": {"MODEL_NAME": "gate"}}, "model_name": "gate"},
        LIMITS,
    )
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, ReasonCode.RUNTIME_BROKE_CONTRACT)
