"""TensorFlow Serving's PredictionService and ModelService as functions from request bytes to response bytes.

Between the wire and ``inference``: takes requests apart without copying tensors or examples, and puts answers together. Any
transport can carry it; gRPC does (grpc_server.py).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from google.protobuf import message as protobuf

from infra_validator.core import wire
from infra_validator.embedded_server.engine import tensors
from infra_validator.embedded_server.engine.c_api import Tensor
from infra_validator.embedded_server.inference import inference
from infra_validator.embedded_server.inference.inference import RunSettings
from infra_validator.embedded_server.metrics import Metrics
from infra_validator.embedded_server.models.servable import Servable
from infra_validator.embedded_server.status import Code, StatusError, invalid_argument
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

#: (request, settings) -> response.
Method = Callable[[bytes, RunSettings], bytes]

_REMEMBERED = 256  # bytes of a model_spec that is worth remembering
_M = TypeVar("_M", bound=protobuf.Message)
_SIGNATURE_DEF_MAP = "type.googleapis.com/tensorflow.serving.SignatureDefMap"


class Models(Protocol):
    """Where loaded models are found (``ServerCore``, or whoever keeps models by other rules)."""

    def find(self, spec: serving_pb2.ModelSpec) -> Servable:
        """The version that a model_spec means, held; raises StatusError."""
        ...


class PredictionService:
    """The five methods of ``tensorflow.serving.PredictionService``.

    Every method raises StatusError (the answer is that status) or WireError (the request is no message).

    Args:
      models: where models are found.
      tensor_content: answer Predict with ``tensor_content`` instead of typed fields.
      metrics: hears of every request; None: nobody does.
    """

    def __init__(self, models: Models, tensor_content: bool = False, metrics: Metrics | None = None) -> None:
        self._models = models
        self._tensor_content = tensor_content
        self._metrics = metrics

    def methods(self) -> dict[str, Method]:
        """Method name -> function."""
        return {
            "Predict": self._counted("Predict", self.predict),
            "Classify": self._counted("Classify", self.classify),
            "Regress": self._counted("Regress", self.regress),
            "MultiInference": self.multi_inference,
            "GetModelMetadata": self.get_model_metadata,
        }

    def _counted(self, api: str, method: Method) -> Method:
        """``method``, with every request counted by model and status."""
        metrics = self._metrics
        if metrics is None:
            return method

        def counted(request: bytes, settings: RunSettings) -> bytes:
            started, code = time.perf_counter(), Code.OK
            try:
                return method(request, settings)
            except StatusError as error:
                code = error.code
                raise
            finally:
                metrics.request(_model_name(request), api, "GRPC", code, time.perf_counter() - started)

        return counted

    def predict(self, request: bytes, settings: RunSettings) -> bytes:
        spec_bytes: bytes | None = None
        inputs: dict[str, tuple[bytes, int, int]] = {}
        output_filter = []
        for number, kind, start, end in wire.fields(request):
            if kind != wire.LENGTH:
                continue
            if number == 1:
                spec_bytes = (spec_bytes or b"") + request[start:end]
            elif number == 2:
                alias, source, first, last = wire.map_entry(request, start, end)
                inputs[alias] = (request if source is None else source, first, last)
            elif number == 3:
                output_filter.append(wire.text(request, start, end))
        spec = _model_spec(spec_bytes)

        def value_of(alias: str) -> Tensor:
            return tensors.decode(alias, *inputs[alias])

        servable = self._models.find(spec)
        try:
            outputs = inference.predict(servable, spec.signature_name, inputs, value_of, output_filter, settings)
            return self._predict_response(servable, spec.signature_name, outputs)
        finally:
            servable.release()

    def _predict_response(self, servable: Servable, signature_name: str, outputs: dict[str, Tensor]) -> bytes:
        response: list[tensors.Buffer] = []
        for alias, tensor in outputs.items():
            key = _key(alias)
            pieces, length = tensors.encode(tensor, self._tensor_content)
            value = wire.header(2, length)
            response += (wire.header(1, len(key) + len(value) + length), key, value, *pieces)
        response.append(_model_spec_field(servable.name, servable.version, signature_name))
        return b"".join(response)  # the one copy of a large answer

    def classify(self, request: bytes, settings: RunSettings) -> bytes:
        spec, examples = _spec_and_examples(request)
        servable = self._models.find(spec)
        try:
            result = inference.classify(servable, spec.signature_name, examples, settings)
        finally:
            servable.release()
        answered = inference.effective_spec(servable.name, servable.version, spec.signature_name)
        return serving_pb2.ClassificationResponse(result=result, model_spec=answered).SerializeToString()

    def regress(self, request: bytes, settings: RunSettings) -> bytes:
        spec, examples = _spec_and_examples(request)
        servable = self._models.find(spec)
        try:
            result = inference.regress(servable, spec.signature_name, examples, settings)
        finally:
            servable.release()
        answered = inference.effective_spec(servable.name, servable.version, spec.signature_name)
        return serving_pb2.RegressionResponse(result=result, model_spec=answered).SerializeToString()

    def multi_inference(self, request: bytes, settings: RunSettings) -> bytes:
        tasks = []
        for number, kind, start, end in wire.fields(request):
            if number == 1 and kind == wire.LENGTH:
                tasks.append(parsed(serving_pb2.InferenceTask(), request[start:end]))
        spec = tasks[0].model_spec if tasks else serving_pb2.ModelSpec()
        servable = self._models.find(spec)
        try:
            examples = _examples(request)
            if self._metrics is not None:
                self._metrics.examples(spec.name, len(examples))
            results = inference.multi_inference(servable, tasks, examples, settings)
        finally:
            servable.release()
        return serving_pb2.MultiInferenceResponse(results=results).SerializeToString()

    def get_model_metadata(self, request: bytes, _settings: RunSettings) -> bytes:
        return self.model_metadata(parsed(serving_pb2.GetModelMetadataRequest(), request)).SerializeToString()

    def model_metadata(self, request: serving_pb2.GetModelMetadataRequest) -> serving_pb2.GetModelMetadataResponse:
        """GetModelMetadata as messages."""
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        if not request.metadata_field:
            raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != "signature_def":
                raise invalid_argument(f"Metadata field {field} is not supported")
        servable = self._models.find(request.model_spec)
        try:
            signatures = serving_pb2.SignatureDefMap()
            for name, signature in servable.signatures.items():
                signatures.signature_def[name].CopyFrom(signature.definition)
        finally:
            servable.release()
        response = serving_pb2.GetModelMetadataResponse()
        response.model_spec.name = servable.name
        response.model_spec.version.value = servable.version
        any_of_it = response.metadata["signature_def"]
        any_of_it.type_url = _SIGNATURE_DEF_MAP
        any_of_it.value = signatures.SerializeToString()
        return response


@functools.lru_cache(1024)
def _key(alias: str) -> bytes:
    return wire.length_field(1, alias.encode())


@functools.lru_cache(1024)
def _model_spec_field(name: str, version: int, signature_name: str) -> bytes:
    return wire.length_field(2, inference.effective_spec(name, version, signature_name).SerializeToString())


def _model_name(request: bytes) -> str:
    """The name in field 1, a ModelSpec, of any request; empty if there is none to be read."""
    try:
        if request[:1] == b"\x0a" and request[1] < 0x80:  # it comes first nearly always
            return _model_spec(request[2 : 2 + request[1]]).name
        spec = [
            request[start:end]
            for number, kind, start, end in wire.fields(request)
            if number == 1 and kind == wire.LENGTH
        ]
        return _model_spec(b"".join(spec)).name
    except (wire.WireError, StatusError, IndexError):
        return ""


def _model_spec(serialized: bytes | None) -> serving_pb2.ModelSpec:
    """The model_spec of a request; shared between requests: do not change it."""
    if serialized is None:
        raise invalid_argument("Missing ModelSpec")
    if len(serialized) > _REMEMBERED:
        return parsed(serving_pb2.ModelSpec(), serialized)
    return _remembered_spec(serialized)


@functools.lru_cache(1024)
def _remembered_spec(serialized: bytes) -> serving_pb2.ModelSpec:
    return parsed(serving_pb2.ModelSpec(), serialized)


def parsed(message: _M, data: bytes) -> _M:
    """``message`` filled from ``data``; WireError if that is none, or not all of it."""
    try:
        read = message.ParseFromString(data)
    except (protobuf.DecodeError, SystemError) as error:  # protobuf 3.20 warns of a tag 0, which may be made an error
        raise wire.WireError(str(error)) from error
    if read is not None and read != len(data):
        raise wire.WireError("it ends before the bytes do")
    return message


def _spec_and_examples(request: bytes) -> tuple[serving_pb2.ModelSpec, list[bytes]]:
    """Of a classify or regress request: the model_spec (field 1) and the serialized examples of the input (field 2)."""
    spec = [
        request[start:end] for number, kind, start, end in wire.fields(request) if (number, kind) == (1, wire.LENGTH)
    ]
    return _model_spec(b"".join(spec) if spec else None), _examples(request)


def _examples(request: bytes) -> list[bytes]:
    """The serialized examples of the Input in field 2 of a request, each as it goes into the graph (section 9)."""
    parts = [(start, end) for number, kind, start, end in wire.fields(request) if (number, kind) == (2, wire.LENGTH)]
    chosen, examples, context = 0, list[bytes](), b""
    for start, end in parts:
        for number, kind, first, last in wire.fields(request, start, end):
            if kind != wire.LENGTH or number not in (1, 2):
                continue
            if number != chosen:  # a oneof: the last kind counts
                chosen, examples, context = number, [], b""
            for field, field_kind, at, until in wire.fields(request, first, last):
                if field == 1 and field_kind == wire.LENGTH:
                    examples.append(request[at:until])
                elif field == 2 and field_kind == wire.LENGTH and number == 2:
                    context += request[at:until]
    return [context + example for example in examples] if context else examples
