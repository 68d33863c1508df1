# mypy: disable-error-code="untyped-decorator, no-untyped-def, valid-type, unused-ignore"
"""A fleet of models on Kubeflow Pipelines: the list is validated in parts, a task each, side by side; a last task makes one report of them.

    python -m pipelines.kubeflow.fleet_pipeline pipeline.yaml

A model that is not blessed does not fail a task; what comes after the last task asks for the verdict on all, as after one model
(container_component.py).
"""

import sys

from kfp import compiler, dsl

#: The image with this package and kfp in it; see Dockerfile.
IMAGE = "infra-validator:latest"
SERVING_SPEC = '{"tensorflow_serving": {"tags": ["2.19.0"]}, "kubernetes": {}}'
PARTS = ["1/4", "2/4", "3/4", "4/4"]
AT_ONCE = 4  # tasks


# No `from __future__` names in the signatures: kfp reads the annotations.
@dsl.container_component
def validate_part(
    models: dsl.Input[dsl.Artifact],
    part: str,
    serving_spec: str,
    validation_spec: str,
    request_spec: str,
    verdict: dsl.OutputPath(str),  # type: ignore[valid-type]
    report: dsl.Output[dsl.Artifact],
):  # type: ignore[no-untyped-def]
    """Validate one part of a fleet.

    Args:
      models: a directory of models, or a file that lists them.
      part: which of how many, e.g. ``2/4``.
      serving_spec, validation_spec, request_spec: as JSON; for every model whose entry in the list has none of its own.
      verdict: BLESSED or NOT_BLESSED.
      report: ``fleet.json``, and each model's verdict and logs.
    """
    return dsl.ContainerSpec(
        image=IMAGE,
        command=["python", "-m", "infra_validator", "validate"],
        args=[
            "--models",
            models.path,
            "--shard",
            part,
            "--serving-spec",
            serving_spec,
            "--validation-spec",
            validation_spec,
            "--request-spec",
            request_spec,
            "--output",
            report.path,
            "--verdict-file",
            verdict,
        ],
    )


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def merge_parts(parts: dsl.Input[list[dsl.Artifact]], report: dsl.Output[dsl.Artifact], verdict: dsl.OutputPath(str)):
    """One report of all parts, and the verdict on all: BLESSED or NOT_BLESSED."""
    # Only components in Python take lists of artifacts.
    import subprocess
    import sys

    merge = [sys.executable, "-m", "infra_validator", "report", "--merge", *[part.path for part in parts]]
    subprocess.run([*merge, "--output", report.path, "--verdict-file", verdict], check=True)


@dsl.pipeline(name="gated-fleet")
def pipeline(
    models_uri: str,
    parts: list = PARTS,  # type: ignore[type-arg]
    serving_spec: str = SERVING_SPEC,
    validation_spec: str = "{}",
    request_spec: str = '{"generate": {}}',
):  # type: ignore[no-untyped-def]
    """Import a model repository and put all of it through the gate."""
    models = dsl.importer(artifact_uri=models_uri, artifact_class=dsl.Artifact, reimport=True)
    with dsl.ParallelFor(parts, parallelism=AT_ONCE) as part:
        gate = validate_part(
            models=models.output,
            part=part,
            serving_spec=serving_spec,
            validation_spec=validation_spec,
            request_spec=request_spec,
        )
        gate.set_caching_options(False)  # the models at an URI may change
        gate.set_retry(2)  # a task fails only when a model could not be tested
    merge_parts(parts=dsl.Collected(gate.outputs["report"])).set_caching_options(False)


if __name__ == "__main__":
    compiler.Compiler().compile(pipeline, package_path=sys.argv[1] if len(sys.argv) > 1 else "pipeline.yaml")
