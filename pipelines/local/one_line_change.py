"""A pipeline of TFX's own InfraValidator guide: one line is another one.

    -from tfx.components import InfraValidator
    +from infra_validator.component import InfraValidator

Specs stay TFX's protos, the blessing stays an InfraBlessing, the Pusher stays the stock one.
"""

from __future__ import annotations

from tfx import v1 as tfx

from infra_validator.component import InfraValidator


def create_pipeline(name: str, root: str, data: str, run_fn: str, push_to: str, metadata: str) -> tfx.dsl.Pipeline:
    """CsvExampleGen, Trainer, InfraValidator on tensorflow/serving in a local Docker, Pusher."""
    example_gen = tfx.components.CsvExampleGen(input_base=data)
    trainer = tfx.components.Trainer(
        run_fn=run_fn,
        examples=example_gen.outputs["examples"],
        train_args=tfx.proto.TrainArgs(num_steps=1),
        eval_args=tfx.proto.EvalArgs(num_steps=1),
    )
    infra_validator = InfraValidator(
        model=trainer.outputs["model"],
        examples=example_gen.outputs["examples"],
        serving_spec=tfx.proto.ServingSpec(
            tensorflow_serving=tfx.proto.TensorFlowServing(tags=["latest"]),
            local_docker=tfx.proto.LocalDockerConfig(),
        ),
        validation_spec=tfx.proto.ValidationSpec(max_loading_time_seconds=60, num_tries=3),
        request_spec=tfx.proto.RequestSpec(tensorflow_serving=tfx.proto.TensorFlowServingRequestSpec(), num_examples=1),
    )
    pusher = tfx.components.Pusher(
        model=trainer.outputs["model"],
        infra_blessing=infra_validator.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=push_to)
        ),
    )
    return tfx.dsl.Pipeline(
        pipeline_name=name,
        pipeline_root=root,
        components=[example_gen, trainer, infra_validator, pusher],
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(metadata),
    )
