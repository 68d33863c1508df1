"""TFRecord files: the checksum, reading, and every way in which a file is bad."""

from __future__ import annotations

import gzip
import pathlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from component_tests.unit.sample_requests.examples_on_disk import tfrecord
from infra_validator.sample_requests.records import crc32c
from infra_validator.sample_requests.records.tfrecord import TFRecordError, read_records

RECORDS = [b"first", b"", b"third" * 1000]


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"", 0x00000000),
        (b"123456789", 0xE3069283),
        (b"\x00" * 32, 0x8A9136AA),  # this and the next two: RFC 3720, B.4
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_the_checksum_is_castagnolis(data: bytes, checksum: int) -> None:
    assert crc32c.crc32c(data) == checksum


@given(st.binary(max_size=300))
def test_the_installed_implementation_agrees_with_ours(data: bytes) -> None:
    assert crc32c._implementation()(data) == crc32c.crc32c(data)


def test_the_bytes_are_those_that_tensorflow_writes() -> None:
    """``tf.io.TFRecordWriter`` wrote these of the record b"a"."""
    assert tfrecord([b"a"]).hex() == "01000000000000000175de4161786ee428"


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_records_are_read_back(tmp_path: pathlib.Path, pack: object) -> None:
    assert callable(pack)
    (tmp_path / "f").write_bytes(pack(tfrecord(RECORDS)))
    assert list(read_records(str(tmp_path / "f"))) == RECORDS


def test_gzip_members_one_after_the_other_are_one_file(tmp_path: pathlib.Path) -> None:
    (tmp_path / "f").write_bytes(b"".join(gzip.compress(tfrecord([record])) for record in RECORDS))
    assert list(read_records(str(tmp_path / "f"))) == RECORDS


@pytest.mark.parametrize("content", [b"", gzip.compress(b"")], ids=["plain", "gzip"])
def test_an_empty_file_has_no_records(tmp_path: pathlib.Path, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    assert list(read_records(str(tmp_path / "f"))) == []


def test_every_truncation_is_told_with_the_record(tmp_path: pathlib.Path) -> None:
    whole = tfrecord([b"one", b"two"])
    first = len(tfrecord([b"one"]))
    for length in set(range(1, len(whole))) - {first}:
        (tmp_path / "f").write_bytes(whole[:length])
        with pytest.raises(TFRecordError, match="cut off") as caught:
            list(read_records(str(tmp_path / "f")))
        assert caught.value.record == (1 if length < first else 2)


def test_every_truncation_of_gzip_is_told(tmp_path: pathlib.Path) -> None:
    whole = gzip.compress(tfrecord(RECORDS))
    for length in range(2, len(whole)):
        (tmp_path / "f").write_bytes(whole[:length])
        with pytest.raises(TFRecordError):
            list(read_records(str(tmp_path / "f")))


def test_every_flipped_byte_is_told(tmp_path: pathlib.Path) -> None:
    whole = tfrecord([b"one", b"two"])
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 0x10
        (tmp_path / "f").write_bytes(damaged)
        with pytest.raises(TFRecordError, match="checksum") as caught:
            list(read_records(str(tmp_path / "f")))
        assert caught.value.record == (1 if at < len(whole) // 2 else 2)


def test_records_before_the_bad_one_are_handed_out(tmp_path: pathlib.Path) -> None:
    (tmp_path / "f").write_bytes(tfrecord([b"one", b"two"])[:-1])
    records = read_records(str(tmp_path / "f"))
    assert next(records) == b"one"
    with pytest.raises(TFRecordError, match="f, record 2: "):
        next(records)


def test_damaged_gzip_is_told(tmp_path: pathlib.Path) -> None:
    packed = bytearray(gzip.compress(tfrecord(RECORDS)))
    packed[10:14] = b"\xff" * 4
    (tmp_path / "f").write_bytes(packed)
    with pytest.raises(TFRecordError, match="gzip data is damaged"):
        list(read_records(str(tmp_path / "f")))


def test_another_kind_of_file_is_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / "f").write_text("x,y\n1,2\n3,4\n")
    with pytest.raises(TFRecordError, match="no TFRecord file"):
        list(read_records(str(tmp_path / "f")))


def test_a_length_beyond_reason_is_told_without_taking_the_memory(tmp_path: pathlib.Path) -> None:
    header = struct.pack("<Q", 1 << 60)
    (tmp_path / "f").write_bytes(header + struct.pack("<I", crc32c.masked_crc32c(header)) + b"rest")
    with pytest.raises(TFRecordError, match=str(1 << 60)):
        list(read_records(str(tmp_path / "f")))


def test_a_file_that_cannot_be_opened_is_told(tmp_path: pathlib.Path) -> None:
    with pytest.raises(TFRecordError, match="No such file"):
        list(read_records(str(tmp_path / "f")))
    with pytest.raises(TFRecordError, match="Is a directory"):
        list(read_records(str(tmp_path)))
