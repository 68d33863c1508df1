"""The demo pipeline: CsvExampleGen, Trainer, InfraValidator, Pusher. Every orchestrator's demo runs this one."""

from __future__ import annotations

import pathlib
from typing import Any

from tfx import v1 as tfx

from infra_validator.component import InfraValidator

#: The embedded model server, or tensorflow_model_server where it is installed, as a process of this machine.
LOCAL_PROCESS = {"tensorflow_serving": {}, "local_process": {}, "model_name": "fare"}


def create_pipeline(
    name: str,
    directory: pathlib.Path,
    *,
    serving_spec: Any = None,
    validation_spec: Any = None,
    python_in_graph: bool = False,
    enable_cache: bool = True,
    compare_with_pushed: bool = False,
) -> tfx.dsl.Pipeline:
    """The pipeline, with everything it writes under ``directory``; ``directory/data`` holds the CSV file.

    Args:
      name: the pipeline's name; runs of one name share the cache.
      directory: gets ``root`` (artifacts), ``metadata.sqlite`` and ``pushed`` (what the Pusher pushes).
      serving_spec: what to validate with; None: a process of this machine.
      validation_spec: limits and tries; None: two tries of at most 60 s.
      python_in_graph: train the model that no server can serve, see trainer.py.
      enable_cache: whether finished executions are used again.
      compare_with_pushed: whether the model is compared with the one that was pushed last: its signatures, and limits of
        ``validation_spec`` that are multiples of its figures. The first run has none.
    """
    example_gen = tfx.components.CsvExampleGen(input_base=str(directory / "data"))
    trainer = tfx.components.Trainer(
        run_fn="pipelines.local.trainer.run_fn",
        examples=example_gen.outputs["examples"],
        train_args=tfx.proto.TrainArgs(num_steps=1),
        eval_args=tfx.proto.EvalArgs(num_steps=1),
        custom_config={"python_in_graph": python_in_graph},
    )
    resolvers = []
    if compare_with_pushed:
        latest_pushed = tfx.dsl.Resolver(
            strategy_class=tfx.dsl.experimental.LatestArtifactStrategy,
            model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.PushedModel),
        ).with_id("latest_pushed")
        resolvers.append(latest_pushed)
    infra_validator = InfraValidator(
        model=trainer.outputs["model"],
        examples=example_gen.outputs["examples"],
        serving_spec=serving_spec or LOCAL_PROCESS,
        request_spec={"split_name": "eval", "num_examples": 10},
        validation_spec=validation_spec or {"max_loading_time_seconds": 60, "num_tries": 2},
        baseline_model=latest_pushed.outputs["model"] if compare_with_pushed else None,
    )
    pusher = tfx.components.Pusher(
        model=trainer.outputs["model"],
        infra_blessing=infra_validator.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=str(directory / "pushed"))
        ),
    )
    return tfx.dsl.Pipeline(
        pipeline_name=name,
        pipeline_root=str(directory / "root"),
        components=[example_gen, trainer, *resolvers, infra_validator, pusher],
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(directory / "metadata.sqlite")
        ),
        enable_cache=enable_cache,
        beam_pipeline_args=["--direct_num_workers=1"],
    )
