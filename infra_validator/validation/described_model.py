"""A model that is no SavedModel: its directory, and the signature that the spec describes where it does."""

from __future__ import annotations

import os

from infra_validator.core.errors import InfrastructureError, SpecError, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.protos import tensorflow_pb2
from infra_validator.saved_model.find import FoundModel
from infra_validator.saved_model.graph import SavedModelGraph
from infra_validator.specs import OpenInferenceConfig
from infra_validator.specs.binaries.open_inference import tensor_of

_SIGNATURE = "serving_default"  # what every source of requests asks where none is named
_METHOD_NAME = "tensorflow/serving/predict"
_PATH = "serving_spec.open_inference"


def find_directory(model: str) -> FoundModel:
    """The model's directory, whatever is in it.

    Raises:
      InfrastructureError: there is nothing there (MODEL_NOT_FOUND).
      UsageError: it is a file.
    """
    if not os.path.lexists(model):
        raise InfrastructureError(ReasonCode.MODEL_NOT_FOUND, f"{model} does not exist.")
    if not os.path.isdir(model):
        raise UsageError(
            f"The model {model} is a file, not a directory.", next_step="Name the directory that holds it."
        )
    return FoundModel(model)


def described_graph(config: OpenInferenceConfig, model: str) -> SavedModelGraph | None:
    """What the spec says of the model's inputs and outputs, in the place of a graph; None where it says nothing."""
    if not config.inputs:
        return None
    signature = tensorflow_pb2.SignatureDef(method_name=_METHOD_NAME)
    for field, tensors in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        for name, text in getattr(config, field).items():
            number, shape = tensor_of(text, f"{_PATH}.{field}.{name}")
            info = tensors[name]
            info.name = name
            info.dtype = number  # type: ignore[assignment]
            for size in shape:
                info.tensor_shape.dim.add(size=size)
    return SavedModelGraph(model, frozenset({"serve"}), {_SIGNATURE: signature}, restores_variables=False, assets=())


def needed_graph(config: OpenInferenceConfig, model: str) -> SavedModelGraph:
    """As described_graph, for what cannot do without.

    Raises:
      SpecError: the spec says nothing.
    """
    graph = described_graph(config, model)
    if graph is None:
        raise SpecError(
            f"{_PATH}.inputs",
            "are needed to make requests: the model's directory does not tell what it takes",
            next_step='Describe inputs and outputs, as in {"x": "FP32[-1,4]"}; or give requests of your own (requests= in Python).',
        )
    return graph


def no_graph(binary: str) -> SavedModelGraph:
    """In the place of a graph, for what cannot do without, where nothing tells one.

    Raises:
      UsageError: always.
    """
    raise UsageError(
        f"Requests cannot be made here: nothing tells what a model of {binary} takes.",
        next_step="Give requests of your own (requests= in Python), or a source of requests of the package that serves it.",
    )
