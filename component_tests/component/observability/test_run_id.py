"""One run id from the command line to the report, the log and the process, pod or container; nothing but JSON on standard error."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from component_tests.fakes.kubernetes_api import FakeCluster
from component_tests.fakes.kubernetes_pods import misbehaving_image
from component_tests.fakes.saved_models import SavedModels
from component_tests.real_platforms.docker_images import build
from infra_validator.api import run_validation
from infra_validator.core.progress import PhaseBegan, Progress
from infra_validator.report.verdict import ValidationReport

SECRET = "3141592.5"


def lines_of(stderr: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stderr.splitlines()]


def server_that_fails(tmp_path: pathlib.Path) -> pathlib.Path:
    """A serving binary that notes its run ids and exits."""
    program = tmp_path / "server"
    program.write_text(f"#!/bin/sh\nenv | grep INFRA_VALIDATOR_VALIDATION >>{tmp_path}/told\nexit 1\n")
    program.chmod(0o755)
    return program


def test_the_command_line(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    requests = tmp_path / "requests.json"
    requests.write_text(f'{{"instances": [{SECRET}]}}')
    spec = {"tensorflow_serving": {}, "local_process": {}, "model_name": "m"}
    command = [sys.executable, "-m", "infra_validator", "validate", "--model", str(saved_models.path("half_plus_two"))]
    command += ["--serving-spec", json.dumps(spec), "--requests", str(requests), "--output", str(tmp_path / "out")]
    ended = subprocess.run([*command, "--log-format", "json"], capture_output=True, text=True, timeout=250, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    told = lines_of(ended.stderr)
    verdict = json.loads((tmp_path / "out/verdict.json").read_text())
    assert {line["run_id"] for line in told} == {verdict["run_id"]}
    assert len(verdict["run_id"]) == 16
    phases = [phase["name"] for phase in verdict["serving_binaries"][0]["phases"]]
    assert [line["phase"] for line in told if line["event"] == "phase_began"] == phases
    assert [line["phase"] for line in told if line["event"] == "phase_ended"] == phases
    assert [line["verdict"] for line in told if line["event"] == "verdict"] == ["BLESSED"]
    assert next(line for line in told if line.get("phase") == "query" and "seconds" in line)["requests"] == 1
    assert SECRET not in ended.stderr


def test_the_environment_chooses_the_format_too(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    binary = {"binary_path": str(server_that_fails(tmp_path))}
    spec = {"tensorflow_serving": {}, "local_process": binary, "model_name": "m"}
    command = [sys.executable, "-m", "infra_validator", "validate", "--model", str(saved_models.path("half_plus_two"))]
    ended = subprocess.run(
        [*command, "--serving-spec", json.dumps(spec)],
        env={**os.environ, "INFRA_VALIDATOR_LOG_FORMAT": "json"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    told = lines_of(ended.stderr)
    (run_id,) = {line["run_id"] for line in told}
    assert {line["attempt"] for line in told if "attempt" in line} == {1, 2}
    assert [line["reason_code"] for line in told if line["event"] == "tried_again"] == ["SERVER_EXITED"]
    assert (tmp_path / "told").read_text() == f"INFRA_VALIDATOR_VALIDATION={run_id}\n" * 2


def test_from_python_each_validation_has_its_own_or_the_callers(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    binary = {"binary_path": str(server_that_fails(tmp_path))}
    spec = {"tensorflow_serving": {}, "local_process": binary, "model_name": "m"}
    model = saved_models.path("half_plus_two")
    ids = [run_validation(model, spec, {"num_tries": 1}, run_id=given).run_id for given in ("", "", "mine")]
    assert len(set(ids)) == 3
    assert ids[2] == "mine"
    assert (tmp_path / "told").read_text().split() == [f"INFRA_VALIDATOR_VALIDATION={one}" for one in ids]


def seen_once_started(
    model: pathlib.Path, spec: dict[str, Any], look: Callable[[], list[str]]
) -> tuple[ValidationReport, list[str]]:
    """A validation's report, and what ``look`` found in each of its attempts once there was a server."""
    found: list[str] = []

    def tell(event: Progress) -> None:
        if isinstance(event, PhaseBegan) and event.phase == "schedule":
            found.extend(look())

    return run_validation(model, spec, {"num_tries": 2, "max_loading_time_seconds": 60}, tell=tell), found


def test_the_pods_of_a_validation_bear_it(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    model = saved_models.path("half_plus_two")
    with FakeCluster(images={"misbehaving:1": misbehaving_image("exits_1")}) as cluster:
        kubernetes = {"kubeconfig": cluster.kubeconfig(tmp_path), "model": {"host_path": {"path": str(model)}}}
        spec = {"tensorflow_serving": {"image_name": "misbehaving", "tags": ["1"]}, "kubernetes": kubernetes}

        def labels() -> list[str]:
            return [
                pod["metadata"]["labels"]["infra-validator.validation"]
                for pod in cluster.pods()
                if "deletionTimestamp" not in pod["metadata"]
            ]

        report, found = seen_once_started(model, {**spec, "model_name": "m"}, labels)
        assert not report.blessed
        assert found == [report.run_id] * 2


@pytest.mark.docker
def test_the_containers_of_a_validation_bear_it(saved_models: SavedModels) -> None:
    build.serving("2.19.0")
    label = "infra-validator.validation"
    spec = {"tensorflow_serving": {"tags": ["2.19.0"]}, "local_docker": {}, "model_name": "m"}
    ours = f'{{{{.Label "{label}"}}}}'
    report, found = seen_once_started(
        saved_models.path("half_plus_two"),
        spec,
        lambda: build.docker("ps", "-a", "--filter", f"label={label}", "--format", ours).split(),
    )
    assert report.blessed
    assert report.run_id in found
