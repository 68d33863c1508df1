"""The TFX driver: what happens before anything is spent. One class for both of TFX's launchers.

The legacy launcher (Airflow) calls ``resolve_exec_properties``, the portable one (LocalDagRunner, IR runners) calls ``run``, both
before they look for a cached execution. Kubeflow v2 ignores drivers, so the executor needs nothing of this.
"""

from __future__ import annotations

import logging
from typing import Any

from tfx.dsl.components.base import base_driver
from tfx.orchestration import data_types, metadata
from tfx.orchestration.portable import base_driver as portable_base_driver
from tfx.orchestration.portable import data_types as portable_data_types
from tfx.proto.orchestration import driver_output_pb2

from infra_validator import wiring
from infra_validator.core.errors import InfrastructureError
from infra_validator.specs import RequestSpec, ServingSpec, ValidationSpec
from infra_validator.specs.reader import to_json

_LOG = logging.getLogger(__name__)


class Driver(base_driver.BaseDriver, portable_base_driver.BaseDriver):  # type: ignore[misc]
    """Checks the specs and resolves mutable image tags to digests.

    The execution properties are part of the cache key, so a tag that has moved to another image is validated again.
    """

    def __init__(self, metadata_handle: metadata.Metadata) -> None:
        base_driver.BaseDriver.__init__(self, metadata_handle)
        portable_base_driver.BaseDriver.__init__(self, metadata_handle)

    def resolve_exec_properties(
        self,
        exec_properties: dict[str, Any],
        pipeline_info: data_types.PipelineInfo,
        component_info: data_types.ComponentInfo,
    ) -> dict[str, Any]:
        """Called by the legacy launcher."""
        return {**exec_properties, **resolve(exec_properties)}

    def run(self, execution_info: portable_data_types.ExecutionInfo) -> driver_output_pb2.DriverOutput:
        """Called by the portable launcher."""
        output = driver_output_pb2.DriverOutput()
        for name, value in resolve(execution_info.exec_properties).items():
            output.exec_properties[name].string_value = value
        return output


def resolve(exec_properties: dict[str, Any]) -> dict[str, str]:
    """The execution properties that the driver sets anew.

    Raises:
      SpecError: a spec is wrong.
    """
    spec = ServingSpec.of(exec_properties["serving_spec"])
    ValidationSpec.of(exec_properties.get("validation_spec"))
    RequestSpec.of(exec_properties.get("request_spec"))
    return {"serving_spec": to_json(_pin(spec))}


def _pin(spec: ServingSpec) -> ServingSpec:
    """The spec with its images pinned, or as it is where the scheduler's machine cannot reach the platform."""
    try:
        pinned: ServingSpec = wiring.runner_class(spec.platform).Pin(spec)
    except InfrastructureError as error:
        _LOG.info("The images are resolved by the executor, since the driver cannot: %s", error)
        return spec
    return pinned
