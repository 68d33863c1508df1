"""The table at the end of ``make faults``: how many cells of each fault ran on each platform, and how many of them failed."""

from __future__ import annotations

import collections
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from component_tests.fakes.saved_models import SavedModels
from component_tests.faults.cells import PLATFORMS, Cell
from component_tests.faults.platforms.stages import Stage, stage_of


@pytest.fixture
def stage(
    cell: Cell, tmp_path: pathlib.Path, saved_models: SavedModels, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    """The cell's platform; temporary files of this process go where the stage looks for them."""
    stage = stage_of(cell)(tmp_path, saved_models.path("half_plus_two_tf2"))
    monkeypatch.setenv("TMPDIR", str(stage.temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    try:
        yield stage
    finally:
        stage.close()


def marked(cell: Cell) -> Any:
    """The cell as a parameter of a test."""
    marks = [pytest.mark.docker] if cell.platform == "local_docker" else []
    return pytest.param(cell, id=str(cell), marks=[*marks, pytest.mark.faults, pytest.mark.timeout(900)])


def pytest_runtest_makereport(item: pytest.Item, call: Any) -> None:
    """Each report bears its cell, also from another worker."""
    cell = getattr(item, "callspec", None) and item.callspec.params.get("cell")  # type: ignore[attr-defined]
    if isinstance(cell, Cell) and call.when == "setup":
        item.user_properties.append(("cell", (cell.platform, cell.phase, cell.fault)))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table."""
    longest: dict[str, float] = {}
    counts: dict[str, dict[str, list[int]]] = collections.defaultdict(lambda: {name: [0, 0] for name in PLATFORMS})
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, ()):
            for name, value in getattr(report, "user_properties", ()):
                if name == "until nothing was left":
                    longest[value[0]] = value[1]
                if name == "cell" and (report.when == "call" or outcome != "passed"):
                    platform, _, fault = value
                    counts[fault][platform][0] += 1
                    counts[fault][platform][1] += outcome != "passed"
    if not counts:
        return
    terminalreporter.section("the fault matrix: cells that ran (and failed)")
    width = max(len(fault) for fault in counts)
    terminalreporter.write_line(" " * width + "".join(f"{name:>16}" for name in PLATFORMS))
    for fault, row in counts.items():
        cells = "".join(f"{_text(row[name]):>16}" for name in PLATFORMS)
        terminalreporter.write_line(f"{fault:<{width}}{cells}")
    ran = sum(number for row in counts.values() for number, _ in row.values())
    failed = sum(number for row in counts.values() for _, number in row.values())
    terminalreporter.write_line(f"{ran} cells, {failed} failed")
    for platform, seconds in longest.items():
        terminalreporter.write_line(
            f"{platform}: after a kill at a random moment nothing was left within {seconds:.2f} s"
        )


def _text(count: list[int]) -> str:
    ran, failed = count
    return "-" if not ran else f"{ran} ({failed})" if failed else str(ran)
