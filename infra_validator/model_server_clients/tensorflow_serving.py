"""The client for TensorFlow Serving and for every server that speaks its gRPC API, our embedded one included.

RPCs are called by their full method path with our own wire-compatible messages: neither TensorFlow nor its serving package is imported.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence

import grpc
from google.protobuf import message

from infra_validator.core.answer import Answer, Tensor
from infra_validator.core.deadline import Deadline
from infra_validator.core.sample_request import SampleRequest
from infra_validator.core.states import ModelStatus, ModelStatusReport
from infra_validator.model_server_clients.base_client import BaseModelServerClient, Job, unwatched
from infra_validator.model_server_clients.grpc_channel import close_channel, is_other_protocol, open_channel
from infra_validator.model_server_clients.grpc_load import GrpcLoad
from infra_validator.model_server_clients.request_stream import RequestStream
from infra_validator.model_server_clients.tensorflow_serving_answers import read_answers
from infra_validator.model_server_clients.tensorflow_serving_rest import RestClient, read_rest_answer
from infra_validator.protos import tensorflow_pb2
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

GET_MODEL_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
GET_MODEL_METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"

_State = serving_pb2.ModelVersionStatus
_ON_THE_WAY = (_State.UNKNOWN, _State.START, _State.LOADING)
_CONNECT_SECONDS = 1.0  # how long one look at whether the port is open may take


class TensorFlowServingClient(BaseModelServerClient):
    """Talks to one model of a TensorFlow Serving. Used by one thread; see the base class for the arguments."""

    def __init__(self, endpoint: str, model_name: str, version: int | None = None) -> None:
        super().__init__(endpoint, model_name, version)
        self._seen_open = False  # whether anybody ever accepted a connection at the endpoint
        self._channel = open_channel(endpoint)

    def GetModelStatus(self, deadline: Deadline) -> ModelStatusReport:
        """Ask once for the model's status.

        Until the port has been seen open each call looks at the port itself: a refusal costs microseconds and waits for no backoff
        of gRPC's, so that a server is noticed as soon as it listens.
        """
        if not self._seen_open:
            refused = why_not_open(self.endpoint, deadline)
            if refused:
                return ModelStatusReport(ModelStatus.NOT_READY, refused, answered=False)
            self._seen_open = True
        ask = self._channel.unary_unary(
            GET_MODEL_STATUS,
            request_serializer=serving_pb2.GetModelStatusRequest.SerializeToString,
            response_deserializer=serving_pb2.GetModelStatusResponse.FromString,
        )
        request = serving_pb2.GetModelStatusRequest()
        request.model_spec.name = self.model_name
        if self.version is not None:
            request.model_spec.version.value = self.version
        try:
            answer = ask(request, timeout=deadline.remaining())
        except grpc.RpcError as error:
            return report_of_error(error.code(), error.details() or "")
        return report_of_answer(answer, self.version)

    def SendRequests(
        self, requests: Iterable[SampleRequest], deadline: Deadline, job: Job = unwatched, concurrency: int = 8
    ) -> int:
        stream = RequestStream(
            self._channel, deadline, job, concurrency, on_answer=self.on_answer, on_latency=self.on_latency
        )
        return stream.send(requests)

    def OpenLoad(self, requests: Sequence[SampleRequest]) -> GrpcLoad:
        return GrpcLoad(self.endpoint, requests)

    def ReadAnswer(self, request: SampleRequest, payload: bytes) -> Sequence[Answer] | None:
        return read_answers(request.method, payload)

    def GetSignatures(self, deadline: Deadline) -> Mapping[str, tensorflow_pb2.SignatureDef] | None:
        ask = self._channel.unary_unary(
            GET_MODEL_METADATA,
            request_serializer=serving_pb2.GetModelMetadataRequest.SerializeToString,
            response_deserializer=lambda data: data,
        )
        request = serving_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = self.model_name
        if self.version is not None:
            request.model_spec.version.value = self.version
        try:
            return signatures_in(ask(request, timeout=deadline.remaining()))
        except grpc.RpcError:
            return None

    has_rest = True

    def AskOverRest(
        self, endpoint: str, request: SampleRequest, answer: Answer, deadline: Deadline
    ) -> Mapping[str, Tensor] | None:
        body = RestClient(endpoint, self.model_name, self.version).ask(request, deadline)
        return read_rest_answer(body, answer)

    def Close(self) -> None:
        close_channel(self._channel)


def signatures_in(metadata: bytes) -> Mapping[str, tensorflow_pb2.SignatureDef] | None:
    """The signatures in a GetModelMetadataResponse; None where there are none, or the bytes are no such message."""
    try:
        told = serving_pb2.GetModelMetadataResponse.FromString(metadata).metadata
        if "signature_def" not in told:
            return None
        return dict(serving_pb2.SignatureDefMap.FromString(told["signature_def"].value).signature_def)
    except message.DecodeError:
        return None


def report_of_answer(answer: serving_pb2.GetModelStatusResponse, version: int | None) -> ModelStatusReport:
    """What an answer of GetModelStatus says about the version under test (None: about whatever the server has).

    An END without an error is a retired version and decides nothing; LOADING lasts through every failed try.
    """
    entries = [entry for entry in answer.model_version_status if version is None or entry.version == version]
    said = "; ".join(_sentence(entry) for entry in entries)
    if any(entry.state == _State.AVAILABLE for entry in entries):
        return ModelStatusReport(ModelStatus.READY, said)
    if not entries:
        what = "no version" if version is None else f"no version {version}"
        return ModelStatusReport(ModelStatus.NOT_READY, f"the server lists {what} of the model")
    if any(entry.state in _ON_THE_WAY for entry in entries):
        return ModelStatusReport(ModelStatus.NOT_READY, said)
    if any(_is_final(entry) for entry in entries):
        return ModelStatusReport(ModelStatus.UNAVAILABLE, said)
    return ModelStatusReport(ModelStatus.NOT_READY, said)


def _is_final(entry: serving_pb2.ModelVersionStatus) -> bool:
    failed = entry.state == _State.END and entry.status.error_code != tensorflow_pb2.OK
    return failed or entry.state == _State.UNLOADING


def _sentence(entry: serving_pb2.ModelVersionStatus) -> str:
    state = _State.State.Name(entry.state) if entry.state in _State.State.values() else f"state {entry.state}"
    sentence = f"version {entry.version} is {state}"
    if entry.status.error_code != tensorflow_pb2.OK:
        known = entry.status.error_code in tensorflow_pb2.Code.values()
        code = tensorflow_pb2.Code.Name(entry.status.error_code) if known else str(entry.status.error_code)
        sentence += f" ({code}: {entry.status.error_message})"
    elif entry.state == _State.END:
        sentence += " (retired without an error)"
    return sentence


def report_of_error(code: grpc.StatusCode, details: str) -> ModelStatusReport:
    """What a failed call of GetModelStatus says: never more than NOT_READY, since a server may still be starting."""
    told = f"{code.name}: {details}" if details else code.name
    if code is grpc.StatusCode.UNAVAILABLE and not is_other_protocol(details):
        return ModelStatusReport(ModelStatus.NOT_READY, told, answered=False)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return ModelStatusReport(ModelStatus.NOT_READY, "a connection was made, but no answer came", answered=False)
    if code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.RESOURCE_EXHAUSTED):
        return ModelStatusReport(ModelStatus.NOT_READY, told)
    return ModelStatusReport(ModelStatus.NOT_READY, f"it answers as no model server does: {told}", foreign=True)


def why_not_open(endpoint: str, deadline: Deadline) -> str:
    """Why nobody accepts connections at ``endpoint``; empty if somebody does, or if only gRPC can tell (a name, a socket path)."""
    host, _, port = endpoint.rpartition(":")
    host = host.strip("[]")
    if not port.isdecimal() or not (host == "localhost" or _is_address(host)):
        return ""
    try:
        socket.create_connection(
            (host, int(port)), timeout=deadline.capped(_CONNECT_SECONDS).remaining() or 0.001
        ).close()
    except OSError as error:
        return f"{endpoint}: {error.strerror or error}"
    return ""


def _is_address(host: str) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.inet_pton(family, host)
    except OSError:
        return False
    return True
