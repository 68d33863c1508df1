"""A model's signatures as data: the form in which ``verdict.json`` holds them and in which people write expected ones."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from typing import Any

from infra_validator.core.answer import ELEMENT_TYPES, type_name
from infra_validator.core.errors import SpecError
from infra_validator.protos import tensorflow_pb2
from infra_validator.specs.reader import one_of, read, spec_field, to_dict

PREDICT, CLASSIFY, REGRESS = (f"tensorflow/serving/{name}" for name in ("predict", "classify", "regress"))

_REFERENCE = 100  # a reference type's DataType is the type's own plus 100
_ENCODINGS = {"name": "dense", "coo_sparse": "sparse", "composite_tensor": "composite"}
_OTHER_NAMES = {"float32": "float", "float64": "double", "float16": "half"}
_NAMES = tuple(element.name for element in ELEMENT_TYPES.values())


def _type_of(name: str) -> str:
    """TensorFlow's name in lower case of a type that may be written as numpy or the enum writes it."""
    plain = name.lower().removeprefix("dt_")
    return _OTHER_NAMES.get(plain, plain)


def _known_type(name: str) -> str | None:
    """A Check: a type's name; types without a name of ours are ``dtype`` and their number."""
    return None if re.fullmatch(r"dtype \d+", name) else one_of(*_NAMES)(_type_of(name))


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """An input or output as its signature declares it."""

    dtype: str = spec_field("", "Its type, e.g. `float`, `int64`, `string`.", check=_known_type)
    shape: tuple[int, ...] | None = spec_field(None, "Its dimensions; -1: of any size. Empty: of any rank.")
    optional: bool = spec_field(False, "Whether callers may leave it out, since the signature has a default for it.")
    encoding: str = spec_field("dense", "How it is encoded.", check=one_of(*_ENCODINGS.values()))

    def check(self, path: str) -> None:
        """Called by the reader. Raises SpecError."""
        if not self.dtype:
            raise SpecError(f"{path}.dtype", "is missing")
        if any(size < -1 for size in self.shape or ()):
            raise SpecError(f"{path}.shape", "has a dimension below -1; -1 stands for any size")

    @property
    def element_type(self) -> str:
        """The type, however it was written."""
        return _type_of(self.dtype)

    def __str__(self) -> str:
        shape = "of any rank" if self.shape is None else str(list(self.shape))
        return f"{'' if self.encoding == 'dense' else self.encoding + ' '}{self.element_type} {shape}"


@dataclasses.dataclass(frozen=True)
class Signature:
    """What callers see of a signature."""

    method: str = spec_field(PREDICT, "The method it is exported for.")
    inputs: Mapping[str, TensorSpec] = spec_field({}, "What it takes, by name.")
    outputs: Mapping[str, TensorSpec] = spec_field({}, "What it returns, by name.")

    def to_dict(self) -> dict[str, object]:
        return {
            "method": self.method,
            "inputs": {name: _plain(self.inputs[name]) for name in sorted(self.inputs)},
            "outputs": {name: _plain(self.outputs[name]) for name in sorted(self.outputs)},
        }


def _plain(tensor: TensorSpec) -> dict[str, object]:
    return {**to_dict(tensor), "shape": None if tensor.shape is None else list(tensor.shape)}


Signatures = Mapping[str, Signature]


def signatures_of(definitions: Mapping[str, tensorflow_pb2.SignatureDef]) -> dict[str, Signature]:
    """A SavedModel's signatures; those with ``__`` in front are TensorFlow's own and are left out."""
    return {name: _signature(definitions[name]) for name in sorted(definitions) if not name.startswith("__")}


def _signature(definition: tensorflow_pb2.SignatureDef) -> Signature:
    return Signature(
        definition.method_name,
        {name: _tensor(info, name in definition.defaults) for name, info in definition.inputs.items()},
        {name: _tensor(info, False) for name, info in definition.outputs.items()},
    )


def _tensor(info: tensorflow_pb2.TensorInfo, optional: bool) -> TensorSpec:
    dtype = info.dtype - _REFERENCE if info.dtype > _REFERENCE else info.dtype
    shape = None if info.tensor_shape.unknown_rank else tuple(max(dim.size, -1) for dim in info.tensor_shape.dim)
    return TensorSpec(type_name(dtype), shape, optional, _ENCODINGS.get(info.WhichOneof("encoding") or "", "dense"))


@dataclasses.dataclass(frozen=True)
class _File:
    signatures: Mapping[str, Signature] = spec_field({}, "The signatures, by name.")


def read_signatures(path: str, field: str) -> dict[str, Signature]:
    """The signatures in a file: a ``verdict.json``, or JSON or YAML of the same form; only the field ``signatures`` is looked at.

    Args:
      path: the file.
      field: the field of a spec that names it, for messages.

    Raises:
      SpecError: it cannot be read or holds no signatures; names the field in the file.
    """
    given = _parsed(path, field)
    if not isinstance(given, Mapping):
        raise SpecError(field, f"{path!r} holds no object with named fields", next_step=_HOW)
    if not given.get("signatures"):
        missing = "has no field signatures" if "signatures" not in given else "names no signature"
        raise SpecError(field, f"{path!r} {missing}", next_step=_HOW)
    return signatures_in(given, f"{field} ({path})")


def signatures_in(given: Mapping[str, Any], where: str) -> dict[str, Signature]:
    """The signatures in the field ``signatures`` of what a file holds.

    Raises:
      SpecError: names the field, whose path begins with ``where``.
    """
    found = read(_File, {"signatures": given["signatures"]}, where)
    for name, signature in found.signatures.items():
        if not signature.outputs:
            raise SpecError(f"{where}.signatures.{name}.outputs", "is missing: every signature returns something")
    return dict(found.signatures)


_HOW = (
    "Name a SavedModel directory, the verdict.json of a model whose files could be read, or a file of the form that"
    " docs/baseline.md shows."
)


def _parsed(path: str, field: str) -> Any:
    if os.path.exists(path) and not os.path.isfile(path):
        raise SpecError(field, f"{path!r} is no regular file", next_step=_HOW)
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SpecError(field, f"cannot read {path!r}: {why}", next_step=_HOW) from error
    try:
        return json.loads(text)
    except RecursionError as error:
        raise SpecError(field, f"{path!r} is nested too deeply", next_step=_HOW) from error
    except ValueError:
        pass
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        told = " ".join(str(error).split())
        raise SpecError(field, f"{path!r} is neither JSON nor YAML: {told}", next_step=_HOW) from error
