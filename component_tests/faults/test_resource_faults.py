"""What a validator's machine lacks, and loses: its network, room on its disk, threads."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from component_tests.fakes.servers.faulty_server import PHASES
from component_tests.faults.cells import Cell, resource_faults
from component_tests.faults.conftest import marked
from component_tests.faults.platforms.namespaces import Network, fill, link_of, small_disk
from component_tests.faults.platforms.stages import ROOT, DistantKubernetes, LocalDocker, Stage
from component_tests.faults.validators.process import Executor

CUT_SECONDS = 1.0

#: Root has as many threads as there are. A user of each test's own, who reads what root reads, has not.
USER = 100_000 + os.getpid()
_CAPABILITIES = "+dac_override,+dac_read_search"
AS_USER = (
    *("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"),
    *(f"--inh-caps={_CAPABILITIES}", f"--ambient-caps={_CAPABILITIES}"),
)


@pytest.mark.parametrize("cell", [marked(cell) for cell in resource_faults()])
def test_cell(cell: Cell, stage: Stage, tmp_path: pathlib.Path) -> None:
    if os.geteuid() != 0:
        pytest.fail("only root can cut networks, make disks and be another user", pytrace=False)
    globals()[cell.fault](cell, stage, tmp_path)
    assert stage.left() == []


@contextlib.contextmanager
def validating(cell: Cell, stage: Stage, directory: pathlib.Path, **how: Any) -> Iterator[Executor]:
    """A validator that has got to the cell's phase and stands still there, or whose server does."""
    by_server = cell.phase in PHASES
    stage.plan(cell.phase if by_server else "never", "hold")
    hold = "" if by_server else cell.phase
    executor = Executor(stage, directory / "executor", cell.validation_spec, hold=hold, **how)
    try:
        stage.wait_for(cell.phase, executor.alive)
        yield executor
    finally:
        executor.close()


def decided(cell: Cell, executor: Executor) -> dict[str, Any]:
    told = executor.end()
    assert told["reason"] in {reason.name for reason in cell.reasons}, told
    return told


def network_cut_and_healed(cell: Cell, stage: Stage, directory: pathlib.Path) -> None:
    with _network(stage) as (network, within), validating(cell, stage, directory, within=within) as executor:
        _link(stage, network, "down")
        stage.go()
        time.sleep(CUT_SECONDS)
        _link(stage, network, "up")
        assert decided(cell, executor)["left_behind"] == []


def network_cut(cell: Cell, stage: Stage, directory: pathlib.Path) -> None:
    """For good: both ends stay connected, and nothing arrives."""
    with _network(stage) as (network, within), validating(cell, stage, directory, within=within) as executor:
        _link(stage, network, "down")
        stage.go()
        left_behind = decided(cell, executor)["left_behind"]
        if isinstance(stage, DistantKubernetes) and cell.phase not in ("prepare", "stopping"):
            assert any("goes on trying" in left for left in left_behind)
            assert stage.things()
            _link(stage, network, "up")
            assert stage.left() == []
        else:
            assert left_behind == []


@contextlib.contextmanager
def _network(stage: Stage) -> Iterator[tuple[Network | None, tuple[str, ...]]]:
    """The validator's network, if it has one of its own, and the command that starts it there."""
    if isinstance(stage, LocalDocker):
        yield None, ()
    elif isinstance(stage, DistantKubernetes):
        yield stage.network, stage.network.within
    else:
        with Network() as network:
            yield network, network.within


def _link(stage: Stage, network: Network | None, state: str) -> None:
    if network is not None:
        network.set(state)
    else:
        assert isinstance(stage, LocalDocker)
        for container in stage.containers():
            subprocess.run(["ip", "link", "set", link_of(container), state], check=True)


def disk_full(cell: Cell, stage: Stage, directory: pathlib.Path) -> None:
    """The one of TMPDIR."""
    with small_disk(directory / "small") as small:
        with validating(cell, stage, directory, env={"TMPDIR": str(small)}) as executor:
            fill(small)
            stage.go()
            assert decided(cell, executor)["left_behind"] == []
        assert os.listdir(small) == ["filler"]


def log_flood_on_full_disk(cell: Cell, stage: Stage, directory: pathlib.Path) -> None:
    with small_disk(directory / "small") as small:
        fill(small)
        stage.plan(cell.phase, "log_flood")
        executor = Executor(stage, directory / "executor", cell.validation_spec, env={"TMPDIR": str(small)})
        try:
            assert decided(cell, executor)["left_behind"] == []
        finally:
            executor.close()
        assert os.listdir(small) == ["filler"]


def no_threads(cell: Cell, stage: Stage, directory: pathlib.Path) -> None:
    """Its user has more than it may have, and gets no other."""
    stage.temporary.chmod(0o777)
    with validating(cell, stage, directory, within=AS_USER) as executor:
        limit = ("prlimit", f"--pid={executor.process.pid}", "--nproc=1:1")
        subprocess.run([*AS_USER, *limit], check=True)  # root in a container may not limit others
        stage.go()
        if not executor.ended_by_a_library():
            decided(cell, executor)


def read_only_temporary_directory(cell: Cell, stage: Stage, directory: pathlib.Path) -> None:
    """And no other place either."""
    shared = str(stage.faults)
    read_only = " && ".join(
        f"mount --rbind {d} {d} && mount -o remount,bind,ro {d}" for d in ("/tmp", "/var/tmp", ROOT)
    )
    script = f'mount --bind {shared} {shared} && {read_only} && exec "$@"'
    with validating(cell, stage, directory, within=("unshare", "--mount", "sh", "-c", script, "sh")) as executor:
        stage.go()
        told = decided(cell, executor)
        assert told["left_behind"] == []
        words = ("No temporary directory can be made", "Read-only file system")
        assert told["reason"] == "BLESSED" or any(said in told["detail"] for said in words), told
