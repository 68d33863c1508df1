"""How much memory a pod's container takes: where it may be read, where it may not, and where it is not told."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator

import pytest

from component_tests.component.kubernetes.jobs import Jobs, jobs_in
from component_tests.fakes.kubernetes_api.cluster import Fault
from component_tests.fakes.kubernetes_pods import MisbehavingImagePlanner, misbehaving_image
from infra_validator.core.deadline import Deadline
from infra_validator.core.states import MemoryReading

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
