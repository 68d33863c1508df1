"""Models and programs of strangers in a container: what docs/security.md says that it contains."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from component_tests.fakes.saved_models import SavedModels
from component_tests.real_platforms.docker.test_hardening import spec
from component_tests.real_platforms.docker_images import build
from infra_validator.api import run_validation
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.verdict import ValidationReport

pytestmark = pytest.mark.docker

R = ReasonCode


class Asking:
    """Asks the model of strangers, in a container under all restrictions."""

    def __init__(self, directory: pathlib.Path, model: pathlib.Path) -> None:
        self.directory = directory
        self.model = model

    def __call__(self, signature: str, limits: dict[str, Any] | None = None, **inputs: object) -> ReasonCode:
        build.serving("hostile")
        requests = self.directory / "requests.json"
        requests.write_text(json.dumps({"signature_name": signature, "inputs": inputs}))
        self.report = run_validation(
            self.model,
            {
                "tensorflow_serving": {"tags": ["hostile"]},
                "local_docker": {"pull_policy": "never", "hardening": "strict", "memory_limit": "1g", "cpus": 1},
            },
            {"num_tries": 1, **(limits or {})},
            {"protocols": ["grpc"]},
            requests=str(requests),
        )
        assert self.report.serving_binaries[0].attempts[0].left_behind == ()
        return self.report.finding.reason


@pytest.fixture
def ask(tmp_path: pathlib.Path, saved_models: SavedModels) -> Asking:
    return Asking(tmp_path, saved_models.copy("hostile", tmp_path / "model"))


def test_a_model_reads_the_images_files_and_none_of_the_hosts(tmp_path: pathlib.Path, ask: Asking) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a token of somebody's")
    assert ask("read", path=str(secret)) is R.REQUEST_FAILED
    assert ask("read", path="/etc/hostname") is R.BLESSED  # the container's own


def test_a_model_writes_nothing_but_its_own_tmp(ask: Asking) -> None:
    before = sorted(str(path) for path in ask.model.rglob("*"))
    base = "/models/infra-validation-model/1"
    assert ask("write", path=f"{base}/assets/more", content="x") is R.REQUEST_FAILED
    assert ask("write", path="/usr/bin/more", content="x") is R.REQUEST_FAILED
    assert ask("merge", source=f"{base}/variables/variables", target="/tmp/taken") is R.REQUEST_FAILED
    assert ask("write", path="/tmp/more", content="x") is R.BLESSED
    assert sorted(str(path) for path in ask.model.rglob("*")) == before


def test_a_model_that_takes_all_memory_takes_its_own(ask: Asking) -> None:
    assert ask("hungry", mebibytes=8000) in (R.SERVER_OUT_OF_MEMORY, R.REQUEST_FAILED)


def test_a_model_that_never_ends_is_ended(ask: Asking) -> None:
    assert ask("spin", {"max_query_time_seconds": 3}, start=1.0) is R.QUERY_TIMEOUT


def test_a_program_has_no_rights_and_forks_up_to_its_limit(saved_models: SavedModels) -> None:
    script = (
        "grep -E 'CapEff|NoNewPrivs' /proc/self/status; for i in $(seq 200); do sleep 60 & done; echo survived; exit 3"
    )
    hostile = spec("forks", script, hardening="strict", pids_limit=64, log_tail_lines=500)
    report: ValidationReport = run_validation(saved_models.path("half_plus_two"), hostile, {"num_tries": 1})
    log = report.serving_binaries[0].attempts[0].server_log
    assert report.finding.reason is R.SERVER_EXITED
    assert report.serving_binaries[0].attempts[0].left_behind == ()
    assert "Resource temporarily unavailable" in log, log
    assert "0000000000000000" in log, log
    assert "NoNewPrivs:\t1" in log, log
