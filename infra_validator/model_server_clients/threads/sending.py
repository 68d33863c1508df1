"""Sends sample requests by a function that asks one, in threads: for clients of protocols that have no channel of gRPC's.

As ../request_stream.py does: bounded concurrency, bounded memory, and the first news ends it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import threading
from collections.abc import Callable, Iterable

from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.errors import AttemptFailed, DeadlineExceeded, InfrastructureError
from infra_validator.core.read_beside import Ended, ReadBeside
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.model_server_clients.base_client import Job, RequestFailed, raise_if_gone

_LOOK_SECONDS = 0.02  # how often the job is looked at
_NOTICE_SECONDS = 3.0  # how long the job's watcher gets to notice that the server ended, when a connection broke


class RefusedRequest(Exception):
    """Raised by the function that asks: the server answered with an error; the text is the server's.

    Attributes:
      request_is_wrong: whether the server says that the request itself is wrong.
    """

    def __init__(self, text: str, *, request_is_wrong: bool = False) -> None:
        super().__init__(text)
        self.request_is_wrong = request_is_wrong


#: Asks one request; the seconds are what is left. Returns the answer's bytes; raises RefusedRequest, TimeoutError, OSError.
Ask = Callable[[SampleRequest, float], bytes]


@dataclasses.dataclass(frozen=True)
class _Done:
    request: SampleRequest
    seconds: float
    payload: bytes = b""
    error: Exception | None = None


def send_in_threads(
    requests: Iterable[SampleRequest],
    ask: Ask,
    deadline: Deadline,
    job: Job,
    concurrency: int,
    on_answer: Callable[[SampleRequest, bytes], None] | None = None,
    on_latency: Callable[[float], None] | None = None,
) -> int:
    """What ``SendRequests`` of a client does; returns how many were answered.

    Args:
      requests: read one at a time, as places become free.
      ask: called by as many threads at once as ``concurrency`` says; a thread that hangs in it is left behind.
      deadline, job, concurrency: as of ``SendRequests``.
      on_answer, on_latency: the client's; called in this thread.

    Raises:
      AttemptFailed: REQUEST_FAILED or QUERY_TIMEOUT.
      InfrastructureError: REQUESTS_TOO_SLOW.
      JobGone: the job ended.
      Exception: what the source, ``on_answer`` or, unexpectedly, ``ask`` raised.
    """
    events: queue.SimpleQueue[SampleRequest | Ended | _Done] = queue.SimpleQueue()
    turns: queue.SimpleQueue[SampleRequest | None] = queue.SimpleQueue()
    held_back: list[SampleRequest] = []  # read, but waiting for all before it
    under_way: dict[int, SampleRequest] = {}
    workers = 0
    answered = 0
    ended = False

    def work() -> None:
        while (request := turns.get()) is not None:
            began = deadline.clock.monotonic()
            try:
                payload, error = ask(request, deadline.remaining()), None
            except Exception as raised:
                payload, error = b"", raised
            events.put(_Done(request, deadline.clock.monotonic() - began, payload, error))

    try:
        with ReadBeside(requests, events.put, concurrency) as reading:
            while not ended or under_way or held_back:
                while held_back and not (held_back[0].after_all_before and under_way):
                    request = held_back.pop(0)
                    under_way[id(request)] = request
                    if workers < len(under_way):
                        threading.Thread(target=work, name="asking", daemon=True).start()
                        workers += 1
                    turns.put(request)
                event = _next(events, deadline, job)
                if event is None:
                    raise _timeout(answered, under_way)
                if isinstance(event, Ended):
                    ended = True
                    if event.error is not None:
                        raise event.error
                elif isinstance(event, _Done):
                    if isinstance(event.error, TimeoutError):  # of those that were not answered, the first is reported
                        raise_if_gone(job())
                        raise _timeout(answered, under_way)
                    del under_way[id(event.request)]
                    if event.error is not None:
                        raise _failure(event, deadline, job)
                    answered += 1
                    if on_latency is not None:
                        on_latency(event.seconds)
                    if on_answer is not None:
                        on_answer(event.request, event.payload)
                    reading.give_back()
                else:
                    held_back.append(dataclasses.replace(event))  # the same object may come twice
        return answered
    finally:
        for _ in range(workers):
            turns.put(None)


def _next(
    events: queue.SimpleQueue[SampleRequest | Ended | _Done], deadline: Deadline, job: Job
) -> SampleRequest | Ended | _Done | None:
    """What comes next, looking at the job meanwhile; None at the deadline."""
    while True:
        raise_if_gone(job())
        if deadline.expired():
            return None
        with contextlib.suppress(queue.Empty):
            return events.get(timeout=_LOOK_SECONDS)


def _timeout(answered: int, under_way: dict[int, SampleRequest]) -> AttemptFailed | InfrastructureError:
    oldest = next(iter(under_way.values()), None)
    if oldest is None:
        detail = f"{answered} requests came and were answered."
        return InfrastructureError(ReasonCode.REQUESTS_TOO_SLOW, detail, fingerprint="REQUESTS_TOO_SLOW")
    detail = f"{answered} were answered; {oldest.label}, signature {oldest.signature!r}, was not."
    return AttemptFailed(ReasonCode.QUERY_TIMEOUT, detail, fingerprint="QUERY_TIMEOUT")


def _failure(done: _Done, deadline: Deadline, job: Job) -> Exception:
    error, request = done.error, done.request
    if isinstance(error, OSError):  # a connection breaks a little before the job's end is known
        with contextlib.suppress(DeadlineExceeded):
            wait_until(lambda: raise_if_gone(job()), deadline.capped(_NOTICE_SECONDS))
    elif not isinstance(error, RefusedRequest):
        assert error is not None
        return error
    text = str(error) or type(error).__name__
    return RequestFailed(
        request,
        f"{request.label}, signature {request.signature!r}: {text}",
        refused=isinstance(error, RefusedRequest) and error.request_is_wrong,
        quotes=(text,),
    )
