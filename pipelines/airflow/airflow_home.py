"""An Airflow of one directory: its own database (sqlite), settings and logs."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping

_LONGEST_COMMAND = 900  # seconds; importing TFX in a task alone takes 15 to 30


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
            timeout=_LONGEST_COMMAND,
            check=False,
        )

    def start(self, *arguments: str, log: pathlib.Path) -> subprocess.Popen[str]:
        """Start a command that goes on; its output goes to ``log``."""
        with log.open("w") as file:
            return subprocess.Popen(
                self.command(*arguments),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    @staticmethod
    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "airflow", *arguments]
