"""Clients that are slow, silent or gone cost the HTTP server nothing that others need."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from infra_validator.embedded_server.rest.answer import Answer, Headers
from infra_validator.embedded_server.rest.http_server import Handler, HttpServer

GET = b"GET /v1/x HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = 32 * 2**20  # bytes: more than sockets hold


def echo(verb: str, target: str, _headers: Headers, body: bytes) -> Answer:
    if target == "/large":
        return Answer(200, bytes(LARGE))
    return Answer(200, f"{verb} {target} {body.decode()}".encode())


@contextlib.contextmanager
def serving(handler: Handler = echo, patience: float = 60.0) -> Iterator[HttpServer]:
    """A server with one worker."""
    server = HttpServer(handler, 1, "127.0.0.1", 0, patience)
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def connected(server: HttpServer, *sent: bytes) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        for piece in sent:
            client.sendall(piece)
        yield client


def all_of(client: socket.socket) -> bytes:
    """Everything until the server closes."""
    pieces = []
    while piece := client.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def is_served(server: HttpServer) -> None:
    with connected(server, GET.replace(b"Host: x", b"Connection: close")) as client:
        answer = all_of(client)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"GET /v1/x ")


@pytest.mark.parametrize("sent", [GET[:5], GET[:-2], b"POST /x HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"])
def test_300_half_sent_requests_keep_nobody_out(sent: bytes) -> None:
    with serving() as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(server, sent)) for _ in range(300)]
        is_served(server)
        clients[0].sendall(GET[len(sent) :] if GET.startswith(sent) else b"defghi")
        assert clients[0].recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")


def test_answers_that_nobody_takes_keep_nobody_out() -> None:
    with serving() as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(server, GET.replace(b"/v1/x", b"/large"))) for _ in range(5)]
        for client in clients:
            assert client.recv(10) == b"HTTP/1.1 2"
        is_served(server)
        clients[0].sendall(GET.replace(b"Host: x", b"Connection: close"))
        assert len(all_of(clients[0])) > LARGE


@pytest.mark.parametrize("sent", [GET[:5], GET[:-2]])
def test_a_client_that_is_too_slow_is_dropped(sent: bytes) -> None:
    with serving(patience=0.5) as server, connected(server) as silent, connected(server, sent) as client:
        with contextlib.suppress(ConnectionResetError):
            assert all_of(client) == b""
        silent.sendall(GET)  # of which nothing was asked of it
        assert silent.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_client_that_leaves_while_it_is_worked_for_harms_nobody() -> None:
    entered, go_on = threading.Event(), threading.Event()

    def handler(verb: str, target: str, headers: Headers, body: bytes) -> Answer:
        if target == "/wait":
            entered.set()
            assert go_on.wait(30)
        return echo(verb, target, headers, body)

    with serving(handler) as server:
        with connected(server, GET.replace(b"/v1/x", b"/wait")):
            assert entered.wait(30)
        go_on.set()
        is_served(server)


def test_a_mistake_of_the_handler_costs_its_request_only(capsys: pytest.CaptureFixture[str]) -> None:
    def handler(verb: str, target: str, headers: Headers, body: bytes) -> Answer:
        return echo(verb, {"/v1/x": target}[target], headers, body)

    with serving(handler) as server:
        with connected(server, GET.replace(b"/v1/x", b"/other")) as client:
            assert all_of(client).startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
        is_served(server)
    assert "GET /other failed" in capsys.readouterr().err


def test_refused_requests_are_answered_although_more_was_sent() -> None:
    with serving() as server, connected(server, b"GET / HTTP/2.0\r\n\r\n", bytes(2**20)) as client:
        assert all_of(client).startswith(b"HTTP/1.1 400 Bad Request\r\n")
