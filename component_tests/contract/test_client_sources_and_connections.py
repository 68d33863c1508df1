"""What every client does when the connection is cut, or the source of requests is slow, hangs or fails: the model is not blamed."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc
import pytest

from component_tests.contract.client_kinds import CLIENT_KINDS, ClientKind
from component_tests.fakes.servers.relay import relaying
from component_tests.fakes.servers.scripted_server import Script, serving
from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed, InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.core.states import Observation
from infra_validator.model_server_clients.base_client import JobGone

ENOUGH = 30.0  # seconds; a test that needs them fails
SHORT = 0.4  # seconds; for waits that must end by their deadline


@pytest.fixture(params=CLIENT_KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> ClientKind:
    given: ClientKind = request.param
    return given


def requests(kind: ClientKind, count: int) -> Iterator[SampleRequest]:
    return (SampleRequest(kind.inference, "s", b"x", f"record {n} of f.gz") for n in range(1, count + 1))


@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_connection_that_is_cut_once_is_made_anew_and_all_is_answered(kind: ClientKind, concurrency: int) -> None:
    script = Script()
    with (
        serving(kind.handlers(script)) as (endpoint, _),
        relaying(endpoint) as relay,
        kind.make(relay.endpoint) as client,
    ):
        cut = threading.Event()

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            if len(script.received) == 20 and not cut.is_set():
                cut.set()
                relay.cut()
            return b""

        script.answer = answer
        client.WaitUntilModelLoaded(Deadline.after(ENOUGH))
        before = relay.connections
        assert client.SendRequests(requests(kind, 50), Deadline.after(ENOUGH), concurrency=concurrency) == 50
        assert cut.is_set()
        assert relay.connections == before + 1


def test_a_connection_that_is_cut_again_and_again_is_lost_and_not_the_models_fault(kind: ClientKind) -> None:
    script = Script()
    with (
        serving(kind.handlers(script)) as (endpoint, _),
        relaying(endpoint) as relay,
        kind.make(relay.endpoint) as client,
    ):
        client.WaitUntilModelLoaded(Deadline.after(ENOUGH))

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            relay.cut()
            return b""

        script.answer = answer
        with pytest.raises(InfrastructureError, match=r"It broke 3 times under record 1 of f.gz") as caught:
            client.SendRequests(requests(kind, 1), Deadline.after(ENOUGH))
    assert caught.value.reason is ReasonCode.CONNECTION_LOST


def test_a_server_that_dies_under_a_cut_connection_is_the_servers_end(kind: ClientKind) -> None:
    seen = Observation.running()
    with serving(kind.handlers(script := Script())) as (endpoint, _), kind.make(endpoint) as client:
        client.WaitUntilModelLoaded(Deadline.after(ENOUGH))
        with relaying(endpoint) as relay, kind.make(relay.endpoint) as through_relay:
            through_relay.WaitUntilModelLoaded(Deadline.after(ENOUGH))

            def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
                nonlocal seen
                seen = Observation.gone(ReasonCode.SERVER_KILLED, "signal SIGSEGV")
                relay.close()
                return b""

            script.answer = answer
            with pytest.raises(JobGone):
                through_relay.SendRequests(requests(kind, 1), Deadline.after(ENOUGH), lambda: seen)


def hanging(kind: ClientKind, released: threading.Event) -> Iterator[SampleRequest]:
    yield from requests(kind, 3)
    released.wait(ENOUGH)


def test_a_source_that_hangs_is_not_the_models_fault(kind: ClientKind) -> None:
    released = threading.Event()
    with serving(kind.handlers(Script())) as (endpoint, _), kind.make(endpoint) as client:
        client.WaitUntilModelLoaded(Deadline.after(ENOUGH))
        try:
            with pytest.raises(InfrastructureError, match="3 requests came and were answered") as caught:
                client.SendRequests(hanging(kind, released), Deadline.after(SHORT))
        finally:
            released.set()
    assert caught.value.reason is ReasonCode.REQUESTS_TOO_SLOW


def test_a_source_that_trickles_is_not_the_models_fault(kind: ClientKind) -> None:
    def trickling() -> Iterator[SampleRequest]:
        while True:
            yield from requests(kind, 1)
            stopped.wait(SHORT / 8)

    stopped = threading.Event()
    with serving(kind.handlers(Script())) as (endpoint, _), kind.make(endpoint) as client:
        client.WaitUntilModelLoaded(Deadline.after(ENOUGH))
        with pytest.raises(InfrastructureError) as caught:
            client.SendRequests(trickling(), Deadline.after(SHORT))
    assert caught.value.reason is ReasonCode.REQUESTS_TOO_SLOW


def test_a_slow_server_is_blamed_though_the_source_goes_on(kind: ClientKind) -> None:
    script = Script()
    released = threading.Event()

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        released.wait(ENOUGH)
        return b""

    script.answer = answer
    with serving(kind.handlers(script)) as (endpoint, _), kind.make(endpoint) as client:
        client.WaitUntilModelLoaded(Deadline.after(ENOUGH))
        try:
            with pytest.raises(AttemptFailed) as caught:
                client.SendRequests(hanging(kind, released), Deadline.after(SHORT))
        finally:
            released.set()
    assert caught.value.reason is ReasonCode.QUERY_TIMEOUT


def test_an_interruption_is_noticed_while_the_source_hangs(kind: ClientKind) -> None:
    released = threading.Event()
    looks = 0

    def job() -> Observation:
        nonlocal looks
        looks += 1
        if looks > 3:
            raise InfrastructureError(ReasonCode.INTERRUPTED, "SIGTERM.")
        return Observation.running()

    with serving(kind.handlers(Script())) as (endpoint, _), kind.make(endpoint) as client:
        client.WaitUntilModelLoaded(Deadline.after(ENOUGH))
        try:
            with pytest.raises(InfrastructureError) as caught:
                client.SendRequests(hanging(kind, released), Deadline.after(ENOUGH), job)
        finally:
            released.set()
    assert caught.value.reason is ReasonCode.INTERRUPTED


def test_no_more_requests_are_taken_than_may_be_under_way(kind: ClientKind) -> None:
    taken = 0
    most = 0
    script = Script()

    def counted() -> Iterator[SampleRequest]:
        nonlocal taken, most
        for request in requests(kind, 60):
            taken += 1
            most = max(most, taken - answered)
            yield request

    answered = 0

    def count(request: SampleRequest, answer: bytes) -> None:
        nonlocal answered
        answered += 1

    with serving(kind.handlers(script)) as (endpoint, _), kind.make(endpoint) as client:
        client.WaitUntilModelLoaded(Deadline.after(ENOUGH))
        client.on_answer = count
        assert client.SendRequests(counted(), Deadline.after(ENOUGH), concurrency=3) == 60
    assert most <= 3


def test_what_a_look_at_an_answer_raises_ends_the_sending(kind: ClientKind) -> None:
    def look(request: SampleRequest, answer: bytes) -> None:
        raise AttemptFailed(ReasonCode.ANSWER_NOT_FINITE, request.label)

    with serving(kind.handlers(Script())) as (endpoint, _), kind.make(endpoint) as client:
        client.WaitUntilModelLoaded(Deadline.after(ENOUGH))
        client.on_answer = look
        with pytest.raises(AttemptFailed, match="ANSWER_NOT_FINITE"):
            client.SendRequests(requests(kind, 5), Deadline.after(ENOUGH))
