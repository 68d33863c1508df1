"""Latencies as an HdrHistogram: the same buckets, the same percentiles, the same file, and what is damaged is told."""

from __future__ import annotations

import base64
import contextlib
import random
import subprocess
import sys
import zlib

import pytest
from hdrh.histogram import HdrHistogram

from infra_validator.core.errors import UsageError
from infra_validator.validation.load.histogram import Latencies, decode, encode, merged


def latencies(*microseconds: int) -> Latencies:
    made = Latencies()
    for value in microseconds:
        made.add(value / 1e6)
    return made


SPREAD = [random.Random(7).randrange(1, 10 ** random.Random(i).randrange(1, 9)) for i in range(3000)]


@pytest.mark.parametrize("percent", [0.0, 1.0, 50.0, 90.0, 95.0, 99.0, 99.9, 100.0])
def test_percentiles_are_those_of_the_library(percent: float) -> None:
    """At every rank that both round alike: the Python port rounds ranks to the nearest, we round up as the Java original does."""
    theirs = HdrHistogram(1, 3_600_000_000, 3)
    for value in SPREAD:
        theirs.record_value(value)
    assert latencies(*SPREAD).percentile(percent or 0.001) * 1000 == theirs.get_value_at_percentile(percent or 0.001)


def test_three_digits_hold() -> None:
    for value in (1, 999, 2047, 2048, 5000, 50_000, 199_999, 59_000_000):
        told = latencies(value).percentile(50.0) * 1000
        assert value <= told <= value * 1.001


@pytest.mark.parametrize(("seconds", "microseconds"), [(0.0, 1), (1e-9, 1), (5000.0, 3_600_000_000)])
def test_what_lies_outside_counts_at_the_edge(seconds: float, microseconds: int) -> None:
    made = Latencies()
    made.add(seconds)
    (key,) = made.counts
    assert key <= microseconds <= key * 1.001
    assert decode(encode(made)).counts == made.counts


def test_encoded_and_decoded_nothing_is_lost() -> None:
    made = latencies(*SPREAD)
    again = decode(encode(made))
    assert (again.counts, again.total) == (made.counts, made.total)
    assert decode(encode(again)).counts == made.counts


def test_the_library_reads_what_we_write() -> None:
    theirs = HdrHistogram.decode(encode(latencies(*SPREAD)))
    assert theirs.get_total_count() == len(SPREAD)
    assert theirs.get_value_at_percentile(99) == latencies(*SPREAD).percentile(99.0) * 1000


def test_merged_files_are_as_one_run() -> None:
    parts = [decode(encode(latencies(*SPREAD[:1000]))), decode(encode(latencies(*SPREAD[1000:])))]
    assert encode(merged(parts)) == encode(latencies(*SPREAD))


def test_an_empty_one() -> None:
    assert decode(encode(Latencies())).total == 0
    assert Latencies().percentile(99.0) == 0.0


def bomb() -> str:
    packed = zlib.compress(bytes(100 << 20))
    return base64.b64encode(b"\x1c\x84\x93\x14" + len(packed).to_bytes(4, "big") + packed).decode()


GOOD = encode(latencies(*SPREAD))
OTHER = HdrHistogram(1, 1000, 2)
OTHER.record_value(5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "AAAA",
        GOOD[:40],
        GOOD[:-8],
        "!" + GOOD[1:],
        GOOD[4:],
        GOOD + GOOD,
        "A" * (2 << 20),
        bomb(),
        OTHER.encode().decode(),
    ],
    ids=["empty", "text", "short", "head", "tail off", "not base64", "shifted", "twice", "long", "bomb", "two digits"],
)
def test_a_damaged_one_is_told_with_its_place(text: str) -> None:
    with pytest.raises(UsageError, match=r"verdict\.json: load\[0\]\.histogram is no readable HdrHistogram"):
        decode(text, "verdict.json: load[0].histogram")


@pytest.mark.parametrize("seed", range(40))
def test_damage_anywhere_is_an_error_of_ours_or_harmless(seed: int) -> None:
    chance = random.Random(seed)
    raw = bytearray(base64.b64decode(GOOD))
    inside = bytearray(zlib.decompress(bytes(raw[8:])))
    for _ in range(chance.randrange(1, 4)):
        inside[chance.randrange(len(inside)) if seed % 2 else chance.randrange(40)] ^= 1 << chance.randrange(8)
    packed = zlib.compress(bytes(inside))
    text = base64.b64encode(bytes(raw[:4]) + len(packed).to_bytes(4, "big") + packed).decode()
    with contextlib.suppress(UsageError):
        assert decode(text).total >= 0


def test_the_package_is_loaded_only_when_a_histogram_is_made() -> None:
    program = (
        "import sys, infra_validator.validation.validation, infra_validator.validation.load.load_generator as l\n"
        "print([name for name in sys.modules if name.startswith('hdrh')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_package_it_says_what_to_install() -> None:
    program = (
        "import sys\n"
        "sys.modules['hdrh'] = None\n"
        "from infra_validator.validation.load.histogram import require_package\n"
        "try:\n    require_package()\n"
        "except Exception as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "PLATFORM_NOT_INSTALLED" in done.stdout
    assert done.stdout.strip().endswith("pip install 'infra-validator[load]'")
