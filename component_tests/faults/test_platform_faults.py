"""What the platform does while a model is validated: it ends the server, stands still, restarts, or cuts what is connected."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import pytest

from component_tests.fakes.kubernetes_api import Fault
from component_tests.fakes.servers.faulty_server import PHASES
from component_tests.faults.cells import Cell, platform_faults, verdict_for
from component_tests.faults.conftest import marked
from component_tests.faults.platforms.stages import PATIENCE, Kubernetes, LocalDocker, RelayedDocker, Stage
from component_tests.faults.validators.requests import requests
from component_tests.real_platforms.docker_images import build
from infra_validator.api import run_validation
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.progress import PhaseBegan, Progress
from infra_validator.core.signals.interruption import Interruption

AWAY_SECONDS = 1.0


class Validation(threading.Thread):
    """A validation beside the test, which stands still at the cell's phase until the stage says go."""

    def __init__(self, cell: Cell, stage: Stage) -> None:
        super().__init__(daemon=True)
        self._cell = cell
        self._stage = stage
        self._interruption = Interruption()
        self._report: Any = None
        stage.plan(cell.phase if cell.phase in PHASES else "never", "hold")

    def run(self) -> None:
        stage = self._stage
        self._report = run_validation(
            stage.model,
            stage.spec(),
            self._cell.validation_spec,
            requests=requests,
            interruption=self._interruption,
            tell=self._tell,
        )

    def _tell(self, event: Progress) -> None:
        if isinstance(event, PhaseBegan) and event.phase == self._cell.phase:
            (self._stage.faults / f"{event.phase}.reached").touch()
            going = self._stage.faults / "go"
            wait_until(lambda: going.exists() or None, Deadline.after(PATIENCE))

    def __enter__(self) -> Validation:
        self.start()
        self._stage.wait_for(self._cell.phase, self.is_alive)
        return self

    def __exit__(self, *_: object) -> None:
        self._stage.go()
        self._interruption.set("the test is over")
        self.join(PATIENCE)

    def report(self) -> Any:
        self.join(PATIENCE)
        assert not self.is_alive(), "it did not end"
        assert self._report is not None, "it raised"
        return self._report


@pytest.mark.parametrize("cell", [marked(cell) for cell in platform_faults()])
def test_cell(cell: Cell, stage: Stage) -> None:
    with Validation(cell, stage) as validation:
        globals()[cell.fault](stage)
        stage.go()
        report = validation.report()
    told = f"{report.finding.reason.name}: {report.finding.detail}"
    assert report.finding.reason in cell.reasons, told
    assert report.verdict is verdict_for(report.finding.reason), told
    assert all(attempt.left_behind == () for attempt in report.serving_binaries[0].attempts)
    assert stage.left() == []


def killed(stage: Stage) -> None:
    stage.signal(signal.SIGKILL)


def oom_killed(stage: Kubernetes) -> None:
    """By the kernel, as the node tells it."""
    stage.signal(signal.SIGKILL, "OOMKilled")


def deleted(stage: Kubernetes | LocalDocker) -> None:
    if isinstance(stage, LocalDocker):
        build.docker("rm", "-f", *stage.containers())
    else:
        stage.cluster.delete("default", stage.pods()[0], grace=0)


def evicted(stage: Kubernetes) -> None:
    stage.cluster.evict(stage.pods()[0])


def node_lost(stage: Kubernetes) -> None:
    stage.cluster.lose_node(stage.pods()[0])


def paused(stage: Stage) -> None:
    """For good."""
    stage.pause()


def paused_and_unpaused(stage: Stage) -> None:
    stage.pause()
    stage.go()
    time.sleep(0.5)
    stage.unpause()


def away_and_back(stage: Kubernetes | RelayedDocker) -> None:
    """The API, or the daemon, is restarted: what was connected is cut, and for a while nobody answers."""
    if isinstance(stage, RelayedDocker):
        stage.way.away = True
        stage.way.cut()
        stage.go()
        time.sleep(AWAY_SECONDS)
        stage.way.away = False
    else:
        _without(stage, Fault(".*", "", status=0, times=10**9))


def answers_500(stage: Kubernetes) -> None:
    _without(stage, Fault(".*", "", status=500, times=10**9))


def answers_429(stage: Kubernetes) -> None:
    _without(stage, Fault(".*", "", status=429, times=10**9, reason="TooManyRequests", headers={"Retry-After": "1"}))


def answers_410(stage: Kubernetes) -> None:
    """Whoever was watching, and wants to go on from there, is told that it was too long ago."""
    stage.cluster.store.forget_changes()
    streams_cut(stage)


def streams_cut(stage: Kubernetes | RelayedDocker) -> None:
    if isinstance(stage, RelayedDocker):
        stage.way.cut()
    else:
        stage.cluster.cut()


def _without(stage: Kubernetes, fault: Fault) -> None:
    with stage.cluster.away(fault):
        stage.go()
        time.sleep(AWAY_SECONDS)
