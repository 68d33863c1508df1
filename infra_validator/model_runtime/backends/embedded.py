"""The backend that loads models into this process, through the embedded server's core."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from infra_validator._version import __version__
from infra_validator.core import wire
from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.embedded_server.engine import c_api
from infra_validator.embedded_server.inference.inference import RunSettings, run_options
from infra_validator.embedded_server.inference.prediction_service import PredictionService
from infra_validator.embedded_server.models.servable import Servable
from infra_validator.embedded_server.status import Code, StatusError
from infra_validator.model_runtime.backends.base_backend import (
    TENSORFLOW_SERVING_METHODS,
    Backend,
    BackendError,
    BackendSettings,
)
from infra_validator.model_runtime.model_source import ModelSource
from infra_validator.model_runtime.sizes.memory_meter import MemoryMeter, return_large_blocks
from infra_validator.model_runtime.sizes.size_prediction import predicted_bytes
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

_CODES = {code.value[0]: code for code in grpc.StatusCode}

#: Codes of a load that failed which callers may rely on; the others would say something else there.
_LOAD_CODES = (Code.RESOURCE_EXHAUSTED, Code.UNIMPLEMENTED)


class EmbeddedBackend(Backend):
    """Models as sessions of TensorFlow's C library in this process.

    Raises:
      InfrastructureError: TensorFlow's wheel is not installed.
    """

    name = "embedded"
    method_infos = TENSORFLOW_SERVING_METHODS
    serves = True

    def __init__(self, settings: BackendSettings) -> None:
        # oneDNN's allocator keeps what models have freed in pools that double; with the system's, an unload frees memory.
        os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")
        return_large_blocks()
        try:
            library = c_api.load_library()
        except c_api.TensorFlowMissingError as error:
            raise InfrastructureError(ReasonCode.EMBEDDED_SERVER_NOT_INSTALLED, str(error)) from error
        self.version = f"infra-validator {__version__}, TensorFlow {library}"
        _warm_up()
        self._servables: dict[str, Servable] = {}
        self._meter = MemoryMeter()
        service = PredictionService(self)
        self._methods = {f"tensorflow.serving.PredictionService/{name}": m for name, m in service.methods().items()}

    def load(self, model_id: str, source: ModelSource, abandoned: threading.Event) -> int:
        with self._meter.measuring(source.weight_bytes) as reading:
            try:
                servable = Servable.load(model_id, source.version, source.path)
            except StatusError as error:
                code = _CODES[error.code] if error.code in _LOAD_CODES else grpc.StatusCode.INTERNAL
                raise BackendError(code, str(error)) from error
        self._servables[model_id] = servable
        if reading.alone:
            return max(int(reading.bytes), source.weight_bytes)
        # Others allocated at the same time: what is known from the files bounds what was measured.
        return int(min(max(reading.bytes, source.weight_bytes), predicted_bytes(source)))

    def unload(self, model_id: str) -> None:
        with self._meter.freeing():
            self._servables.pop(model_id).unload()

    def find(self, spec: serving_pb2.ModelSpec) -> Servable:
        """For PredictionService: the model that a request means, held. A version that is not loaded is not NOT_FOUND, since
        model-mesh would load the model again because of it."""
        servable = self._servables[spec.name]
        if spec.HasField("version_label"):
            raise StatusError(Code.INVALID_ARGUMENT, "A ModelRuntime has no version labels.")
        if spec.HasField("version") and spec.version.value != servable.version:
            raise StatusError(
                Code.FAILED_PRECONDITION, f"Version {spec.version.value} was asked for; {servable.version} is loaded."
            )
        servable.try_hold()  # it cannot be unloading: the table keeps it loaded while it is asked
        return servable

    def infer(self, model_id: str, method: str, request: bytes, seconds: float | None) -> bytes:
        options = b"" if seconds is None else run_options(max(1, int(seconds * 1000)))
        with _answers_in_codes():
            return self._methods[method](request, RunSettings(options))

    def close(self) -> None:
        for servable in self._servables.values():
            servable.unload()
        self._servables.clear()


def _warm_up() -> None:
    """Load an empty model once: the first session of a process allocates some MiB that no model is to blame for."""
    operation = b"nothing"
    node = wire.length_field(1, wire.length_field(1, operation) + wire.length_field(2, b"NoOp"))
    key = b"__saved_model_init_op"
    output = wire.length_field(2, wire.length_field(1, key) + wire.length_field(2, wire.length_field(1, operation)))
    signature = wire.length_field(5, wire.length_field(1, key) + wire.length_field(2, output))
    tags = wire.length_field(1, wire.length_field(4, b"serve"))
    meta_graph = tags + wire.length_field(2, node) + signature
    with tempfile.TemporaryDirectory(prefix="infra-validator-") as directory:
        with open(os.path.join(directory, "saved_model.pb"), "wb") as file:
            file.write(wire.varint_field(1, 1) + wire.length_field(2, meta_graph))
        Servable.load("warm-up", 1, directory).unload()


@contextmanager
def _answers_in_codes() -> Iterator[None]:
    try:
        yield
    except StatusError as error:
        if error.code == Code.NOT_FOUND:  # a tensor or signature that the graph lacks; the model itself is here
            raise BackendError(grpc.StatusCode.FAILED_PRECONDITION, error.message) from error
        raise BackendError(_CODES[error.code], error.message or error.code.name) from error
    except wire.WireError as error:
        raise BackendError(grpc.StatusCode.INVALID_ARGUMENT, f"The request cannot be read: {error}.") from error
