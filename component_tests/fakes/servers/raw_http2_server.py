"""A server that speaks HTTP/2 octet by octet, wrong on purpose: each mode in one way.

``MODES`` maps a mode's name to what its server does with a connection. Every mode is run against real sockets in this process::

    with RawHttp2Server("rst_stream") as server:
        ... f"127.0.0.1:{server.port}" ...
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable

from infra_validator.protos import tensorflow_serving_pb2 as serving

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(*headers: tuple[str, str | bytes]) -> bytes:
    """A header block of plain literals; every name and value is shorter than 127 octets."""
    block = b""
    for name, value in headers:
        octets = value if isinstance(value, bytes) else value.encode()
        block += b"\0" + bytes([len(name)]) + name.encode() + bytes([len(octets)]) + octets
    return block


OPENING = (":status", "200"), ("content-type", "application/grpc")
AVAILABLE = serving.GetModelStatusResponse(
    model_version_status=[
        serving.ModelVersionStatus(version=1, state=serving.ModelVersionStatus.AVAILABLE, status=serving.StatusProto())
    ]
).SerializeToString()


def message(content: bytes, compressed: int = 0) -> bytes:
    return bytes([compressed]) + len(content).to_bytes(4, "big") + content


def answer(content: bytes = AVAILABLE, stream: int = 1) -> bytes:
    """A whole good answer."""
    return (
        frame(HEADERS, END_HEADERS, stream, literal(*OPENING))
        + frame(DATA, 0, stream, message(content))
        + frame(HEADERS, END_HEADERS | END_STREAM, stream, literal(("grpc-status", "0")))
    )


def large_answer(content: bytes) -> bytes:
    """A good answer in as many frames as it takes."""
    octets = message(content)
    return (
        frame(HEADERS, END_HEADERS, 1, literal(*OPENING))
        + b"".join(frame(DATA, 0, 1, octets[at : at + 16384]) for at in range(0, len(octets), 16384))
        + frame(HEADERS, END_HEADERS | END_STREAM, 1, literal(("grpc-status", "0")))
    )


def ended(status: str, text: str | bytes = "", stream: int = 1) -> bytes:
    """A trailers-only answer."""
    block = literal(*OPENING, ("grpc-status", status), ("grpc-message", text))
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, block)


class Peer:
    """One connection of a server."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.socket = sock
        self.number = number  # 1 for the first connection of a server
        self._buffer = b""

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def read_exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            received = self.socket.recv(65536)
            if not received:
                raise ConnectionError("the client closed")
            self._buffer += received
        octets, self._buffer = self._buffer[:size], self._buffer[size:]
        return octets

    def read_frame(self) -> tuple[int, int, int, bytes]:
        start = self.read_exactly(9)
        payload = self.read_exactly(int.from_bytes(start[:3], "big"))
        return start[3], start[4], int.from_bytes(start[5:9], "big"), payload

    def greet(self, settings: bytes = b"") -> None:
        """Send SETTINGS, read the client's preface."""
        self.send(frame(SETTINGS, 0, 0, settings))
        assert self.read_exactly(len(PREFACE)) == PREFACE

    def read_request(self) -> None:
        """Read frames up to the end of the request."""
        while True:
            kind, flags, _, _ = self.read_frame()
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                return

    def wait_for_end(self) -> None:
        """Read until the client closes."""
        while self.socket.recv(65536):
            pass


Behaviour = Callable[[Peer], None]


def _after_request(octets: bytes) -> Behaviour:
    """Greet, read the request, send these octets, and stay silent."""

    def behave(peer: Peer) -> None:
        peer.greet()
        peer.read_request()
        peer.send(octets)
        peer.wait_for_end()

    return behave


def _at_once(octets: bytes) -> Behaviour:
    def behave(peer: Peer) -> None:
        peer.send(octets)
        peer.wait_for_end()

    return behave


