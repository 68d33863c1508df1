"""Which requests become warm-up records."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_validator.core.sample_request import RequestOrigin, RequestSource, SampleRequest
from infra_validator.sample_requests.files.prediction_log import LARGEST_REQUEST, fits_warmup_file
from infra_validator.sample_requests.questions import methods
from infra_validator.validation.warmup.selection import CountedRequests, Kind, first_of_each, sentences, shares


def kind(name: str, rows: int | None = 1) -> Kind:
    return Kind(methods.PREDICT, name, rows)


def request(name: str, rows: int | None = 1, method: str = methods.PREDICT) -> SampleRequest:
    return SampleRequest(method, name, b"", f"{name} {rows}", rows)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([1], [1]),
        ([2000], [1000]),
        ([500, 500], [500, 500]),
        ([3, 2000], [3, 997]),
        ([2000, 3], [997, 3]),
        ([900, 400, 100], [500, 400, 100]),
        ([2000, 2000, 2000], [333, 333, 334]),
        ([1] * 1200, [1] * 1000),
    ],
)
def test_the_rare_is_taken_whole_and_the_rest_alike(given: list[int], expected: list[int]) -> None:
    got = shares({kind(str(number)): count for number, count in enumerate(given)})
    assert list(got.values()) == expected
    assert list(got) == [kind(str(number)) for number in range(len(expected))]


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 60))
def test_as_many_as_there_may_be(counts: list[int], most: int) -> None:
    given = {kind(str(number)): count for number, count in enumerate(counts)}
    got = shares(given, most)
    assert sum(got.values()) == min(most, sum(counts)) or len(counts) > most
    assert all(1 <= got[one] <= given[one] for one in got)
    least = [number for one, number in got.items() if number < given[one]]
    assert not least or max(least) - min(least) <= 1


def test_the_first_of_each_and_no_more_is_read_than_needed() -> None:
    read = []

    def source() -> Iterator[SampleRequest]:
        for number, name in enumerate("aabacbba"):
            read.append(number)
            yield dataclasses.replace(request(name), label=str(number))

    taken = first_of_each(source(), {kind("a"): 2, kind("b"): 1, kind("c"): 1})
    assert [one.label for one in taken] == ["0", "1", "2", "4"]
    assert read == [0, 1, 2, 3, 4]


def test_a_source_is_counted_anew_each_time_and_the_first_is_asked_alone() -> None:
    def make() -> Iterator[SampleRequest]:
        yield from [request("a"), request("a", 4), request("a"), request("b", None), request("c", method="/other/Do")]

    counted = CountedRequests(RequestSource(make, RequestOrigin.GENERATED, ("a",)))
    for _ in range(2):
        given = list(counted.source())
        assert [one.after_all_before for one in given] == [False, True, False, False, False]
        assert counted.given == {kind("a"): 2, kind("a", 4): 1, kind("b", None): 1}
        assert list(counted.unfit.values()) == [1]
    assert (counted.source.origin, counted.source.signatures) == (RequestOrigin.GENERATED, ("a",))
    next(iter(counted.source()))
    assert sum(counted.given.values()) == 4  # a run that was left early does not count
    assert [one.signature for one in counted.fit()] == ["a", "a", "a", "b"]


class _Huge(bytes):
    """Octets of which only the number is there."""

    def __len__(self) -> int:
        return LARGEST_REQUEST + 1


def test_what_no_reader_could_read_does_not_fit() -> None:
    assert fits_warmup_file(dataclasses.replace(request("a"), payload=b"x" * 100)) == ""
    assert "2 GiB" in fits_warmup_file(dataclasses.replace(request("a"), payload=_Huge()))
    assert "/other/Do" in fits_warmup_file(request("a", method="/other/Do"))


def test_what_is_left_out_is_said() -> None:
    given = {kind("a"): 5, kind("b", 4): 2, kind("c", None): 1}
    assert sentences(given, given, {}) == ()
    first, second = sentences(given, {kind("a"): 2, kind("b", 4): 1}, {"it is huge": 3})
    assert first == (
        "The warm-up file holds 3 of 8 requests, the first of each signature and batch size: 2 of 5 for a with batch size 1, "
        "1 of 2 for b with batch size 4; nothing of 1 more, such as c."
    )
    assert second == "3 requests are not in the warm-up file: it is huge."
