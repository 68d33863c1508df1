"""Reads a TensorProto from the wire: nothing is copied that need not be, and what hurts costs no more than its own size."""

from __future__ import annotations

import array
import math
from collections.abc import Iterator

from infra_validator.core.answer import ELEMENT_TYPES, STRING, Tensor, UnreadableAnswer, type_name
from infra_validator.core.wire import LENGTH, VARINT, WireError, fields, read_varint, signed

# Field numbers of TensorFlow's tensor.proto and tensor_shape.proto.
_DTYPE, _SHAPE, _CONTENT, _STRINGS = 1, 2, 4, 8
_DIM, _UNKNOWN_RANK = 2, 3

#: dtype -> (the field that holds its values one by one, array's code for them; fixed-width fields have the content's own layout).
_VALUES = {
    1: (5, ""),
    2: (6, ""),
    3: (7, "i"),
    4: (7, "B"),
    5: (7, "h"),
    6: (7, "b"),
    8: (9, ""),
    9: (10, "q"),
    10: (11, "B"),
    11: (7, "b"),
    12: (7, "B"),
    13: (7, "i"),
    14: (13, "H"),
    15: (7, "h"),
    16: (7, "H"),
    17: (7, "H"),
    18: (12, ""),
    19: (13, "H"),
    22: (16, "I"),
    23: (17, "Q"),
}

#: Elements that are only said, not brought: a value that stands for many, as TensorProto allows. Octets of one tensor.
_LARGEST_REPETITION = 1 << 20

_LONGEST_NUMBER = 2**63 - 1


def read_tensor(data: memoryview, start: int, end: int) -> Tensor:
    """The tensor whose TensorProto is ``data[start:end]``.

    Raises:
      UnreadableAnswer, WireError: it is none, or its shape says another number of elements than it brings.
    """
    dtype = 0
    shape: tuple[int, ...] = ()
    content: memoryview | None = None
    values: list[tuple[int, int, int, int]] = []
    strings = 0
    for number, kind, first, last in fields(data, start, end):
        if number == _DTYPE and kind == VARINT:
            dtype = first
        elif number == _SHAPE and kind == LENGTH:
            shape = _shape(data, first, last)
        elif number == _CONTENT and kind == LENGTH:
            content = data[first:last]
        elif number == _STRINGS and kind == LENGTH:
            strings += 1
        elif number > _CONTENT:
            values.append((number, kind, first, last))
    if dtype not in ELEMENT_TYPES:
        raise UnreadableAnswer(f"a tensor of {type_name(dtype)}, which no tensor in an answer can have")
    size = math.prod(shape)
    if dtype == STRING:
        return _strings(data, start, end, shape, size, strings, content)
    if content is None or not len(content):
        content = _from_values(data, dtype, size, values)
    if len(content) != size * ELEMENT_TYPES[dtype].size:
        raise UnreadableAnswer(
            f"a tensor of shape {list(shape)} and {type_name(dtype)} with {len(content)} octets of content"
        )
    return Tensor(dtype, shape, content)


def _shape(data: memoryview, start: int, end: int) -> tuple[int, ...]:
    sizes = []
    for number, kind, first, last in fields(data, start, end):
        if number == _DIM and kind == LENGTH:
            size = 0
            for field, what, value, _ in fields(data, first, last):
                if field == 1 and what == VARINT:
                    size = signed(value)
            if size < 0:
                raise UnreadableAnswer(f"a tensor with a dimension of {size}")
            sizes.append(size)
        elif number == _UNKNOWN_RANK and first:
            raise UnreadableAnswer("a tensor of unknown rank")
    if math.prod(sizes) > _LONGEST_NUMBER:
        raise UnreadableAnswer("a tensor of more elements than can be counted")
    return tuple(sizes)


def _from_values(data: memoryview, dtype: int, size: int, values: list[tuple[int, int, int, int]]) -> memoryview:
    """The content of a tensor whose values stand one by one; the last one stands for all that follow (tensor.proto)."""
    field, code = _VALUES[dtype]
    mine = [(kind, first, last) for number, kind, first, last in values if number == field]
    if not mine:
        return memoryview(b"")
    if not code:
        pieces = [data[first:last] for kind, first, last in mine]
        content = pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))
    else:
        content = memoryview(_numbers(data, code, mine)).cast("B")
    width = ELEMENT_TYPES[dtype].size
    missing = size * width - len(content)
    if missing > 0 and len(content) >= width and len(content) % width == 0:
        if missing > _LARGEST_REPETITION:
            raise UnreadableAnswer(f"a tensor that says {size} elements and brings {len(content) // width}")
        content = memoryview(bytes(content) + bytes(content[-width:]) * (missing // width))
    return content


def _numbers(data: memoryview, code: str, pieces: list[tuple[int, int, int]]) -> array.array[int]:
    """Varints as numbers of a fixed width."""
    numbers = array.array(code)
    bits = numbers.itemsize * 8
    is_signed = code.islower()

    def add(value: int) -> None:
        if is_signed:
            value = signed(value)
            fits = -(1 << bits - 1) <= value < 1 << bits - 1
        else:
            fits = value < 1 << bits
        if not fits:
            raise UnreadableAnswer(f"a value that does not fit into {bits} bits")
        numbers.append(value)

    for kind, first, last in pieces:
        if kind == VARINT:
            add(first)
        elif kind == LENGTH:
            packed = bytes(data[first:last])
            if packed.isascii():  # every number is one octet
                numbers.extend(packed)
                continue
            at = first
            while at < last:
                value, at = read_varint(data, at, last)
                add(value)
    return numbers


def _strings(
    data: memoryview, start: int, end: int, shape: tuple[int, ...], size: int, count: int, content: memoryview | None
) -> Tensor:
    if content is not None and len(content):
        ends = _ends(content, size)

        def of_content() -> Iterator[bytes]:
            at = ends[0]
            for length in ends[1:]:
                yield bytes(content[at : at + length])
                at += length

        return Tensor(STRING, shape, strings=of_content)
    if count != size and not (0 < count < size <= _LARGEST_REPETITION):
        raise UnreadableAnswer(f"a tensor that says {size} strings and brings {count}")

    def of_fields() -> Iterator[bytes]:
        string = b""
        for number, kind, first, last in fields(data, start, end):
            if number == _STRINGS and kind == LENGTH:
                string = bytes(data[first:last])
                yield string
        for _ in range(size - count):
            yield string

    return Tensor(STRING, shape, strings=of_fields)


def _ends(content: memoryview, size: int) -> array.array[int]:
    """Of strings in tensor_content (their lengths, then their octets): where the first begins, and the length of each."""
    if size > len(content):
        raise UnreadableAnswer(f"a tensor that says {size} strings in {len(content)} octets")
    at = total = 0
    lengths = array.array("q", (0,))
    for _ in range(size):
        length, at = read_varint(content, at, len(content))
        total += length
        if total > len(content):
            raise WireError("a string that is cut off")
        lengths.append(length)
    if at + total != len(content):
        raise UnreadableAnswer("a string tensor whose content is longer or shorter than its strings")
    lengths[0] = at
    return lengths