def _endless(opening: bytes, part: bytes, limit: int) -> Behaviour:
    """After the request the opening, then the part again and again, up to ``limit`` octets."""

    def behave(peer: Peer) -> None:
        peer.greet()
        peer.read_request()
        peer.send(opening)
        chunk = part * max(1, 65536 // len(part))
        for _ in range(limit // len(chunk)):
            peer.send(chunk)
        peer.wait_for_end()

    return behave


def _good(peer: Peer) -> None:
    peer.greet()
    peer.read_request()
    peer.send(answer())
    peer.wait_for_end()


def _closes_at_once(peer: Peer) -> None:
    peer.socket.close()


def _settings_and_stop(peer: Peer) -> None:
    peer.greet()
    peer.wait_for_end()


def _half_an_answer(peer: Peer) -> None:
    peer.greet()
    peer.read_request()
    peer.send(answer()[:-10])
    peer.socket.close()


def _byte_by_byte(peer: Peer) -> None:
    peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for octet in frame(SETTINGS, 0, 0):
        peer.send(bytes([octet]))
    peer.read_exactly(len(PREFACE))
    peer.read_request()
    for octet in answer():
        peer.send(bytes([octet]))
    peer.wait_for_end()


def _drips(peer: Peer) -> None:
    """Always something new, never an answer."""
    peer.greet()
    peer.read_request()
    while True:
        peer.send(frame(PING, 0, 0, b"8 octets"))
        time.sleep(0.02)


def _window_opened_late(peer: Peer) -> None:
    """No window for the request at first; then a few octets at a time."""
    peer.greet(b"\0\x04" + (0).to_bytes(4, "big"))
    seen = b""
    while True:
        kind, flags, _, payload = peer.read_frame()
        seen += payload if kind == DATA else b""
        if kind == DATA and flags & END_STREAM:
            break
        if kind in (HEADERS, DATA):
            peer.send(frame(WINDOW_UPDATE, 0, 1, (3).to_bytes(4, "big")))
    assert seen[5:], "a request without a message"
    peer.send(answer())
    peer.wait_for_end()


def _goaway_then_good(peer: Peer) -> None:
    """Goes away without having seen the call; the next connection is good."""
    if peer.number == 1:
        _after_request(frame(GOAWAY, 0, 0, bytes(8)))(peer)
    else:
        _good(peer)


def _goaway_three_times(peer: Peer) -> None:
    if peer.number <= 3:
        _after_request(frame(GOAWAY, 0, 0, bytes(8)))(peer)
    else:
        _good(peer)


def _goaway_and_reset(peer: Peer) -> None:
    """Goes away and resets the connection before the request has come; the next connection is good."""
    if peer.number == 1:
        peer.send(frame(SETTINGS, 0, 0) + frame(GOAWAY, 0, 0, bytes(8)))
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.socket.close()
    else:
        _good(peer)


def _goaway_and_close(peer: Peer) -> None:
    """Goes away and closes when it has seen the request; the next connection is good."""
    if peer.number == 1:
        peer.greet()
        peer.read_request()
        peer.send(frame(GOAWAY, 0, 0, bytes(8)))
        peer.socket.close()
    else:
        _good(peer)


def _refuses_then_good(peer: Peer) -> None:
    if peer.number == 1:
        _after_request(frame(RST_STREAM, 0, 1, (7).to_bytes(4, "big")))(peer)
    else:
        _good(peer)


def _good_from_third_connection(peer: Peer) -> None:
    if peer.number < 3:
        peer.socket.close()
    else:
        _good(peer)


def _huffman_and_table(peer: Peer) -> None:
    """Headers as a good encoder writes them: indexed, Huffman coded, put into the dynamic table and taken from there."""
    peer.greet()
    peer.read_request()
    opening = (
        b"\x88"  # :status 200, of the static table
        + b"\x5f\x8b\x1d\x75\xd0\x62\x0d\x26\x3d\x4c\x4d\x65\x64"  # content-type: application/grpc, Huffman, into the table
        + b"\x40\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f\x81\x07"  # grpc-status: 0, Huffman, into the table
    )
    peer.send(frame(HEADERS, END_HEADERS, 1, opening) + frame(DATA, 0, 1, message(AVAILABLE)))
    peer.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xbe"))  # grpc-status: 0, the table's newest entry
    peer.wait_for_end()


def _padded(peer: Peer) -> None:
    peer.greet()
    peer.read_request()
    block = b"\x07" + bytes(5) + literal(*OPENING) + bytes(7)
    peer.send(frame(HEADERS, END_HEADERS | PADDED | HAS_PRIORITY, 1, block))
    peer.send(frame(DATA, PADDED, 1, b"\x03" + message(AVAILABLE) + bytes(3)))
    peer.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, literal(("grpc-status", "0"))))
    peer.wait_for_end()


