"""A validator that is killed at a random moment, and how long what it started outlives it."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import random
import subprocess
import tempfile
import time

from component_tests.faults.cells import LONG
from component_tests.faults.platforms.stages import PATIENCE, STAGES, Stage
from component_tests.faults.validators.process import Executor
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.errors import DeadlineExceeded

#: What was just being created when its maker was killed shows up later.
QUIET_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class Killed:
    """One kill.

    Attributes:
      phase: the last that validator or server had got to.
      seconds: until nothing was left.
      left: what was there when nobody waited any longer.
    """

    phase: str
    seconds: float
    left: tuple[str, ...]


class Killer:
    """Kills validators on one platform.

    Args:
      platform: its name.
      model: a good model.
      directory: for the files of each.
      dice: chooses the moments.
    """

    def __init__(self, platform: str, model: pathlib.Path, directory: pathlib.Path, dice: random.Random) -> None:
        self._platform = platform
        self._model = model
        self._directory = directory
        self._dice = dice
        self._whole = 0.0  # seconds that a validator lives, from its first phase on

    def kill(self) -> Killed:
        """Let a validator run, and kill it. One that ends before is none, and tells how long one lives."""
        while True:
            killed = self._run(self._dice.uniform(0.0, self._whole) if self._whole else PATIENCE)
            if killed is not None:
                return killed

    def _run(self, moment: float) -> Killed | None:
        directory = pathlib.Path(tempfile.mkdtemp(dir=self._directory))
        stage = STAGES[self._platform](directory, self._model)
        stage.plan("never", "none")
        limits = {"max_loading_time_seconds": LONG, "max_query_time_seconds": LONG, "stop_grace_seconds": 0.5}
        executor = Executor(stage, directory / "executor", limits)
        try:
            stage.wait_for("prepare", executor.alive)
            began = time.monotonic()
            with contextlib.suppress(subprocess.TimeoutExpired):
                executor.process.wait(moment)
                self._whole = time.monotonic() - began
                return None
            executor.process.kill()
            phase = _last_phase(stage)
            return Killed(phase, *_until_nothing(stage))
        finally:
            executor.close()
            stage.close()


def _last_phase(stage: Stage) -> str:
    reached = [(path.stat().st_mtime_ns, path.stem) for path in stage.faults.glob("*.reached")]
    return max(reached)[1]


def _until_nothing(stage: Stage) -> tuple[float, tuple[str, ...]]:
    killed = time.monotonic()
    nothing_since: float | None = None
    there: list[str] = []

    def quiet() -> float | None:
        nonlocal nothing_since
        there[:] = stage.leftovers()
        now = time.monotonic()
        nothing_since = None if there else nothing_since or now
        return nothing_since if nothing_since and now - nothing_since >= QUIET_SECONDS else None

    try:
        return wait_until(quiet, Deadline.after(PATIENCE)) - killed, ()
    except DeadlineExceeded:
        return PATIENCE, tuple(there)
