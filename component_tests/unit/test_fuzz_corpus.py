"""Every input that the fuzzer keeps, tried by every run of the tests: only the errors that a parser documents come out of it."""

from __future__ import annotations

import pytest

from component_tests.fuzz.target import CORPUS, Target, varied
from component_tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_parser_bears_what_is_kept(target: Target) -> None:
    kept = target.corpus()
    assert kept
    for path in kept:
        target(path.read_bytes())


def test_nothing_is_kept_for_nobody() -> None:
    assert sorted(folder.name for folder in CORPUS.iterdir()) == sorted(TARGETS)


def test_an_undocumented_error_is_a_crash() -> None:
    with pytest.raises(KeyError):
        Target("broken", lambda data: {b"": 0}[data], (ValueError,))(b"x")
    Target("sound", lambda data: int(data), (ValueError,))(b"x")


def test_bytes_vary_a_document() -> None:
    good = {"a": [1, {"b": "c"}], "d": 2}
    assert varied(good, b"") == good
    assert varied(good, bytes([0, 0, 0])) == {"a": None, "d": 2}
    assert varied(good, bytes([0, 3, 255])) == {"a": [1, {}], "d": 2}
    assert varied(good, b'{"own": 1}') == {"own": 1}
    assert varied(good, b"{broken") is None
