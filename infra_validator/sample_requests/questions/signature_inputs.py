"""What a signature says of its inputs: which dimension is the batch, and whether tensors contradict the declared shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.sample_requests.questions.values import name_of

Signatures = Mapping[str, tf.SignatureDef]


@dataclasses.dataclass(frozen=True)
class Batch:
    """The batch dimension of a signature.

    Attributes:
      inputs: those whose first dimension it is.
      size: its declared size; None where any size goes.
    """

    inputs: frozenset[str]
    size: int | None = None


class SignatureInputs:
    """What a signature says of its inputs, worked out once for all requests.

    Args:
      signature: the signature.

    Attributes:
      signature: the same.
      shapes: the declared sizes by input, -1 for an unknown one; None if not even the rank is known.
      batch: the batch dimension; None if there is none. Where inputs have an unknown first dimension, those are batched and the
        others stand beside them. Else one known size that is the first of every input is a fixed batch.
    """

    def __init__(self, signature: tf.SignatureDef) -> None:
        self.signature = signature
        self.shapes = {key: declared_shape(info) for key, info in signature.inputs.items()}
        self.batch = self._batch()

    def _batch(self) -> Batch | None:
        free = frozenset(key for key, shape in self.shapes.items() if shape is None or shape[:1] == [-1])
        if free:
            return Batch(free)
        sizes = {shape[0] if shape else None for shape in self.shapes.values() if shape is not None}
        if len(sizes) == 1:
            (size,) = sizes
            if size:
                return Batch(frozenset(self.shapes), size)
        return None

    def rows(self, given: Mapping[str, list[int]]) -> int | None:
        """The size of the batch dimension of tensors of these shapes; None if they do not agree, or no size but the declared goes."""
        if self.batch is None or self.batch.size is not None:
            return None
        sizes = {shape[0] if shape else None for key, shape in given.items() if key in self.batch.inputs}
        return sizes.pop() if len(sizes) == 1 else None

    def contradiction(self, given: Mapping[str, list[int]]) -> str:
        """Where shapes contradict the declared ones: a sentence; empty where they do not."""
        for key, shape in sorted(given.items()) if len(given) > 1 else given.items():
            declared = self.shapes.get(key)
            if declared is None or declared == shape:
                continue
            fits = len(declared) == len(shape) and all(
                size in (-1, is_) for size, is_ in zip(declared, shape, strict=True)
            )
            if not fits:
                return f"The input {key!r} is declared with the shape {declared} and was given with the shape {shape}."
        return ""


def batch_of(signature: tf.SignatureDef) -> Batch | None:
    """The batch dimension of a signature's inputs, see SignatureInputs."""
    return SignatureInputs(signature).batch


def declared_shape(info: tf.TensorInfo) -> list[int] | None:
    """The declared sizes, -1 for an unknown one; None if not even the rank is known."""
    return None if info.tensor_shape.unknown_rank else [dim.size for dim in info.tensor_shape.dim]


def described_input(key: str, info: tf.TensorInfo) -> str:
    """An input for people, e.g. ``x (float, shape [-1, 2])``."""
    shape = declared_shape(info)
    return f"{key} ({name_of(info.dtype)}, shape {'unknown' if shape is None else shape})"


def described_inputs(signature: tf.SignatureDef) -> str:
    """All inputs of a signature for people."""
    return ", ".join(described_input(key, signature.inputs[key]) for key in sorted(signature.inputs)) or "no input"


def needed_inputs(signature: tf.SignatureDef) -> set[str]:
    """The inputs that a request must bring: all that have no default in the signature."""
    return set(signature.inputs) - set(signature.defaults)
