"""A Predict of TensorFlow Serving as the ModelInfer that asks the same, so that every source of requests can ask this protocol too."""

from __future__ import annotations

import dataclasses
from typing import Any

from infra_validator.core.answer import STRING, Tensor, UnreadableAnswer, type_name
from infra_validator.core.errors import UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.core.wire import LENGTH, WireError, fields, map_entry, text
from infra_validator.model_server_clients.open_inference.datatypes import BY_NUMBER, Datatype, raw_strings
from infra_validator.model_server_clients.tensor_reader import read_tensor
from infra_validator.protos import open_inference_pb2 as pb

PREDICT = "/tensorflow.serving.PredictionService/Predict"
MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"

# Field numbers of TensorFlow Serving's predict.proto.
_INPUTS, _OUTPUT_FILTER = 2, 3


@dataclasses.dataclass(frozen=True)
class Translated(SampleRequest):
    """A ModelInfer.

    Attributes:
      original: the request that it was made of.
    """

    original: SampleRequest | None = None


def infer_request(request: SampleRequest, model_name: str, version: str, *, typed: bool) -> SampleRequest:
    """The ModelInfer that asks what a Predict asks; a request of another method as it is.

    Args:
      model_name, version: of the model on the server; an empty version leaves the choice to the server.
      typed: whether values stand one by one in the field of their type, rather than as raw content.

    Raises:
      UsageError: a tensor cannot be asked in this protocol (BAD_REQUESTS).
    """
    if request.method != PREDICT:
        return request
    message = pb.ModelInferRequest(model_name=model_name, model_version=version)
    try:
        inputs, outputs = _read(request.payload)
        for name in sorted(inputs):
            _add(message, name, inputs[name], typed)
    except (UnreadableAnswer, WireError) as error:
        raise UsageError(f"{request.label}: {error}.", reason=ReasonCode.BAD_REQUESTS) from error
    for name in outputs:
        message.outputs.add(name=name)
    own = {field.name: getattr(request, field.name) for field in dataclasses.fields(SampleRequest)}
    return Translated(**{**own, "method": MODEL_INFER, "payload": message.SerializeToString()}, original=request)


def _read(payload: bytes) -> tuple[dict[str, Tensor], list[str]]:
    """The inputs and the output filter of a PredictRequest."""
    data = memoryview(payload)
    inputs, outputs = {}, []
    for number, kind, start, end in fields(data):
        if number == _INPUTS and kind == LENGTH:
            name, source, first, last = map_entry(data, start, end)  # type: ignore[arg-type]
            inputs[name] = read_tensor(data if source is None else memoryview(source), first, last)
        elif number == _OUTPUT_FILTER and kind == LENGTH:
            outputs.append(text(data, start, end))
    return inputs, outputs


def _add(message: pb.ModelInferRequest, name: str, tensor: Tensor, typed: bool) -> None:
    datatype = BY_NUMBER.get(tensor.dtype)
    if datatype is None:
        raise UnreadableAnswer(f"the input {name!r} is of {type_name(tensor.dtype)}, which the protocol does not have")
    added = message.inputs.add(name=name, datatype=datatype.name, shape=tensor.shape)
    if not typed:
        raw = raw_strings(tensor.strings()) if tensor.dtype == STRING else tensor.content.tobytes()
        message.raw_input_contents.append(raw)
    elif datatype.field:
        getattr(added.contents, datatype.field).extend(_values(tensor, datatype))
        added.contents.SetInParent()
    else:
        raise UnreadableAnswer(f"the input {name!r} is of {datatype.name}, which the protocol has as raw content only")


def _values(tensor: Tensor, datatype: Datatype) -> Any:
    if tensor.dtype == STRING:
        return tensor.strings()
    values = tensor.content.cast(tensor.element.code)  # type: ignore[call-overload]
    return map(bool, values) if datatype.name == "BOOL" else values
