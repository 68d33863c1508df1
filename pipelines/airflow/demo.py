"""make demo-airflow: the demo pipeline as a DAG, run by Airflow itself on sqlite; a model that is pushed, then one that is not."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from infra_validator.core.deadline import Deadline, wait_until  # noqa: E402
from pipelines.airflow.airflow_home import LONGEST_COMMAND, AirflowHome  # noqa: E402
from pipelines.outcome import read_outcome  # noqa: E402


def main() -> int:
    directory = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "demo-output-airflow").resolve()
    shutil.rmtree(directory, ignore_errors=True)
    airflow = AirflowHome(
        directory / "airflow", ROOT / "pipelines" / "airflow", {"INFRA_VALIDATOR_DEMO_DIR": str(directory)}
    )
    _say("making Airflow's database")
    airflow.migrate()
    lines = []
    for broken in ("0", "1"):
        began = time.monotonic()
        _say("airflow dags test infra_validator_demo, with a " + ("broken model" if broken == "1" else "good model"))
        _say("  Airflow imports TFX and reads the DAG; that alone can take two minutes")
        log = directory / f"airflow-{broken}.log"
        process = airflow.start(
            "dags", "test", "infra_validator_demo", log=log, env={"INFRA_VALIDATOR_DEMO_BROKEN": broken}
        )
        _follow(airflow, process)
        if process.returncode != 0:
            print(log.read_text()[-8000:], file=sys.stderr)
            _say("the DAG run failed; Airflow's output is above")
            return 1
        lines.append(read_outcome(directory / "metadata.sqlite").line())
        _say(f"done ({time.monotonic() - began:.0f} s)")
    print("\n".join(lines), flush=True)
    return 0


def _follow(airflow: AirflowHome, process: subprocess.Popen[str]) -> None:
    """Wait for the end of a DAG run, and say of each task when it begins and how it ends."""
    began = time.monotonic()
    said = set(airflow.task_states("infra_validator_demo"))

    def ended() -> bool | None:
        over = process.poll() is not None
        for news in airflow.task_states("infra_validator_demo"):
            if news not in said and news.state in ("running", "success", "failed"):
                said.add(news)
                _say(f"  {news.task}: {news.state} ({time.monotonic() - began:.0f} s)")
        return over or None

    try:
        wait_until(ended, Deadline.after(LONGEST_COMMAND), longest_pause=0.5)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _say(text: str) -> None:
    print(f"demo: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
