"""What the embedded server answers in the Open Inference Protocol, whatever carries it: health, metadata, inference, the model repository.

A model has one way to be asked in this protocol, and a SavedModel several: the signature ``serving_default`` is asked, and another one
where the request's parameter ``signature_name`` names it.

Source: kserve/open-inference-protocol, and Triton's model repository extension.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from infra_validator._version import __version__
from infra_validator.core.datatypes import OPEN_INFERENCE_DATATYPES
from infra_validator.embedded_server.engine import tensors
from infra_validator.embedded_server.engine.c_api import Tensor
from infra_validator.embedded_server.inference import inference
from infra_validator.embedded_server.inference.inference import RunSettings
from infra_validator.embedded_server.metrics import Metrics
from infra_validator.embedded_server.models.servable import DEFAULT_SIGNATURE, Servable, Signature
from infra_validator.embedded_server.models.server_core import ServerCore
from infra_validator.embedded_server.models.state_monitor import State
from infra_validator.embedded_server.open_inference.tensors import DATATYPES, InputTensor, decode, quoted, shape_text
from infra_validator.embedded_server.status import Code, StatusError, invalid_argument, not_found
from infra_validator.protos import tensorflow_pb2
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

SERVER_NAME = "infra-validator embedded server"
EXTENSIONS = ("binary_tensor_data", "model_repository")
PLATFORM = "tensorflow_savedmodel"

#: The parameter of a request that names a signature.
SIGNATURE_NAME = "signature_name"

_API = "ModelInfer"  # in metrics
_VERSION = re.compile(r"[0-9]{1,18}")

#: What the repository's index calls the states of versions.
_STATES = {
    State.START: "LOADING",
    State.LOADING: "LOADING",
    State.AVAILABLE: "READY",
    State.UNLOADING: "UNLOADING",
    State.END: "UNAVAILABLE",
}


@dataclasses.dataclass(frozen=True)
class InferRequest:
    """A request, as the transport has read it.

    Attributes:
      model_name, model_version: of the model; an empty version leaves the choice to the server.
      inputs: the inputs.
      outputs: the names of the outputs to answer; all if empty.
      parameters: of the request.
    """

    model_name: str
    model_version: str
    inputs: Sequence[InputTensor]
    outputs: Sequence[str] = ()
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class InferResult:
    """What the model answered.

    Attributes:
      model_name, model_version: who answered.
      outputs: by name.
    """

    model_name: str
    model_version: str
    outputs: Mapping[str, Tensor]


@dataclasses.dataclass(frozen=True)
class TensorMetadata:
    """What a model takes or gives; a name that is none of the protocol's datatypes stands for what the protocol does not have."""

    name: str
    datatype: str
    shape: Sequence[int]


@dataclasses.dataclass(frozen=True)
class ModelMetadata:
    """A model; empty inputs and outputs mean that it has no signature ``serving_default``."""

    name: str
    versions: Sequence[str]
    inputs: Sequence[TensorMetadata]
    outputs: Sequence[TensorMetadata]


@dataclasses.dataclass(frozen=True)
class IndexEntry:
    """A version in the model repository's index."""

    name: str
    version: str
    state: str
    reason: str


class OpenInferenceService:
    """Answers; every method raises StatusError. Any number of threads at once.

    Args:
      core: knows the models.
      metrics: hears of every inference.
    """

    version = __version__

    def __init__(self, core: ServerCore, metrics: Metrics) -> None:
        self._core = core
        self._metrics = metrics

    # ------------------------------------------------------------------------------------------- health and metadata

    def server_ready(self) -> bool:
        """Whether every model that is to be served has a version that answers."""
        return all(self._is_known_ready(name) for name in self._core.names)

    def _is_known_ready(self, name: str) -> bool:
        try:
            return self.model_ready(name)
        except StatusError:
            return False

    def model_ready(self, name: str, version: str = "") -> bool:
        """Whether a model, or a version of it, answers. NOT_FOUND where nobody has heard of it."""
        states = self._core.status(_model_spec(name, version)).model_version_status
        return any(each.state == serving_pb2.ModelVersionStatus.AVAILABLE for each in states)

    def model_metadata(self, name: str, version: str = "") -> ModelMetadata:
        """What a model takes and gives, and its versions that answer."""
        with self._core.found(_model_spec(name, version)) as servable:
            signature = servable.signatures.get(DEFAULT_SIGNATURE)
            definition = signature.definition if signature is not None else tensorflow_pb2.SignatureDef()
        states = self._core.status(_model_spec(name, "")).model_version_status
        available = sorted(s.version for s in states if s.state == serving_pb2.ModelVersionStatus.AVAILABLE)
        return ModelMetadata(name, list(map(str, available)), _told(definition.inputs), _told(definition.outputs))

    # ---------------------------------------------------------------------------------------------------- inference

    def infer(self, request: InferRequest, settings: RunSettings, entrypoint: str) -> InferResult:
        """Ask a model.

        Args:
          settings: of the run.
          entrypoint: the transport's name in metrics.
        """
        started, code = time.perf_counter(), Code.OK
        try:
            with self._core.found(_model_spec(request.model_name, request.model_version)) as servable:
                return _infer(servable, request, settings)
        except StatusError as error:
            code = error.code
            raise
        finally:
            self._metrics.request(request.model_name, _API, entrypoint, code, time.perf_counter() - started)

    # --------------------------------------------------------------------------------------------- model repository

    def index(self, only_ready: bool = False) -> list[IndexEntry]:
        """Every version that was ever announced, by model and version."""
        entries = []
        for name, versions in sorted(self._core.monitor.every_version().items()):
            for version, seen in sorted(versions.items()):
                if only_ready and seen.state is not State.AVAILABLE:
                    continue
                reason = "unloaded" if seen.state is State.END else ""
                entries.append(IndexEntry(name, str(version), _STATES[seen.state], str(seen.error or reason)))
        return entries

    def load(self, name: str) -> None:
        """Load the versions of a configured model that are there and not loaded, and wait until one answers."""
        self._core.load(name)

    def unload(self, name: str) -> None:
        """Unload all versions of a configured model, and wait until that is done."""
        self._core.unload(name)


