"""Contract 3.3 and 3.4: Predict over gRPC."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from component_tests.fakes.embedded_server_process import EmbeddedServerProcess, embedded_server
from component_tests.fakes.saved_models import SavedModels
from infra_validator.protos import tensorflow_pb2
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2


@pytest.fixture(scope="module")
def server(saved_models: SavedModels) -> Iterator[EmbeddedServerProcess]:
    base_path = saved_models.base_path("half_plus_two")
    with embedded_server("--model_name=half", f"--model_base_path={base_path}") as running:
        yield running


def floats(*values: float) -> tensorflow_pb2.TensorProto:
    tensor = tensorflow_pb2.TensorProto(dtype=tensorflow_pb2.DT_FLOAT, float_val=values)
    tensor.tensor_shape.dim.add(size=len(values))
    return tensor


def predict_request(**inputs: tensorflow_pb2.TensorProto) -> serving_pb2.PredictRequest:
    request = serving_pb2.PredictRequest(model_spec=serving_pb2.ModelSpec(name="half"))
    for alias, tensor in inputs.items():
        request.inputs[alias].CopyFrom(tensor)
    return request


def test_3_3_response_has_typed_values_and_the_effective_model_spec(server: EmbeddedServerProcess) -> None:
    response = server.predict(predict_request(x=floats(1.0, 2.0, 5.0)))
    assert response.outputs["y"] == floats(2.5, 3.0, 4.5)
    assert response.model_spec.name == "half"
    assert response.model_spec.signature_name == "serving_default"
    assert response.model_spec.version.value == 1


def test_3_3_row_8_input_missing(server: EmbeddedServerProcess) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        server.predict(predict_request())
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == (
        "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}."
    )
