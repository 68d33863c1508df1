"""Protocol buffers on the wire: just enough to take a message apart without copying its insides, and to put one together.

The generated classes do this too, but every level of parsing copies, and a 64 MiB tensor would be copied three times before it
is a tensor. Here a field is a place in the one request; examples pass through as the bytes they are.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

VARINT, FIXED64, LENGTH, START_GROUP, END_GROUP, FIXED32 = range(6)
_DEEPEST_GROUP = 100

#: A field: (number, wire type, start, end). Of LENGTH, the content is ``data[start:end]``; of VARINT, ``start`` is the value.
Field = tuple[int, int, int, int]


class MalformedMessageError(ValueError):
    """The bytes are no message."""


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """(value, where it ends) of the varint at ``at``."""
    value = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
        if shift >= 70:
            break
    raise MalformedMessageError("a number without an end")


def fields(data: bytes, at: int = 0, end: int | None = None) -> Iterator[Field]:
    """The fields of the message in ``data[at:end]``, in their order.

    Raises:
      MalformedMessageError: while iterating, where the bytes stop being a message.
    """
    end = len(data) if end is None else end
    while at < end:
        tag = data[at]
        if tag < 0x80:
            at += 1
        else:
            tag, at = read_varint(data, at, end)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise MalformedMessageError("a field number that does not exist")
        if kind == LENGTH:
            if at < end and data[at] < 0x80:
                size, at = data[at], at + 1
            else:
                size, at = read_varint(data, at, end)
            if size > end - at:
                raise MalformedMessageError("a field longer than its message")
            yield number, kind, at, at + size
            at += size
        elif kind == VARINT:
            value, at = read_varint(data, at, end)
            yield number, kind, value, at
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
            if size > end - at:
                raise MalformedMessageError("a number longer than its message")
            yield number, kind, at, at + size
            at += size
        elif kind == START_GROUP:
            at = _skip_group(data, at, end, number)
        else:
            raise MalformedMessageError("an unknown wire type")


def _skip_group(data: bytes, at: int, end: int, number: int) -> int:
    """Where the group that began before ``at`` ends. Groups are long gone from the messages here; any is unknown."""
    open_groups = [number]
    while open_groups:
        tag, at = read_varint(data, at, end)
        number, kind = tag >> 3, tag & 7
        if kind == START_GROUP:
            open_groups.append(number)
            if len(open_groups) > _DEEPEST_GROUP:
                raise MalformedMessageError("groups nested too deeply")
        elif kind == END_GROUP:
            if open_groups.pop() != number:
                raise MalformedMessageError("the end of another group")
        elif kind == VARINT:
            _, at = read_varint(data, at, end)
        elif kind in (LENGTH, FIXED32, FIXED64):
            size, at = read_varint(data, at, end) if kind == LENGTH else (4 if kind == FIXED32 else 8, at)
            at += size
            if at > end:
                raise MalformedMessageError("a field longer than its message")
        else:
            raise MalformedMessageError("an unknown wire type")
    return at


def text(data: bytes, start: int, end: int) -> str:
    """A string field's value; proto3 strings are UTF-8."""
    try:
        return str(data[start:end], "utf-8")
    except UnicodeDecodeError as error:
        raise MalformedMessageError("a string that is no UTF-8") from error


def map_entry(data: bytes, start: int, end: int) -> tuple[str, bytes | None, int, int]:
    """(key, source, start, end) of an entry of a ``map<string, message>``: the value is ``source[start:end]``.

    The source is None, for ``data`` itself, unless the value stands in pieces, which are joined (as messages merge).
    """
    key, pieces = "", []
    for number, kind, first, last in fields(data, start, end):
        if kind == LENGTH and number == 1:
            key = text(data, first, last)
        elif kind == LENGTH and number == 2:
            pieces.append((first, last))
    if len(pieces) == 1:
        return key, None, *pieces[0]
    value = b"".join(data[first:last] for first, last in pieces)
    return key, value, 0, len(value)


def signed(value: int) -> int:
    """An int64 or int32 field's value of its varint."""
    return value - (1 << 64) if value >= 1 << 63 else value


def varint(value: int) -> bytes:
    """A number (negative ones as int64) as a varint."""
    value &= 0xFFFFFFFFFFFFFFFF
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@functools.cache
def tag(number: int, kind: int) -> bytes:
    return varint(number << 3 | kind)


@functools.lru_cache(4096)
def header(number: int, length: int) -> bytes:
    """What stands before ``length`` bytes of a LENGTH field."""
    return tag(number, LENGTH) + varint(length)


def length_field(number: int, content: bytes) -> bytes:
    return header(number, len(content)) + content


def varint_field(number: int, value: int) -> bytes:
    return tag(number, VARINT) + varint(value)
