"""The three specs: frozen dataclasses that speak JSON, with TFX's field names and defaults."""

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
