"""The Open Inference Protocol's gRPC service as functions from request bytes to response bytes.

Raw contents are read where they stand in the request. A request with raw contents is answered with raw contents, one with typed contents
with typed ones, unless an output is of a type that has none.

Source: kserve/open-inference-protocol, open_inference_grpc.proto; Triton's grpc_service.proto for the model repository.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from infra_validator.core import wire
from infra_validator.embedded_server.inference.inference import RunSettings
from infra_validator.embedded_server.inference.prediction_service import Method, parsed
from infra_validator.embedded_server.open_inference import tensors
from infra_validator.embedded_server.open_inference.service import (
    EXTENSIONS,
    PLATFORM,
    SERVER_NAME,
    InferRequest,
    InferResult,
    OpenInferenceService,
    TensorMetadata,
)
from infra_validator.embedded_server.open_inference.tensors import InputTensor, Raw
from infra_validator.embedded_server.status import Code, StatusError, invalid_argument
from infra_validator.protos import open_inference_pb2 as pb

SERVICE = "inference.GRPCInferenceService"

_RAW_INPUT_CONTENTS = 7  # in ModelInferRequest
_RAW_OUTPUT_CONTENTS = 6  # in ModelInferResponse
_YES = wire.varint_field(1, 1)  # of ServerLive, ServerReady, ModelReady: one boolean, field 1

#: datatype -> the field of InferTensorContents that holds its values one by one.
_FIELDS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


class OpenInferenceMethods:
    """The methods of ``inference.GRPCInferenceService``; errors as in PredictionService, none of them WireError."""

    def __init__(self, service: OpenInferenceService) -> None:
        self._service = service

    def methods(self) -> dict[str, Method]:
        """Method name -> function."""
        found = {
            "ServerLive": lambda request, settings: _YES,
            "ServerReady": lambda request, settings: _yes_if(self._service.server_ready()),
            "ServerMetadata": _server_metadata,
            "ModelReady": self.model_ready,
            "ModelMetadata": self.model_metadata,
            "ModelInfer": self.model_infer,
            "RepositoryIndex": self.repository_index,
            "RepositoryModelLoad": self.repository_model_load,
            "RepositoryModelUnload": self.repository_model_unload,
        }
        return {name: _readable(name, method) for name, method in found.items()}

    def model_ready(self, request: bytes, _settings: RunSettings) -> bytes:
        message = parsed(pb.ModelReadyRequest(), request)
        return _yes_if(self._service.model_ready(message.name, message.version))

    def model_metadata(self, request: bytes, _settings: RunSettings) -> bytes:
        message = parsed(pb.ModelMetadataRequest(), request)
        told = self._service.model_metadata(message.name, message.version)
        response = pb.ModelMetadataResponse(name=told.name, versions=told.versions, platform=PLATFORM)
        for field, metadata in ((response.inputs, told.inputs), (response.outputs, told.outputs)):
            field.extend(map(_tensor_metadata, metadata))
        return response.SerializeToString()

    def model_infer(self, request: bytes, settings: RunSettings) -> bytes:
        message, raw = _taken_apart(request)
        inputs = [_input(sent, request, raw, place) for place, sent in enumerate(message.inputs)]
        if raw and len(raw) != len(inputs):
            raise invalid_argument(f"{len(raw)} raw contents were sent for {len(inputs)} inputs")
        asked = InferRequest(
            message.model_name,
            message.model_version,
            inputs,
            [output.name for output in message.outputs],
            _parameters(message.parameters),
        )
        result = self._service.infer(asked, settings, "GRPC")
        typed = not raw and any(sent.HasField("contents") for sent in message.inputs)
        return _response(result, message.id, typed)

    def repository_index(self, request: bytes, _settings: RunSettings) -> bytes:
        message = parsed(pb.RepositoryIndexRequest(), request)
        _refuse_repository(message.repository_name)
        response = pb.RepositoryIndexResponse()
        for entry in self._service.index(message.ready):
            response.models.add(name=entry.name, version=entry.version, state=entry.state, reason=entry.reason)
        return response.SerializeToString()

    def repository_model_load(self, request: bytes, _settings: RunSettings) -> bytes:
        name, has_parameters = _repository_request(request)
        if has_parameters:
            raise StatusError(Code.UNIMPLEMENTED, "A model is loaded as the server is configured, without parameters.")
        self._service.load(name)
        return b""

    def repository_model_unload(self, request: bytes, _settings: RunSettings) -> bytes:
        self._service.unload(_repository_request(request)[0])
        return b""


def _readable(name: str, method: Method) -> Method:
    """``method``, with an error in words for bytes that are no request."""

    def answered(request: bytes, settings: RunSettings) -> bytes:
        try:
            return method(request, settings)
        except wire.WireError as error:
            raise invalid_argument(f"these bytes are no request of {name}: {error}") from error

    return answered


def _yes_if(true: bool) -> bytes:
    return _YES if true else b""


def _server_metadata(_request: bytes, _settings: RunSettings) -> bytes:
    texts = [(1, SERVER_NAME), (2, OpenInferenceService.version), *((3, extension) for extension in EXTENSIONS)]
    return b"".join(wire.length_field(number, text.encode()) for number, text in texts)


def _tensor_metadata(told: TensorMetadata) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(name=told.name, datatype=told.datatype, shape=told.shape)


def _repository_request(request: bytes) -> tuple[str, bool]:
    """Of a request to load or unload: the model's name (field 2), and whether there are parameters (field 3)."""
    repository, name, has_parameters = "", "", False
    for number, kind, start, end in wire.fields(request):
        if kind == wire.LENGTH and number == 1:
            repository = wire.text(request, start, end)
        elif kind == wire.LENGTH and number == 2:
            name = wire.text(request, start, end)
        elif number == 3:
            has_parameters = True
    _refuse_repository(repository)
    return name, has_parameters


