"""Messages that the contract's tests send, and what they expect back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import pytest

from component_tests.fakes.servers.embedded_server_process import EmbeddedServerProcess
from infra_validator.protos import tensorflow_pb2
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

PREDICTION = "/tensorflow.serving.PredictionService/"
MODEL = "/tensorflow.serving.ModelService/"
INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED


@contextlib.contextmanager
def fails(code: grpc.StatusCode, text: str, starts: bool = False) -> Iterator[None]:
    """The call inside fails with this code and exactly this text, or one that begins so."""
    with pytest.raises(grpc.RpcError) as caught:
        yield
    details = caught.value.details() or ""
    assert (caught.value.code(), details[: len(text)] if starts else details) == (code, text), details


def tensor(
    values: Sequence[Any], shape: Sequence[int] | None = None, dtype: str = "DT_FLOAT", field: str = "float_val"
) -> Any:
    """A TensorProto; 1-D unless a shape is given."""
    proto = tensorflow_pb2.TensorProto(dtype=tensorflow_pb2.DataType.Value(dtype))
    for size in [len(values)] if shape is None else shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, field).extend(values)
    return proto


def strings(*values: bytes) -> Any:
    return tensor(values, dtype="DT_STRING", field="string_val")


def spec(name: str, signature: str = "", version: int | None = None, label: str | None = None) -> serving_pb2.ModelSpec:
    message = serving_pb2.ModelSpec(name=name, signature_name=signature)
    if version is not None:
        message.version.value = version
    if label is not None:
        message.version_label = label
    return message


def predict_request(
    model: serving_pb2.ModelSpec | None, output_filter: Sequence[str] = (), **inputs: Any
) -> serving_pb2.PredictRequest:
    request = serving_pb2.PredictRequest(model_spec=model, output_filter=output_filter)
    for alias, value in inputs.items():
        request.inputs[alias].CopyFrom(value)
    return request


def example(**features: float) -> tensorflow_pb2.Example:
    message = tensorflow_pb2.Example()
    for name, value in features.items():
        message.features.feature[name].float_list.value.append(value)
    return message


def examples_input(*xs: float) -> serving_pb2.Input:
    return serving_pb2.Input(example_list=serving_pb2.ExampleList(examples=[example(x=x) for x in xs]))


def classify(
    server: EmbeddedServerProcess, model: serving_pb2.ModelSpec | None, value: serving_pb2.Input | None
) -> serving_pb2.ClassificationResponse:
    request = serving_pb2.ClassificationRequest(model_spec=model, input=value)
    answer: serving_pb2.ClassificationResponse = server.call(
        PREDICTION + "Classify", request, serving_pb2.ClassificationResponse
    )
    return answer


def regress(
    server: EmbeddedServerProcess, model: serving_pb2.ModelSpec | None, value: serving_pb2.Input | None
) -> serving_pb2.RegressionResponse:
    request = serving_pb2.RegressionRequest(model_spec=model, input=value)
    answer: serving_pb2.RegressionResponse = server.call(
        PREDICTION + "Regress", request, serving_pb2.RegressionResponse
    )
    return answer


def status(server: EmbeddedServerProcess, model: serving_pb2.ModelSpec | None) -> list[tuple[int, str, int, str]]:
    """(version, state, error code, error message) of GetModelStatus, in its order."""
    response: serving_pb2.GetModelStatusResponse = server.call(
        MODEL + "GetModelStatus",
        serving_pb2.GetModelStatusRequest(model_spec=model),
        serving_pb2.GetModelStatusResponse,
    )
    return [
        (
            entry.version,
            serving_pb2.ModelVersionStatus.State.Name(entry.state),
            entry.status.error_code,
            entry.status.error_message,
        )
        for entry in response.model_version_status
    ]
