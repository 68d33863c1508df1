"""The protobuf wire format: the one reader and the one writer of the package.

The generated classes do this too, but they cost an import that the probe cannot pay, every level of parsing copies (a tensor of 64
MiB three times before it is a tensor), and a field cannot be had out of a graph of a gigabyte without the rest. Here a field is a
place in the buffer: nothing is copied, and what is not asked for is skipped by its length.

Source: https://protobuf.dev/programming-guides/encoding/. Imported by every run of the probe: nothing but cheap modules here.
"""

from __future__ import annotations

import functools

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterator

    #: What can be read. A memory-mapped file is paged in as it is looked at.
    Buffer = bytes | memoryview | mmap.mmap

#: The wire types. Strings, bytes, messages and packed numbers are LENGTH.
VARINT, FIXED64, LENGTH, START_GROUP, END_GROUP, FIXED32 = range(6)

_DEEPEST_GROUP = 100  # protobuf's own limit


class WireError(ValueError):
    """The bytes are no protobuf message, or not all of one."""


def read_varint(data: Buffer, at: int, end: int) -> tuple[int, int]:
    """Read one varint.

    Args:
      data: the message.
      at: where the number begins.
      end: where the message ends; the number is not read beyond.

    Returns:
      (the value, unsigned, of 64 bits; the place after it).

    Raises:
      WireError: no number ends there.
    """
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise WireError("a number that is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise WireError("a number of more than ten octets")


def fields(data: Buffer, at: int = 0, end: int | None = None) -> Iterator[tuple[int, int, int, int]]:
    """The fields of the message in ``data[at:end]``, in their order.

    Groups, which no message here has, are checked and left out.

    Args:
      data: what holds the message.
      at, end: where it begins and ends in ``data``; by default all of it.

    Returns:
      For each field (its number, its wire type, start, end). The content is ``data[start:end]``; only of VARINT, ``start`` is the
      value itself (unsigned, see ``signed``), and ``end`` the place after it.

    Raises:
      WireError: while iterating, where the bytes stop being a message.
    """
    end = len(data) if end is None else end
    while at < end:
        key = data[at]
        if key < 0x80:  # nearly always, and a big graph has a million of these
            at += 1
        else:
            key, at = read_varint(data, at, end)
        number, kind = key >> 3, key & 7
        if not 0 < number < 1 << 29:
            raise WireError(f"field number {number}")
        if kind == LENGTH:
            if at < end and data[at] < 0x80:
                start = at + 1
                at = start + data[at]
            else:
                size, start = read_varint(data, at, end)
                at = start + size
        elif kind == VARINT:
            start, at = read_varint(data, at, end)
        elif kind == FIXED64:
            start, at = at, at + 8
        elif kind == FIXED32:
            start, at = at, at + 4
        elif kind == START_GROUP:
            at = _skip_group(data, at, end, number)
            continue
        else:
            raise WireError(f"wire type {kind} in field {number}")
        if at > end:
            raise WireError(f"field {number} is cut off: the data ends {at - end} bytes early")
        yield number, kind, start, at


def _skip_group(data: Buffer, at: int, end: int, number: int) -> int:
    """The place after the group ``number``, whose content begins at ``at``."""
    groups = [number]
    while groups:
        key, at = read_varint(data, at, end)
        number, kind = key >> 3, key & 7
        if kind == START_GROUP and len(groups) < _DEEPEST_GROUP:
            groups.append(number)
        elif kind == END_GROUP and groups[-1] == number:
            groups.pop()
        elif kind == VARINT:
            _, at = read_varint(data, at, end)
        elif kind == LENGTH:
            size, at = read_varint(data, at, end)
            at += size
        elif kind in (FIXED64, FIXED32):
            at += 8 if kind == FIXED64 else 4
        else:
            raise WireError(f"wire type {kind} in field {number}")
        if at > end:
            raise WireError(f"field {number} is cut off: the data ends {at - end} bytes early")
    return at


def contents(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """As ``fields``, for small messages: (number, wire type, the value of a VARINT, the octets of every other field)."""
    for number, kind, start, end in fields(data):
        if kind == VARINT:
            yield number, kind, start, b""
        else:
            yield number, kind, 0, data[start:end]


def field_numbers(data: Buffer) -> set[int]:
    """The numbers of the fields of a whole message.

    Also to be asked before protobuf's own parser when the bytes may be anything: protobuf 3.20 takes a message that ends in a stray
    end-group tag and only warns.

    Raises:
      WireError: the bytes are no message.
    """
    return {number for number, *_ in fields(data)}


def text(data: Buffer, start: int, end: int) -> str:
    """The value of a string field, ``data[start:end]``; proto3 strings are UTF-8.

    Raises:
      WireError: this one is not.
    """
    try:
        return str(data[start:end], "utf-8")
    except UnicodeDecodeError as error:
        raise WireError("a string that is no UTF-8") from error


def map_entry(data: bytes, start: int, end: int) -> tuple[str, bytes | None, int, int]:
    """(key, source, start, end) of an entry of a ``map<string, message>``: the value is ``source[start:end]``.

    The source is None, for ``data`` itself, unless the value stands in pieces, which are joined (as messages merge).

    Raises:
      WireError: the entry is no message, or its key no UTF-8.
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


def signed(value: int, bits: int = 64) -> int:
    """A VARINT's value as a two's complement number of ``bits`` bits: 64 for int64, 32 for int32 and enums."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def varint(value: int) -> bytes:
    """A number as a varint; negative numbers as an int64 (ten octets)."""
    value &= 0xFFFFFFFFFFFFFFFF
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@functools.lru_cache(1024)
def tag(number: int, kind: int) -> bytes:
    """What stands before the content of a field."""
    return varint(number << 3 | kind)


@functools.lru_cache(4096)
def header(number: int, length: int) -> bytes:
    """What stands before the ``length`` octets of a LENGTH field."""
    return tag(number, LENGTH) + varint(length)


def length_field(number: int, content: bytes) -> bytes:
    """A field of bytes, of a string's UTF-8, or of a serialized message."""
    return header(number, len(content)) + content


def varint_field(number: int, value: int) -> bytes:
    """A field of an integer, a bool or an enum's number."""
    return tag(number, VARINT) + varint(value)
