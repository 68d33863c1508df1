"""The SPDY of the fake cluster refuses what breaks a rule of the protocol; that it agrees with kubectl is shown in test_kubectl.py."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import pytest

from component_tests.fakes.kubernetes_api.spdy import DICTIONARY, Session, Stream

FORWARD = {"streamtype": "data", "port": "8500", "requestid": "0"}
SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 9


class Client:
    """Frames that a client wrote, and what the server answered to all of them."""

    def __init__(self, dictionary: bytes = DICTIONARY) -> None:
        self._deflate = zlib.compressobj(zdict=dictionary)
        self._sent = b""

    def control(self, kind: int, payload: bytes, flags: int = 0, version: int = 3) -> None:
        self._sent += struct.pack(">HHI", 0x8000 | version, kind, flags << 24 | len(payload)) + payload

    def open(self, number: int, headers: dict[str, str], flags: int = 0) -> None:
        block = struct.pack(">I", len(headers))
        for part in (part.encode() for pair in headers.items() for part in pair):
            block += struct.pack(">I", len(part)) + part
        compressed = self._deflate.compress(block) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        self.control(SYN_STREAM, struct.pack(">IIH", number, 0, 0) + compressed, flags)

    def data(self, number: int, data: bytes, flags: int = 0) -> None:
        self._sent += struct.pack(">II", number, flags << 24 | len(data)) + data

    def answers(self, opened: Callable[[Stream], None] = lambda stream: None) -> list[tuple[int, bytes]]:
        """(type, payload) of the server's control frames; the compressed part of a SYN_REPLY is left out."""

        def accept(stream: Stream) -> Callable[[], object]:
            opened(stream)
            return lambda: None

        out = io.BytesIO()
        Session(io.BytesIO(self._sent).read, out.write, accept).run()
        told, at, whole = [], 0, out.getvalue()
        while at < len(whole):
            kind, length = struct.unpack_from(">H", whole, at + 2)[0], struct.unpack_from(">I", whole, at + 4)[0]
            told.append((kind, whole[at + 8 : at + 8 + (4 if kind == SYN_REPLY else length)]))
            at += 8 + length
        return told


def _numbers(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def test_streams_are_answered_and_their_data_arrives() -> None:
    client, streams = Client(), list[Stream]()
    client.open(1, FORWARD)
    client.open(3, {**FORWARD, "requestid": "1"}, flags=1)
    client.data(1, b"some")
    client.data(1, b"more", flags=1)
    client.control(PING, _numbers(1))
    assert client.answers(streams.append) == [
        (SYN_REPLY, _numbers(1)),
        (SYN_REPLY, _numbers(3)),
        (PING, _numbers(1)),
    ]
    one, other = streams
    assert (one.headers, other.headers["requestid"]) == (FORWARD, "1")
    assert [one.received.get(timeout=1) for _ in range(3)] == [b"some", b"more", b""]
    assert other.received.get(timeout=1) == b""


@pytest.mark.parametrize("headers", [{"Port": "8500"}, {"": "8500"}])
def test_headers_that_break_a_rule_reset_their_stream_only(headers: dict[str, str]) -> None:
    client = Client()
    client.open(1, headers)
    client.open(3, FORWARD)
    assert client.answers() == [(RST_STREAM, _numbers(1, 1)), (SYN_REPLY, _numbers(3))]


def test_a_stream_that_is_not_wanted_is_cancelled() -> None:
    def refuse(stream: Stream) -> None:
        raise ValueError(stream.number)

    client = Client()
    client.open(1, FORWARD)
    assert client.answers(refuse) == [(RST_STREAM, _numbers(1, 5))]


def test_data_where_none_may_be_resets_the_stream() -> None:
    client = Client()
    client.data(1, b"too early")
    client.open(1, FORWARD, flags=1)
    client.data(1, b"too late")
    assert client.answers() == [(RST_STREAM, _numbers(1, 2)), (SYN_REPLY, _numbers(1)), (RST_STREAM, _numbers(1, 9))]


@pytest.mark.parametrize(
    "break_a_rule",
    [
        lambda client: client.open(2, FORWARD),
        lambda client: client.control(PING, _numbers(1), version=2),
        lambda client: client.control(PING, _numbers(1, 2)),
        lambda client: client.control(PING, _numbers(1), flags=1),
        lambda client: client.control(SETTINGS, _numbers(2, 4, 100)),
        lambda client: client.control(WINDOW_UPDATE, _numbers(1, 0)),
        lambda client: client.control(SYN_REPLY, _numbers(1)),
        lambda client: client.control(RST_STREAM, _numbers(1, 0)),
        lambda client: client.data(0, b"of no stream"),
        lambda client: client.control(SYN_STREAM, _numbers(1, 0) + b"\0\0not compressed"),
    ],
    ids=["even", "version", "length", "flags", "settings", "window", "reply", "status", "zero", "compression"],
)
def test_what_breaks_a_rule_of_the_connection_ends_it(break_a_rule: Callable[[Client], None]) -> None:
    client = Client()
    break_a_rule(client)
    client.control(PING, _numbers(3))
    assert client.answers() == [(GOAWAY, _numbers(0, 1))]


def test_a_header_block_without_the_dictionary_of_the_specification_ends_the_connection() -> None:
    client = Client(dictionary=b"another")
    client.open(1, FORWARD)
    ((kind, payload),) = client.answers()
    assert (kind, payload[4:]) == (GOAWAY, _numbers(1))
