"""tensorflow.TensorProto on the wire <-> tensors in TensorFlow's memory (contract, section 3.4).

Small messages are decoded by TensorFlow itself, so that every odd case (missing values repeat the last one, values in the wrong
field count as none, ...) is TensorFlow's. Large ones that are plain are read in place.

Copies of a large tensor here: in, none if its bytes happen to be aligned in the request, else one (in TF_NewTensor); out, one (from
TensorFlow's memory into the response).
"""

from __future__ import annotations

import array
import functools
import itertools
from collections.abc import Sequence
from typing import Any

from infra_validator.core import wire
from infra_validator.embedded_server.engine import packed_integers
from infra_validator.embedded_server.engine.c_api import STRING, Tensor, element_size
from infra_validator.embedded_server.status import Code, StatusError, invalid_argument
from infra_validator.protos import tensorflow_pb2

Buffer = bytes | memoryview

DataType = tensorflow_pb2.DataType
FLOAT, DOUBLE, INT32, UINT8, INT16, INT8 = 1, 2, 3, 4, 5, 6
COMPLEX64, INT64, BOOL, QINT8, QUINT8, QINT32, BFLOAT16, QINT16, QUINT16 = 8, 9, 10, 11, 12, 13, 14, 15, 16
UINT16, COMPLEX128, HALF, UINT32, UINT64 = 17, 18, 19, 22, 23
_FLOAT8 = (24, 25)

# The typed fields whose packed form on the wire is the tensor's memory (on the little-endian machines that TensorFlow runs on).
_RAW_FIELD = {FLOAT: 5, DOUBLE: 6, COMPLEX64: 9, COMPLEX128: 12, BOOL: 11, _FLOAT8[0]: 18, _FLOAT8[1]: 18}
# The others hold varints: field name, and the memory's element as ``struct`` writes it.
_VARINT_FIELD: dict[int, tuple[str, str]] = {
    INT32: ("int_val", "i"),
    UINT8: ("int_val", "B"),
    INT16: ("int_val", "h"),
    INT8: ("int_val", "b"),
    UINT16: ("int_val", "H"),
    QINT8: ("int_val", "b"),
    QUINT8: ("int_val", "B"),
    QINT16: ("int_val", "h"),
    QUINT16: ("int_val", "H"),
    QINT32: ("int_val", "i"),
    INT64: ("int64_val", "q"),
    UINT32: ("uint32_val", "I"),
    UINT64: ("uint64_val", "Q"),
    HALF: ("half_val", "H"),
    BFLOAT16: ("half_val", "H"),
}
_FIELD_NUMBER = {field.name: field.number for field in tensorflow_pb2.TensorProto.DESCRIPTOR.fields}

# dtype -> the ``struct`` character of an element in memory.
_MEMORY_FORMAT = {FLOAT: "f", DOUBLE: "d", BOOL: "?"} | {dtype: letter for dtype, (_, letter) in _VARINT_FIELD.items()}

# Types whose elements any bytes can be (a bool's can not), read in place when large.
_ANY_BYTES = {*_VARINT_FIELD, FLOAT, DOUBLE, COMPLEX64, COMPLEX128}
_LARGE = 4096  # bytes of a message from which on reading it in place pays

# A few bytes can declare any amount of memory, since missing values repeat the last one. What a message sends is taken at any size;
# what it only declares is taken up to this size. The real server has no such limit: it lets itself be killed.
_DECLARED_AT_MOST = 64 * 2**20  # bytes
_EXPANSION_AT_MOST = (
    16  # memory per byte sent; full lists of values need up to 12 (an empty string is 2 bytes, and 24 in memory)
)
_HIGHEST_RANK = 254
_REMEMBERED = 256  # bytes of a shape that is worth remembering


def decode(alias: str, data: bytes, start: int, end: int) -> Tensor:
    """The tensor of the serialized TensorProto in ``data[start:end]``.

    Raises:
      StatusError: INVALID_ARGUMENT ``tensor parsing error: <alias>``.
      WireError: these bytes are no message at all.
    """
    dtype, rank_is_known, content, raw = 0, True, None, None
    shape: list[int] = []
    for number, kind, first, last in wire.fields(data, start, end):
        if number == 1 and kind == wire.VARINT:
            dtype = first
        elif number == 2 and kind == wire.LENGTH:
            dims, known = (_known_shape if last - first <= _REMEMBERED else _shape)(data[first:last])
            shape += dims
            rank_is_known = rank_is_known and known
        elif number == 4 and kind == wire.LENGTH:
            content = (first, last)
        elif kind == wire.LENGTH and number == _RAW_FIELD.get(dtype):
            raw = (first, last) if raw is None else (0, -1)  # in two pieces: not plain
    size = element_size(dtype) if dtype <= 32 else 0
    declared = size or 24
    for dim in shape:
        declared *= max(dim, 0)
    if declared > max(_DECLARED_AT_MOST, _EXPANSION_AT_MOST * (end - start)) or len(shape) > _HIGHEST_RANK:
        raise invalid_argument(f"tensor parsing error: {alias}")
    if end - start >= _LARGE and dtype in _ANY_BYTES and rank_is_known and min(shape, default=0) >= 0:
        place = content if content and content[0] < content[1] else raw
        if place and place[1] - place[0] == declared:
            return Tensor.from_memory(dtype, shape, data, place[0])
    try:
        return Tensor.from_proto(data, start, end - start)
    except StatusError as error:
        if "TensorProto" in error.message:  # TensorFlow: "Unparseable tensorflow.TensorProto proto"
            raise wire.WireError("a tensor that is no message") from error
        raise invalid_argument(f"tensor parsing error: {alias}") from error


