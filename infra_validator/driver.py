"""The TFX driver: what happens before anything is spent. One class for both of TFX's launchers.

The legacy launcher (Airflow) calls ``resolve_exec_properties``, the portable one (LocalDagRunner, IR runners) calls ``run``, both
before they look for a cached execution. Kubeflow v2 ignores drivers, so the executor needs nothing of this.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from tfx.dsl.components.base import base_driver
from tfx.orchestration import data_types, metadata
from tfx.orchestration.portable import base_driver as portable_base_driver
from tfx.orchestration.portable import data_types as portable_data_types
from tfx.proto.orchestration import driver_output_pb2
from tfx.types import BaseChannel, Channel

from infra_validator import wiring
from infra_validator.core.errors import InfrastructureError
from infra_validator.saved_model.digest import FILE_DIGESTS, file_digests
from infra_validator.specs import RequestSpec, ServingSpec, ValidationSpec
from infra_validator.specs.agreement import check_agreement, check_examples
from infra_validator.specs.named_files import named_files
from infra_validator.specs.reader import to_json

_LOG = logging.getLogger(__name__)


class Driver(base_driver.BaseDriver, portable_base_driver.BaseDriver):  # type: ignore[misc]
    """Checks the specs, resolves mutable image tags to digests, and tells the content of the files that the specs name.

    The execution properties are part of the cache key, so a tag that has moved to another image is validated again, and so is a model
    once a file that a spec names (a binary, a model config file) has another content.
    """

    def __init__(self, metadata_handle: metadata.Metadata) -> None:
        base_driver.BaseDriver.__init__(self, metadata_handle)
        portable_base_driver.BaseDriver.__init__(self, metadata_handle)

    def pre_execution(
        self,
        input_dict: dict[str, BaseChannel],
        output_dict: dict[str, Channel],
        exec_properties: dict[str, Any],
        driver_args: data_types.DriverArgs,
        pipeline_info: data_types.PipelineInfo,
        component_info: data_types.ComponentInfo,
    ) -> Any:
        """Called by the legacy launcher, before all else."""
        _check(exec_properties, has_examples=bool(input_dict.get("examples")))
        return super().pre_execution(
            input_dict, output_dict, exec_properties, driver_args, pipeline_info, component_info
        )

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
        _check(execution_info.exec_properties, has_examples=bool((execution_info.input_dict or {}).get("examples")))
        output = driver_output_pb2.DriverOutput()
        for name, value in resolve(execution_info.exec_properties).items():
            output.exec_properties[name].string_value = value
        return output


def _check(exec_properties: dict[str, Any], *, has_examples: bool) -> None:
    """Check all specs, now that runtime parameters have their values.

    Raises:
      SpecError: one is wrong, contradicts another, or needs examples that the component does not have.
    """
    asked = exec_properties.get("request_spec")
    validation = ValidationSpec.of(exec_properties.get("validation_spec"))
    request = RequestSpec.of(asked) if asked else None
    check_agreement(ServingSpec.of(exec_properties["serving_spec"]), validation, request)
    check_examples(
        validation, request, given=has_examples, baseline=True
    )  # its channel may be empty: then there is none yet


def resolve(exec_properties: dict[str, Any]) -> dict[str, str]:
    """The execution properties that the driver sets anew.

    Raises:
      SpecError: a spec is wrong.
    """
    spec = ServingSpec.of(exec_properties["serving_spec"])
    limits = ValidationSpec.of(exec_properties.get("validation_spec"))
    asked = RequestSpec.of(exec_properties.get("request_spec"))
    properties = {"serving_spec": to_json(_pin(spec))}
    digests = file_digests(named_files(serving_spec=spec, validation_spec=limits, request_spec=asked))
    if digests:
        properties[FILE_DIGESTS] = json.dumps(digests, sort_keys=True)
    return properties


def _pin(spec: ServingSpec) -> ServingSpec:
    """The spec with its images pinned, or as it is where the scheduler's machine cannot reach the platform."""
    try:
        pinned: ServingSpec = wiring.runner_class(spec.platform).Pin(spec)
    except InfrastructureError as error:
        _LOG.info("The images are resolved by the executor, since the driver cannot: %s", error)
        return spec
    return pinned
