"""What GetModelStatus answers mean: a row for every state, the empty answer, the unknown version, every error code."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator

import grpc
import pytest

from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import of_exhaustion
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.states import ModelStatus
from infra_validator.model_server_clients.tensorflow_serving import (
    TensorFlowServingClient,
    report_of_answer,
    report_of_error,
    why_not_open,
)
from infra_validator.protos import tensorflow_pb2
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

NOT_READY, READY, UNAVAILABLE = ModelStatus.NOT_READY, ModelStatus.READY, ModelStatus.UNAVAILABLE

State = serving_pb2.ModelVersionStatus
UNKNOWN, START, LOADING, AVAILABLE, UNLOADING, END = (
    State.UNKNOWN,
    State.START,
    State.LOADING,
    State.AVAILABLE,
    State.UNLOADING,
    State.END,
)

Entry = tuple[int, "State.State.ValueType", str]


def answer(*entries: Entry) -> serving_pb2.GetModelStatusResponse:
    made = serving_pb2.GetModelStatusResponse()
    for version, state, error in entries:
        entry = made.model_version_status.add(version=version, state=state)
        if error:
            entry.status.error_code = tensorflow_pb2.INTERNAL
            entry.status.error_message = error
    return made


@pytest.mark.parametrize(
    ("version", "entries", "status"),
    [
        (1, [], NOT_READY),
        (1, [(1, UNKNOWN, "")], NOT_READY),
        (1, [(1, START, "")], NOT_READY),
        (1, [(1, LOADING, "")], NOT_READY),
        (1, [(1, AVAILABLE, "")], READY),
        (1, [(1, UNLOADING, "")], UNAVAILABLE),
        (1, [(1, END, "")], NOT_READY),
        (1, [(1, END, "no such op")], UNAVAILABLE),
        (1, [(2, AVAILABLE, "")], NOT_READY),
        (1, [(2, END, "no such op"), (1, LOADING, "")], NOT_READY),
        (2, [(2, LOADING, ""), (1, AVAILABLE, "")], NOT_READY),
        (2, [(2, END, "no such op"), (1, AVAILABLE, "")], UNAVAILABLE),
        (2, [(2, AVAILABLE, ""), (1, UNLOADING, "")], READY),
        (2, [(2, AVAILABLE, ""), (1, END, "old trouble")], READY),
        (None, [], NOT_READY),
        (None, [(1, LOADING, "")], NOT_READY),
        (None, [(1, AVAILABLE, "")], READY),
        (None, [(2, LOADING, ""), (1, AVAILABLE, "")], READY),
        (None, [(2, END, "no such op"), (1, AVAILABLE, "")], READY),
        (None, [(2, END, "no such op"), (1, LOADING, "")], NOT_READY),
        (None, [(2, END, "no such op"), (1, START, "")], NOT_READY),
        (None, [(2, END, "no such op"), (1, UNKNOWN, "")], NOT_READY),
        (None, [(2, END, "no such op"), (1, END, "")], UNAVAILABLE),
        (None, [(1, END, "")], NOT_READY),
        (None, [(1, UNLOADING, "")], UNAVAILABLE),
    ],
)
def test_an_answer_is_read(version: int | None, entries: list[Entry], status: ModelStatus) -> None:
    report = report_of_answer(answer(*entries), version)
    assert (report.status, report.answered, report.foreign) == (status, True, False)


def test_a_state_of_a_later_server_is_not_ready() -> None:
    report = report_of_answer(serving_pb2.GetModelStatusResponse.FromString(b"\x0a\x04\x08\x01\x10\x63"), 1)
    assert report.status is NOT_READY
    assert "99" in report.detail


def test_an_error_code_of_a_later_server_is_shown_as_its_number() -> None:
    made = serving_pb2.GetModelStatusResponse.FromString(b"\x0a\x0b\x08\x01\x10\x32\x1a\x05\x08\x63\x12\x01x")
    report = report_of_answer(made, 1)
    assert report.status is UNAVAILABLE
    assert "99: x" in report.detail


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ((7, END, "no such op"), "version 7 is END (INTERNAL: no such op)"),
        ((7, END, ""), "version 7 is END (retired without an error)"),
        ((7, LOADING, ""), "version 7 is LOADING"),
    ],
)
def test_the_servers_words_are_kept(entry: Entry, words: str) -> None:
    assert report_of_answer(answer(entry), None).detail == words


def test_a_version_that_is_not_listed_is_named() -> None:
    assert "no version 3" in report_of_answer(answer((1, AVAILABLE, "")), 3).detail


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_no_error_is_more_than_not_ready(code: grpc.StatusCode) -> None:
    assert report_of_error(code, "text").status is NOT_READY


@pytest.mark.parametrize(
    ("code", "details", "answered", "foreign"),
    [
        (grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses; Connection refused", False, False),
        (grpc.StatusCode.UNAVAILABLE, "Socket closed", False, False),
        (grpc.StatusCode.UNAVAILABLE, "Failed parsing HTTP/2 (Expected SETTINGS frame)", True, True),
        (grpc.StatusCode.UNAVAILABLE, "Trying to connect an http1.x server", True, True),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", False, False),
        (grpc.StatusCode.NOT_FOUND, "Could not find any versions of model m", True, False),
        (grpc.StatusCode.UNIMPLEMENTED, "Method not found!", True, True),
        (grpc.StatusCode.INTERNAL, "Exception deserializing response!", True, True),
        (grpc.StatusCode.UNKNOWN, "", True, True),
        (grpc.StatusCode.PERMISSION_DENIED, "who are you", True, True),
    ],
)
def test_an_error_says_who_answered(code: grpc.StatusCode, details: str, answered: bool, foreign: bool) -> None:
    report = report_of_error(code, details)
    assert (report.answered, report.foreign) == (answered, foreign)
    if answered:
        assert code.name in report.detail
        assert details in report.detail


@pytest.mark.parametrize(
    "endpoint", ["model-server.namespace.svc:8500", "unix:/tmp/socket", "dns:///here:1", "nothing"]
)
def test_only_addresses_are_tried_without_grpc(endpoint: str) -> None:
    """Looking up a name has no deadline outside gRPC."""
    assert why_not_open(endpoint, Deadline.after(0)) == ""


def test_a_look_at_the_port_takes_a_second_at_most() -> None:
    caps = []

    class Noted(Deadline):
        def capped(self, seconds: float) -> Deadline:
            caps.append(seconds)
            return super().capped(seconds)

    assert why_not_open("127.0.0.1:1", Noted.after(60)) == "127.0.0.1:1: Connection refused"
    assert why_not_open("127.0.0.1:1", Noted.after(0)) == "127.0.0.1:1: Connection refused"
    assert caps == [1.0, 1.0]


@contextlib.contextmanager
def without_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_process_without_descriptors_does_not_wait_for_the_model() -> None:
    """grpcio connects to nothing then and says no more than that its deadline came: the model would be blamed."""
    with TensorFlowServingClient("127.0.0.1:1", "m") as client:
        with without_descriptors(), pytest.raises(OSError, match="Too many open files") as raised:
            client.WaitUntilModelLoaded(Deadline.after(60))
    failure = of_exhaustion(raised.value)
    assert failure is not None
    assert failure.reason is ReasonCode.RESOURCES_EXHAUSTED


def test_a_process_without_descriptors_opens_no_channel() -> None:
    """grpcio would end the whole process, if it is the first one."""
    with without_descriptors(), pytest.raises(OSError, match="Too many open files"):
        TensorFlowServingClient("127.0.0.1:1", "m")
