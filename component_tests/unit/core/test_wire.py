"""The wire format, held against protobuf's own classes."""

from __future__ import annotations

import contextlib
import mmap
import pathlib
import struct

import pytest
from google.protobuf import descriptor_pb2, wrappers_pb2
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from infra_validator.core import wire

INT64 = st.integers(-(2**63), 2**63 - 1)


@given(INT64, st.binary(max_size=300))
def test_fields_are_written_as_protobuf_writes_them(number: int, content: bytes) -> None:
    assert wire.varint_field(1, number) == wrappers_pb2.Int64Value(value=number).SerializeToString() or number == 0
    assert wire.length_field(1, content) == wrappers_pb2.BytesValue(value=content).SerializeToString() or not content


@given(INT64)
def test_numbers_read_back(number: int) -> None:
    encoded = wire.varint(number)
    value, end = wire.read_varint(encoded, 0, len(encoded))
    assert (wire.signed(value), end) == (number, len(encoded))


@pytest.mark.parametrize(
    ("value", "bits", "expected"),
    [(0, 64, 0), (2**64 - 1, 64, -1), (2**64 - 1, 32, -1), (2**31, 32, -(2**31)), (2**31, 64, 2**31), (7, 32, 7)],
)
def test_numbers_with_a_sign(value: int, bits: int, expected: int) -> None:
    assert wire.signed(value, bits) == expected


def test_a_field_is_a_place_in_the_buffer(tmp_path: pathlib.Path) -> None:
    message = wire.varint_field(1, 300) + wire.length_field(2, b"abc") + b"\x1d" + struct.pack("<f", 1.5)
    expected = [(1, wire.VARINT, 300, 3), (2, wire.LENGTH, 5, 8), (3, wire.FIXED32, 9, 13)]
    assert list(wire.fields(message)) == list(wire.fields(memoryview(message))) == expected
    assert next(iter(wire.fields(b"\xff" + message + b"\xff", 1, 14))) == (1, wire.VARINT, 300, 4)
    assert list(wire.contents(message)) == [(1, 0, 300, b""), (2, 2, 0, b"abc"), (3, 5, 0, struct.pack("<f", 1.5))]
    path = tmp_path / "message"
    path.write_bytes(message)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert list(wire.fields(mapped)) == expected


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (b"\x08", "a number that is cut off"),
        (b"\x08" + b"\x80" * 9, "a number that is cut off"),
        (b"\x08" + b"\xff" * 11, "a number of more than ten octets"),
        (b"\x0a\x03ab", "field 1 is cut off: the data ends 1 bytes early"),
        (b"\x0d\x00", "field 1 is cut off: the data ends 3 bytes early"),
        (b"\x02\x00", "field number 0"),
        (b"\x0e", "wire type 6 in field 1"),
        (b"\x0c", "wire type 4 in field 1"),
        (b"\x0b\x14", "wire type 4 in field 2"),
        (b"\x0b\x12\x02a", "field 2 is cut off"),
        (b"\x0b", "a number that is cut off"),
        (b"\x0b" * 101, "wire type 3 in field 1"),
    ],
)
def test_what_is_no_message_is_refused(message: bytes, problem: str) -> None:
    with pytest.raises(wire.WireError, match=problem):
        list(wire.fields(message))


def test_groups_are_left_out() -> None:
    group = b"\x0b" + wire.varint_field(1, 5) + b"\x13" + wire.length_field(9, b"x") + b"\x14" + b"\x0c"
    assert list(wire.contents(group + wire.varint_field(3, 1))) == [(3, wire.VARINT, 1, b"")]
    assert list(wire.fields(b"\x0b" * 100 + b"\x0c" * 100)) == []


@given(st.binary(max_size=60))
def test_what_protobuf_reads_is_read(message: bytes) -> None:
    """It refuses more: strings that are not UTF-8, tags of more than five octets."""
    with contextlib.suppress(DecodeError, SystemError, wire.WireError):
        parsed = descriptor_pb2.DescriptorProto.FromString(message)
        names = [octets for number, kind, _, octets in wire.contents(message) if (number, kind) == (1, wire.LENGTH)]
        name: str | bytes = parsed.name  # the newer implementation gives what is no UTF-8 as bytes
        assert (name if isinstance(name, bytes) else name.encode()) == (names[-1] if names else b"")


def test_a_map_whose_value_stands_in_pieces_is_joined() -> None:
    key = wire.length_field(1, b"k")
    entry = key + wire.length_field(2, b"ab")
    assert wire.map_entry(entry, 0, len(entry)) == ("k", None, 5, 7)
    entry = wire.length_field(2, b"ab") + key + wire.length_field(2, b"cd")
    assert wire.map_entry(entry, 0, len(entry)) == ("k", b"abcd", 0, 4)
    with pytest.raises(wire.WireError, match="no UTF-8"):
        wire.map_entry(b"\x0a\x01\xff", 0, 3)
