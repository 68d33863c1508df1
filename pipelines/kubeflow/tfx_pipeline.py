"""The demo's TFX pipeline, compiled for Kubeflow Pipelines v2 (and Vertex) with TFX's own runner.

TFX's InfraValidator is refused by this compiler; ours is a component like any other.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner

from pipelines.local.pipeline import create_pipeline

#: The image with TFX and this package in it; see Dockerfile.
IMAGE = "infra-validator-tfx:latest"


def compile_pipeline(
    directory: pathlib.Path, output: pathlib.Path, *, image: str = IMAGE, name: str = "demo-kubeflow", **pipeline: Any
) -> dict[str, Any]:
    """Compile the demo pipeline and write the job's JSON.

    Args:
      directory: where the pipeline reads its data and puts what it makes; on a real cluster a gs:// or s3:// URI.
      output: the JSON file.
      image: the image of all tasks.
      name: the pipeline's name.
      pipeline: more for ``create_pipeline`` (the serving spec, say).

    Returns:
      The job as it was written.
    """
    config = kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(default_image=image, display_name=name)
    runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(
        config=config, output_dir=str(output.parent), output_filename=output.name
    )
    runner.run(create_pipeline(name, directory, **pipeline), write_out=True)
    job: dict[str, Any] = json.loads(output.read_text())
    return job
