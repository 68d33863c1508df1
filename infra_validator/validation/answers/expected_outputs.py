"""What a signature says about the answers to a request: the outputs, their types and shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from infra_validator.protos import tensorflow_pb2

_REFERENCE = 100  # a reference type's DataType is the type's own plus 100
_FLOAT = 1  # DT_FLOAT


@dataclasses.dataclass(frozen=True)
class ExpectedOutput:
    """One output.

    Attributes:
      dtype: the number of its DataType; 0 where the signature does not say.
      shape: its dimensions, -1 where unknown; None where the rank is unknown.
    """

    dtype: int
    shape: tuple[int, ...] | None


def expected_outputs(signature: tensorflow_pb2.SignatureDef, kind: str) -> Mapping[str, ExpectedOutput]:
    """The outputs of a signature by name, as an answer of this kind (core/answer.py) gives them.

    Classify gives no more than a row of labels and scores, Regress a number for each row, whatever shape the outputs have in the graph
    (TensorFlow Serving's classifier.cc and regressor.cc).
    """
    outputs = {name: _expected(info) for name, info in signature.outputs.items()}
    if kind == "classify":
        return {name: outputs[name] for name in ("classes", "scores") if name in outputs}
    if kind == "regress":
        return {"outputs": ExpectedOutput(_FLOAT, (-1,))}
    return outputs


def _expected(info: tensorflow_pb2.TensorInfo) -> ExpectedOutput:
    if info.WhichOneof("encoding") in ("coo_sparse", "composite_tensor"):
        return ExpectedOutput(0, None)
    dtype = info.dtype - _REFERENCE if info.dtype > _REFERENCE else info.dtype
    shape = None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
    return ExpectedOutput(int(dtype), shape)
