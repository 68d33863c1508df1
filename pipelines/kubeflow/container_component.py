# mypy: disable-error-code="untyped-decorator, no-untyped-def, valid-type, unused-ignore"
"""The gate as a container component of kfp's own compiler, for pipelines without TFX: the command line in an image.

    python -m pipelines.kubeflow.container_component pipeline.yaml

A model that is not blessed does not fail the task; what comes after it asks for the verdict::

    gate = infra_validator(model=..., serving_spec=..., validation_spec=...)
    with dsl.If(gate.outputs["verdict"] == "BLESSED"):
        ...
"""

import sys

from kfp import compiler, dsl

#: The image with this package in it; see Dockerfile.
IMAGE = "infra-validator:latest"
SERVING_SPEC = '{"tensorflow_serving": {"tags": ["2.19.0"]}, "kubernetes": {}}'


# No `from __future__` names in the signature: kfp reads the annotations.
@dsl.container_component
def infra_validator(
    model: dsl.Input[dsl.Model],
    serving_spec: str,
    validation_spec: str,
    verdict: dsl.OutputPath(str),  # type: ignore[valid-type]
    report: dsl.Output[dsl.Artifact],
):  # type: ignore[no-untyped-def]
    """Start a throw-away model server on ``model`` and say whether it really serves.

    Args:
      model: the SavedModel directory.
      serving_spec: what to run and where, as JSON.
      validation_spec: limits and tries, as JSON.
      verdict: BLESSED or NOT_BLESSED.
      report: ``verdict.json`` and the servers' logs.
    """
    return dsl.ContainerSpec(
        image=IMAGE,
        command=["python", "-m", "infra_validator", "validate"],
        args=[
            "--model",
            model.path,
            "--serving-spec",
            serving_spec,
            "--validation-spec",
            validation_spec,
            "--output",
            report.path,
            "--verdict-file",
            verdict,
        ],
    )


@dsl.pipeline(name="gated-model")
def pipeline(model_uri: str, serving_spec: str = SERVING_SPEC, validation_spec: str = "{}"):  # type: ignore[no-untyped-def]
    """Import a model and put it through the gate."""
    model = dsl.importer(artifact_uri=model_uri, artifact_class=dsl.Model, reimport=True)
    infra_validator(model=model.output, serving_spec=serving_spec, validation_spec=validation_spec)


if __name__ == "__main__":
    compiler.Compiler().compile(pipeline, package_path=sys.argv[1] if len(sys.argv) > 1 else "pipeline.yaml")