def _shape(data: bytes) -> tuple[list[int], bool]:
    """A serialized TensorShapeProto's dimensions, and whether it has a rank."""
    shape, known = list[int](), True
    for number, kind, first, last in wire.fields(data):
        if number == 2 and kind == wire.LENGTH:
            size = 0
            for field, field_kind, value, _ in wire.fields(data, first, last):
                if field == 1 and field_kind == wire.VARINT:
                    size = wire.signed(value)
            shape.append(size)
        elif number == 3 and kind == wire.VARINT and first:
            known = False
    return shape, known


_known_shape = functools.lru_cache(1024)(_shape)


def of_strings(values: Sequence[bytes], shape: Sequence[int] | None = None) -> Tensor:
    """The tensor of strings ``values``, row by row; 1-D unless a shape is given."""
    dims = b"".join(
        wire.length_field(2, wire.varint_field(1, dim)) for dim in (shape if shape is not None else [len(values)])
    )
    lengths = list(map(len, values))
    heads = {length: wire.header(8, length) for length in set(lengths)}
    pieces = itertools.chain.from_iterable(zip(map(heads.__getitem__, lengths), values, strict=True))
    return Tensor.from_proto(b"".join([wire.varint_field(1, STRING), wire.length_field(2, dims), *pieces]))


def encode(tensor: Tensor, as_content: bool = False) -> tuple[list[Buffer], int]:
    """A tensor as a serialized TensorProto: pieces to be joined, and their length together.

    Typed fields with every element, or ``tensor_content``. The pieces are views of the tensor's memory where they can be: join
    them while the tensor lives.
    """
    dtype = tensor.dtype
    head = _head(dtype, tensor.shape)
    body = _content(tensor, dtype) if as_content else _values(tensor, dtype)
    return [head, *body], len(head) + sum(map(len, body))


@functools.lru_cache(1024)
def _head(dtype: int, shape: tuple[int, ...]) -> bytes:
    """The dtype and the shape of a TensorProto."""
    dims = b"".join(wire.length_field(2, wire.varint_field(1, dim) if dim else b"") for dim in shape)
    return wire.varint_field(1, dtype) + wire.length_field(2, dims)


def _values(tensor: Tensor, dtype: int) -> list[Buffer]:
    if dtype == STRING:
        pieces: list[Buffer] = []
        for value in tensor.strings():
            pieces += (wire.header(8, len(value)), value)
        return pieces
    if dtype in _RAW_FIELD:
        memory = tensor.memory()
        return [wire.header(_RAW_FIELD[dtype], len(memory)), memory] if memory else []
    if dtype in _VARINT_FIELD:
        field, letter = _VARINT_FIELD[dtype]
        memory = tensor.memory()
        if len(memory) >= _LARGE:
            packed = packed_integers.packed(memory, letter)
            return [wire.header(_FIELD_NUMBER[field], len(packed)), packed]
        message = tensorflow_pb2.TensorProto()
        getattr(message, field).extend(elements(tensor))
        return [message.SerializeToString()]
    raise StatusError(Code.UNIMPLEMENTED, f"Output tensors of type {type_name(dtype)} cannot be sent")


def elements(tensor: Tensor) -> list[Any]:
    """Its elements as Python's numbers, row by row; half and bfloat16 as their bits. Not of strings and complex numbers."""
    letter: Any = _MEMORY_FORMAT[tensor.dtype]
    return tensor.memory().cast(letter).tolist()


def from_elements(dtype: int, shape: Sequence[int], values: Sequence[Any]) -> Tensor:
    """The tensor of Python's numbers that fit its dtype, row by row."""
    memory = bytes(values) if dtype == BOOL else array.array(_MEMORY_FORMAT[dtype], values).tobytes()
    return Tensor.from_memory(dtype, shape, memory)


def _content(tensor: Tensor, dtype: int) -> list[Buffer]:
    if dtype != STRING:
        memory = tensor.memory()
        return [wire.header(4, len(memory)), memory] if memory else []
    strings = tensor.strings()
    content = b"".join([*(wire.varint(len(value)) for value in strings), *strings])
    return [wire.length_field(4, content)] if strings else []


def type_name(dtype: int) -> str:
    """``DT_FLOAT`` and so on."""
    try:
        return DataType.Name(dtype)  # type: ignore[arg-type]
    except ValueError:
        return f"DataType {dtype}"


def short_type_name(dtype: int) -> str:
    """``float`` and so on, as TensorFlow prints types in texts."""
    return type_name(dtype).removeprefix("DT_").lower()


def shape_text(shape: Sequence[int]) -> str:
    """``[2,3]``"""
    return "[" + ",".join(map(str, shape)) + "]"
