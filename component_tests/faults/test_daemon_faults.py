"""A Docker daemon that is killed and started again while a model is validated on it. It is the test's own."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

from component_tests.fakes.saved_models import SavedModels
from component_tests.fakes.servers.faulty_server import PHASES
from component_tests.faults.cells import Cell, daemon_faults
from component_tests.faults.conftest import marked
from component_tests.faults.platforms.namespaces import Network
from component_tests.faults.platforms.stages import LocalDocker, faulty_image
from component_tests.faults.validators.process import Executor
from component_tests.real_platforms.docker.daemons import OwnDaemon

Data = tuple[pathlib.Path, Network]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Data]:
    """A data root with the faulty server's image, and a network for the daemons, one at a time, that use it."""
    directory = tmp_path_factory.mktemp("data")
    with Network() as network:
        daemon = OwnDaemon(directory, data=directory / "root", within=network.within)
        try:
            daemon.start()
            daemon.take(faulty_image())
        finally:
            daemon.close()
        yield directory / "root", network


class OwnDocker(LocalDocker):
    """A stage on a daemon of its own."""

    def __init__(self, directory: pathlib.Path, model: pathlib.Path, daemon: OwnDaemon) -> None:
        self.daemon = daemon
        super().__init__(directory, model)
        self.url = daemon.url

    def docker(self, *arguments: str) -> str:
        return self.daemon.docker(*arguments)

    def things(self) -> list[str]:
        return [*super().things(), *(f"volume {name}" for name in self.docker("volume", "ls", "-q").split())]


@pytest.mark.parametrize("cell", [marked(cell) for cell in daemon_faults()])
def test_cell(cell: Cell, data: Data, tmp_path: pathlib.Path, saved_models: SavedModels) -> None:
    root, network = data
    arguments = ("--live-restore",) if cell.fault == "daemon_killed_live_restore" else ()
    daemon = OwnDaemon(tmp_path, data=root, arguments=arguments, within=network.within)
    try:
        daemon.start()
        stage = OwnDocker(tmp_path, saved_models.path("half_plus_two_tf2"), daemon)
        by_server = cell.phase in PHASES
        stage.plan(cell.phase if by_server else "never", "hold")
        hold = "" if by_server else cell.phase
        executor = Executor(stage, tmp_path / "executor", cell.validation_spec, hold=hold, within=network.within)
        try:
            stage.wait_for(cell.phase, executor.alive)
            daemon.kill()
            stage.go()
            daemon.start()
            told = executor.end()
        finally:
            executor.close()
        assert told["reason"] in {reason.name for reason in cell.reasons}, told
        assert told["left_behind"] == []
        assert stage.left() == []
        stage.close()
    finally:
        daemon.close()
