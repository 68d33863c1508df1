"""Validators that are killed at random moments leave nothing. ``python -m benchmarks.random_kills`` does it a hundred times."""

from __future__ import annotations

import pathlib
import random
from typing import Any

import pytest

from component_tests.fakes.saved_models import SavedModels
from component_tests.faults.cells import Cell
from component_tests.faults.conftest import marked
from component_tests.faults.validators.kills import Killer

TIMES = 10
KILLED_ON = ("local_process", "kubernetes")


@pytest.mark.parametrize("cell", [marked(Cell(platform, "random", "ten_kills", frozenset())) for platform in KILLED_ON])
def test_cell(cell: Cell, tmp_path: pathlib.Path, saved_models: SavedModels, record_property: Any) -> None:
    seed = random.SystemRandom().randint(0, 10**6)
    killer = Killer(cell.platform, saved_models.path("half_plus_two_tf2"), tmp_path, random.Random(seed))
    kills = [killer.kill() for _ in range(TIMES)]
    assert [kill for kill in kills if kill.left] == [], f"seed {seed}"
    record_property("until nothing was left", (cell.platform, max(kill.seconds for kill in kills)))
