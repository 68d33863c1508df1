"""Every model server client with a scripted server that speaks its protocol; the contract tests run over this list."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import grpc

from component_tests.fakes.scripted_server import Handler, Script
from infra_validator.model_server_clients.base_client import BaseModelServerClient
from infra_validator.model_server_clients.tensorflow_serving import GET_MODEL_STATUS, TensorFlowServingClient
from infra_validator.protos import tensorflow_pb2
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2
from infra_validator.sample_requests import methods


@dataclasses.dataclass(frozen=True)
class ClientKind:
    """One client and its protocol.

    Attributes:
      name: the client's name in wiring.CLIENTS.
      make: a client for an endpoint.
      handlers: the handlers of a server that does what a script says.
      inference: the method of the sample requests.
    """

    name: str
    make: Callable[[str], BaseModelServerClient]
    handlers: Callable[[Script], Mapping[str, Handler]]
    inference: str


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

    return {GET_MODEL_STATUS: status, methods.PREDICT: script.infer}


CLIENT_KINDS = [
    ClientKind(
        name="tensorflow_serving",
        make=lambda endpoint: TensorFlowServingClient(endpoint, "m", 1),
        handlers=_tensorflow_serving,
        inference=methods.PREDICT,
    ),
]