_BOMB = b"\x40\x01x\x7f\x81\x1e" + b"v" * 4000 + b"\xbe" * 60_000  # an entry of 4 kB, then 60,000 times that entry

MODES: dict[str, Behaviour] = {
    "good": _good,
    "closes_at_once": _closes_at_once,
    "http1": _at_once(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
    "tls_alert": _at_once(b"\x15\x03\x01\x00\x02\x02\x46"),
    "silent": Peer.wait_for_end,
    "settings_and_stop": _settings_and_stop,
    "goaway_first": _at_once(frame(GOAWAY, 0, 0, bytes(8))),
    "goaway": _after_request(frame(GOAWAY, 0, 0, bytes(4) + (11).to_bytes(4, "big") + b"too_many_pings")),
    "goaway_then_good": _goaway_then_good,
    "goaway_three_times": _goaway_three_times,
    "goaway_and_reset": _goaway_and_reset,
    "goaway_and_close": _goaway_and_close,
    "goaway_graceful": _after_request(frame(GOAWAY, 0, 0, b"\x7f\xff\xff\xff" + bytes(4)) + answer()),
    "goaway_short": _after_request(frame(GOAWAY, 0, 0, b"1")),
    "rst_stream": _after_request(frame(RST_STREAM, 0, 1, (2).to_bytes(4, "big"))),
    "rst_stream_short": _after_request(frame(RST_STREAM, 0, 1, b"1")),
    "refused_stream": _after_request(frame(RST_STREAM, 0, 1, (7).to_bytes(4, "big"))),
    "refuses_then_good": _refuses_then_good,
    "good_from_third_connection": _good_from_third_connection,
    "trailers_only_not_found": _after_request(ended("5", "Could not find any versions of model m")),
    "trailers_only_ok": _after_request(ended("0")),
    "trailers_only_without_status": _after_request(frame(HEADERS, END_HEADERS | END_STREAM, 1, literal(*OPENING))),
    "unknown_grpc_status": _after_request(ended("99", "what is it")),
    "garbage_grpc_status": _after_request(ended("-5x", "what is it")),
    "non_utf8_grpc_message": _after_request(ended("5", b"\xff\xfe%C3%28%zz%0")),
    "no_grpc_status": _after_request(
        frame(HEADERS, END_HEADERS, 1, literal(*OPENING)) + frame(DATA, END_STREAM, 1, message(AVAILABLE))
    ),
    "http_404": _after_request(frame(HEADERS, END_HEADERS | END_STREAM, 1, literal((":status", "404")))),
    "http_503": _after_request(frame(HEADERS, END_HEADERS | END_STREAM, 1, literal((":status", "503")))),
    "html": _after_request(
        frame(HEADERS, END_HEADERS, 1, literal((":status", "200"), ("content-type", "text/html")))
        + frame(DATA, END_STREAM, 1, b"<html>hello</html>")
    ),
    "compressed": _after_request(
        frame(HEADERS, END_HEADERS, 1, literal(*OPENING, ("grpc-encoding", "snappy")))
        + frame(DATA, 0, 1, message(AVAILABLE, compressed=1))
        + frame(HEADERS, END_HEADERS | END_STREAM, 1, literal(("grpc-status", "0")))
    ),
    "headers_100_mib": _endless(
        frame(HEADERS, 0, 1), frame(CONTINUATION, 0, 1, b"\0\x01x\x7f\x81\x7f" + b"v" * 16378), 100 * 2**20
    ),
    "continuation_flood": _endless(frame(HEADERS, 0, 1), frame(CONTINUATION, 0, 1), 10 * 2**20),
    "hpack_bomb": _after_request(
        frame(HEADERS, 0, 1, _BOMB[:16384])
        + b"".join(frame(CONTINUATION, 0, 1, _BOMB[at : at + 16384]) for at in range(16384, len(_BOMB), 16384))
        + frame(CONTINUATION, END_HEADERS, 1)
    ),
    "bad_hpack": _after_request(frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff\xff\xff")),
    "not_continued": _after_request(frame(HEADERS, 0, 1) + frame(PING, 0, 0, bytes(8))),
    "huge_frame": _after_request(b"\xff\xff\xff" + bytes([DATA, 0]) + (1).to_bytes(4, "big") + bytes(1000)),
    "endless_data": _endless(
        frame(HEADERS, END_HEADERS, 1, literal(*OPENING)), frame(DATA, 0, 1, b"\0\xff\xff\xff\xff" * 3000), 20 * 2**20
    ),
    "empty_data_flood": _endless(frame(HEADERS, END_HEADERS, 1, literal(*OPENING)), frame(DATA, 0, 1), 10 * 2**20),
    "ping_flood": _endless(b"", frame(PING, ACK, 0, bytes(8)), 10 * 2**20),
    "settings_flood": _endless(b"", frame(SETTINGS, ACK, 0), 10 * 2**20),
    "drips": _drips,
    "byte_by_byte": _byte_by_byte,
    "half_an_answer": _half_an_answer,
    "wrong_stream": _after_request(answer(stream=3)),
    "even_stream": _after_request(answer(stream=2)),
    "push_promise": _after_request(
        frame(PUSH_PROMISE, END_HEADERS, 1, (2).to_bytes(4, "big") + literal(*OPENING)) + answer()
    ),
    "data_on_stream_0": _after_request(frame(DATA, 0, 0, message(AVAILABLE)) + answer()),
    "data_before_headers": _after_request(frame(DATA, 0, 1, message(AVAILABLE)) + answer()),
    "too_much_padding": _after_request(frame(HEADERS, END_HEADERS | PADDED, 1, b"\xff" + literal(*OPENING)) + answer()),
    "window_overflow": _after_request(frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff") + answer()),
    "window_of_zero": _after_request(frame(WINDOW_UPDATE, 0, 0, bytes(4)) + answer()),
    "window_opened_late": _window_opened_late,
    "two_messages": _after_request(
        frame(HEADERS, END_HEADERS, 1, literal(*OPENING))
        + frame(DATA, 0, 1, message(AVAILABLE) * 2)
        + frame(HEADERS, END_HEADERS | END_STREAM, 1, literal(("grpc-status", "0")))
    ),
    "length_that_lies": _after_request(
        frame(HEADERS, END_HEADERS, 1, literal(*OPENING))
        + frame(DATA, 0, 1, b"\0\0\0\xff\xff" + AVAILABLE)
        + frame(HEADERS, END_HEADERS | END_STREAM, 1, literal(("grpc-status", "0")))
    ),
    "informational_first": _after_request(frame(HEADERS, END_HEADERS, 1, literal((":status", "103"))) + answer()),
    "extension_frames": _after_request(frame(0xBA, 0, 0, b"?") + frame(0xBB, 0xFF, 1, b"??") + answer()),
    "huffman_and_table": _huffman_and_table,
    "padded": _padded,
    "empty_answer": _after_request(answer(b"")),
    "huge_varint": _after_request(answer(b"\x0a\x0c\x08" + b"\xff" * 11)),
    "huge_length": _after_request(answer(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f")),
    "two_million_versions": _after_request(large_answer(b"\x0a\x00" * 2_000_000)),
    "garbage_message": _after_request(answer(b"\xff\xff\xff\xff")),
    "unknown_fields": _after_request(
        answer(
            b"\x7a\x03abc"
            + AVAILABLE
            + b"\xf8\x06\x01"
            + b"\xa3\x06\x08\x01\xa4\x06"
            + b"\xa9\x06"
            + bytes(8)
            + b"\xad\x06"
            + bytes(4)
        )
    ),
    "non_utf8_error_message": _after_request(answer(b"\x0a\x0d\x08\x01\x10\x32\x1a\x07\x08\x02\x12\x03\xff\xfe\x1b")),
}


class RawHttp2Server:
    """Listens on a free port of 127.0.0.1 and treats every connection as ``MODES[mode]`` says, each in a thread.

    Attributes:
      port: where it listens.
      errors: what went wrong in the server itself.
    """

    def __init__(self, mode: str) -> None:
        self._behave = MODES[mode]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.errors: list[BaseException] = []
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> RawHttp2Server:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        for sock in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=10)
        for sock in (self._listener, *self._sockets):
            sock.close()
        assert not self.errors, self.errors

    def _accept(self) -> None:
        number = 0
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            number += 1
            self._sockets.append(sock)
            thread = threading.Thread(target=self._serve, args=(Peer(sock, number),), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer: Peer) -> None:
        try:
            self._behave(peer)
        except OSError:
            pass  # the client had enough
        except BaseException as error:
            self.errors.append(error)
