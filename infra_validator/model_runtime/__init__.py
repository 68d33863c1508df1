"""model-mesh's ModelRuntime API: the generated-style classes, a servicer that really loads, and a conformance test.

Importing this package imports gRPC and protobuf only; no TensorFlow.
"""

from infra_validator.protos.model_runtime_pb2 import (
    LoadModelRequest,
    LoadModelResponse,
    ModelSizeRequest,
    ModelSizeResponse,
    PredictModelSizeRequest,
    PredictModelSizeResponse,
    RuntimeStatusRequest,
    RuntimeStatusResponse,
    UnloadModelRequest,
    UnloadModelResponse,
)
from infra_validator.protos.model_runtime_pb2_grpc import (
    ModelRuntime,
    ModelRuntimeServicer,
    ModelRuntimeStub,
    add_ModelRuntimeServicer_to_server,
)

__all__ = [
    "LoadModelRequest",
    "LoadModelResponse",
    "ModelRuntime",
    "ModelRuntimeServicer",
    "ModelRuntimeStub",
    "ModelSizeRequest",
    "ModelSizeResponse",
    "PredictModelSizeRequest",
    "PredictModelSizeResponse",
    "RuntimeStatusRequest",
    "RuntimeStatusResponse",
    "UnloadModelRequest",
    "UnloadModelResponse",
    "add_ModelRuntimeServicer_to_server",
]
