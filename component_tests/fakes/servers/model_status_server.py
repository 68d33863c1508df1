"""A grpcio server in this process that says of models what a test tells it to; for the probe and its sidecar."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import Int64Value

from infra_validator.protos import tensorflow_serving_pb2 as serving

UNKNOWN, START, LOADING, AVAILABLE, UNLOADING, END = 0, 10, 20, 30, 40, 50


def version(number: int, state: int, code: int = 0, message: str = "") -> serving.ModelVersionStatus:
    """One version's status; any state number, known or not."""
    status = serving.ModelVersionStatus(version=number)
    status.state = state  # type: ignore[assignment]
    status.status.error_code = code  # type: ignore[assignment]
    status.status.error_message = message
    return status


class ModelStatusServer:
    """Answers GetModelStatus, GetModelMetadata (for labels) and Predict.

    Attributes:
      models: model name -> its versions; change it at any time.
      labels: (model name, label) -> version.
      delay: seconds before an answer to GetModelStatus.
      predict_code: the code that Predict ends with.
      requests: the Predict requests that came.
      metadata: the invocation metadata of the last call.
      calls: how many GetModelStatus calls came.
      port: where it listens on 127.0.0.1 (0: on a Unix socket).
    """

    def __init__(self, *, address: str = "127.0.0.1:0", credentials: grpc.ServerCredentials | None = None) -> None:
        self.models: dict[str, list[serving.ModelVersionStatus]] = {}
        self.labels: dict[tuple[str, str], int] = {}
        self.delay = 0.0
        self.predict_code = grpc.StatusCode.OK
        self.requests: list[serving.PredictRequest] = []
        self.metadata: dict[str, str | bytes] = {}
        self.calls = 0
        self._stopping = threading.Event()
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers(
            (
                _service(
                    "tensorflow.serving.ModelService", GetModelStatus=(self._status, serving.GetModelStatusRequest)
                ),
                _service(
                    "tensorflow.serving.PredictionService",
                    GetModelMetadata=(self._metadata, serving.GetModelMetadataRequest),
                    Predict=(self._predict, serving.PredictRequest),
                ),
            )
        )
        self.port = (
            self._server.add_secure_port(address, credentials)
            if credentials
            else self._server.add_insecure_port(address)
        )

    def __enter__(self) -> ModelStatusServer:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._server.stop(None).wait()

    def _status(self, request: serving.GetModelStatusRequest, context: grpc.ServicerContext) -> Any:
        self.calls += 1
        self.metadata = dict(context.invocation_metadata())
        if self.delay:
            self._stopping.wait(self.delay)
        name = request.model_spec.name
        if name not in self.models:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {name}")
        return serving.GetModelStatusResponse(model_version_status=self.models[name])

    def _metadata(self, request: serving.GetModelMetadataRequest, context: grpc.ServicerContext) -> Any:
        spec = request.model_spec
        number = self.labels.get((spec.name, spec.version_label))
        if number is None:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, f"Unrecognized servable version label: {spec.version_label}"
            )
        return serving.GetModelMetadataResponse(
            model_spec=serving.ModelSpec(name=spec.name, version=Int64Value(value=number or 0))
        )

    def _predict(self, request: serving.PredictRequest, context: grpc.ServicerContext) -> Any:
        self.requests.append(request)
        if self.predict_code is not grpc.StatusCode.OK:
            context.abort(self.predict_code, "no prediction today")
        return serving.PredictResponse()

    def wait_for_calls(self, count: int, seconds: float = 30) -> None:
        """Return when ``count`` more calls have come."""
        wanted, until = self.calls + count, time.monotonic() + seconds
        while self.calls < wanted:
            assert time.monotonic() < until, f"{count} more calls did not come in {seconds} s"
            time.sleep(0.005)


def _service(name: str, **methods: Any) -> grpc.GenericRpcHandler[Any, Any]:
    return grpc.method_handlers_generic_handler(
        name,
        {
            method: grpc.unary_unary_rpc_method_handler(
                behaviour,
                request_deserializer=request.FromString,
                response_serializer=lambda response: response.SerializeToString(),
            )
            for method, (behaviour, request) in methods.items()
        },
    )
