"""TFRecord files as TensorFlow Serving reads a model's warm-up file: never unpacked, and with TensorFlow's words for what is wrong.

Source: tensorflow/core/lib/io/record_reader.cc. As there, what ends within a record's length is the end of the file.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

from infra_validator.sample_requests.records.crc32c import masked_crc32c
from infra_validator.sample_requests.records.tfrecord import HEADER_BYTES, length_of

_CHECKSUM_BYTES = 4


class DamagedRecord(Exception):
    """A record that TensorFlow does not read; the text is TensorFlow's."""


def plain_records(path: str, check_data: bool = True) -> Iterator[bytes]:
    """Every record of a file, one at a time.

    Args:
      path: a local file.
      check_data: whether the checksum of the data is held against it, too.

    Raises:
      DamagedRecord: a record is cut off, or a checksum is wrong; those before it were yielded.
      OSError: the file cannot be read.
    """
    offset = 0
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        while len(header := file.read(HEADER_BYTES)) == HEADER_BYTES:
            length = length_of(header)
            if length is None:
                raise DamagedRecord(
                    f"corrupted record at {offset}{'' if offset else ' (Is this even a TFRecord file?)'}"
                )
            if offset + HEADER_BYTES + length + _CHECKSUM_BYTES > size:
                raise DamagedRecord(f"truncated record at {offset}' failed with Read less bytes than requested")
            data = file.read(length)
            checksum = file.read(_CHECKSUM_BYTES)
            if check_data and checksum != struct.pack("<I", masked_crc32c(data)):
                raise DamagedRecord(f"corrupted record at {offset + HEADER_BYTES}")
            yield data
            offset += HEADER_BYTES + length + _CHECKSUM_BYTES
