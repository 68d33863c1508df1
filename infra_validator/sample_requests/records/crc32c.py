"""CRC-32C (Castagnoli), which guards every TFRecord: google-crc32c's machine code where an extra that reads records brought it."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable

_POLYNOMIAL = 0x82F63B78  # reversed
_MASK_DELTA = 0xA282EAD8  # TFRecord's; see tensorflow's crc32c.h


def masked_crc32c(data: bytes) -> int:
    """The checksum as a TFRecord stores it."""
    crc = _implementation()(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """The checksum in pure Python, about 15 MB/s."""
    table = _table()
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def is_quick() -> bool:
    """Whether checksums are made by machine code, at gigabytes a second."""
    return _implementation() is not crc32c


@functools.cache
def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_POLYNOMIAL if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


@functools.cache
def _implementation() -> Callable[[bytes], int]:
    try:
        library = importlib.import_module("google_crc32c")
    except ImportError:
        return crc32c
    value: Callable[[bytes], int] = library.value
    return value if library.implementation == "c" else crc32c
