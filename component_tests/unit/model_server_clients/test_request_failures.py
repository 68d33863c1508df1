"""What a failed request means, by the server's status and words."""

from __future__ import annotations

import grpc
import pytest

from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.model_server_clients.base_client import RequestFailed
from infra_validator.model_server_clients.request_failures import (
    BROKEN,
    failure_of,
    is_cut,
    is_refused_connection,
    is_unreachable,
)

C = grpc.StatusCode
REQUEST = SampleRequest("/tensorflow.serving.PredictionService/Predict", "serving_default", b"", "request 3")

CUT = (
    "Socket closed",
    "recvmsg:Connection reset by peer",
    "Connection reset",
    "Connection aborted",
    "ipv4:127.0.0.1:1: Connection refused",
    "Broken pipe",
    "End of TCP stream",
    "recvmsg:",
    "failed to connect to all addresses",
    "Failed to connect to remote host",
    "Stream removed",
    "GOAWAY received",
    "Transport closed",
    "transport closed",
    "FD Shutdown",
    "FD shutdown",
    "keepalive watchdog timeout",
)


def test_the_codes_of_a_broken_connection() -> None:
    assert set(BROKEN) == {C.UNAVAILABLE, C.INTERNAL, C.UNKNOWN, C.CANCELLED}


@pytest.mark.parametrize("text", CUT)
def test_a_cut_is_known_by_its_words_under_two_codes(text: str) -> None:
    assert [code for code in C if is_cut(code, text)] == [C.UNKNOWN, C.UNAVAILABLE]


def test_a_servers_own_words_are_no_cut() -> None:
    assert not any(is_cut(code, "the model is unloading") for code in C)


def test_nobody_there_and_nobody_listening() -> None:
    assert is_unreachable("failed to connect to all addresses")
    assert is_unreachable("Failed to connect to remote host")
    assert not is_unreachable("Socket closed")
    assert is_refused_connection("ipv4:127.0.0.1:1: Connection refused")
    assert not is_refused_connection("Connection reset")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('Serving signature key "x" not found.', ReasonCode.SIGNATURE_NOT_FOUND),
        ("No signature was found with the name: x", ReasonCode.SIGNATURE_NOT_FOUND),
        ("Requested signature not found in model graph.", ReasonCode.SIGNATURE_NOT_FOUND),
        ("No OpKernel was registered to support Op 'Frob'", ReasonCode.OP_NOT_REGISTERED),
        ("Op type not registered 'Frob'", ReasonCode.OP_NOT_REGISTERED),
    ],
)
def test_what_the_model_lacks_is_a_reason_of_its_own(text: str, reason: ReasonCode) -> None:
    failure = failure_of(REQUEST, C.INVALID_ARGUMENT, text)
    assert failure.reason is reason
    assert failure.detail == f"request 3, signature 'serving_default': INVALID_ARGUMENT: {text}"
    assert failure.quotes == (text,)


@pytest.mark.parametrize("code", [code for code in C if code is not C.OK])
def test_every_other_error_fails_the_request_and_one_code_refuses_it(code: grpc.StatusCode) -> None:
    failure = failure_of(REQUEST, code, "x" * 5000)
    assert isinstance(failure, RequestFailed)
    assert failure.reason is ReasonCode.REQUEST_FAILED
    assert failure.request is REQUEST
    assert failure.refused is (code is C.INVALID_ARGUMENT)
    assert failure.quotes is not None
    (quote,) = failure.quotes
    assert quote == "x" * 1000 + " ... (4000 more characters)"
    assert failure.fingerprint == f"REQUEST_FAILED: {code.name}: {quote}"
    assert quote in failure.told


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("Received message larger than max (5 vs. 4)", True),
        ("CLIENT: received message larger than max", True),
        ("HTTP 413 Payload Too Large", True),
        ("HTTP 4130", False),
        ("behind it HTTP 413", False),
    ],
)
def test_a_request_that_is_too_large_for_the_server_is_refused(text: str, refused: bool) -> None:
    failure = failure_of(REQUEST, C.RESOURCE_EXHAUSTED, text)
    assert isinstance(failure, RequestFailed)
    assert failure.refused is refused
