"""make demo-kubeflow: the demo pipeline compiled for Kubeflow Pipelines v2, and every compiled task run as the backend runs it.

A model that is pushed, then one that is not; then the same gate as a container component of kfp's own compiler. No cluster is needed:
the tasks' containers are processes of this machine, on artifacts on the local disk.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import sys
import time
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

LOCAL_PROCESS = '{"tensorflow_serving": {}, "local_process": {}, "model_name": "fare"}'


def main() -> int:
    directory = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "demo-output-kubeflow").resolve()
    shutil.rmtree(directory, ignore_errors=True)
    from pipelines.kubeflow.local_backend import LocalBackend, TaskFailed
    from pipelines.kubeflow.tfx_pipeline import compile_pipeline
    from pipelines.local import data

    data.write_csv(directory / "data")
    environment = {
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "CUDA_VISIBLE_DEVICES": "",
    }
    lines = []
    model = ""
    examples = None  # made once: the backend would take them from its cache, too
    try:
        for broken in (False, True):
            name = "broken" if broken else "good"
            began = time.monotonic()
            _say(f"compiling the pipeline with a {name} model (KubeflowV2DagRunner)")
            job = compile_pipeline(directory, directory / f"{name}.json", python_in_graph=broken)
            backend = LocalBackend(job["pipelineSpec"], directory / name, say=_say, environment=environment)
            if examples is not None:
                backend.runs["CsvExampleGen"] = examples
            backend.run()
            examples = backend.runs["CsvExampleGen"]
            lines.append(_outcome(backend))
            model = model or str(pathlib.Path(backend.runs["Trainer"].artifacts["model"]["uri"]) / "Format-Serving")
            _say(f"done ({time.monotonic() - began:.0f} s)")
        _say("the same gate as a container component, compiled by kfp")
        _say(f"its verdict: {_container_component(directory, model, environment)}")
    except TaskFailed as error:
        _say(str(error))
        return 1
    print("\n".join(lines), flush=True)
    return 0


def _outcome(backend: Any) -> str:
    """Read back from the artifacts and the push directory on disk."""
    blessing = backend.runs["InfraValidator"].artifacts["blessing"]
    verdict = json.loads((pathlib.Path(blessing["uri"]) / "verdict.json").read_text())
    pushed = backend.runs["Pusher"].artifacts["pushed_model"].get("metadata") or {}
    target = str(pushed.get("pushed_destination", "")) if pushed.get("pushed") else ""
    if target and not (pathlib.Path(target) / "saved_model.pb").exists():
        raise LookupError(f"There is no model in {target}.")
    if blessing["metadata"]["blessed"]:
        return f"blessed: pushed to {target}" if target else "blessed: not pushed"
    return f"not blessed: {verdict['reason_code']}, {'pushed to ' + target if target else 'not pushed'}"


def _container_component(directory: pathlib.Path, model: str, environment: dict[str, str]) -> str:
    import yaml
    from kfp import compiler

    from pipelines.kubeflow.container_component import pipeline
    from pipelines.kubeflow.local_backend import LocalBackend

    path = directory / "container_component.yaml"
    compiler.Compiler().compile(pipeline, package_path=str(path))
    backend = LocalBackend(yaml.safe_load(path.read_text()), directory / "container", say=_say, environment=environment)
    backend.run({"model_uri": model, "serving_spec": LOCAL_PROCESS})
    return str(backend.runs["infra-validator"].parameters["verdict"])


def _say(text: str) -> None:
    print(f"demo: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(main())
