"""Latencies as an HdrHistogram: microseconds, three significant digits, and its own compressed form (V2, base64) for files.

While a load runs, latencies are counted in a dictionary (:class:`Latencies`), which costs a fraction of what the histogram's Python
port does; the dictionary's keys are the lower ends of the histogram's own buckets, so that nothing is rounded twice.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from infra_validator.core.errors import InfrastructureError, UsageError
from infra_validator.core.reason_codes import ReasonCode

if TYPE_CHECKING:
    from hdrh.histogram import HdrHistogram

_LOWEST, _HIGHEST, _DIGITS = 1, 3_600_000_000, 3  # microseconds: up to an hour
_BITS = 11  # 2048 sub-buckets: the power of two that holds 2 * 10^3
_LONGEST_TEXT = 1 << 20  # characters; ours take some kilobytes
_LARGEST_PAYLOAD = 40 + 9 * 64 * 1024  # bytes of a decompressed one: the header, and every count at its longest


def require_package() -> None:
    """Raise InfrastructureError if the package that makes histograms is not installed. Called before anything is started."""
    try:
        import hdrh.histogram  # noqa: F401
    except ImportError as error:
        raise InfrastructureError(
            ReasonCode.PLATFORM_NOT_INSTALLED,
            f"Measuring latency under load needs the package hdrhistogram ({error}).",
            next_step="pip install 'infra-validator[load]'",
        ) from error


class Latencies:
    """How often each latency was seen. Written by one thread.

    Attributes:
      counts: latency in microseconds -> how often; each key is the lower end of a bucket of the histogram.
      total: how many there are.
    """

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.total = 0

    def add(self, seconds: float) -> None:
        """Count one latency; below a microsecond counts as one, above an hour as an hour."""
        key = _bucket(min(max(int(seconds * 1e6 + 0.5), _LOWEST), _HIGHEST))
        self.counts[key] = self.counts.get(key, 0) + 1
        self.total += 1

    def merge(self, other: Latencies) -> None:
        """Count all that the other has, too."""
        for key, count in other.counts.items():
            self.counts[key] = self.counts.get(key, 0) + count
        self.total += other.total

    def at_rank(self, rank: int) -> float:
        """The latency in milliseconds that the rank-th fastest request took (from 1): the upper end of its bucket, as
        HdrHistogram has it. 0 where there is none."""
        below = 0
        for key in sorted(self.counts):
            below += self.counts[key]
            if below >= rank:
                return _upper(key) / 1000
        return 0.0

    def percentile(self, percent: float) -> float:
        """The latency in milliseconds that this percentage of the requests did not exceed (nearest rank); 0 where there is none."""
        return self.at_rank(rank_of(percent, self.total))


def rank_of(percent: float, total: int) -> int:
    """Which of ``total`` sorted values is the percentile, from 1."""
    return max(1, -(-total * round(percent * 1000) // 100_000))


def _bucket(value: int) -> int:
    """The lower end of the bucket of a value."""
    shift = max(0, value.bit_length() - _BITS)
    return value >> shift << shift


def _upper(key: int) -> int:
    """The upper end of the bucket with this lower end."""
    return key + (1 << max(0, key.bit_length() - _BITS)) - 1


def merged(parts: Iterable[Latencies]) -> Latencies:
    """All of them together."""
    whole = Latencies()
    for part in parts:
        whole.merge(part)
    return whole


def encode(latencies: Latencies) -> str:
    """The histogram's compressed form (V2) in base64, as every HdrHistogram library reads it."""
    from hdrh.histogram import HdrHistogram

    histogram = HdrHistogram(_LOWEST, _HIGHEST, _DIGITS)
    for key, count in latencies.counts.items():
        histogram.record_value(key, count)
    return str(histogram.encode().decode("ascii"))


def decode(text: str, where: str = "histogram") -> Latencies:
    """The latencies in a histogram's compressed form.

    Args:
      text: V2, base64; of any HdrHistogram library, with three significant digits, in microseconds.
      where: what it is called in messages, e.g. a file's name and field.

    Raises:
      UsageError: it is damaged, or of other settings.
      InfrastructureError: the package is not installed.
    """
    require_package()
    histogram = _read(text, where)
    if histogram.significant_figures != _DIGITS or histogram.unit_magnitude != 0:
        raise _damaged(where, f"it has {histogram.significant_figures} significant digits, not {_DIGITS}")
    latencies = Latencies()
    for index, count in enumerate(histogram.counts):
        if count:
            key = _bucket(min(max(int(histogram.get_value_from_index(index)), _LOWEST), _HIGHEST))
            latencies.counts[key] = latencies.counts.get(key, 0) + int(count)
    latencies.total = sum(latencies.counts.values())
    return latencies


def _read(text: str, where: str) -> HdrHistogram:
    from hdrh.codec import HdrCookieException, HdrHistogramSettingsException, HdrLengthException
    from hdrh.histogram import HdrHistogram

    if len(text) > _LONGEST_TEXT:
        raise _damaged(where, f"it is {len(text)} characters long")
    try:
        compressed = base64.b64decode(text, validate=True)
        inflate = zlib.decompressobj()
        payload = inflate.decompress(compressed[8:], _LARGEST_PAYLOAD)
        if not inflate.eof:
            raise _damaged(where, "it is cut off, or larger than a histogram can be")
        digits = int.from_bytes(payload[12:16], "big")
        lowest, highest = int.from_bytes(payload[16:24], "big"), int.from_bytes(payload[24:32], "big")
        if not (1 <= digits <= 5 and 1 <= lowest <= highest < 1 << 60):
            raise _damaged(where, "its settings make no sense")
        return HdrHistogram.decode(text)
    except (
        binascii.Error,
        zlib.error,
        ValueError,
        IndexError,
        TypeError,
        ArithmeticError,
        HdrCookieException,
        HdrLengthException,
        HdrHistogramSettingsException,
    ) as error:
        if isinstance(error, UsageError):
            raise
        raise _damaged(where, str(error) or type(error).__name__) from error


def _damaged(where: str, problem: str) -> UsageError:
    return UsageError(
        f"{where} is no readable HdrHistogram: {problem}.",
        next_step="Use a verdict.json as it was written; measure again if it is damaged.",
    )
