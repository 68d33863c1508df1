"""Limits with a server in a container: its memory comes from its control group, or from the daemon."""

from __future__ import annotations

from typing import Any

import pytest

from component_tests.fakes.saved_models import SavedModels
from component_tests.real_platforms.docker.daemons import daemon_url
from component_tests.real_platforms.docker_images import build
from infra_validator import api
from infra_validator.core.deadline import Deadline
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_runners.control_group import ContainerMemory
from infra_validator.model_server_runners.local_docker.runner import LocalDockerRunner
from infra_validator.report.measurements import LimitOutcome
from infra_validator.report.verdict import ValidationReport, Verdict
from infra_validator.serving_binaries.tensorflow_serving import binaries_of
from infra_validator.specs import ServingSpec

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def image() -> str:
    return build.serving(*build.TAGS)


def serving(*tags: str) -> dict[str, Any]:
    return {"tensorflow_serving": {"tags": list(tags)}, "local_docker": {}, "model_name": "m"}


def run(saved_models: SavedModels, limits: dict[str, Any], *tags: str) -> ValidationReport:
    spec = {"limits": limits, "load": {"requests": 50, "warm_up_seconds": 0}}
    asked = {"generate": {}, "num_examples": 2}
    return api.run_validation(saved_models.path("half_plus_two"), serving(*tags or ("2.19.0",)), spec, asked)


def test_generous_limits_are_kept(image: str, saved_models: SavedModels) -> None:
    limits = {
        "latency": [{"percentile": "p50", "at_most_ms": 60000}],
        "cold_start": {"prepare_seconds": 300, "schedule_seconds": 100, "load_seconds": 100},
        "memory": {"after_load": "50g", "under_load": "50g"},
    }
    report = run(saved_models, limits)
    assert report.blessed, report.sentence
    assert {result.outcome for _, result in report.limits} == {LimitOutcome.KEPT}
    measured = report.serving_binaries[0].measurements
    assert measured is not None
    assert measured.memory is not None
    assert "control group" in measured.memory.source
    assert measured.memory.after_load_bytes is not None
    assert measured.memory.peak_bytes is not None
    assert measured.memory.peak_bytes >= measured.memory.after_load_bytes > 10 << 20


def test_a_container_that_takes_too_much_is_rejected(image: str, saved_models: SavedModels) -> None:
    report = run(saved_models, {"memory": {"under_load": "1m"}})
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, ReasonCode.LIMIT_EXCEEDED)
    assert report.finding.detail.startswith("memory.under_load: ")


def test_of_several_images_each_is_held_against_the_limits(image: str, saved_models: SavedModels) -> None:
    report = run(saved_models, {"memory": {"after_load": "50g"}}, *build.TAGS[:2])
    assert report.blessed, report.sentence
    labels = [label for label, result in report.limits if result.name == "memory.after_load"]
    assert len(set(labels)) == len(build.TAGS[:2])


def test_the_daemon_tells_where_the_control_group_is_not_seen(image: str, saved_models: SavedModels) -> None:
    spec = ServingSpec.of(serving("2.19.0"))
    (binary,) = binaries_of(spec)
    runner = LocalDockerRunner(str(saved_models.path("half_plus_two")), binary, spec)
    try:
        runner.Prepare(Deadline.after(120))
        runner.Start()
        runner.WaitUntilRunning(Deadline.after(60))
        seen = runner.ReadMemory(Deadline.after(30))
        daemon = runner._daemon
        told = ContainerMemory({}, lambda limit: daemon.memory_stats(runner.name, limit)).read(Deadline.after(30))
    finally:
        runner.Stop()
    assert seen.octets is not None
    assert told.octets is not None
    assert "daemon" in told.source
    assert daemon_url()
    assert 0.2 < told.octets / seen.octets < 5  # the server loads meanwhile
