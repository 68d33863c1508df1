"""Sends sample requests over a gRPC channel as they come: bounded concurrency, bounded memory, the first news ends it."""

from __future__ import annotations

import queue
import re
from collections.abc import Callable, Iterable

import grpc

from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.errors import AttemptFailed, DeadlineExceeded, shorten
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.model_server_clients.base_client import Job, raise_if_gone

_LOOK_SECONDS = 0.02  # how often the job is looked at while requests are under way
_LONGEST_TEXT = 1000  # characters of a server's message in a report

#: How long the job's watcher gets to notice that the server ended, when a connection broke.
_NOTICE_SECONDS = 3.0

#: What gRPC answers when the connection broke under a request; a server may answer the same by itself.
_BROKEN = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.CANCELLED,
)

#: How TensorFlow Serving says that the model lacks the signature (Predict, Classify and Regress, MultiInference).
_NO_SIGNATURE = re.compile(
    r"Serving signature key \"[^\"]*\" not found|No signature was found with the name|Requested signature not found in model graph"
)

#: How TensorFlow says, when a request first reaches it, that the binary lacks an operation that the graph uses.
_NO_OPERATION = re.compile(r"No OpKernel was registered to support Op|Op type not registered")

#: Messages of TensorFlow's that quote the request; what is quoted stays out of reports.
_QUOTED_REQUEST = re.compile(r"(Could not parse example input, value: )'.*'", re.DOTALL)


class RequestStream:
    """One run of requests.

    Args:
      channel: where to send them.
      deadline: when all must be answered.
      job: how the server's job looks.
      concurrency: how many may be under way at once; no more are held in memory.
      metadata: headers of every request.
      on_answer: called with every request and its answer.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        deadline: Deadline,
        job: Job,
        concurrency: int,
        metadata: tuple[tuple[str, str | bytes], ...] = (),
        on_answer: Callable[[SampleRequest, bytes], None] | None = None,
    ) -> None:
        self._on_answer = on_answer
        self._channel = channel
        self._deadline = deadline
        self._job = job
        self._concurrency = concurrency
        self._metadata = metadata
        self._calls: dict[str, grpc.UnaryUnaryMultiCallable[bytes, bytes]] = {}
        self._under_way: dict[grpc.Future[bytes], tuple[grpc.CallFuture[bytes], SampleRequest]] = {}
        self._finished: queue.SimpleQueue[grpc.Future[bytes]] = queue.SimpleQueue()  # filled by gRPC's thread
        self._answered = 0
        self._clock = deadline.clock
        self._next_look = self._clock.monotonic() + _LOOK_SECONDS

    def send(self, requests: Iterable[SampleRequest]) -> int:
        """Send them all; returns how many were answered.

        Raises:
          AttemptFailed: REQUEST_FAILED, SIGNATURE_NOT_FOUND or QUERY_TIMEOUT.
          JobGone: the job ended.
        """
        try:
            for request in requests:
                self._start(request)
                self._settle(down_to=self._concurrency - 1)
            self._settle(down_to=0)
            return self._answered
        finally:
            for call in self._under_way:
                call.cancel()

    def _start(self, request: SampleRequest) -> None:
        call = self._calls.get(request.method)
        if call is None:
            call = self._calls[request.method] = self._channel.unary_unary(request.method, None, None)
        future = call.future(request.payload, timeout=self._deadline.remaining(), metadata=self._metadata)
        self._under_way[future] = (future, request)
        future.add_done_callback(self._finished.put)

    def _settle(self, down_to: int) -> None:
        """Wait until at most ``down_to`` requests are under way, looking at the job now and then, answers or not."""
        while len(self._under_way) > down_to:
            if self._clock.monotonic() >= self._next_look:
                self._look()
            try:
                finished = self._finished.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                continue
            call, request = self._under_way[finished]
            if call.code() is not grpc.StatusCode.OK:
                raise self._failure(request, call.code(), call.details() or "")
            del self._under_way[finished]
            self._answered += 1
            if self._on_answer is not None:
                self._on_answer(request, call.result())

    def _look(self) -> None:
        self._next_look = self._clock.monotonic() + _LOOK_SECONDS
        raise_if_gone(self._job())
        if self._deadline.expired():
            raise self._timeout()

    def _failure(self, request: SampleRequest, code: grpc.StatusCode, text: str) -> AttemptFailed:
        """The error for an answer that is none; raises JobGone instead if the server's end is behind it."""
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise_if_gone(self._job())
            return self._timeout()
        self._give_the_watcher_a_moment(code)
        text = shorten(_QUOTED_REQUEST.sub(r"\1(not shown)", text), _LONGEST_TEXT)
        told = f"{request.label}, signature {request.signature!r}: {code.name}: {text}"
        if _NO_SIGNATURE.search(text):
            return AttemptFailed(ReasonCode.SIGNATURE_NOT_FOUND, told)
        if _NO_OPERATION.search(text):
            return AttemptFailed(ReasonCode.OP_NOT_REGISTERED, told)
        return AttemptFailed(ReasonCode.REQUEST_FAILED, told, fingerprint=f"REQUEST_FAILED: {code.name}: {text}")

    def _give_the_watcher_a_moment(self, code: grpc.StatusCode) -> None:
        """A connection breaks a little before the job's end is known: that end, not the broken connection, is the cause."""

        def gone() -> None:
            raise_if_gone(self._job())

        if code not in _BROKEN:
            gone()
            return
        try:
            wait_until(gone, self._deadline.capped(_NOTICE_SECONDS))
        except DeadlineExceeded:
            pass  # the job lives: the server itself answered so

    def _timeout(self) -> AttemptFailed:
        _, oldest = next(iter(self._under_way.values()))
        told = f"{self._answered} were answered; {oldest.label}, signature {oldest.signature!r}, was not."
        return AttemptFailed(ReasonCode.QUERY_TIMEOUT, told, fingerprint="QUERY_TIMEOUT")
