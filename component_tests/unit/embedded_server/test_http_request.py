"""Requests come out whole, however the bytes of a connection are cut."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_validator.embedded_server.rest.http_request import BadRequestError, Request, RequestReader

POST = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKS = b"POST /v1/a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nTrailer: 1\r\n\r\n"
GET = b"\r\nGET /v1/models/m?x HTTP/1.1\r\nX: 1\r\n folded\r\nx: 2\r\n\r\n"
OLD = b"GET /v1/foo HTTP/1.0\n\n"


def read(*pieces: bytes) -> list[Request]:
    reader, found = RequestReader(), []
    for piece in pieces:
        reader.feed(piece)
        while (request := reader.next()) is not None:
            found.append(request)
    return found


def seen(requests: list[Request]) -> list[tuple[str, str, bytes]]:
    return [(request.verb, request.target, request.content()) for request in requests]


@given(st.lists(st.sampled_from([POST, CHUNKS, GET, OLD]), max_size=6), st.lists(st.integers(1, 40), max_size=30))
def test_every_cut_gives_the_same_requests(sent: list[bytes], cuts: list[int]) -> None:
    whole, pieces = b"".join(sent), []
    for cut in cuts:
        pieces.append(whole[:cut])
        whole = whole[cut:]
    expected = {
        POST: ("POST", "/v1/models/m:predict", b"hello"),
        CHUNKS: ("POST", "/v1/a", b"hello"),
        GET: ("GET", "/v1/models/m?x", b""),
        OLD: ("GET", "/v1/foo", b""),
    }
    assert seen(read(*pieces, whole)) == [expected[request] for request in sent]


def test_headers() -> None:
    (get,) = read(GET)
    assert (get.headers.get("X"), get.headers.get("x"), get.headers.get("y")) == ("1 folded", "1 folded", None)
    assert get.keeps_open
    (old,) = read(OLD)
    assert (old.is_http_1_0, old.keeps_open) == (True, False)
    (closing,) = read(b"GET / HTTP/1.1\r\nConnection: Close\r\n\r\n")
    assert not closing.keeps_open


def test_a_body_that_is_waited_for() -> None:
    reader = RequestReader()
    reader.feed(POST.replace(b"Host: x", b"Expect: 100-Continue")[:-1])
    assert reader.next() is None
    assert reader.current is not None
    assert reader.current.expects_continue
    reader.feed(b"o")
    assert reader.next() is not None
    assert not reader.has_begun


def test_gzip() -> None:
    body = gzip.compress(b"hello", mtime=0)
    head = b"POST / HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert [request.content() for request in read(head + body)] == [b"hello"]
    assert [request.content() for request in read(head + b"x" * len(body))] == [b""]


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01",
        b"GET\r\n",
        b"GET /\r\n",
        b"GET / HTTP/2.0\r\n",
        b"GET / x HTTP/1.1\r\n",
        b"GET /" + b"x" * 70000,
        b"GET / HTTP/1.1\r\nno header\r\n\r\n",
        b"GET / HTTP/1.1\r\n: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200_000,
        *(
            b"POST / HTTP/1.1\r\nContent-Length: " + length + b"\r\n\r\n"
            for length in (b"-1", b"1e3", b"9" * 19, b"\xb2")
        ),
        *(
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk
            for chunk in (b"-5\r\n", b"zz\r\n", b"0x1\r\n", b"1\r\nab\r\n", b"f" * 16 + b"\r\n", b"1" * 5000)
        ),
    ],
    ids=range(19),
)
def test_what_is_no_request_is_refused_before_more_is_waited_for(sent: bytes) -> None:
    with pytest.raises(BadRequestError):
        read(sent)
