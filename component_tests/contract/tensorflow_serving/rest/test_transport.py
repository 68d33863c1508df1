"""Contract 6.2: HTTP itself."""

from __future__ import annotations

import gzip
import http.client
import json
import socket

import pytest

from component_tests.contract.tensorflow_serving.rest.http_client import Reply, ask, predictions
from component_tests.fakes.servers.embedded_server_process import EmbeddedServerProcess


def raw(server: EmbeddedServerProcess, *pieces: bytes) -> bytes:
    """Everything that comes back for these bytes until the server closes."""
    with socket.create_connection(("127.0.0.1", server.ports()["rest"]), timeout=60) as connection:
        for piece in pieces:
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


def test_6_2_headers_and_the_error_body(server: EmbeddedServerProcess) -> None:
    reply = ask(server, "GET", "/v1/foo")
    assert reply.body == b'{\n    "error": "Malformed request: GET /v1/foo"\n}'
    assert set(reply.headers) == {"content-type", "date", "content-length"}


def test_6_2_connections_stay_open_also_after_errors(server: EmbeddedServerProcess) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.ports()["rest"], timeout=60)
    for _ in range(3):
        connection.request("GET", "/v1/foo")
        assert Reply(connection.getresponse()).status == 400
        connection.request("POST", "/v1/models/half_plus_two:predict", b'{"instances": [1.0]}')
        assert Reply(connection.getresponse()).json == {"predictions": [2.5]}
    connection.close()


def test_6_2_pipelined_requests_are_answered_in_order(server: EmbeddedServerProcess) -> None:
    answer = raw(server, b"GET /v1/a HTTP/1.1\r\nHost: x\r\n\r\n" * 2 + b"GET /v1/b HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.count(b"HTTP/1.1 400 Bad Request") == 3
    assert answer.index(b"GET /v1/a") < answer.index(b"GET /v1/b")


def test_6_2_http_1_0_closes_without_length_and_date(server: EmbeddedServerProcess) -> None:
    head, _, body = raw(server, b"GET /v1/foo HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    assert b"Content-Length" not in head
    assert b"Date" not in head
    assert body == b'{\n    "error": "Malformed request: GET /v1/foo"\n}'


def test_6_2_chunks_and_continue(server: EmbeddedServerProcess) -> None:
    head = b"POST /v1/models/half_plus_two:predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    chunks = b'5;x=y\r\n{"ins\r\nf\r\ntances": [1.0]}\r\n0\r\nTrailer: 1\r\n\r\n'
    with socket.create_connection(("127.0.0.1", server.ports()["rest"]), timeout=60) as connection:
        connection.sendall(head + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(chunks)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert json.loads(answer.rpartition(b"\r\n\r\n")[2]) == {"predictions": [2.5]}


def test_6_2_a_post_without_length_is_empty(server: EmbeddedServerProcess) -> None:
    answer = raw(server, b"POST /v1/models/half_plus_two:predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"JSON Parse error: The document is empty" in answer


def test_6_2_gzip(server: EmbeddedServerProcess) -> None:
    target = "/v1/models/half_plus_two:predict"
    packed = gzip.compress(b'{"instances": [1.0]}')
    assert ask(server, "POST", target, packed, Content_Encoding="gzip").json == {"predictions": [2.5]}
    for broken in (packed[:10], b"nonsense", gzip.compress(bytes(101 * 2**20))):
        reply = ask(server, "POST", target, broken, Content_Encoding="gzip")
        assert (reply.status, reply.error) == (400, "JSON Parse error: The document is empty")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET /v1/foo HTTP/9.9\r\n\r\n",
        b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: 1e3\r\n\r\n",
        b"POST /v1/models/m:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"POST /v1/models/m:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"x" * 70000 + b" HTTP/1.1\r\n\r\n",
        b"GET /v1/foo HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    ],
)
def test_6_2_bytes_that_are_no_request(server: EmbeddedServerProcess, request_bytes: bytes) -> None:
    answer = raw(server, request_bytes)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), answer[:200]
    assert predictions(server, "half_plus_two:predict", {"instances": [1.0]}) == [2.5]


def test_6_2_a_length_that_is_only_declared_costs_nothing(server: EmbeddedServerProcess) -> None:
    head = b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: 99999999999999\r\n\r\n"
    assert raw(server, head + b"ab") == b""
    assert predictions(server, "half_plus_two:predict", {"instances": [1.0]}) == [2.5]
