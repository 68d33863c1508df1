"""The sample requests of the fault matrix: three Predicts of half_plus_two."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from component_tests.fakes.servers.faulty_server import REQUESTS
from infra_validator.core.sample_request import SampleRequest
from infra_validator.protos import tensorflow_serving_pb2

PREDICT = "/tensorflow.serving.PredictionService/Predict"


def requests() -> Iterator[SampleRequest]:
    """A new round of them."""
    for number in range(REQUESTS):
        message: Any = tensorflow_serving_pb2.PredictRequest()
        message.model_spec.name = "m"
        message.model_spec.signature_name = "serving_default"
        x = message.inputs["x"]
        x.dtype = 1
        x.tensor_shape.dim.add().size = 1
        x.float_val.append(float(number))
        yield SampleRequest(PREDICT, "serving_default", message.SerializeToString(), f"request {number + 1}", rows=1)
