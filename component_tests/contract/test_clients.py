"""The clients' contract over every client of the package, and what those that speak gRPC do besides, against real gRPC servers."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from concurrent import futures
from typing import TypeVar

import grpc
import pytest

from component_tests.contract.client_kinds import CLIENT_KINDS, ClientKind
from component_tests.fakes.hand_clock import HandClock
from component_tests.fakes.servers.scripted_server import Script, serving
from infra_validator import wiring
from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.core.states import ModelStatus
from infra_validator.model_server_clients.base_client import BaseModelServerClient, JobGone
from infra_validator.testing.contracts import ModelServerClientContract
from infra_validator.testing.contracts import Script as AnyScript
from infra_validator.testing.contracts.clients import ENOUGH, OUT_OF_MEMORY, SHORT, Job, free_port
from infra_validator.testing.contracts.scripts import answering_connections

T = TypeVar("T")


@pytest.fixture(params=CLIENT_KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> ClientKind:
    given: ClientKind = request.param
    return given


def requests(kind: ClientKind, count: int, payload: bytes = b"secret-payload") -> Iterator[SampleRequest]:
    return (
        SampleRequest(kind.inference, "serving_default", payload, f"record {n} of f.gz") for n in range(1, count + 1)
    )


def wait_for(event: threading.Event, then: T) -> T:
    event.wait(ENOUGH)
    return then


def test_every_client_of_the_wiring_is_here() -> None:
    assert {kind.name for kind in CLIENT_KINDS} == set(wiring.CLIENTS), "add a ClientKind to client_kinds.py"


class TestEveryClient(ModelServerClientContract):
    @pytest.fixture(autouse=True, params=CLIENT_KINDS, ids=lambda kind: kind.name)
    def _kind(self, request: pytest.FixtureRequest) -> None:
        self.kind: ClientKind = request.param
        self.refused_model = self.kind.refused_model

    def make_client(self, endpoint: str) -> BaseModelServerClient:
        return self.kind.make(endpoint)

    def make_script(self, model: str = "ready") -> Script:
        return Script(model)

    @contextlib.contextmanager
    def serving(self, script: AnyScript) -> Iterator[str]:
        assert isinstance(script, Script)
        with serving(self.kind.handlers(script)) as (endpoint, _):
            yield endpoint

    def make_request(self, text: str, label: str) -> SampleRequest:
        return SampleRequest(self.kind.inference, "serving_default", text.encode(), label)


# ------------------------------------------------------------------------------------------- waiting for the model


def test_a_port_that_opens_late_is_noticed(kind: ClientKind) -> None:
    port = free_port()
    opened = threading.Event()
    finished = threading.Event()

    def open_late() -> None:
        with serving(kind.handlers(Script("ready")), port):
            opened.set()
            finished.wait(ENOUGH)

    with kind.make(f"127.0.0.1:{port}") as client:
        before = client.GetModelStatus(Deadline.after(ENOUGH))
        assert (before.status, before.answered) == (ModelStatus.NOT_READY, False)
        thread = threading.Timer(0.2, open_late)
        thread.start()
        try:
            client.WaitUntilModelLoaded(Deadline.after(ENOUGH))
            assert opened.is_set()
        finally:
            finished.set()
            thread.join()


def test_a_model_that_keeps_loading_is_a_load_timeout_with_the_last_answer(kind: ClientKind) -> None:
    with serving(kind.handlers(Script("loading"))) as (endpoint, _), kind.make(endpoint) as client:
        with pytest.raises(AttemptFailed, match="Its last answer: ") as caught:
            client.WaitUntilModelLoaded(Deadline.after(SHORT, HandClock()))
    assert caught.value.reason is ReasonCode.LOAD_TIMEOUT


def test_a_grpc_server_without_the_service_is_told(kind: ClientKind) -> None:
    with serving({}) as (endpoint, _), kind.make(endpoint) as client:
        with pytest.raises(AttemptFailed, match="UNIMPLEMENTED") as caught:
            client.WaitUntilModelLoaded(Deadline.after(SHORT, HandClock()))
    assert caught.value.reason is kind.other_service


def test_a_grpc_server_without_the_service_ends_the_wait_early(kind: ClientKind) -> None:
    clock = HandClock()
    with serving({}) as (endpoint, _), kind.make(endpoint) as client:
        with pytest.raises(AttemptFailed) as caught:
            client.WaitUntilModelLoaded(Deadline.after(3600, clock))
    assert caught.value.reason is kind.other_service
    assert clock.now - 100 < 60


def test_an_answer_that_is_no_message_is_told(kind: ClientKind) -> None:
    handlers = {path: (lambda request, context: b"\xff\xff\xff") for path in kind.handlers(Script())}
    with serving(handlers) as (endpoint, _), kind.make(endpoint) as client:
        with pytest.raises(AttemptFailed, match="INTERNAL") as caught:
            client.WaitUntilModelLoaded(Deadline.after(SHORT, HandClock()))
    assert caught.value.reason is kind.other_message


def garbage(connection: socket.socket) -> None:
    connection.sendall(b"\x07" * 4096 + os.urandom(64))
    connection.recv(1)


def http_1(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("answer", [garbage, http_1])
def test_another_protocol_is_unhealthy(kind: ClientKind, answer: object) -> None:
    assert callable(answer)
    with answering_connections(answer) as endpoint, kind.make(endpoint) as client:
        with pytest.raises(AttemptFailed, match="HTTP/2") as caught:
            client.WaitUntilModelLoaded(Deadline.after(SHORT, HandClock()))
    assert caught.value.reason is ReasonCode.SERVER_UNHEALTHY


def test_a_proxy_of_the_environment_is_not_used(kind: ClientKind, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "grpc_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("no_grpc_proxy", raising=False)
    with serving(kind.handlers(Script("ready"))) as (endpoint, _), kind.make(endpoint) as client:
        client.WaitUntilModelLoaded(Deadline.after(ENOUGH))


# ------------------------------------------------------------------------------------------------------ requests


@contextlib.contextmanager
def loaded(kind: ClientKind, endpoint: str) -> Iterator[BaseModelServerClient]:
    """A client that has waited for its model, as the validation does before it sends requests."""
    with kind.make(endpoint) as client:
        client.WaitUntilModelLoaded(Deadline.after(ENOUGH))
        yield client


def test_load_asks_the_same_bytes_with_the_same_headers_as_the_checks(kind: ClientKind) -> None:
    script = Script()
    headers: list[list[tuple[str, str | bytes]]] = []

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        headers.append([(key, value) for key, value in context.invocation_metadata() if key != "user-agent"])
        return b"an answer"

    script.answer = answer
    with serving(kind.handlers(script)) as (endpoint, _), loaded(kind, endpoint) as client:
        client.SendRequests(requests(kind, 1), Deadline.after(ENOUGH))
        load = client.OpenLoad(list(requests(kind, 2)))
        assert load is not None
        with contextlib.closing(load):
            assert [load.ask(number, ENOUGH) for number in range(3)] == [None] * 3
    assert script.received == script.received[:1] * 4
    assert headers == headers[:1] * 4


def test_load_tells_an_error_an_empty_answer_and_no_answer_apart(kind: ClientKind) -> None:
    script = Script()
    released = threading.Event()

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        number = len(script.received)
        if number == 1:
            context.abort(grpc.StatusCode.INTERNAL, "the pot is empty")
        return b"" if number == 2 else wait_for(released, b"late")

    script.answer = answer
    with serving(kind.handlers(script)) as (endpoint, _), loaded(kind, endpoint) as client:
        load = client.OpenLoad(list(requests(kind, 1)))
        assert load is not None
        with contextlib.closing(load):
            told = [load.ask(0, ENOUGH), load.ask(0, ENOUGH), load.ask(0, SHORT)]
        released.set()
    texts = [one.text for one in told if one is not None and not one.lost]
    assert texts == [
        "record 1 of f.gz, signature 'serving_default': INTERNAL: the pot is empty",
        "record 1 of f.gz: the answer is empty",
        "record 1 of f.gz: not answered in time",
    ]


def test_closing_a_load_ends_what_is_under_way(kind: ClientKind) -> None:
    script = Script()
    asked, released = threading.Event(), threading.Event()

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        asked.set()
        return wait_for(released, b"late")

    script.answer = answer
    with serving(kind.handlers(script)) as (endpoint, _), loaded(kind, endpoint) as client:
        load = client.OpenLoad(list(requests(kind, 1)))
        assert load is not None
        with futures.ThreadPoolExecutor(1) as pool:
            under_way = pool.submit(load.ask, 0, ENOUGH)
            assert asked.wait(ENOUGH)
            load.close()
            failure = under_way.result(ENOUGH)
        assert failure is not None
        assert failure.lost
        again = load.ask(0, ENOUGH)
        assert again is not None
        assert again.lost
        released.set()
        load.close()


def test_messages_beyond_grpcs_own_limit_pass(kind: ClientKind) -> None:
    script = Script()
    script.answer = lambda request, context: request
    with serving(kind.handlers(script)) as (endpoint, _), loaded(kind, endpoint) as client:
        assert client.SendRequests(requests(kind, 2, b"x" * (9 << 20)), Deadline.after(ENOUGH)) == 2


def test_a_failed_request_is_told_with_code_text_label_and_signature_but_not_its_content(kind: ClientKind) -> None:
    script = Script()

    def fail_third(request: bytes, context: grpc.ServicerContext) -> bytes:
        if len(script.received) == 3:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Matrix size-incompatible: In[0]: [2,4]")
        return b""

    script.answer = fail_third
    with serving(kind.handlers(script)) as (endpoint, _), loaded(kind, endpoint) as client:
        with pytest.raises(AttemptFailed) as caught:
            client.SendRequests(requests(kind, 1_000_000), Deadline.after(ENOUGH), concurrency=1)
    assert caught.value.reason is ReasonCode.REQUEST_FAILED
    for word in ("INVALID_ARGUMENT", "Matrix size-incompatible", "record 3 of f.gz", "serving_default"):
        assert word in str(caught.value)
    assert "secret-payload" not in str(caught.value)
    assert len(script.received) == 3


def test_a_failure_says_which_of_its_words_are_the_servers(kind: ClientKind) -> None:
    """Those are searched for the request's content, which TensorFlow's parsers quote."""
    script = Script()
    quoting = "Could not parse example input, value: 'secret-payload'\n\t [[{{node ParseExample}}]]"
    script.answer = lambda request, context: context.abort(grpc.StatusCode.INVALID_ARGUMENT, quoting)
    with serving(kind.handlers(script)) as (endpoint, _), loaded(kind, endpoint) as client:
        with pytest.raises(AttemptFailed, match="node ParseExample") as caught:
            client.SendRequests(requests(kind, 1), Deadline.after(ENOUGH))
    assert caught.value.quotes == (quoting,)
    assert "secret-payload" not in caught.value.detail.replace(quoting, "")


@pytest.mark.parametrize(
    "text",
    [
        'Serving signature key "score" not found.',
        "No signature was found with the name: score",
        "Requested signature not found in model graph: score",
    ],
)
def test_a_signature_that_the_server_does_not_find_has_a_code_of_its_own(kind: ClientKind, text: str) -> None:
    script = Script()
    script.answer = lambda request, context: context.abort(grpc.StatusCode.FAILED_PRECONDITION, text)
    with serving(kind.handlers(script)) as (endpoint, _), loaded(kind, endpoint) as client:
        with pytest.raises(AttemptFailed, match="score") as caught:
            client.SendRequests(requests(kind, 1), Deadline.after(ENOUGH))
    assert caught.value.reason is ReasonCode.SIGNATURE_NOT_FOUND


def test_an_operation_that_the_server_lacks_has_a_code_of_its_own(kind: ClientKind) -> None:
    script = Script()
    text = "No OpKernel was registered to support Op 'PyFunc' used by {{node PyFunc}} with these attrs: []"
    script.answer = lambda request, context: context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
    with serving(kind.handlers(script)) as (endpoint, _), loaded(kind, endpoint) as client:
        with pytest.raises(AttemptFailed, match="PyFunc") as caught:
            client.SendRequests(requests(kind, 1), Deadline.after(ENOUGH))
    assert caught.value.reason is ReasonCode.OP_NOT_REGISTERED


def test_a_failed_request_cancels_those_under_way(kind: ClientKind) -> None:
    script = Script()
    cancelled = threading.Semaphore(0)
    hanging = threading.Semaphore(0)

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        if request == b"bad":
            assert hanging.acquire(timeout=ENOUGH)
            assert hanging.acquire(timeout=ENOUGH)
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")
        ended = threading.Event()
        context.add_callback(ended.set)
        hanging.release()
        if ended.wait(ENOUGH):
            cancelled.release()
        return b""

    script.answer = answer
    payloads = [b"good", b"good", b"bad"]
    stream = [SampleRequest(kind.inference, "s", payload, f"record {n}") for n, payload in enumerate(payloads)]
    with serving(kind.handlers(script)) as (endpoint, _), loaded(kind, endpoint) as client:
        with pytest.raises(AttemptFailed, match="record 2"):
            client.SendRequests(stream, Deadline.after(ENOUGH), concurrency=3)
        assert cancelled.acquire(timeout=ENOUGH)
        assert cancelled.acquire(timeout=ENOUGH)


def test_a_connection_that_breaks_because_the_server_died_is_the_servers_end(kind: ClientKind) -> None:
    """The watcher of the job notices a moment after the connection broke."""
    script = Script()
    job = Job()
    with serving(kind.handlers(script)) as (endpoint, server), loaded(kind, endpoint) as client:

        def die(request: bytes, context: grpc.ServicerContext) -> bytes:
            ended = threading.Event()
            context.add_callback(ended.set)
            threading.Thread(target=server.stop, args=(None,)).start()
            threading.Timer(0.3, lambda: setattr(job, "seen", OUT_OF_MEMORY)).start()
            return wait_for(ended, b"")

        script.answer = die
        with pytest.raises(JobGone) as caught:
            client.SendRequests(requests(kind, 1), Deadline.after(ENOUGH), job)
    assert caught.value.seen is OUT_OF_MEMORY


def test_a_connection_that_breaks_while_the_server_lives_is_a_failed_request(kind: ClientKind) -> None:
    script = Script()
    script.answer = lambda request, context: context.abort(grpc.StatusCode.UNAVAILABLE, "the queue is full")
    with serving(kind.handlers(script)) as (endpoint, _), loaded(kind, endpoint) as client:
        with pytest.raises(AttemptFailed, match="UNAVAILABLE: the queue is full") as caught:
            client.SendRequests(requests(kind, 1), Deadline.after(ENOUGH), Job())
    assert caught.value.reason is ReasonCode.REQUEST_FAILED
