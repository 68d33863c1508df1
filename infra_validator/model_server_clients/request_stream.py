"""Sends sample requests over a gRPC channel as they come: bounded concurrency, bounded memory, the first news ends it."""

from __future__ import annotations

import collections
import contextlib
import queue
from collections.abc import Callable, Iterable

import grpc

from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.errors import AttemptFailed, DeadlineExceeded, InfrastructureError
from infra_validator.core.read_beside import Ended, ReadBeside
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.model_server_clients.base_client import Job, raise_if_gone
from infra_validator.model_server_clients.request_failures import (
    BROKEN,
    failure_of,
    is_cut,
    is_refused_connection,
    is_unreachable,
    quoted,
    told,
)

_LOOK_SECONDS = 0.02  # how often the job is looked at while requests are under way

#: How long the job's watcher gets to notice that the server ended, when a connection broke.
_NOTICE_SECONDS = 3.0

_MOST_CUTS = 3  # how often the connection may break under one request
_PAUSE_SECONDS = 0.05  # before a request is asked again
_RECONNECT_SECONDS = 10.0  # how long a new connection may take

_GIVEN_UP = "Deadline Exceeded"  # gRPC's own words for a call whose limit it has seen pass
_EARLY_SECONDS = 1.0  # what has to be left of the limit for that to be too early


class _Asked:
    """A request under way.

    Attributes:
      request: the request.
      call: gRPC's call.
      sent: when it was sent last, on the monotonic clock.
      cuts: how often the connection broke under it.
      cut_first: when it did first, on the monotonic clock.
      code, text: gRPC's status and words the last time; empty where the connection never failed.
      given_up_early: whether gRPC has ended the call before its limit.
    """

    __slots__ = ("call", "code", "cut_first", "cuts", "given_up_early", "request", "sent", "text")

    def __init__(self, request: SampleRequest) -> None:
        self.request = request
        self.call: grpc.CallFuture[bytes] | None = None
        self.cuts = 0
        self.sent = 0.0
        self.cut_first = 0.0
        self.code = grpc.StatusCode.OK
        self.text = ""
        self.given_up_early = False

    def cut(self, code: grpc.StatusCode, text: str, now: float) -> _Asked:
        """Note that the connection broke, or could not be made anew."""
        if not self.text:
            self.cut_first = now
        self.code, self.text = code, text
        self.cuts += not is_unreachable(text)
        return self

    def cancel(self) -> None:
        if self.call is not None:
            self.call.cancel()  # type: ignore[no-untyped-call]


