"""The demo pipeline as an Airflow DAG: put this file where Airflow looks for DAGs, or set AIRFLOW__CORE__DAGS_FOLDER to its folder.

Airflow needs AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT above its default of 30 s, since importing TFX takes about that long.
Everything is written under INFRA_VALIDATOR_DEMO_DIR. INFRA_VALIDATOR_DEMO_BROKEN=1 trains the model that no server can serve;
INFRA_VALIDATOR_DEMO_SERVING_SPEC (JSON or the path of a file) validates with something else than a process of the worker.
"""

from __future__ import annotations

import datetime
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tfx.orchestration.airflow.airflow_dag_runner import AirflowDagRunner, AirflowPipelineConfig  # noqa: E402

from pipelines.local import data  # noqa: E402
from pipelines.local.pipeline import create_pipeline  # noqa: E402

directory = pathlib.Path(os.environ.get("INFRA_VALIDATOR_DEMO_DIR", ROOT / "demo-output-airflow")).resolve()
if not (directory / "data").exists():
    data.write_csv(directory / "data")

DAG = AirflowDagRunner(
    AirflowPipelineConfig(airflow_dag_config={"schedule": None, "start_date": datetime.datetime(2024, 1, 1)})
).run(
    create_pipeline(
        "infra_validator_demo",
        directory,
        serving_spec=os.environ.get("INFRA_VALIDATOR_DEMO_SERVING_SPEC"),
        python_in_graph=os.environ.get("INFRA_VALIDATOR_DEMO_BROKEN") == "1",
    )
)
