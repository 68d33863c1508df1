"""When a port-forward gives the pod up: with real sockets on this side and an API server that is told what to do."""

from __future__ import annotations

import queue
import socket

import pytest

from infra_validator.core.deadline import News
from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_runners.kubernetes.api.errors import ApiError, ApiUnreachable, meaning_for_stream
from infra_validator.model_server_runners.kubernetes.api.stream import WebSocket
from infra_validator.model_server_runners.kubernetes.connection.backoff import Backoff
from infra_validator.model_server_runners.kubernetes.connection.port_forward import PortForward, Problem

SECONDS = 30.0


class QuietLog:
    """A log that cannot be followed."""

    def __init__(self) -> None:
        self.news = News()
        self.spoke_at: float | None = None
        self.follows = False


def given_up(problems: list[Problem], patience_seconds: float, lives: bool = True) -> tuple[Problem | None, int]:
    """What a client's connection leads to when opening the stream fails so, in turn; and how many streams were tried."""
    lost: queue.SimpleQueue[Problem] = queue.SimpleQueue()
    turns = iter(problems)

    def open_stream() -> WebSocket:
        raise next(turns, problems[-1])

    forward = PortForward(
        open_stream, lost.put, Backoff(QuietLog()), lives=lambda: lives, patience_seconds=patience_seconds
    )
    try:
        host, _, port = forward.endpoint.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=SECONDS) as client:
            assert client.recv(1) == b""  # held until it is given up
        return (None if lost.empty() else lost.get()), forward.streams
    finally:
        forward.close()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 406, 422])
def test_a_refusal_is_final(status: int) -> None:
    problem, streams = given_up([ApiError(status, "Refused", "no", "forward")], patience_seconds=3600.0)
    assert isinstance(problem, ApiError)
    assert (problem.status, streams) == (status, 1)


def test_credentials_that_cannot_be_refreshed_are_final() -> None:
    error = InfrastructureError(ReasonCode.KUBERNETES_UNAUTHORIZED, "no token")
    assert given_up([error], patience_seconds=3600.0) == (error, 1)


@pytest.mark.parametrize(
    "problem", [ApiError(500, "InternalError", "error dialing backend", "forward"), ApiUnreachable("forward", "away")]
)
def test_who_restarts_is_waited_for_as_long_as_the_patience_lasts(problem: Problem) -> None:
    given, streams = given_up([problem], patience_seconds=0.3)
    assert given is problem
    assert streams > 1


def test_a_pod_that_is_gone_is_nothing_to_complain_of() -> None:
    assert given_up([ApiUnreachable("forward", "away")], patience_seconds=3600.0, lives=False) == (None, 0)


@pytest.mark.parametrize(
    ("error", "reason", "heals"),
    [
        (ApiError(406, "", "406: Not Acceptable", "forward"), ReasonCode.SERVER_NOT_REACHABLE, False),
        (ApiError(500, "InternalError", "error dialing backend", "forward"), ReasonCode.SERVER_NOT_REACHABLE, True),
        (ApiUnreachable("forward", "away"), ReasonCode.SERVER_NOT_REACHABLE, True),
        (ApiError(401, "Unauthorized", "Unauthorized", "forward"), ReasonCode.KUBERNETES_UNAUTHORIZED, False),
        (
            ApiError(403, "Forbidden", 'pods "p" is forbidden: cannot create resource "pods/exec"', "forward"),
            ReasonCode.KUBERNETES_FORBIDDEN,
            False,
        ),
    ],
)
def test_what_it_means(error: ApiError | ApiUnreachable, reason: ReasonCode, heals: bool) -> None:
    meaning = meaning_for_stream(error, ReasonCode.SERVER_NOT_REACHABLE)
    assert (meaning.reason, meaning.heals) == (reason, heals)
