"""HOW to talk to a model server: the base class of all clients, and one for each protocol."""

from typing import TYPE_CHECKING

from infra_validator._lazy_names import lazy_names

if TYPE_CHECKING:
    from infra_validator.model_server_clients.base_client import BaseModelServerClient
    from infra_validator.model_server_clients.model_runtime.client import ModelRuntimeClient
    from infra_validator.model_server_clients.open_inference.client import OpenInferenceClient
    from infra_validator.model_server_clients.tensorflow_serving import TensorFlowServingClient
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "BaseModelServerClient": "base_client",
            "ModelRuntimeClient": "model_runtime.client",
            "OpenInferenceClient": "open_inference.client",
            "TensorFlowServingClient": "tensorflow_serving",
        },
    )

__all__ = ["BaseModelServerClient", "ModelRuntimeClient", "OpenInferenceClient", "TensorFlowServingClient"]
