"""A protocol, point by point, against anybody's server: how points are written down and run. No protocol is known here.

A point is *passed*, *failed* (it must hold), *advice* (it should hold; clients live with it), or *not judged* with the reason.
"""

from __future__ import annotations

import dataclasses
import enum
import time
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import grpc

from infra_validator.core.errors import shorten

_LONGEST_TEXT = 500

S = TypeVar("S")


class Outcome(enum.Enum):
    """How a point came out."""

    PASSED = "passed"
    FAILED = "failed"
    ADVICE = "advice"
    NOT_JUDGED = "not judged"


class Departure(Exception):
    """The server does something else than the protocol says; the text says what it did."""


class NotJudged(Exception):
    """The point cannot be tested on this server; the text says why."""


@dataclasses.dataclass(frozen=True)
class Point(Generic[S]):
    """One point of a protocol.

    Attributes:
      name: stable, e.g. ``purge-loaded``.
      title: what must hold, one sentence.
      consequence: what happens to callers when it does not.
      must: whether a departure fails the server, or is advice.
      test: raises Departure or NotJudged.
    """

    name: str
    title: str
    consequence: str
    must: bool
    test: Callable[[S], None]


@dataclasses.dataclass(frozen=True)
class Result(Generic[S]):
    """What came out of one point."""

    point: Point[S]
    outcome: Outcome
    detail: str
    seconds: float


class Points(list[Point[S]]):
    """A list of points that fills itself: ``@points.must(name, consequence)`` over a test whose docstring is the title."""

    def must(self, name: str, consequence: str) -> Callable[[Callable[[S], None]], Callable[[S], None]]:
        """A point that has to hold."""
        return self._point(name, consequence, must=True)

    def should(self, name: str, consequence: str) -> Callable[[Callable[[S], None]], Callable[[S], None]]:
        """A point without which callers can live."""
        return self._point(name, consequence, must=False)

    def _point(
        self, name: str, consequence: str, *, must: bool
    ) -> Callable[[Callable[[S], None]], Callable[[S], None]]:
        def add(test: Callable[[S], None]) -> Callable[[S], None]:
            title = " ".join((test.__doc__ or "").split())
            self.append(Point(name, title, consequence, must, test))
            return test

        return add


def run_points(
    subject: S,
    points: Iterable[Point[S]],
    on_result: Callable[[Result[S]], None],
    after_each: Callable[[], None] = lambda: None,
) -> list[Result[S]]:
    """Test every point; ``on_result`` is called after each, and before it ``after_each``, which tidies up."""
    results = []
    for point in points:
        began = time.monotonic()
        outcome, detail = Outcome.PASSED, ""
        try:
            point.test(subject)
        except Departure as error:
            outcome, detail = (Outcome.FAILED if point.must else Outcome.ADVICE), str(error)
        except NotJudged as error:
            outcome, detail = Outcome.NOT_JUDGED, str(error)
        except grpc.RpcError as error:
            outcome, detail = Outcome.FAILED, f"a call failed that must not: {told(error)}"
        finally:
            after_each()
        results.append(Result(point, outcome, detail, time.monotonic() - began))
        on_result(results[-1])
    return results


def told(error: grpc.RpcError | grpc.Call) -> str:
    """Code and description of a failed call."""
    return f"{error.code().name}: {shorten(error.details() or '(no description)', _LONGEST_TEXT)}"
