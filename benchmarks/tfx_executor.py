"""Inside TFX: the component's executor from its call to the blessing, beside the command line on the same model.

    python -m benchmarks.tfx_executor [--rounds N]

Executor and command alternate in one run, LOAD_AND_QUERY of one example with the embedded server. What TFX costs before the
executor is called, its import, is measured in processes of its own and printed apart.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from benchmarks.table import print_table
from component_tests.fakes import tfx_artifacts
from component_tests.fakes.saved_models import made_once

SPEC = json.dumps({"tensorflow_serving": {}, "local_process": {}, "model_name": "m"})


def command(model: pathlib.Path, record: pathlib.Path) -> float:
    """``infra-validator validate`` from shell to shell, in seconds; ``record`` is a TFRecord of one tf.Example."""
    arguments = [sys.executable, "-m", "infra_validator", "validate", "--quiet", "--model", str(model)]
    arguments += ["--serving-spec", SPEC, "--requests", str(record)]
    began = time.perf_counter()
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def executor(directory: pathlib.Path, model: pathlib.Path) -> float:
    """``Executor.Do`` from its call to its return, in seconds."""
    from infra_validator.executor import Executor

    inputs = {
        "model": [tfx_artifacts.model_artifact(directory / "model", model)],
        "examples": [tfx_artifacts.examples_artifact(directory / "examples", [1.0])],
    }
    blessing = tfx_artifacts.blessing_artifact(directory / "blessing")
    properties = {"serving_spec": SPEC, "request_spec": json.dumps({"num_examples": 1})}
    began = time.perf_counter()
    Executor().Do(inputs, {"blessing": [blessing]}, properties)
    took = time.perf_counter() - began
    if not (directory / "blessing" / "INFRA_BLESSED").exists():
        sys.exit(f"not blessed: {(directory / 'blessing' / 'verdict.json').read_text()}")
    return took


def importing(module: str) -> float:
    """A Python process that imports ``module`` and ends, in seconds."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-W", "ignore", "-c", f"import {module}"], check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    model = made_once().path("examples")
    imports = [importing("infra_validator.component") for _ in range(min(rounds, 3))]
    import infra_validator.executor  # noqa: F401  not part of the executor's time

    inside, outside = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for number in range(rounds):
            inside.append(executor(folder / str(number), model))
            record = next((folder / str(number) / "examples" / "Split-train").iterdir())
            outside.append(command(model, record))
    print_table(
        "7. the executor inside TFX, LOAD_AND_QUERY of one example, embedded server",
        [
            ("Executor.Do, from call to blessing", inside, "beside the command, which also starts Python"),
            ("infra-validator validate, from shell to shell", outside, ""),
            ("import of the component, with TFX, in a process of its own", imports, "TFX's, paid by every task"),
        ],
    )


if __name__ == "__main__":
    main()
