"""From one serialized record to one request, by what a signature expects. The rules are TFX's."""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf import message

from infra_validator.core.errors import UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.core.wire import WireError, field_numbers
from infra_validator.protos import tensorflow_pb2
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2
from infra_validator.sample_requests import methods

_EXAMPLE_FEATURES = 1  # the only field of tf.Example

#: Makes a request of a record; the second argument is its label.
RequestMaker = Callable[[bytes, str], SampleRequest]


def request_maker(name: str, signature: tensorflow_pb2.SignatureDef, model_name: str) -> RequestMaker:
    """What makes requests for the signature called ``name`` of serialized records.

    Predict signatures of one string input get the record itself as a batch of one; classify and regress signatures get a list
    of one tf.Example.

    Raises:
      UsageError: records cannot be sent to this signature (SIGNATURE_NOT_SUPPORTED).
    """
    if signature.method_name == methods.PREDICT_METHOD_NAME:
        return _predict_maker(name, _serialized_input(name, signature), model_name)
    if signature.method_name == methods.CLASSIFY_METHOD_NAME:
        return _example_maker(methods.CLASSIFY, serving_pb2.ClassificationRequest(), name, model_name)
    if signature.method_name == methods.REGRESS_METHOD_NAME:
        return _example_maker(methods.REGRESS, serving_pb2.RegressionRequest(), name, model_name)
    raise UsageError(
        f"Signature {name!r} has the method name {signature.method_name!r}, which is none of predict, classify, regress.",
        reason=ReasonCode.SIGNATURE_NOT_SUPPORTED,
    )


def _serialized_input(name: str, signature: tensorflow_pb2.SignatureDef) -> str:
    """The one input that takes a batch of serialized records."""
    if len(signature.inputs) == 1:
        ((key, info),) = signature.inputs.items()
        shape = info.tensor_shape
        a_batch = shape.unknown_rank or (len(shape.dim) == 1 and shape.dim[0].size in (-1, 1))
        if info.dtype == tensorflow_pb2.DT_STRING and a_batch:
            return key
    inputs = ", ".join(described_input(key, signature.inputs[key]) for key in sorted(signature.inputs)) or "no input"
    raise UsageError(
        f"Signature {name!r} takes {inputs}; examples can be sent to one input of serialized examples (string, shape [-1]).",
        reason=ReasonCode.SIGNATURE_NOT_SUPPORTED,
    )


def described_input(key: str, info: tensorflow_pb2.TensorInfo) -> str:
    """An input for people, e.g. ``x (float, shape [-1, 2])``."""
    dtype = tensorflow_pb2.DataType.Name(info.dtype).removeprefix("DT_").lower()
    shape = "unknown" if info.tensor_shape.unknown_rank else str([dim.size for dim in info.tensor_shape.dim])
    return f"{key} ({dtype}, shape {shape})"


def _predict_maker(name: str, key: str, model_name: str) -> RequestMaker:
    request = serving_pb2.PredictRequest()  # one message for all records: only the record changes
    request.model_spec.name = model_name
    request.model_spec.signature_name = name
    tensor = request.inputs[key]
    tensor.dtype = tensorflow_pb2.DT_STRING
    tensor.tensor_shape.dim.add().size = 1
    tensor.string_val.append(b"")

    def make(record: bytes, label: str) -> SampleRequest:
        tensor.string_val[0] = record
        return SampleRequest(methods.PREDICT, name, request.SerializeToString(), label)

    return make


def _example_maker(
    method: str,
    request: serving_pb2.ClassificationRequest | serving_pb2.RegressionRequest,
    name: str,
    model_name: str,
) -> RequestMaker:
    request.model_spec.name = model_name
    request.model_spec.signature_name = name
    example = request.input.example_list.examples.add()

    def make(record: bytes, label: str) -> SampleRequest:
        example.ParseFromString(record)
        return SampleRequest(method, name, request.SerializeToString(), label)

    return make


def why_no_example(record: bytes) -> str:
    """Why a record is no serialized tf.Example; empty if it is one."""
    try:
        numbers = field_numbers(record)
        tensorflow_pb2.Example.FromString(record)
    except (message.DecodeError, WireError):
        return "it is no serialized tf.Example"
    if not numbers <= {_EXAMPLE_FEATURES}:
        return "it is no serialized tf.Example: it has fields of another message, perhaps a tf.SequenceExample"
    return ""
