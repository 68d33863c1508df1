"""What send_in_threads does beyond what the clients' contract asks of whoever uses it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed, InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.model_server_clients.base_client import RequestFailed, unwatched
from infra_validator.model_server_clients.threads.sending import RefusedRequest, send_in_threads


def request(number: int, *, last: bool = False) -> SampleRequest:
    return SampleRequest("/m", "s", b"%d" % number, f"number {number}", after_all_before=last)


def test_a_request_that_waits_for_all_before_it_is_asked_when_they_are_answered() -> None:
    answered: list[str] = []
    answered_before: dict[str, set[str]] = {}
    lock = threading.Lock()

    def ask(asked: SampleRequest, seconds: float) -> bytes:
        with lock:
            answered_before[asked.label] = set(answered)
        threading.Event().wait(0.05)
        with lock:
            answered.append(asked.label)
        return b""

    requests = [request(1), request(2), request(3, last=True), request(4)]
    assert send_in_threads(requests, ask, Deadline.after(30), unwatched, 4) == 4
    assert answered_before["number 3"] >= {"number 1", "number 2"}


@pytest.mark.parametrize(
    ("raised", "expected", "refused"),
    [
        (RefusedRequest("no such input", request_is_wrong=True), RequestFailed, True),
        (RefusedRequest("the pot is empty"), RequestFailed, False),
        (ConnectionResetError("it broke"), RequestFailed, False),
        (ZeroDivisionError("a mistake of the client's"), ZeroDivisionError, False),
    ],
)
def test_what_a_request_failed_of(raised: Exception, expected: type[Exception], refused: bool) -> None:
    def ask(asked: SampleRequest, seconds: float) -> bytes:
        raise raised

    with pytest.raises(expected) as caught:
        send_in_threads([request(1)], ask, Deadline.after(0.5), unwatched, 2)
    if isinstance(caught.value, RequestFailed):
        assert caught.value.refused is refused
        assert caught.value.quotes == (str(raised),)
        assert "number 1, signature 's': " in caught.value.told


def test_a_source_that_has_nothing_is_not_the_servers_fault() -> None:
    released = threading.Event()

    def nothing() -> Iterator[SampleRequest]:
        if released.wait(30):
            return
        yield request(1)

    try:
        with pytest.raises(InfrastructureError) as caught:
            send_in_threads(nothing(), lambda asked, seconds: b"", Deadline.after(0.2), unwatched, 2)
    finally:
        released.set()
    assert caught.value.reason is ReasonCode.REQUESTS_TOO_SLOW


def test_of_those_that_were_not_answered_in_time_the_first_is_told() -> None:
    def ask(asked: SampleRequest, seconds: float) -> bytes:
        threading.Event().wait(min(seconds, 5))
        raise TimeoutError

    with pytest.raises(AttemptFailed, match="0 were answered; number 1, signature 's', was not") as caught:
        send_in_threads([request(n) for n in (1, 2, 3)], ask, Deadline.after(0.3), unwatched, 3)
    assert caught.value.reason is ReasonCode.QUERY_TIMEOUT
