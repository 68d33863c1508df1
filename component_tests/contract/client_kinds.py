"""Every model server client with a scripted server that speaks its protocol; the contract tests run over this list."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping

import grpc

from component_tests.fakes.servers.scripted_server import Handler, Script
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_clients.base_client import BaseModelServerClient
from infra_validator.model_server_clients.model_runtime.client import ModelRuntimeClient
from infra_validator.model_server_clients.open_inference.client import OpenInferenceClient
from infra_validator.model_server_clients.open_inference.infer_request import MODEL_INFER
from infra_validator.model_server_clients.tensorflow_serving import GET_MODEL_STATUS, TensorFlowServingClient
from infra_validator.protos import model_runtime_pb2, open_inference_pb2, tensorflow_pb2
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2
from infra_validator.sample_requests.questions import methods


@dataclasses.dataclass(frozen=True)
class ClientKind:
    """One client and its protocol.

    Attributes:
      name: the client's name in wiring.CLIENTS.
      make: a client for an endpoint.
      handlers: the handlers of a server that does what a script says.
      inference: the method of the sample requests.
      refused_model: the code for a model that the server could not load.
      other_service: the code for a gRPC server that has not the service.
      other_message: the code for answers that are no message of the service, when the deadline has come.
    """

    name: str
    make: Callable[[str], BaseModelServerClient]
    handlers: Callable[[Script], Mapping[str, Handler]]
    inference: str
    refused_model: ReasonCode
    other_service: ReasonCode
    other_message: ReasonCode


def _tensorflow_serving(script: Script) -> Mapping[str, Handler]:
    states = serving_pb2.ModelVersionStatus

    def status(request: bytes, context: grpc.ServicerContext) -> bytes:
        assert serving_pb2.GetModelStatusRequest.FromString(request).model_spec.name == "m"
        answer = serving_pb2.GetModelStatusResponse()
        entry = answer.model_version_status.add()
        entry.version = 1
        entry.state = {"loading": states.LOADING, "ready": states.AVAILABLE, "failed": states.END}[script.model]
        if script.model == "failed":
            entry.status.error_code = tensorflow_pb2.NOT_FOUND
            entry.status.error_message = script.message
        return answer.SerializeToString()

    return {GET_MODEL_STATUS: status, methods.PREDICT: script.call}


def _model_runtime(script: Script) -> Mapping[str, Handler]:
    def status(request: bytes, context: grpc.ServicerContext) -> bytes:
        return model_runtime_pb2.RuntimeStatusResponse(
            status=model_runtime_pb2.RuntimeStatusResponse.READY,
            capacityInBytes=1 << 30,
            maxLoadingConcurrency=1,
            modelLoadingTimeoutMs=60_000,
            defaultModelSizeInBytes=1 << 20,
        ).SerializeToString()

    def size(request: bytes, context: grpc.ServicerContext) -> bytes:
        return model_runtime_pb2.PredictModelSizeResponse(sizeInBytes=1 << 20).SerializeToString()

    def load(request: bytes, context: grpc.ServicerContext) -> bytes:
        while script.model == "loading" and context.is_active():
            time.sleep(0.01)
        if script.model == "failed":
            context.abort(grpc.StatusCode.INTERNAL, script.message)
        return model_runtime_pb2.LoadModelResponse(sizeInBytes=1 << 20).SerializeToString()

    return {
        "/mmesh.ModelRuntime/runtimeStatus": status,
        "/mmesh.ModelRuntime/predictModelSize": size,
        "/mmesh.ModelRuntime/loadModel": load,
        "/mmesh.ModelRuntime/unloadModel": lambda request, context: b"",
        methods.PREDICT: script.call,
    }


def _open_inference(script: Script) -> Mapping[str, Handler]:
    def ready(request: bytes, context: grpc.ServicerContext) -> bytes:
        assert open_inference_pb2.ModelReadyRequest.FromString(request).name == "m"
        return open_inference_pb2.ModelReadyResponse(ready=script.model == "ready").SerializeToString()

    def index(request: bytes, context: grpc.ServicerContext) -> bytes:
        answer = open_inference_pb2.RepositoryIndexResponse()
        answer.models.add(name="another", state="UNAVAILABLE", reason="not this one")
        answer.models.add(
            name="m",
            version="1",
            state={"loading": "LOADING", "ready": "READY", "failed": "UNAVAILABLE"}[script.model],
            reason=script.message if script.model == "failed" else "",
        )
        return answer.SerializeToString()

    service = "/inference.GRPCInferenceService/"
    return {f"{service}ModelReady": ready, f"{service}RepositoryIndex": index, MODEL_INFER: script.call}


CLIENT_KINDS = [
    ClientKind(
        name="tensorflow_serving",
        make=lambda endpoint: TensorFlowServingClient(endpoint, "m", 1),
        handlers=_tensorflow_serving,
        inference=methods.PREDICT,
        refused_model=ReasonCode.MODEL_UNAVAILABLE,
        other_service=ReasonCode.SERVER_UNHEALTHY,
        other_message=ReasonCode.SERVER_UNHEALTHY,
    ),
    ClientKind(
        name="model_runtime",
        make=lambda endpoint: ModelRuntimeClient(endpoint, "m", 1, model_path="/models/m"),
        handlers=_model_runtime,
        inference=methods.PREDICT,
        refused_model=ReasonCode.MODEL_LOAD_FAILED,
        other_service=ReasonCode.RUNTIME_BROKE_CONTRACT,  # model-mesh ends at UNIMPLEMENTED
        other_message=ReasonCode.LOAD_TIMEOUT,  # model-mesh polls on
    ),
    ClientKind(
        name="open_inference",
        make=lambda endpoint: OpenInferenceClient(endpoint, "m", 1),
        handlers=_open_inference,
        inference=MODEL_INFER,
        refused_model=ReasonCode.MODEL_UNAVAILABLE,
        other_service=ReasonCode.SERVER_UNHEALTHY,
        other_message=ReasonCode.SERVER_UNHEALTHY,
    ),
]
