"""Walks the protobuf wire format, so that one field can be had out of a message of a gigabyte.

A graph's weights and attributes are skipped by their length and never become Python objects.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator

Buffer = mmap.mmap | memoryview | bytes

VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5


class WireError(ValueError):
    """The bytes are no protobuf message, or not all of one."""


def varint(data: Buffer, at: int, end: int) -> tuple[int, int]:
    """(value, offset after it) of the varint at ``at``."""
    value = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise WireError(f"a number at byte {at} does not end")
    raise WireError("the data ends in the middle of a number")


def fields(data: Buffer, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(field number, wire type, start, end) of each field's value between two offsets.

    Raises:
      WireError: a field is malformed, or reaches beyond ``end``.
    """
    while at < end:
        key = data[at]
        if key < 0x80:  # nearly always, and a big graph has a million of these
            at += 1
        else:
            key, at = varint(data, at, end)
        number, kind = key >> 3, key & 7
        start = at
        if kind == DELIMITED:
            length, start = varint(data, at, end)
            at = start + length
        elif kind == VARINT:
            _, at = varint(data, at, end)
        elif kind == FIXED64:
            at += 8
        elif kind == FIXED32:
            at += 4
        else:
            raise WireError(f"there is no wire type {kind} (at byte {start})")
        if number == 0:
            raise WireError(f"there is no field 0 (at byte {start})")
        if at > end:
            raise WireError(f"the data ends {at - end} bytes early")
        yield number, kind, start, at


def field_numbers(data: Buffer) -> set[int]:
    """The numbers of the fields of a whole message.

    Also to be asked before protobuf's own parser when the bytes may be anything: protobuf 3.20 takes a message that ends in a stray
    end-group tag and only warns.

    Raises:
      WireError: the bytes are no message.
    """
    return {number for number, *_ in fields(data, 0, len(data))}
