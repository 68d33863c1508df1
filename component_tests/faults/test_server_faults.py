"""A server that exits, crashes, hangs, lies on the wire, floods or runs out of something, at each phase, on each platform."""

from __future__ import annotations

import os
import threading

import pytest

from component_tests.faults.cells import Cell, server_faults, verdict_for
from component_tests.faults.conftest import marked
from component_tests.faults.platforms.stages import Stage
from component_tests.faults.validators.requests import requests
from infra_validator.api import run_validation
from infra_validator.core.deadline import Deadline, wait_until


@pytest.mark.parametrize("cell", [marked(cell) for cell in server_faults()])
def test_cell(cell: Cell, stage: Stage) -> None:
    stage.plan(cell.phase, cell.fault)
    threads = set(threading.enumerate())
    report = run_validation(stage.model, stage.spec(), cell.validation_spec, requests=requests)
    told = f"{report.finding.reason.name}: {report.finding.detail}"
    assert report.finding.reason in cell.reasons, told
    assert report.verdict is verdict_for(report.finding.reason), told
    assert all(attempt.left_behind == () for attempt in report.serving_binaries[0].attempts)
    assert stage.left() == []
    left = threads_of_the_validator
    wait_until(lambda: not left(threads) or None, Deadline.after(30))
    assert not [name for name in os.listdir("/dev/shm") if name.startswith("infra-validator")]


def threads_of_the_validator(before: set[threading.Thread]) -> list[str]:
    """The threads that were not there before and do not belong to the fake cluster's server or node."""
    fakes = ("kubelet", "process_request_thread", "component_tests")
    return [t.name for t in set(threading.enumerate()) - before if not any(fake in t.name for fake in fakes)]
