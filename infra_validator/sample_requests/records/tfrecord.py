"""TFRecord files, plain or gzipped: length, masked CRC-32C of it, data, masked CRC-32C of that."""

from __future__ import annotations

import gzip
import struct
import typing
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import IO

from infra_validator.sample_requests.records.crc32c import masked_crc32c

#: Opens a file for reading bytes; remote file systems bring their own.
OpenFile = Callable[[str], IO[bytes]]

_GZIP_MAGIC = b"\x1f\x8b"
_LONGEST_RECORD = 1 << 31  # bytes; protobuf, and so TensorFlow, reads no message of this size
HEADER_BYTES = 12


class TFRecordError(Exception):
    """A file is no whole TFRecord file.

    Attributes:
      path: the file.
      record: the number of the bad record, the first is 1; 0 if the file itself cannot be opened.
      problem: what is wrong.
    """

    def __init__(self, path: str, record: int, problem: str) -> None:
        self.path = path
        self.record = record
        self.problem = problem
        super().__init__(f"{path}, record {record}: {problem}" if record else f"{path}: {problem}")


def open_local(path: str) -> IO[bytes]:
    """Open a file of this machine for reading."""
    return open(path, "rb")


def decompressed(opened: IO[bytes]) -> IO[bytes]:
    """The content of an open file, unpacked if it is gzipped."""
    magic = opened.read(2)
    opened.seek(0)
    if magic == _GZIP_MAGIC:
        return typing.cast(IO[bytes], gzip.GzipFile(fileobj=opened))
    return opened


def read_records(path: str, open_file: OpenFile = open_local) -> Iterator[bytes]:
    """Every record of a file, one at a time; one record at most is in memory.

    Raises:
      TFRecordError: it cannot be read, is cut off, or a checksum is wrong; the records before the bad one were yielded.
    """
    number = 0
    try:
        with open_file(path) as opened:
            content = decompressed(opened)
            while True:
                number += 1
                record = _read_record(content, path, number)
                if record is None:
                    return
                yield record
    except EOFError as error:
        raise TFRecordError(path, number, "the gzip data is cut off") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise TFRecordError(path, number, f"the gzip data is damaged: {error}") from error
    except OSError as error:
        raise TFRecordError(path, number, error.strerror or str(error)) from error


def _read_record(content: IO[bytes], path: str, number: int) -> bytes | None:
    header = content.read(HEADER_BYTES)
    if not header:
        return None
    if len(header) < HEADER_BYTES:
        raise TFRecordError(path, number, "the file is cut off in the middle of the record's length")
    length = length_of(header)
    if length is None:
        other = " This is no TFRecord file, or a damaged one." if number == 1 else ""
        raise TFRecordError(path, number, f"the checksum of the record's length is wrong.{other}".rstrip("."))
    if length >= _LONGEST_RECORD:
        raise TFRecordError(path, number, f"the record says that it has {length} bytes")
    data = content.read(length)
    checksum = content.read(4)
    if len(data) < length or len(checksum) < 4:
        raise TFRecordError(path, number, "the file is cut off in the middle of the record")
    if struct.unpack("<I", checksum)[0] != masked_crc32c(data):
        raise TFRecordError(path, number, "the checksum of the record's data is wrong")
    return data


def length_of(header: bytes) -> int | None:
    """The length in a record's first 12 bytes; None if its checksum is wrong."""
    length, checksum = struct.unpack("<QI", header)
    return int(length) if checksum == masked_crc32c(header[:8]) else None


def write_records(records: Iterable[bytes], file: IO[bytes]) -> int:
    """Write records, not compressed; returns how many."""
    count = 0
    for record in records:
        header = struct.pack("<Q", len(record))
        file.write(
            header + struct.pack("<I", masked_crc32c(header)) + record + struct.pack("<I", masked_crc32c(record))
        )
        count += 1
    return count
