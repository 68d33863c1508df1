"""How much memory a pod's container takes: where it may be read, where it may not, and where it is not told."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from component_tests.component.kubernetes.jobs import Jobs, jobs_in
from component_tests.fakes.kubernetes_api import FakeCluster
from component_tests.fakes.kubernetes_api.cluster import Fault
from component_tests.fakes.kubernetes_pods import MisbehavingImagePlanner, misbehaving_image
from component_tests.fakes.saved_models import SavedModels
from infra_validator import api
from infra_validator.core.deadline import Deadline
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.states import MemoryReading
from infra_validator.report.verdict import ValidationReport, Verdict

#: ``cat`` in a container whose control group has these files: tells what it has of what it is asked for, and fails for the rest.
CAT = """
code=0
for file in "$@"; do
  case "$file" in
    %s) echo %d ;;
    %s) echo %d ;;
    *) echo "cat: $file: No such file or directory" >&2; code=1 ;;
  esac
done
exit $code
"""
VERSION_2 = ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.peak")
VERSION_1 = ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "/sys/fs/cgroup/memory/memory.max_usage_in_bytes")


@pytest.fixture
def jobs(tmp_path: pathlib.Path) -> Iterator[Jobs]:
    yield from jobs_in(tmp_path)


def _read(jobs: Jobs, files: tuple[str, str] | None, times: int = 1) -> MemoryReading:
    image = misbehaving_image("good")
    if files is not None:
        script = CAT % (files[0], 1000, files[1], 5000)
        image = dataclasses.replace(image, programs={**image.programs, "cat": ("/bin/sh", "-c", script, "cat")})
    jobs.cluster.images["measured"] = image
    runner = jobs.running(planner=MisbehavingImagePlanner(image="measured"))
    for _ in range(times):
        reading = runner.ReadMemory(Deadline.after(30))
    return reading


@pytest.mark.parametrize(("files", "version"), [(VERSION_2, "version 2"), (VERSION_1, "version 1")])
def test_the_control_group_of_the_container(jobs: Jobs, files: tuple[str, str], version: str) -> None:
    reading = _read(jobs, files, times=2)
    assert (reading.octets, reading.peak_octets) == (1000, 5000)
    assert version in reading.source


def test_a_kernel_without_a_record_of_the_peak(jobs: Jobs) -> None:
    reading = _read(jobs, (VERSION_2[0], "/nowhere"))
    assert (reading.octets, reading.peak_octets) == (1000, None)


def test_a_container_without_a_control_group_to_read(jobs: Jobs) -> None:
    reading = _read(jobs, ("/nowhere", "/nothing"))
    assert reading.octets is None
    assert "does not tell how much memory it takes" in reading.problem


def test_an_image_without_cat(jobs: Jobs) -> None:
    reading = _read(jobs, None)
    assert reading.octets is None
    assert "executable file not found" in reading.problem


def test_what_is_forbidden_is_said_with_the_right_that_it_takes_and_not_tried_again(jobs: Jobs) -> None:
    words = 'pods "p" is forbidden: User "me" cannot create resource "pods/exec"'
    jobs.cluster.faults.append(Fault("GET", "/exec", 403, 1, words, "Forbidden"))
    reading = _read(jobs, VERSION_2, times=3)  # the fault is there once
    assert reading.octets is None
    assert "pods/exec" in reading.problem


def test_a_server_that_does_not_run(jobs: Jobs) -> None:
    runner = jobs.runner()
    reading = runner.ReadMemory(Deadline.after(30))
    assert (reading.octets, reading.problem) == (None, "The server does not run.")


def _validated(
    saved_models: SavedModels, directory: pathlib.Path, limits: dict[str, Any], *, cat: bool
) -> ValidationReport:
    """A whole validation of a good model in a pod that is reached through a port-forward."""
    model = saved_models.path("half_plus_two_tf2")
    image = misbehaving_image("good")
    if cat:
        script = CAT % (VERSION_2[0], 1000, VERSION_2[1], 5000)
        image = dataclasses.replace(image, programs={**image.programs, "cat": ("/bin/sh", "-c", script, "cat")})
    (directory / "requests.json").write_text('{"instances": [1.0, 2.0]}')
    with FakeCluster(images={"measured:1": image}) as cluster:
        where = {
            "kubeconfig": cluster.kubeconfig(directory),
            "model": {"host_path": {"path": str(model)}},
            "endpoint": "port_forward",
        }
        report = api.run_validation(
            model,
            {"tensorflow_serving": {"image_name": "measured", "tags": ["1"]}, "kubernetes": where, "model_name": "m"},
            {
                "limits": limits,
                "load": {"requests": 20, "warm_up_seconds": 0},
                "num_tries": 1,
                "stop_grace_seconds": 0.3,
            },
            requests=str(directory / "requests.json"),
        )
        cluster.wait_for(lambda: not cluster.pods())
    assert any("measured through a port-forward" in warning for warning in report.warnings)
    return report


@pytest.mark.parametrize(("limit", "reason"), [("512", ReasonCode.LIMIT_EXCEEDED), ("1m", ReasonCode.BLESSED)])
def test_a_pods_memory_is_held_against_its_limit(
    saved_models: SavedModels, tmp_path: pathlib.Path, limit: str, reason: ReasonCode
) -> None:
    report = _validated(saved_models, tmp_path, {"memory": {"after_load": limit}}, cat=True)
    assert report.finding.reason is reason, report.sentence
    measured = report.serving_binaries[0].measurements
    assert measured is not None
    assert measured.memory is not None
    assert (measured.memory.after_load_bytes, measured.memory.peak_bytes) == (1000, 5000)


def test_memory_that_may_not_be_read_is_an_error_only_where_a_limit_needs_it(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    assert _validated(saved_models, tmp_path, {}, cat=False).blessed
    report = _validated(saved_models, tmp_path, {"memory": {"under_load": "1g"}}, cat=False)
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, ReasonCode.LIMIT_NOT_MEASURED)
    assert "executable file not found" in report.finding.detail
