"""Which of the sample requests become the records of a warm-up file: fairly spread over what is asked, and bounded."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Mapping

from infra_validator.core.sample_request import RequestOrigin, RequestSource, SampleRequest
from infra_validator.sample_requests.files.prediction_log import MOST_WARMUP_RECORDS, fits_warmup_file


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a server warms up for at once: one way to ask.

    Attributes:
      method: the RPC.
      signature: the signature asked.
      rows: the batch size; None where there is none.
    """

    method: str
    signature: str
    rows: int | None

    @classmethod
    def of(cls, request: SampleRequest) -> Kind:
        """The kind of a request."""
        return cls(request.method, request.signature, request.rows)

    def __str__(self) -> str:
        return self.signature if self.rows is None else f"{self.signature} with batch size {self.rows}"


class CountedRequests:
    """A source of requests that notes how many of each kind it gave.

    The first request is asked alone, so that its answer can be timed.

    Args:
      source: the source.

    Attributes:
      given: how many there were of each kind, in the order in which they came first; of a run that came to its end.
      unfit: why one cannot stand in a warm-up file, and how many of these there were.
    """

    def __init__(self, source: RequestSource) -> None:
        self._source = source
        self.given: Mapping[Kind, int] = {}
        self.unfit: Mapping[str, int] = {}

    @property
    def origin(self) -> RequestOrigin:
        """Where they come from."""
        return self._source.origin

    @property
    def source(self) -> RequestSource:
        """The same requests."""
        return dataclasses.replace(self._source, make=self._counted)

    def fit(self) -> Iterator[SampleRequest]:
        """Those that a warm-up file can hold, made anew."""
        return (request for request in self._source() if not fits_warmup_file(request))

    def _counted(self) -> Iterator[SampleRequest]:
        given: collections.Counter[Kind] = collections.Counter()
        unfit: collections.Counter[str] = collections.Counter()
        for number, request in enumerate(self._source(), 1):
            problem = fits_warmup_file(request)
            if problem:
                unfit[problem] += 1
            else:
                given[Kind.of(request)] += 1
            yield dataclasses.replace(request, after_all_before=True) if number == 2 else request
        self.given, self.unfit = given, unfit


def shares(given: Mapping[Kind, int], most: int = MOST_WARMUP_RECORDS) -> dict[Kind, int]:
    """How many records each kind gets of ``most``: all of what is rare, the same number of what is not.

    Of more kinds than ``most``, the first get one each.
    """
    some = dict(list(given.items())[:most])
    left = most
    got = {}
    for place, (kind, count) in enumerate(sorted(some.items(), key=lambda item: item[1])):
        got[kind] = min(count, left // (len(some) - place))
        left -= got[kind]
    return {kind: got[kind] for kind in some}


def first_of_each(requests: Iterable[SampleRequest], shares: Mapping[Kind, int]) -> Iterator[SampleRequest]:
    """The first requests of each kind, as many as its share is; no more are read than needed."""
    left = dict(shares)
    missing = sum(left.values())
    for request in requests:
        kind = Kind.of(request)
        if left.get(kind, 0):
            left[kind] -= 1
            missing -= 1
            yield request
        if not missing:
            return


def sentences(given: Mapping[Kind, int], taken: Mapping[Kind, int], unfit: Mapping[str, int]) -> tuple[str, ...]:
    """What people should know of requests that are not in the file; none where all are.

    Args:
      given: how many requests there were of each kind.
      taken: how many of them are in the file.
      unfit: why others cannot be, and how many.
    """
    told = []
    if sum(taken.values()) < sum(given.values()):
        each = ", ".join(f"{taken[kind]} of {count} for {kind}" for kind, count in given.items() if kind in taken)
        none = [kind for kind in given if kind not in taken]
        rest = f"; nothing of {len(none)} more, such as {none[0]}" if none else ""
        told.append(
            f"The warm-up file holds {sum(taken.values())} of {sum(given.values())} requests, the first of each signature and batch"
            f" size: {each}{rest}."
        )
    told += [f"{count} requests are not in the warm-up file: {problem}." for problem, count in unfit.items()]
    return tuple(told)
