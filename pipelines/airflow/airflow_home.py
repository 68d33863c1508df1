"""An Airflow of one directory: its own database (sqlite), settings and logs."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import sqlite3
import subprocess
import sys
from collections.abc import Mapping

LONGEST_COMMAND = 900  # seconds; importing TFX in a task alone takes 15 to 30


@dataclasses.dataclass(frozen=True)
class TaskState:
    """What Airflow's database says of one task.

    Attributes:
      run: the DAG run's id.
      task: the task's id.
      state: Airflow's word, e.g. ``running``.
    """

    run: str
    task: str
    state: str


class AirflowHome:
    """Runs ``airflow`` commands on a home directory of its own.

    Args:
      directory: AIRFLOW_HOME; made if needed.
      dags_folder: where the DAG files are.
      env: variables added to every command's environment.
    """

    def __init__(
        self, directory: pathlib.Path, dags_folder: pathlib.Path, env: Mapping[str, str] | None = None
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.environment = {
            **os.environ,
            "AIRFLOW_HOME": str(directory),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "SQLALCHEMY_SILENCE_UBER_WARNING": "1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONWARNINGS": "ignore",
            **(env or {}),
        }

    def migrate(self) -> None:
        """Make the database."""
        result = self.run("db", "migrate")
        if result.returncode != 0:
            raise RuntimeError(f"airflow db migrate failed:\n{result.stdout[-4000:]}")

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run one command to its end; stdout holds its whole output."""
        return subprocess.run(
            self.command(*arguments),
            env={**self.environment, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST_COMMAND,
            check=False,
        )

    def task_states(self, dag: str) -> list[TaskState]:
        """The tasks of the newest run of a DAG that have a state, in the order they began; none while there is no run."""
        query = (
            "select run_id, task_id, state from task_instance where dag_id = ? and state is not null and run_id ="
            " (select run_id from dag_run where dag_id = ? order by id desc limit 1) order by start_date"
        )
        database = f"file:{self.directory / 'airflow.db'}?mode=ro"
        try:
            with contextlib.closing(sqlite3.connect(database, uri=True, timeout=5.0)) as connection:
                return [TaskState(*map(str, row)) for row in connection.execute(query, (dag, dag))]
        except sqlite3.OperationalError:  # Airflow writes at this moment
            return []

    def start(self, *arguments: str, log: pathlib.Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command that goes on; its output goes to ``log``."""
        with log.open("w") as file:
            return subprocess.Popen(
                self.command(*arguments),
                env={**self.environment, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    @staticmethod
    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "airflow", *arguments]
