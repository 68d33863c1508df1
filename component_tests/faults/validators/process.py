"""A validator as a process of its own (``executor.py``), from outside."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from component_tests.faults.platforms.stages import PATIENCE, ROOT, Stage

_ENDING = ("pthread_create failed", "std::bad_alloc")


class Executor:
    """A running validator.

    Args:
      stage: where it validates.
      directory: for its files; made if it is not there.
      validation_spec: its limits.
      hold: the phase of an attempt at whose beginning it stands still; empty: it does not.
      env: more environment.
      within: a command that it is started by, such as ``nsenter``.

    Attributes:
      process: it.
    """

    def __init__(
        self,
        stage: Stage,
        directory: pathlib.Path,
        validation_spec: Mapping[str, Any],
        *,
        hold: str = "",
        env: Mapping[str, str] | None = None,
        within: tuple[str, ...] = (),
    ) -> None:
        job = {
            "model": str(stage.model),
            "spec": stage.spec(),
            "validation_spec": dict(validation_spec),
            "faults": str(stage.faults),
            "hold": hold,
        }
        directory.mkdir(exist_ok=True)
        (directory / "job.json").write_text(json.dumps(job))
        self._error = directory / "stderr"
        with open(self._error, "wb") as error:
            self.process = subprocess.Popen(
                [
                    *within,
                    sys.executable,
                    "-m",
                    "component_tests.faults.validators.executor",
                    str(directory / "job.json"),
                ],
                stdout=subprocess.PIPE,
                stderr=error,
                text=True,
                cwd=ROOT,
                env={**os.environ, "TMPDIR": str(stage.temporary), **(env or {})},
            )

    def alive(self) -> bool:
        return self.process.poll() is None

    def end(self) -> dict[str, Any]:
        """Wait for its end; what it said. No traceback is among it."""
        said, _ = self.process.communicate(timeout=PATIENCE)
        error = self._error.read_text()
        assert "Traceback" not in error, error[-3000:]
        assert said, f"it said nothing; exit code {self.process.returncode}: {error[-3000:]}"
        told: dict[str, Any] = json.loads(said.splitlines()[-1])
        return told

    def children(self) -> list[int]:
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").iterdir()
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]

    def ended_by_a_library(self) -> bool:
        """Wait for its end; whether a library in C++ has ended it for want of a thread or of memory, which it cannot do without."""
        self.process.wait(PATIENCE)
        error = self._error.read_text()
        return self.process.returncode == -signal.SIGABRT and any(words in error for words in _ENDING)

    def close(self) -> None:
        """Kill it, unless it has ended."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
