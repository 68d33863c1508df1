"""The protobuf wire format, as little of it as the probe's messages need."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT, FIXED64, BYTES, START_GROUP, END_GROUP, FIXED32 = 0, 1, 2, 3, 4, 5

_DEEPEST_GROUP = 100  # protobuf's own recursion limit


class WireError(Exception):
    """Bytes that are no protobuf message."""


def encode_varint(value: int) -> bytes:
    """A varint; negative numbers as protobuf writes an int64 (ten octets)."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_number(field: int, value: int) -> bytes:
    return encode_varint(field << 3 | VARINT) + encode_varint(value)


def encode_bytes(field: int, value: bytes) -> bytes:
    return encode_varint(field << 3 | BYTES) + encode_varint(len(value)) + value


def decode_varint(data: bytes, at: int) -> tuple[int, int]:
    """(the 64-bit number at ``at``, where it ends)."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise WireError("a number that is cut off")
        octet = data[at]
        at += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value & (1 << 64) - 1, at
    raise WireError("a number of more than ten octets")


def fields(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """The fields of a message, one by one: (number, wire type, the value of a varint, the octets of a length-delimited field).

    Fixed-width fields and groups are checked and left out: no message of ours has one.

    Raises:
      WireError: the bytes are no message.
    """
    groups: list[int] = []
    at = 0
    while at < len(data):
        tag, at = decode_varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise WireError(f"field number {number}")
        value, octets = 0, b""
        if wire_type == VARINT:
            value, at = decode_varint(data, at)
        elif wire_type == BYTES:
            length, at = decode_varint(data, at)
            octets = data[at : at + length]
            at += length
        elif wire_type in (FIXED64, FIXED32):
            at += 8 if wire_type == FIXED64 else 4
        elif wire_type == START_GROUP and len(groups) < _DEEPEST_GROUP:
            groups.append(number)
        elif wire_type == END_GROUP and groups and groups[-1] == number:
            groups.pop()
        else:
            raise WireError(f"wire type {wire_type} in field {number}")
        if at > len(data):
            raise WireError(f"field {number} is cut off")
        if not groups and wire_type in (VARINT, BYTES):
            yield number, wire_type, value, octets
    if groups:
        raise WireError("a group without an end")


def signed(value: int, bits: int) -> int:
    """A varint's value as a two's complement number of ``bits`` bits (int64, or int32 and enums)."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
