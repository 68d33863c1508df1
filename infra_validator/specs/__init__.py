"""The three specs: frozen dataclasses that speak JSON, with TFX's field names and defaults."""

from typing import TYPE_CHECKING

from infra_validator._lazy_names import lazy_names

if TYPE_CHECKING:
    from infra_validator.specs.answers_spec import AnswersSpec
    from infra_validator.specs.binaries.model_runtime import ModelRuntimeConfig
    from infra_validator.specs.binaries.open_inference import OpenInferenceConfig
    from infra_validator.specs.kubernetes.config import KubernetesConfig
    from infra_validator.specs.limits.limits_spec import ColdStartLimits, LatencyLimit, LimitsSpec, MemoryLimits
    from infra_validator.specs.limits.load_spec import LoadMode, LoadSpec
    from infra_validator.specs.local_docker import LocalDockerConfig
    from infra_validator.specs.local_process import LocalProcessConfig
    from infra_validator.specs.request_spec import GenerateSpec, RequestSpec, TensorFlowServingRequestSpec
    from infra_validator.specs.serving_spec import AddressConfig, ServingSpec, TensorFlowServingConfig
    from infra_validator.specs.validation_spec import OnFlaky, OnRejected, ValidationSpec
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "AddressConfig": "serving_spec",
            "AnswersSpec": "answers_spec",
            "ColdStartLimits": "limits.limits_spec",
            "GenerateSpec": "request_spec",
            "KubernetesConfig": "kubernetes.config",
            "LatencyLimit": "limits.limits_spec",
            "LimitsSpec": "limits.limits_spec",
            "LoadMode": "limits.load_spec",
            "LoadSpec": "limits.load_spec",
            "LocalDockerConfig": "local_docker",
            "LocalProcessConfig": "local_process",
            "MemoryLimits": "limits.limits_spec",
            "ModelRuntimeConfig": "binaries.model_runtime",
            "OnFlaky": "validation_spec",
            "OnRejected": "validation_spec",
            "OpenInferenceConfig": "binaries.open_inference",
            "RequestSpec": "request_spec",
            "ServingSpec": "serving_spec",
            "TensorFlowServingConfig": "serving_spec",
            "TensorFlowServingRequestSpec": "request_spec",
            "ValidationSpec": "validation_spec",
        },
    )

__all__ = [
    "AddressConfig",
    "AnswersSpec",
    "ColdStartLimits",
    "GenerateSpec",
    "KubernetesConfig",
    "LatencyLimit",
    "LimitsSpec",
    "LoadMode",
    "LoadSpec",
    "LocalDockerConfig",
    "LocalProcessConfig",
    "MemoryLimits",
    "ModelRuntimeConfig",
    "OnFlaky",
    "OnRejected",
    "OpenInferenceConfig",
    "RequestSpec",
    "ServingSpec",
    "TensorFlowServingConfig",
    "TensorFlowServingRequestSpec",
    "ValidationSpec",
]
