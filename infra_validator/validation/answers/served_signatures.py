"""Whether the model that a server tells of is the model that was named: its signatures against the SavedModel's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from infra_validator.core.answer import type_name
from infra_validator.protos import tensorflow_pb2

_REFERENCE = 100  # a reference type's DataType is the type's own plus 100


def difference_of(
    named: Mapping[str, tensorflow_pb2.SignatureDef], served: Mapping[str, tensorflow_pb2.SignatureDef]
) -> str:
    """What differs first, in a sentence; empty where the two have the same signatures. Names with ``__`` in front are TensorFlow's own.

    Args:
      named: the signatures in the model's files.
      served: those that the server tells.
    """
    ours, theirs = ({name for name in both if not name.startswith("__")} for both in (named, served))
    if ours != theirs:
        return f"The model has the signatures {_listed(ours)}; the server tells {_listed(theirs)}."
    for name in sorted(ours):
        mine, other = named[name], served[name]
        if mine.method_name != other.method_name:
            return f"Signature {name!r} has the method {mine.method_name}; the server tells {other.method_name}."
        for kind, tensors, told in (
            ("input", mine.inputs, other.inputs),
            ("output", mine.outputs, other.outputs),
        ):
            if set(tensors) != set(told):
                return f"Signature {name!r} has the {kind}s {_listed(tensors)}; the server tells {_listed(told)}."
            for key in sorted(tensors):
                have, tells = _described(tensors[key]), _described(told[key])
                if have != tells:
                    return f"Signature {name!r}, {kind} {key!r}, is {have}; the server tells {tells}."
    return ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names)) or "none"


def _described(info: tensorflow_pb2.TensorInfo) -> str:
    dtype = info.dtype - _REFERENCE if info.dtype > _REFERENCE else info.dtype
    shape = "of any rank" if info.tensor_shape.unknown_rank else str([dim.size for dim in info.tensor_shape.dim])
    return f"{type_name(dtype)} {shape}"