class RequestStream:
    """One run of requests.

    The source is read by a thread of its own; calls are gRPC's; both hand what they have to the one queue that this thread waits at.

    Args:
      channel: where to send them.
      deadline: when all must be answered.
      job: how the server's job looks.
      concurrency: how many may be under way at once; no more are held in memory.
      metadata: headers of every request.
      on_answer: called with every request and its answer.
      on_latency: called before with the seconds that it took.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        deadline: Deadline,
        job: Job,
        concurrency: int,
        metadata: tuple[tuple[str, str | bytes], ...] = (),
        on_answer: Callable[[SampleRequest, bytes], None] | None = None,
        on_latency: Callable[[float], None] | None = None,
    ) -> None:
        self._channel = channel
        self._deadline = deadline
        self._job = job
        self._concurrency = concurrency
        self._metadata = metadata
        self._on_answer = on_answer
        self._on_latency = on_latency
        self._calls: dict[str, grpc.UnaryUnaryMultiCallable[bytes, bytes]] = {}
        self._under_way: dict[object, _Asked] = {}
        self._held_back: collections.deque[SampleRequest] = collections.deque()  # read, but not asked yet
        self._events: queue.SimpleQueue[object] = queue.SimpleQueue()  # requests, Ended, finished calls
        self._answered = 0
        self._clock = deadline.clock
        self._began = self._clock.monotonic()
        self._without_requests = 0.0  # seconds during which the source had nothing and no request was under way
        self._next_look = self._began + _LOOK_SECONDS

    def send(self, requests: Iterable[SampleRequest]) -> int:
        """Send them all; returns how many were answered.

        Raises:
          AttemptFailed: REQUEST_FAILED, SIGNATURE_NOT_FOUND or QUERY_TIMEOUT.
          InfrastructureError: REQUESTS_TOO_SLOW, CONNECTION_LOST.
          JobGone: the job ended.
          Exception: what the source raised.
        """
        ended = False
        try:
            with ReadBeside(requests, self._events.put, self._concurrency) as reading:
                while not ended or self._under_way:
                    event = self._next_event(ended)
                    if isinstance(event, SampleRequest):
                        self._held_back.append(event)
                        self._ask_those_whose_turn_it_is()
                    elif isinstance(event, Ended):
                        ended = True
                        if event.error is not None:
                            raise event.error
                    elif self._settle(event):
                        reading.give_back()
                        self._ask_those_whose_turn_it_is()
            return self._answered
        finally:
            for asked in self._under_way.values():
                asked.cancel()

    def _ask_those_whose_turn_it_is(self) -> None:
        """Ask what was read, in its order; a request that waits for all before it holds back those behind it, too."""
        while self._held_back and not (self._held_back[0].after_all_before and self._under_way):
            self._ask(_Asked(self._held_back.popleft()))

    def _ask(self, asked: _Asked) -> None:
        request = asked.request
        call = self._calls.get(request.method)
        if call is None:
            call = self._calls[request.method] = self._channel.unary_unary(request.method, None, None)
        future = call.future(request.payload, timeout=self._deadline.remaining(), metadata=self._metadata)
        asked.call = future
        asked.sent = self._clock.monotonic()
        self._under_way[future] = asked
        future.add_done_callback(self._events.put)

    def _next_event(self, source_ended: bool) -> object:
        """What comes next, looking at the job and the limit now and then, whether anything comes or not."""
        while True:
            now = self._clock.monotonic()
            if now >= self._next_look:
                self._next_look = now + _LOOK_SECONDS
                raise_if_gone(self._job())
                if self._deadline.expired():
                    raise self._timeout(source_ended)
            try:
                return self._events.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                continue
            finally:
                if not self._under_way:
                    self._without_requests += self._clock.monotonic() - now

    def _settle(self, finished: object) -> bool:
        """Take note of a call that ended; returns whether its request is done with."""
        asked = self._under_way[finished]
        call = asked.call
        assert call is not None
        code = call.code()
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise_if_gone(self._job())
            if self._was_given_up_early(asked):
                del self._under_way[finished]
                self._ask(asked)
                return False
            raise self._timeout(False)  # it stays among those that were not answered, of which the first is reported
        del self._under_way[finished]
        if code is grpc.StatusCode.OK:
            self._answered += 1
            if self._on_latency is not None:
                self._on_latency(self._clock.monotonic() - asked.sent)
            if self._on_answer is not None:
                self._on_answer(asked.request, call.result())
            return True
        text = call.details() or ""
        if is_cut(code, text):
            again = asked.cut(code, text, self._clock.monotonic())
            if again.cuts < _MOST_CUTS and self._clock.monotonic() < again.cut_first + _RECONNECT_SECONDS:
                self._watch_the_job(_PAUSE_SECONDS)
                self._ask(again)
                return False
            raise self._connection_failure(again)
        if code in BROKEN:
            self._watch_the_job(_NOTICE_SECONDS)
        raise_if_gone(self._job())
        raise failure_of(asked.request, code, text)

    def _was_given_up_early(self, asked: _Asked) -> bool:
        """Whether gRPC ended the call before its limit, for the first time: it reckons by the wall clock, which may be set."""
        assert asked.call is not None
        early = asked.call.details() == _GIVEN_UP and self._deadline.remaining() > _EARLY_SECONDS
        first, asked.given_up_early = not asked.given_up_early, True
        return early and first

    def _watch_the_job(self, seconds: float) -> None:
        """A connection breaks a little before the job's end is known: that end, not the broken connection, is the cause."""
        with contextlib.suppress(DeadlineExceeded):
            wait_until(lambda: raise_if_gone(self._job()), self._deadline.capped(seconds))

    def _connection_failure(self, asked: _Asked) -> AttemptFailed | InfrastructureError:
        """The failure behind a connection that does not hold while the job lives."""
        self._watch_the_job(_NOTICE_SECONDS)
        if is_refused_connection(asked.text):
            return failure_of(asked.request, asked.code, asked.text)  # the server itself has closed its port
        return InfrastructureError(
            ReasonCode.CONNECTION_LOST,
            f"It broke {asked.cuts} times under {told(asked.request, asked.code, asked.text)}",
            fingerprint="CONNECTION_LOST",
            quotes=(quoted(asked.text),),
        )

    def _timeout(self, source_ended: bool) -> AttemptFailed | InfrastructureError:
        """Who was too slow: the source of the requests, or the server."""
        took = self._clock.monotonic() - self._began
        if not source_ended and (not self._under_way or self._without_requests > took / 2):
            return InfrastructureError(
                ReasonCode.REQUESTS_TOO_SLOW,
                f"In {took:.1f} s {self._answered} requests came and were answered; {self._without_requests:.1f} s"
                " went by with nothing to ask.",
                fingerprint="REQUESTS_TOO_SLOW",
            )
        oldest = next(iter(self._under_way.values()))
        if oldest.text:
            return self._connection_failure(oldest)
        request = oldest.request
        detail = f"{self._answered} were answered; {request.label}, signature {request.signature!r}, was not."
        return AttemptFailed(ReasonCode.QUERY_TIMEOUT, detail, fingerprint="QUERY_TIMEOUT")
