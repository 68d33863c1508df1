"""A source of requests, read by a thread of its own: one that is slow or hangs holds up no limit and no signal."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator

from infra_validator.core.deadline import Deadline, News, wait_until
from infra_validator.core.errors import DeadlineExceeded, InfrastructureError
from infra_validator.core.read_beside import Ended, ReadBeside
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import RequestSource, SampleRequest
from infra_validator.core.signals.interruption import Interruption


def read_within(
    make: Callable[[], Iterable[SampleRequest]],
    deadline: Deadline,
    interruption: Interruption,
    *,
    at_once: int,
    too_slow: str,
) -> Generator[SampleRequest, None, None]:
    """The requests that ``make`` makes.

    Args:
      make: called and iterated by the thread.
      deadline: when the last must have come.
      interruption: ends the reading.
      at_once: how many requests may be in memory.
      too_slow: what to say where the last has not come in time.

    Raises:
      InfrastructureError: REQUESTS_TOO_SLOW, INTERRUPTED; and what the source raises.
    """
    waiting: collections.deque[SampleRequest | Ended] = collections.deque()
    news = News()

    def hand_over(item: SampleRequest | Ended) -> None:
        waiting.append(item)
        news.announce()

    def come() -> bool | None:
        interruption.check()
        return True if waiting else None

    interruption.wakes(news)
    try:
        with ReadBeside(_calling(make), hand_over, at_once) as reading:
            while True:
                wait_until(come, deadline, news=news)
                item = waiting.popleft()
                if isinstance(item, SampleRequest):
                    yield item
                    reading.give_back()
                elif item.error is not None:
                    raise item.error
                else:
                    return
    except DeadlineExceeded as error:
        raise InfrastructureError(ReasonCode.REQUESTS_TOO_SLOW, too_slow) from error
    finally:
        interruption.forget(news)


def _calling(make: Callable[[], Iterable[SampleRequest]]) -> Iterator[SampleRequest]:
    """The requests, made when they are iterated: calling a source may be what takes long."""
    yield from make()


def check_first_request(requests: RequestSource, deadline: Deadline, interruption: Interruption) -> None:
    """Have the mistakes that the first request shows before anything is started. The source may be slow, or hang."""
    reading = read_within(requests, deadline, interruption, at_once=1, too_slow="Not even the first one came.")
    with contextlib.closing(reading):
        if next(reading, None) is None:
            raise InfrastructureError(ReasonCode.NO_EXAMPLES)
