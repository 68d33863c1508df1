"""What a server says is shown without what was sent to it.

Every source of requests is wrapped: what is taken from it is noted. When an attempt is over, its texts are searched for the values of
what was noted, in every form in which a server may quote them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from infra_validator.core.deadline import Deadline, News, wait_until
from infra_validator.core.errors import DeadlineExceeded, InfrastructureError
from infra_validator.core.read_beside import Ended, ReadBeside
from infra_validator.core.sample_request import RequestSource, SampleRequest
from infra_validator.core.signals.interruption import Interruption
from infra_validator.validation.redaction.search import Search, TooManyFinds
from infra_validator.validation.redaction.sent_values import look_for_values

#: Shown in place of a text that cannot be cleaned.
WITHHELD = "(not shown: it may quote the requests, and what of it does could not be told; --show-requests shows it)"

_MOST_BYTES = (
    64 * 2**20
)  # of requests that are kept in memory; those before are read again when a text is to be cleaned
_OF_EACH = 500  # bytes that a request costs beside its content
_READ_AGAIN_SECONDS = 120.0


class Redaction:
    """Notes what is sent in a validation, and takes it out of what servers say. Used by several threads.

    Args:
      names: what may be said: names that the model gives to its own parts.
      show: whether to do nothing.
      most_bytes: how much of what was sent is kept in memory. What was sent before is read anew from its source; where that gives
        other requests, or does not give them in time, texts are withheld.
    """

    def __init__(self, names: Iterable[str] = (), *, show: bool = False, most_bytes: int = _MOST_BYTES) -> None:
        self._names = tuple(names)
        self._show = show
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._kept: dict[bytes, SampleRequest] = {}
        self._bytes = 0
        self._readings: dict[RequestSource, list[_Reading]] = {}
        self._forgot = False

    def noting(self, source: RequestSource) -> RequestSource:
        """The same source, each of whose requests is noted as it is taken."""
        return source if self._show else dataclasses.replace(source, make=lambda: self._noted(source))

    def cleaned(
        self, texts: Sequence[str], deadline: Deadline | None = None, interruption: Interruption | None = None
    ) -> list[str]:
        """The texts without what was sent.

        Args:
          texts: what a server said.
          deadline, interruption: end a second reading of the source, if there must be one; without a deadline there is none, and what
            would need it is withheld.
        """
        with self._lock:
            kept, forgot = list(self._kept.values()), self._forgot
        if self._show or not kept or not any(texts):
            return list(texts)
        search = Search(texts, self._names)
        try:
            for request in kept:
                look_for_values(search, request)
            if forgot and not (deadline and self._read_again(search, deadline, interruption or Interruption())):
                return [WITHHELD if text else "" for text in texts]
        except TooManyFinds:
            return [WITHHELD if text else "" for text in texts]
        return search.cleaned()

    def saying(self, say: Callable[[str], None]) -> Callable[[str], None]:
        """``say``, for lines that may hold a server's words."""
        return say if self._show else lambda line: say(self.cleaned([line])[0])

    # ---------------------------------------------------------------- noting

    def _noted(self, source: RequestSource) -> Iterator[SampleRequest]:
        reading = _Reading()
        with self._lock:
            readings = self._readings.setdefault(source, [])
            readings.append(reading)
        try:
            for request in source():
                with self._lock:
                    reading.note(request)
                    self._keep(request)
                yield request
        finally:
            with self._lock:
                if any(other is not reading and other.told == reading.told for other in readings):
                    readings.remove(reading)

    def _keep(self, request: SampleRequest) -> None:
        if request.payload in self._kept:
            return
        self._kept[request.payload] = request
        self._bytes += _weight(request)
        while self._bytes > self._most_bytes and len(self._kept) > 1:
            oldest = next(iter(self._kept))
            self._bytes -= _weight(self._kept.pop(oldest))
            self._forgot = True

    # ---------------------------------------------------------------- reading again

    def _read_again(self, search: Search, deadline: Deadline, interruption: Interruption) -> bool:
        """Look for the values of everything that was sent, read anew; returns whether it was the same."""
        with self._lock:
            readings = {source: {r.told for r in of_it} for source, of_it in self._readings.items()}
        limit = deadline.capped(_READ_AGAIN_SECONDS)
        return all(_same(source, told, search, limit, interruption) for source, told in readings.items())


class _Reading:
    """One reading of a source: how many requests were taken, and the digest of those."""

    def __init__(self) -> None:
        self._count = 0
        self._digest = hashlib.blake2b(digest_size=16)

    def note(self, request: SampleRequest) -> None:
        self._count += 1
        self._digest.update(len(request.payload).to_bytes(8, "little"))
        self._digest.update(request.payload)

    @property
    def told(self) -> tuple[int, bytes]:
        return self._count, self._digest.digest()


def _weight(request: SampleRequest) -> int:
    return len(request.payload) + len(request.rest_body or b"") + _OF_EACH


def _same(
    source: RequestSource,
    told: set[tuple[int, bytes]],
    search: Search,
    deadline: Deadline,
    interruption: Interruption,
) -> bool:
    """Whether the source gives what it gave; its values are looked for as they come, in the thread that reads them."""
    missing = {reading for reading in told if reading[0]}
    longest = max((count for count, _ in missing), default=0)
    reading, news = _Reading(), News()
    ended: list[Ended] = []

    def hand_over(item: SampleRequest | Ended) -> None:
        if isinstance(item, Ended):
            ended.append(item)
            news.announce()
            return
        reading.note(item)
        look_for_values(search, item)
        missing.discard(reading.told)
        if reading.told[0] < longest:
            again.give_back()
        else:
            ended.append(Ended(None))
            news.announce()

    def over() -> bool | None:
        interruption.check()
        return True if ended else None

    again = ReadBeside(source(), hand_over, at_once=1)
    interruption.wakes(news)
    try:
        with again:
            wait_until(over, deadline, news=news)
    except (DeadlineExceeded, InfrastructureError):  # not in time, or interrupted
        return False
    finally:
        interruption.forget(news)
    if isinstance(ended[0].error, TooManyFinds):
        raise ended[0].error
    return not missing and ended[0].error is None
