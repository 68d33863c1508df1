"""Contents of the Open Inference Protocol <-> tensors in TensorFlow's memory. Knows no transport.

TensorFlow's elements in memory are the protocol's raw content, for every datatype but BYTES. What is wrong with a tensor that was sent is
INVALID_ARGUMENT and names it.

Source: kserve/open-inference-protocol, inference_grpc.md and inference_rest.md.
"""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Sequence
from typing import Any

from infra_validator.core.datatypes import OPEN_INFERENCE_DATATYPES
from infra_validator.core.errors import shorten
from infra_validator.embedded_server.engine import tensors
from infra_validator.embedded_server.engine.c_api import STRING, Tensor, element_size
from infra_validator.embedded_server.status import Code, StatusError, invalid_argument

#: The number of TensorFlow's DataType -> the protocol's datatype.
DATATYPES = {number: name for name, number in OPEN_INFERENCE_DATATYPES.items()}

#: The datatypes that have raw content only.
RAW_ONLY = {"FP16", "BF16"}

_LENGTH = struct.Struct("<I")  # what stands before each element of raw BYTES
_HIGHEST_RANK = 254  # of a tensor of TensorFlow's
_STRING_BYTES = 24  # of an element in TensorFlow's memory
_LONGEST_NAME = 100


@dataclasses.dataclass(frozen=True)
class Raw:
    """The raw content of a tensor: ``data[start:end]``."""

    data: bytes
    start: int
    end: int


@dataclasses.dataclass(frozen=True)
class InputTensor:
    """An input as it was sent.

    Attributes:
      name, datatype: as sent.
      shape: the sizes, any integers.
      content: raw, or the values one by one: numbers, bools, or bytes.
    """

    name: str
    datatype: str
    shape: Sequence[int]
    content: Raw | Sequence[Any]

    def problem(self, text: str) -> StatusError:
        """What is wrong with it, as an error that names it."""
        return invalid_argument(f"the input {quoted(self.name)} {text}")


def shape_text(shape: Sequence[int]) -> str:
    """A shape as it stands in an error's text."""
    return shorten(tensors.shape_text(shape), _LONGEST_NAME)


def quoted(name: str) -> str:
    """A name as it stands in an error's text."""
    return repr(shorten(name, _LONGEST_NAME))


def decode(sent: InputTensor) -> Tensor:
    """The tensor that was sent.

    Raises:
      StatusError: INVALID_ARGUMENT: its content is not what its datatype and its shape say.
    """
    dtype = OPEN_INFERENCE_DATATYPES.get(sent.datatype)
    if dtype is None:
        raise sent.problem(f"is of {quoted(sent.datatype)}, which is no datatype of the protocol")
    count = _count(sent, element_size(dtype) or _STRING_BYTES)
    if isinstance(sent.content, Raw):
        if dtype == STRING:
            return tensors.of_strings(_raw_strings(sent, sent.content, count), sent.shape)
        return _from_raw(sent, sent.content, dtype, count)
    if sent.datatype in RAW_ONLY:
        raise sent.problem(f"is of {sent.datatype}, which can be sent as raw content only (over REST: as binary data)")
    if len(sent.content) != count:
        raise sent.problem(
            f"has {len(sent.content)} values, and the shape {shape_text(sent.shape)} has {count} elements"
        )
    if dtype == STRING:
        return tensors.of_strings(sent.content, sent.shape)
    try:
        return tensors.from_elements(dtype, sent.shape, sent.content)
    except (OverflowError, TypeError, ValueError) as error:
        raise sent.problem(f"has a value that is no {sent.datatype}: {error}") from error


def _count(sent: InputTensor, size: int) -> int:
    """The number of elements, of ``size`` bytes each, that the shape means."""
    if len(sent.shape) > _HIGHEST_RANK:
        raise sent.problem(f"has {len(sent.shape)} dimensions, of at most {_HIGHEST_RANK}")
    if any(dim < 0 for dim in sent.shape):
        raise sent.problem(f"has the shape {shape_text(sent.shape)}: a size is negative")
    if math.prod(max(dim, 1) for dim in sent.shape) * size >= 2**63:
        raise sent.problem(f"has the shape {shape_text(sent.shape)}: that is more than fits any memory")
    return math.prod(sent.shape)


def _from_raw(sent: InputTensor, raw: Raw, dtype: int, count: int) -> Tensor:
    expected, found = count * element_size(dtype), raw.end - raw.start
    if found != expected:
        raise sent.problem(
            f"has {found} bytes of raw content, and {sent.datatype} of the shape {shape_text(sent.shape)} takes {expected}"
        )
    if dtype == tensors.BOOL and raw.data[raw.start : raw.end].strip(b"\0\1"):
        raise sent.problem("is of BOOL and has a byte of raw content that is neither 0 nor 1")
    return Tensor.from_memory(dtype, sent.shape, raw.data, raw.start)


def _raw_strings(sent: InputTensor, raw: Raw, count: int) -> list[bytes]:
    values, at = list[bytes](), raw.start
    while at < raw.end:
        start = at + _LENGTH.size
        at = start + _LENGTH.unpack_from(raw.data, at)[0] if start <= raw.end else start
        if at > raw.end:
            raise sent.problem(f"has raw content of BYTES whose element {len(values)} is cut off")
        values.append(raw.data[start:at])
    if len(values) != count:
        raise sent.problem(
            f"has {len(values)} elements in its raw content, and the shape {shape_text(sent.shape)} has {count} elements"
        )
    return values


def datatype_of(name: str, tensor: Tensor) -> str:
    """The datatype of an output.

    Raises:
      StatusError: UNIMPLEMENTED: the protocol has none for it.
    """
    dtype = tensor.dtype
    if dtype not in DATATYPES:
        text = (
            f"the output {quoted(name)} is of {tensors.short_type_name(dtype)}, for which the protocol has no datatype"
        )
        raise StatusError(Code.UNIMPLEMENTED, text)
    return DATATYPES[dtype]


def raw_content(tensor: Tensor) -> bytes | memoryview:
    """The raw content of an output; a view of the tensor's memory where it can be."""
    if tensor.dtype != STRING:
        return tensor.memory()
    return b"".join(part for value in tensor.strings() for part in (_LENGTH.pack(len(value)), value))


def values(tensor: Tensor) -> list[Any]:
    """The elements of an output one by one: numbers, bools or bytes; 16-bit floats have none."""
    return tensor.strings() if tensor.dtype == STRING else tensors.elements(tensor)