def _refuse_repository(name: str) -> None:
    if name:
        raise StatusError(Code.UNIMPLEMENTED, "The model repository has no name here: leave repository_name empty.")


# ------------------------------------------------------------------------------------------------------------ inference


def _taken_apart(request: bytes) -> tuple[pb.ModelInferRequest, list[tuple[int, int]]]:
    """A ModelInferRequest without its raw contents, and the places of these in the request."""
    fields = [(number, start, end) for number, kind, start, end in wire.fields(request) if kind == wire.LENGTH]
    raw = [(start, end) for number, start, end in fields if number == _RAW_INPUT_CONTENTS]
    if not raw:
        return parsed(pb.ModelInferRequest(), request), raw
    rest = [
        wire.length_field(number, request[start:end]) for number, start, end in fields if number != _RAW_INPUT_CONTENTS
    ]
    return parsed(pb.ModelInferRequest(), b"".join(rest)), raw


def _input(
    sent: pb.ModelInferRequest.InferInputTensor, request: bytes, raw: Sequence[tuple[int, int]], place: int
) -> InputTensor:
    def made(content: Raw | Sequence[Any]) -> InputTensor:
        return InputTensor(sent.name, sent.datatype, tuple(sent.shape), content)

    filled = [field.name for field, _ in sent.contents.ListFields()]
    if raw:
        if filled:
            raise made(()).problem("has typed contents beside the request's raw contents")
        return made(Raw(request, *raw[place]) if place < len(raw) else ())
    field = _FIELDS.get(sent.datatype, "")
    if foreign := [name for name in filled if name != field]:
        raise made(()).problem(f"is of {tensors.quoted(sent.datatype)} and has contents in {foreign[0]}")
    return made(list(getattr(sent.contents, field)) if field else ())


def _parameters(sent: Mapping[str, pb.InferParameter]) -> dict[str, Any]:
    parameters = {}
    for name, value in sent.items():
        choice = value.WhichOneof("parameter_choice")
        parameters[name] = getattr(value, choice) if choice else None
    return parameters


def _response(result: InferResult, request_id: str, typed: bool) -> bytes:
    response = pb.ModelInferResponse(model_name=result.model_name, model_version=result.model_version, id=request_id)
    for name, tensor in result.outputs.items():
        response.outputs.add(name=name, datatype=tensors.datatype_of(name, tensor), shape=tensor.shape)
    if typed and not tensors.RAW_ONLY & {output.datatype for output in response.outputs}:
        for output, tensor in zip(response.outputs, result.outputs.values(), strict=True):
            getattr(output.contents, _FIELDS[output.datatype]).extend(tensors.values(tensor))
        return response.SerializeToString()
    pieces: list[Any] = [response.SerializeToString()]
    for tensor in result.outputs.values():
        content = tensors.raw_content(tensor)
        pieces += [wire.header(_RAW_OUTPUT_CONTENTS, len(content)), content]
    return b"".join(pieces)  # the one copy of a large answer
