"""The Open Inference Protocol's datatypes beside TensorFlow's, and how values of each stand in its messages.

Source: kserve/open-inference-protocol, inference_grpc.md and open_inference_grpc.proto.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterable, Iterator

from infra_validator.core.answer import UnreadableAnswer
from infra_validator.core.datatypes import OPEN_INFERENCE_DATATYPES


@dataclasses.dataclass(frozen=True)
class Datatype:
    """One datatype.

    Attributes:
      name: the protocol's.
      number: of TensorFlow's DataType.
      field: the field of InferTensorContents that holds its values one by one; empty where there is none (16-bit floats).
    """

    name: str
    number: int
    field: str


#: datatype -> the field of InferTensorContents that holds its values one by one.
_FIELDS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}

BY_NAME = {name: Datatype(name, number, _FIELDS.get(name, "")) for name, number in OPEN_INFERENCE_DATATYPES.items()}
BY_NUMBER = {datatype.number: datatype for datatype in BY_NAME.values()}

_LENGTH = struct.Struct("<I")  # what stands before each element of raw BYTES


def raw_strings(elements: Iterable[bytes]) -> bytes:
    """Elements of BYTES as raw content."""
    return b"".join(part for element in elements for part in (_LENGTH.pack(len(element)), element))


def count_raw_strings(content: bytes) -> int:
    """How many elements raw content of BYTES holds.

    Raises:
      UnreadableAnswer: one is cut off.
    """
    return sum(1 for _ in _places(content))


def read_raw_strings(content: bytes) -> Iterator[bytes]:
    """The elements in raw content of BYTES. Raises as count_raw_strings."""
    return (content[start:end] for start, end in _places(content))


def _places(content: bytes) -> Iterator[tuple[int, int]]:
    at = 0
    while at < len(content):
        start = at + _LENGTH.size
        end = start + _LENGTH.unpack_from(content, at)[0] if start <= len(content) else start
        if end > len(content):
            raise UnreadableAnswer("an element of BYTES that is cut off")
        yield start, end
        at = end
