"""One Airflow for all tests: airflow commands run by one process, which has imported TFX once.

Importing TFX takes 15 to 60 s, and each ``airflow`` command would do it again. The process calls the very functions that the command
line calls, one command after the other.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import traceback
from typing import Any

from pipelines.airflow.airflow_home import AirflowHome


@dataclasses.dataclass(frozen=True)
class Result:
    """How a command ended and everything it printed."""

    returncode: int
    output: str


class AirflowSession(AirflowHome):
    """Runs airflow commands; those that must be processes of their own are started with ``start``."""

    def __init__(self, directory: pathlib.Path) -> None:
        settings = {
            "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "1",
            "AIRFLOW__SCHEDULER__SCHEDULE_AFTER_TASK_EXECUTION": "False",  # the tests say which task runs next
        }
        self.dags_folder = directory / "dags"
        self.dags_folder.mkdir(parents=True)
        super().__init__(directory, self.dags_folder, settings)
        self.migrate()
        self._log = directory / "session.log"
        self._log.touch()
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(self._log)],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def call(self, *arguments: str) -> Result:
        """Run one command to its end. The test's own time limit is its limit."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        begin = self._log.stat().st_size
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        reply = self._process.stdout.readline()
        with self._log.open(errors="replace") as file:
            file.seek(begin)
            output = file.read()
        assert reply, f"the process ended; its output ends with:\n{output[-4000:]}"
        return Result(json.loads(reply), output)

    def close(self) -> None:
        """End the process."""
        with self._process:  # closes the pipes and waits
            self._process.kill()


def serve(log: str) -> None:
    """Read commands from the input, one JSON list a line; answer each with its exit code."""
    replies = os.fdopen(os.dup(1), "w")
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    from airflow.cli import cli_parser
    from tfx import v1  # noqa: F401  the import that every DAG file makes

    parser = cli_parser.get_parser()
    for line in sys.stdin:
        sys.stderr.write(f"$ airflow {line}\n")
        code = _exit_code(parser, json.loads(line))
        sys.stdout.flush()
        sys.stderr.flush()
        replies.write(f"{code}\n")
        replies.flush()


def _exit_code(parser: Any, arguments: list[str]) -> int:
    try:
        parsed = parser.parse_args(arguments)
        parsed.func(parsed)
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    serve(sys.argv[1])
