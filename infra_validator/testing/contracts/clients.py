"""What every model server client must do, whatever its protocol: tests against a server that does what a script says."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed, ExamplesError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.core.states import ModelStatus, Observation
from infra_validator.model_server_clients.base_client import BaseModelServerClient, JobGone
from infra_validator.testing.contracts.scripts import Refused, Script, answering_connections

ENOUGH = 30.0  # seconds; a test that needs them fails
SHORT = 0.4  # seconds; for waits that must end by their deadline

OUT_OF_MEMORY = Observation.gone(ReasonCode.SERVER_OUT_OF_MEMORY, "killed")


class Job:
    """A job whose end a test decides."""

    def __init__(self) -> None:
        self.seen = Observation.running()

    def __call__(self) -> Observation:
        return self.seen


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class ModelServerClientContract:
    """What the base client promises.

    Attributes:
      refused_model: the code for a model that the server could not load.
      most_at_once: how many requests the client can have under way at once; 1 for one that sends them one after the other.
    """

    refused_model: ReasonCode = ReasonCode.MODEL_UNAVAILABLE
    most_at_once: int = 3

    def make_client(self, endpoint: str) -> BaseModelServerClient:
        """A client for the version 1 of the model ``m`` at ``host:port``."""
        raise NotImplementedError

    def serving(self, script: Script) -> contextlib.AbstractContextManager[str]:
        """A real server of the protocol, in threads of this process, that does what the script says; yields its ``host:port``."""
        raise NotImplementedError

    def make_request(self, text: str, label: str) -> SampleRequest:
        """An inference request of the protocol whose payload holds the text."""
        raise NotImplementedError

    def make_script(self, model: str = "ready") -> Script:
        """A script; overridden where a server needs more of it."""
        return Script(model)

    def requests(self, count: int, text: str = "secret-payload") -> Iterator[SampleRequest]:
        return (self.make_request(text, f"record {n} of f.gz") for n in range(1, count + 1))

    @contextlib.contextmanager
    def loaded(self, script: Script) -> Iterator[BaseModelServerClient]:
        """A client that has waited for its model, as the validation does before it sends requests."""
        with self.serving(script) as endpoint, self.make_client(endpoint) as client:
            client.WaitUntilModelLoaded(Deadline.after(ENOUGH))
            yield client

    # --------------------------------------------------------------------------------------- waiting for the model

    def test_a_ready_model_ends_the_wait(self) -> None:
        with self.loaded(self.make_script()) as client:
            assert client.GetModelStatus(Deadline.after(ENOUGH)).status is ModelStatus.READY

    def test_a_loading_model_is_waited_for(self) -> None:
        script = self.make_script("loading")
        with self.serving(script) as endpoint, self.make_client(endpoint) as client:
            assert client.GetModelStatus(Deadline.after(ENOUGH)).status is ModelStatus.NOT_READY
            threading.Timer(0.1, lambda: setattr(script, "model", "ready")).start()
            client.WaitUntilModelLoaded(Deadline.after(ENOUGH))

    def test_a_model_that_failed_is_told_in_the_servers_words(self) -> None:
        script = self.make_script("failed")
        script.message = "Op type not registered 'Foo'"
        with self.serving(script) as endpoint, self.make_client(endpoint) as client:
            with pytest.raises(AttemptFailed, match="Op type not registered 'Foo'") as caught:
                client.WaitUntilModelLoaded(Deadline.after(ENOUGH))
        assert caught.value.reason is self.refused_model

    def test_a_model_that_keeps_loading_is_a_load_timeout_with_the_last_answer(self) -> None:
        with self.serving(self.make_script("loading")) as endpoint, self.make_client(endpoint) as client:
            with pytest.raises(AttemptFailed) as caught:
                client.WaitUntilModelLoaded(Deadline.after(3 * SHORT))
        assert caught.value.reason is ReasonCode.LOAD_TIMEOUT

    def test_nobody_there_is_a_load_timeout(self) -> None:
        with self.make_client(f"127.0.0.1:{free_port()}") as client:
            before = client.GetModelStatus(Deadline.after(SHORT))
            assert (before.status, before.answered) == (ModelStatus.NOT_READY, False)
            with pytest.raises(AttemptFailed, match="never answered") as caught:
                client.WaitUntilModelLoaded(Deadline.after(SHORT))
        assert caught.value.reason is ReasonCode.LOAD_TIMEOUT

    def test_the_jobs_end_ends_the_wait_for_the_model(self) -> None:
        job = Job()
        with self.make_client(f"127.0.0.1:{free_port()}") as client:
            threading.Timer(0.1, lambda: setattr(job, "seen", OUT_OF_MEMORY)).start()
            with pytest.raises(JobGone) as caught:
                client.WaitUntilModelLoaded(Deadline.after(ENOUGH), job)
        assert caught.value.seen is OUT_OF_MEMORY

    def test_a_deaf_server_does_not_outlast_the_deadline(self) -> None:
        released = threading.Event()

        def hold(connection: socket.socket) -> None:
            released.wait(ENOUGH)

        with answering_connections(hold) as endpoint:
            try:
                with self.make_client(endpoint) as client:
                    with pytest.raises(AttemptFailed, match="never answered") as caught:
                        client.WaitUntilModelLoaded(Deadline.after(SHORT))
            finally:
                released.set()
        assert caught.value.reason is ReasonCode.LOAD_TIMEOUT

    def test_another_protocol_is_no_ready_model(self) -> None:
        def garbage(connection: socket.socket) -> None:
            connection.sendall(b"\x07" * 4096 + os.urandom(64))
            connection.recv(1)

        with answering_connections(garbage) as endpoint, self.make_client(endpoint) as client:
            with pytest.raises(AttemptFailed) as caught:
                client.WaitUntilModelLoaded(Deadline.after(3 * SHORT))
        assert caught.value.reason in (ReasonCode.SERVER_UNHEALTHY, ReasonCode.LOAD_TIMEOUT)

    # -------------------------------------------------------------------------------------------------- requests

    def test_all_requests_are_sent_and_counted(self) -> None:
        script = self.make_script()
        with self.loaded(script) as client:
            assert client.SendRequests(self.requests(100), Deadline.after(ENOUGH)) == 100
            assert client.SendRequests([], Deadline.after(ENOUGH)) == 0
        assert len(script.received) == 100
        assert all(b"secret-payload" in received for received in script.received)

    def test_every_answer_is_shown_with_its_request(self) -> None:
        script = self.make_script()
        script.reply = lambda request: request
        shown: list[tuple[str, bytes]] = []
        with self.loaded(script) as client:
            client.on_answer = lambda request, payload: shown.append((request.label, payload))
            assert client.SendRequests(self.requests(10), Deadline.after(ENOUGH)) == 10
        assert sorted(label for label, _ in shown) == sorted(request.label for request in self.requests(10))
        assert all(payload for _, payload in shown)

    def test_what_the_look_at_an_answer_raises_ends_the_requests(self) -> None:
        def look(request: SampleRequest, payload: bytes) -> None:
            raise AttemptFailed(ReasonCode.ANSWER_NOT_FINITE, request.label)

        with self.loaded(self.make_script()) as client:
            client.on_answer = look
            with pytest.raises(AttemptFailed) as caught:
                client.SendRequests(itertools.repeat(next(self.requests(1))), Deadline.after(ENOUGH))
        assert caught.value.reason is ReasonCode.ANSWER_NOT_FINITE

    def test_concurrency_is_used_and_bounded_and_requests_are_made_as_they_are_sent(self) -> None:
        script = self.make_script()
        together = threading.Barrier(self.most_at_once)

        def reply(request: bytes) -> bytes:
            together.wait(ENOUGH)
            return b""

        script.reply = reply
        made = itertools.count()
        furthest_ahead = 0

        def counted() -> Iterator[SampleRequest]:
            nonlocal furthest_ahead
            for request in self.requests(30):
                furthest_ahead = max(furthest_ahead, next(made) + 1 - len(script.received))
                yield request

        with self.loaded(script) as client:
            assert client.SendRequests(counted(), Deadline.after(ENOUGH), concurrency=self.most_at_once) == 30
        assert script.most_at_once == self.most_at_once
        assert furthest_ahead <= self.most_at_once

    def test_a_failed_request_is_told_with_text_label_and_signature_but_not_its_content(self) -> None:
        script = self.make_script()

        def fail_third(request: bytes) -> bytes:
            if len(script.received) == 3:
                raise Refused("Matrix size-incompatible: In[0]: [2,4]")
            return b""

        script.reply = fail_third
        with self.loaded(script) as client:
            with pytest.raises(AttemptFailed) as caught:
                client.SendRequests(self.requests(1_000_000), Deadline.after(ENOUGH), concurrency=1)
        assert caught.value.reason is ReasonCode.REQUEST_FAILED
        signature = next(self.requests(1)).signature
        for word in ("Matrix size-incompatible", "record 3 of f.gz", signature):
            assert word in str(caught.value)
        assert "secret-payload" not in str(caught.value)
        assert len(script.received) == 3

    def test_a_failure_says_which_of_its_words_are_the_servers(self) -> None:
        """Those are searched for the request's content, which servers like to quote."""
        script = self.make_script()
        quoting = "Could not parse the input, value: 'secret-payload'"

        def refuse(request: bytes) -> bytes:
            raise Refused(quoting)

        script.reply = refuse
        with self.loaded(script) as client:
            with pytest.raises(AttemptFailed) as caught:
                client.SendRequests(self.requests(1), Deadline.after(ENOUGH))
        told = caught.value.detail
        if caught.value.quotes is not None:  # None: nobody knows, so all of it is searched
            for words in caught.value.quotes:
                told = told.replace(words, "")
            assert "secret-payload" not in told

    def test_a_request_that_hangs_is_a_query_timeout(self) -> None:
        script = self.make_script()
        released = threading.Event()

        def hang(request: bytes) -> bytes:
            released.wait(ENOUGH)
            return b""

        script.reply = hang
        with self.loaded(script) as client:
            try:
                with pytest.raises(AttemptFailed, match="record 1 of ") as caught:
                    client.SendRequests(self.requests(2), Deadline.after(SHORT))
            finally:
                released.set()
        assert caught.value.reason is ReasonCode.QUERY_TIMEOUT

    def test_the_jobs_end_ends_the_requests(self) -> None:
        script = self.make_script()
        released = threading.Event()
        job = Job()

        def end_the_job(request: bytes) -> bytes:
            job.seen = OUT_OF_MEMORY
            released.wait(ENOUGH)
            return b""

        script.reply = end_the_job
        with self.loaded(script) as client:
            try:
                with pytest.raises(JobGone) as caught:
                    client.SendRequests(self.requests(2), Deadline.after(ENOUGH), job)
            finally:
                released.set()
        assert caught.value.seen is OUT_OF_MEMORY

    def test_the_jobs_end_ends_requests_that_flow_without_end(self) -> None:
        """An interruption shows in the job, too, while the server answers as ever."""
        script = self.make_script()
        job = Job()

        def end_the_job(request: bytes) -> bytes:
            if len(script.received) == 20:
                job.seen = OUT_OF_MEMORY
            return b""

        script.reply = end_the_job
        endless = itertools.repeat(next(self.requests(1)))
        with self.loaded(script) as client:
            with pytest.raises(JobGone):
                client.SendRequests(endless, Deadline.after(ENOUGH), job)

    def test_requests_that_flow_without_end_are_a_query_timeout(self) -> None:
        endless = itertools.repeat(next(self.requests(1)))
        with self.loaded(self.make_script()) as client:
            with pytest.raises(AttemptFailed) as caught:
                client.SendRequests(endless, Deadline.after(SHORT))
        assert caught.value.reason is ReasonCode.QUERY_TIMEOUT

    def test_examples_that_turn_out_bad_end_the_requests(self) -> None:
        def broken() -> Iterator[SampleRequest]:
            yield from self.requests(3)
            raise ExamplesError(ReasonCode.EXAMPLES_NOT_READABLE, "f.gz, record 4: cut off.")

        with self.loaded(self.make_script()) as client:
            with pytest.raises(ExamplesError, match="record 4"):
                client.SendRequests(broken(), Deadline.after(ENOUGH))

    def test_close_may_be_called_twice(self) -> None:
        client = self.make_client(f"127.0.0.1:{free_port()}")
        client.Close()
        client.Close()
