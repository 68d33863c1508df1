# mypy: disable-error-code="untyped-decorator, unused-ignore"
"""A fleet of models on Airflow: the list is validated in parts, a mapped task each; a last task makes one report of them.

Put this file where Airflow looks for DAGs; it needs the command ``infra-validator`` on the workers and no TFX. The outputs lie on a disk
that all workers see, in a directory for each run::

    airflow dags trigger infra_validator_fleet --conf '{"models": "/models/list.yaml", "output": "/models/verdicts"}'

The last task fails if a model is not blessed (exit code 1) or could not be tested (3), and the run with it. A part does not fail for a
model that is rejected; one in which a model could not be tested is tried again, and keeps the verdicts that it has.
"""

from __future__ import annotations

import datetime
from typing import Any

from airflow.decorators import dag, task
from airflow.models.param import Param
from airflow.operators.bash import BashOperator

AT_ONCE = 4  # parts

VALIDATE = (
    'infra-validator validate --models "$MODELS" --shard "$PART" --serving-spec "$SERVING_SPEC" --request-spec "$REQUEST_SPEC"'
    ' --resume --output "$OUTPUT/part-${PART%/*}" --verdict-file "$OUTPUT/verdict-${PART%/*}"'
)


@dag(
    schedule=None,
    start_date=datetime.datetime(2024, 1, 1),
    catchup=False,
    params={
        "models": Param("/models", type="string", description="a directory of models, a list, or a pattern"),
        "parts": Param(4, type="integer", minimum=1, description="tasks that the list is split into"),
        "serving_spec": Param('{"tensorflow_serving": {}, "local_process": {}}', type="string"),
        "request_spec": Param('{"generate": {}}', type="string"),
        "output": Param("/models/verdicts", type="string", description="gets a directory for each run"),
    },
)
def infra_validator_fleet() -> None:
    @task
    def parts(params: dict[str, Any], run_id: str) -> list[dict[str, str]]:
        """The environment of each part's command: nothing of it is a template, and none of it is read by the shell as code."""
        shared = {name.upper(): params[name] for name in ("models", "serving_spec", "request_spec")}
        output = f"{params['output']}/{run_id}"
        number = params["parts"]
        return [{**shared, "OUTPUT": output, "PART": f"{index}/{number}"} for index in range(1, number + 1)]

    validated = BashOperator.partial(
        task_id="validate_part",
        bash_command=VALIDATE,
        append_env=True,
        retries=2,
        retry_delay=datetime.timedelta(seconds=10),
        max_active_tis_per_dagrun=AT_ONCE,
        map_index_template="{{ task.env['PART'] }}",
    ).expand(env=parts())
    BashOperator(
        task_id="merge",
        bash_command='infra-validator report --merge "$OUTPUT"/part-* --output "$OUTPUT"',
        env={"OUTPUT": "{{ params.output }}/{{ run_id }}"},
        append_env=True,
        trigger_rule="all_done",  # what could not be tested is in the report, too
    ).set_upstream(validated)


infra_validator_fleet()
