"""TensorFlow Serving's ModelService as functions from request bytes to response bytes (contract 4, 5)."""

from __future__ import annotations

from infra_validator.embedded_server import log
from infra_validator.embedded_server.inference.inference import RunSettings
from infra_validator.embedded_server.inference.prediction_service import Method, parsed
from infra_validator.embedded_server.metrics import Metrics
from infra_validator.embedded_server.models.server_core import ServerCore
from infra_validator.embedded_server.status import StatusError, invalid_argument
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2


class ModelService:
    """The two methods of ``tensorflow.serving.ModelService``; errors as in PredictionService."""

    def __init__(self, core: ServerCore, metrics: Metrics) -> None:
        self._core = core
        self._metrics = metrics

    def methods(self) -> dict[str, Method]:
        """Method name -> function."""
        return {
            "GetModelStatus": self.get_model_status,
            "HandleReloadConfigRequest": self.handle_reload_config_request,
        }

    def get_model_status(self, request: bytes, _settings: RunSettings) -> bytes:
        message = parsed(serving_pb2.GetModelStatusRequest(), request)
        if not message.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        return self._core.status(message.model_spec).SerializeToString()

    def handle_reload_config_request(self, request: bytes, _settings: RunSettings) -> bytes:
        message = parsed(serving_pb2.ReloadConfigRequest(), request)
        if message.config.WhichOneof("config") != "model_config_list":
            raise invalid_argument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                "Only ModelConfigList is currently supported"
            )
        for index, model in enumerate(message.config.model_config_list.config, 1):
            log.info(
                "model_service_impl.cc",
                f"\nConfig entry\n\tindex : {index}\n\tpath : {model.base_path}\n\tname : {model.name}\n"
                f"\tplatform : {model.model_platform}",
            )
        before = {name: self._metrics.first_cell(name) for name in message.metric_names}
        try:
            self._core.reload(message.config)
        except StatusError as error:
            log.error("model_service_impl.cc", f"ReloadConfig failed: {error.message}")
            raise
        response = serving_pb2.ReloadConfigResponse()
        response.status.SetInParent()
        for name in message.metric_names:
            increase = self._metrics.first_cell(name) - before[name]
            response.metric.add(name=name, int64_value_increase=increase)
        return response.SerializeToString()
