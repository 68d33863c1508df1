"""What clients send to the embedded server."""

from __future__ import annotations

import dataclasses
from typing import Any

from component_tests.fuzz.target import Target
from infra_validator.core.wire import WireError
from infra_validator.embedded_server.inference.inference import RunSettings
from infra_validator.embedded_server.inference.prediction_service import PredictionService
from infra_validator.embedded_server.rest import json as rest_json
from infra_validator.embedded_server.rest.examples import examples_of
from infra_validator.embedded_server.rest.http_request import BadRequestError, RequestReader
from infra_validator.embedded_server.rest.infer_body import infer_request
from infra_validator.embedded_server.rest.predict_inputs import inputs_of, signature_name_of
from infra_validator.embedded_server.status import StatusError, invalid_argument
from infra_validator.protos import tensorflow_pb2 as tf

_DTYPES = {"x": tf.DT_FLOAT, "text": tf.DT_STRING, "count": tf.DT_INT64, "flag": tf.DT_BOOL, "small": tf.DT_UINT8}


def _definition() -> tf.SignatureDef:
    made = tf.SignatureDef(method_name="tensorflow/serving/predict")
    for name, dtype in _DTYPES.items():
        made.inputs[name].dtype = dtype
        made.inputs[name].name = f"{name}:0"
        made.outputs[name].CopyFrom(made.inputs[name])
    return made


@dataclasses.dataclass
class _Signature:
    """A signature of a graph that answers what it was asked."""

    definition: tf.SignatureDef = dataclasses.field(default_factory=_definition)

    def __post_init__(self) -> None:
        self.inputs = {alias: info.name for alias, info in sorted(self.definition.inputs.items())}
        self.outputs = dict(self.inputs)
        self.output_names = list(self.outputs.values())
        self.defaults: dict[str, bytes] = {}

    def run(self, values: Any, options: bytes = b"") -> dict[str, Any]:
        return dict(zip(self.output_names, values, strict=True))


class _Servable:
    name, version = "m", 1

    def __init__(self) -> None:
        self.signatures = {"serving_default": _Signature()}

    def release(self) -> None:
        pass


class _Models:
    def find(self, spec: Any) -> Any:
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        return _Servable()


_SERVICE = PredictionService(_Models())


def _rest(data: bytes) -> None:
    document = rest_json.parse(data)
    for read in (lambda: examples_of(document), lambda: _predicted(document)):
        try:
            read()
        except StatusError as error:
            rest_json.parse(rest_json.error_body(error.message))


def _predicted(document: dict[str, Any]) -> None:
    name = signature_name_of(document)
    signature: Any = _Signature()
    _, builders = inputs_of(document, signature, name)
    for alias, builder in builders.items():
        builder.tensor(alias)


def _http(data: bytes) -> None:
    """The same requests, however the bytes come."""
    whole, pieces = _requests([data]), _requests([data[at : at + 7] for at in range(0, len(data), 7)])
    assert whole == pieces


def _requests(pieces: list[bytes]) -> list[tuple[str, str, bytes]]:
    reader, found = RequestReader(), []
    try:
        for piece in pieces:
            reader.feed(piece)
            while (request := reader.next()) is not None:
                found.append((request.verb, request.target, request.content()))
    except BadRequestError:
        pass
    return found


def _infer(data: bytes) -> None:
    """The first byte says whether there is a header with the JSON's length, which the second has."""
    length = str(data[1] * 4) if data[:1] > b"\x7f" and len(data) > 1 else None
    infer_request("m", "", length, data[2:])


def _grpc(data: bytes) -> None:
    """Every method of the service, chosen by the first byte."""
    methods = sorted(_SERVICE.methods().items())
    methods[data[0] % len(methods) if data else 0][1](data[1:], RunSettings())


TARGETS = (
    Target("rest_body", _rest, (StatusError,)),
    Target("http_request", _http),
    Target("infer_body", _infer, (StatusError,)),
    Target("grpc_request", _grpc, (StatusError, WireError)),
)