def _model_spec(name: str, version: str) -> serving_pb2.ModelSpec:
    if not name:
        raise invalid_argument("The request names no model.")
    spec = serving_pb2.ModelSpec(name=name)
    if version:
        if not _VERSION.fullmatch(version):
            raise not_found(f"the model {quoted(name)} has no version {quoted(version)}: versions here are numbers")
        spec.version.value = int(version)
    return spec


def _told(infos: Mapping[str, Any]) -> list[TensorMetadata]:
    return [TensorMetadata(name, _datatype(info.dtype), _shape(info)) for name, info in sorted(infos.items())]


def _datatype(dtype: int) -> str:
    return DATATYPES.get(dtype) or tensors.short_type_name(dtype)


def _declared(info: Any) -> list[int] | None:
    """The shape that a signature declares, -1 for any size; None for any shape at all."""
    if info.tensor_shape.unknown_rank or not info.HasField("tensor_shape"):
        return None
    return [dim.size for dim in info.tensor_shape.dim]


def _shape(info: Any) -> list[int]:
    declared = _declared(info)
    return [-1] if declared is None else declared  # the protocol has no word for a shape of any rank


def _infer(servable: Servable, request: InferRequest, settings: RunSettings) -> InferResult:
    name, signature = _signature(servable, request.parameters)
    inputs = _inputs(signature, name, request.inputs)
    for output in request.outputs:
        if output not in signature.outputs:
            raise invalid_argument(f"the output {quoted(output)} is not in {_what(name, signature.outputs)}")
    if repeated := {output for output in request.outputs if request.outputs.count(output) > 1}:
        raise invalid_argument(f"the output {quoted(min(repeated))} is asked for twice")
    outputs = inference.predict(
        servable, name, inputs, lambda alias: decode(inputs[alias]), list(request.outputs), settings
    )
    return InferResult(servable.name, str(servable.version), outputs)


def _signature(servable: Servable, parameters: Mapping[str, Any]) -> tuple[str, Signature]:
    name = parameters.get(SIGNATURE_NAME, DEFAULT_SIGNATURE)
    if not isinstance(name, str):
        raise invalid_argument(f"the parameter {SIGNATURE_NAME} is no string")
    signature = servable.signatures.get(name)
    if signature is None:
        known = ", ".join(sorted(key for key in servable.signatures if not key.startswith("__")))
        raise invalid_argument(f"the model has no signature {quoted(name)}; it has: {known}")
    return name, signature


def _inputs(signature: Signature, name: str, sent: Sequence[InputTensor]) -> dict[str, InputTensor]:
    """The inputs by their names, held against the signature."""
    inputs: dict[str, InputTensor] = {}
    for each in sent:
        if each.name in inputs:
            raise each.problem("was sent twice")
        if each.name not in signature.inputs:
            raise each.problem(f"is not in {_what(name, signature.inputs)}")
        inputs[each.name] = each
        _hold_against(each, signature.definition.inputs[each.name])
    missing = [alias for alias in signature.inputs if alias not in inputs and alias not in signature.defaults]
    if missing:
        raise invalid_argument(f"the input {quoted(missing[0])} is missing; {_what(name, signature.inputs)}")
    return inputs


def _what(name: str, aliases: Mapping[str, str]) -> str:
    return f"the signature {quoted(name)}, which has: {', '.join(sorted(aliases)) or 'none'}"


def _hold_against(sent: InputTensor, info: Any) -> None:
    """Hold an input's datatype and shape against what the signature declares."""
    datatype, declared = _datatype(info.dtype), _declared(info)
    if info.dtype not in DATATYPES:
        text = f"the input {quoted(sent.name)} is of {datatype}, for which the protocol has no datatype"
        raise StatusError(Code.UNIMPLEMENTED, text)
    if sent.datatype in OPEN_INFERENCE_DATATYPES and sent.datatype != datatype:
        raise sent.problem(f"is of {sent.datatype}, and the model takes {datatype}")
    fits = declared is None or (
        len(sent.shape) == len(declared)
        and all(size in (is_, -1) for size, is_ in zip(declared, sent.shape, strict=True))
    )
    if not fits and min(sent.shape, default=0) >= 0:
        raise sent.problem(f"has the shape {shape_text(sent.shape)}, and the model takes {shape_text(declared or [])}")
