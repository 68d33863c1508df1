"""One side of the race: an executor of a TFX component, called again and again in a process that has done its imports.

    python -m benchmarks.docker_race_executor tfx|ours

Prints ``ready``; then reads one case a line as JSON, forks for it, and prints ``pid N`` and, when it has ended, ``ended``. The child writes
``{"began": ..., "ended": ..., "blessed": ...}`` (seconds since 1970) to the case's ``result`` file. A child that is killed writes nothing.
"""

from __future__ import annotations

import json
import logging
import os
import pathlib
import sys
import tempfile
import time
import traceback
from typing import Any


def executor_class(side: str) -> Any:
    """TFX's executor as it is, or ours; both have the same interface."""
    if side == "tfx":
        from tfx.components.infra_validator.executor import Executor
    else:
        import docker  # noqa: F401  TFX's has imported it, too

        from infra_validator.executor import Executor
        from infra_validator.model_server_clients import tensorflow_serving  # noqa: F401
        from infra_validator.validation.limits import deciding  # noqa: F401  imported while a server starts
    return Executor


def run(executor: Any, case: dict[str, Any]) -> None:
    """One call of ``Do``, from its call to its return."""
    from tfx.dsl.components.base import base_executor

    from component_tests.fakes import tfx_artifacts

    folder = pathlib.Path(case["folder"])
    scratch = folder / "scratch"
    scratch.mkdir()
    os.environ["TMPDIR"] = str(scratch)
    tempfile.tempdir = None
    inputs = {"model": [tfx_artifacts.model_artifact(folder / "model", pathlib.Path(case["model"]))]}
    properties = {name: json.dumps(case[name]) for name in ("serving_spec", "validation_spec")}
    if case["examples"]:
        values = [float(number) for number in range(case["examples"])]
        inputs["examples"] = [tfx_artifacts.examples_artifact(folder / "examples", values)]
        properties["request_spec"] = json.dumps({"tensorflow_serving": {}, "num_examples": case["examples"]})
    blessing = tfx_artifacts.blessing_artifact(folder / "blessing")
    context = base_executor.BaseExecutor.Context(tmp_dir=str(scratch), unique_id="1")
    os.sync()  # the copy of the model: a daemon's writes wait until it is on the disk
    began = time.time()
    executor(context).Do(inputs, {"blessing": [blessing]}, properties)
    result = {"began": began, "ended": time.time(), "blessed": (folder / "blessing" / "INFRA_BLESSED").exists()}
    (folder / "result").write_text(json.dumps(result))


def main() -> None:
    logging.disable(logging.ERROR)
    executor = executor_class(sys.argv[1])
    print("ready", flush=True)
    for line in sys.stdin:
        case = json.loads(line)
        pid = os.fork()
        if pid == 0:
            try:
                run(executor, case)
            except BaseException:
                pathlib.Path(case["folder"], "error").write_text(traceback.format_exc())
            os._exit(0)
        print(f"pid {pid}", flush=True)
        os.waitpid(pid, 0)
        print("ended", flush=True)


if __name__ == "__main__":
    main()
