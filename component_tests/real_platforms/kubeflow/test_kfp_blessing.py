"""A blessing on its way through Kubeflow Pipelines v2, whose metadata knows no integers."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

pytestmark = [pytest.mark.kfp, pytest.mark.tfx, pytest.mark.timeout(600)]


def through_kubeflow(artifact: Any) -> Any:
    """The artifact as the next step's container sees it: out through TFX's entry point and in again."""
    from kfp.pipeline_spec import pipeline_spec_pb2
    from tfx.orchestration.kubeflow.v2 import compiler_utils
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils as entry_point

    runtime = entry_point.to_runtime_artifact(artifact, {})
    schema = compiler_utils.get_artifact_schema(type(artifact))
    runtime.type.CopyFrom(pipeline_spec_pb2.ArtifactTypeSchema(instance_schema=schema))
    artifacts = pipeline_spec_pb2.ExecutorInput.Inputs().artifacts
    artifacts["blessing"].artifacts.append(runtime)
    return entry_point.parse_raw_artifact_dict(artifacts, {})["blessing"][0]


@pytest.mark.parametrize("blessed", [True, False])
def test_the_stock_pusher_reads_it_afterwards(tmp_path: pathlib.Path, blessed: bool) -> None:
    from tfx.components.pusher import executor as pusher
    from tfx.components.util import model_utils
    from tfx.types import standard_artifacts

    from infra_validator import blessing

    artifact = standard_artifacts.InfraBlessing()
    artifact.uri = str(tmp_path)
    blessing.mark(artifact, blessed)
    artifact.set_int_custom_property("has_model", 1)

    seen = through_kubeflow(artifact)
    assert seen.mlmd_artifact.custom_properties["blessed"].WhichOneof("value") != "int_value"  # a float, by then
    assert model_utils.is_infra_validated(seen) is blessed
    assert pusher.Executor().GetModelPath({"infra_blessing": [seen]}) == str(tmp_path / "stamped_model")
