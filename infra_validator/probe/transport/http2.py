"""A minimal HTTP/2 client (RFC 9113) for unary gRPC calls, one after another, over one socket.

It trusts nobody: whatever a peer sends, a call ends by its deadline with an answer or an RpcError, and holds no more than
``_LARGEST_MESSAGE`` and some kilobytes. It is fuzzed (component_tests/unit/probe/transport/test_http2_fuzz.py).
"""

from __future__ import annotations

import time
from socket import socket

from infra_validator.probe.transport import hpack, rpc_status
from infra_validator.probe.transport.grpc_answer import GrpcAnswer, message_of
from infra_validator.probe.transport.rpc_status import RpcError

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

_DATA, _HEADERS, _PRIORITY, _RST_STREAM, _SETTINGS, _PUSH_PROMISE, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = (
    range(10)
)
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _HAS_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20

_LARGEST_FRAME = 16384  # octets; HTTP/2's default, which we never raise
_LARGEST_WINDOW = (1 << 31) - 1
_LARGEST_BLOCK = 64 * 1024  # octets of one compressed header block, over all its CONTINUATION frames
_LARGEST_MESSAGE = 4 * 1024 * 1024  # octets; gRPC's own default limit for an answer
_MOST_FRAMES = 20_000  # of one call; more than 4 MiB need, and soon over for a peer that floods us with empty ones

_NO_TIME = 1e-6  # seconds; not 0, which TLS answers with an error of its own

_SETTINGS_ENABLE_PUSH, _SETTINGS_INITIAL_WINDOW, _SETTINGS_MAX_FRAME, _SETTINGS_MAX_HEADER_LIST = 2, 4, 5, 6


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _setting(name: int, value: int) -> bytes:
    return name.to_bytes(2, "big") + value.to_bytes(4, "big")


def _broken(what: str) -> RpcError:
    return RpcError(rpc_status.INTERNAL, f"the server breaks HTTP/2: {what}")


class Connection:
    """One HTTP/2 connection over a connected socket, which it owns.

    Args:
      sock: connected; TLS, if any, is done.
      authority: for ``:authority``.
      user_agent: for ``user-agent``.
    """

    def __init__(self, sock: socket, authority: str, user_agent: str, *, scheme: str = "http") -> None:
        self._socket = sock
        self._buffer = bytearray()
        self._decoder = hpack.Decoder()
        self._authority = authority.encode("utf-8", "surrogateescape")
        self._user_agent = user_agent.encode("utf-8", "surrogateescape")
        self._scheme = scheme.encode()
        self._next_stream = 1
        self._going_away = False
        self._send_window = 65535  # octets we may send on the connection
        self._stream_window = 65535  # the same on a new stream
        self._call_window = 0  # the same on the stream of the call that runs
        self._peer_largest_frame = _LARGEST_FRAME

    def close(self) -> None:
        self._socket.close()

    def handshake(self, until: float) -> None:
        """Greet and wait for the server's greeting (its SETTINGS), which is when gRPC calls a connection ready.

        Raises:
          RpcError: the peer does not speak HTTP/2, closed, or was silent until ``until``.
        """
        settings = (
            _setting(_SETTINGS_ENABLE_PUSH, 0)
            + _setting(_SETTINGS_INITIAL_WINDOW, _LARGEST_WINDOW)
            + _setting(_SETTINGS_MAX_HEADER_LIST, _LARGEST_BLOCK)
        )
        window = (_LARGEST_WINDOW - 65535).to_bytes(
            4, "big"
        )  # with it, an answer of any legal size needs no more updates
        self._send(_PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW_UPDATE, 0, 0, window), until)
        start = self._peek(4, until)
        if start[3] != _SETTINGS or self._peek(9, until)[4] & _ACK:
            raise RpcError(
                rpc_status.UNAVAILABLE, f"the server does not speak HTTP/2; it began with {bytes(start[:20])!r}"
            )
        self._control(*self._read_frame(until), until)

    def call(self, path: str, request: bytes, until: float) -> bytes:
        """One unary call: the response message's octets.

        Raises:
          RpcError: any status other than OK, and whatever went wrong on the way.
        """
        stream = self._next_stream
        self._next_stream += 2
        if self._going_away or self._is_closed():
            raise RpcError(rpc_status.UNAVAILABLE, "the server is going away", unprocessed=True)
        answer = GrpcAnswer()
        self._call_window = self._stream_window
        timeout = max(1, min(99_999_999, int((until - time.monotonic()) * 1000)))
        headers = [
            (b":method", b"POST"),
            (b":scheme", self._scheme),
            (b":path", path.encode()),
            (b":authority", self._authority),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"user-agent", self._user_agent),
            (b"grpc-timeout", b"%dm" % timeout),
        ]
        message = b"\0" + len(request).to_bytes(4, "big") + request
        opening = _frame(_HEADERS, _END_HEADERS, stream, hpack.encode(headers))
        self._send_message(opening, message, stream, answer, until)
        frames = 0
        while not answer.ended:
            frames += 1
            if frames > _MOST_FRAMES:
                raise RpcError(
                    rpc_status.RESOURCE_EXHAUSTED, f"the server sent more than {_MOST_FRAMES} frames for one call"
                )
            self._take_frame(stream, answer, until)
        return message_of(answer)

    def _send_message(self, opening: bytes, message: bytes, stream: int, answer: GrpcAnswer, until: float) -> None:
        """The opening HEADERS and the message, as fast as the server's windows allow."""
        pending, sent = opening, 0
        frames = 0
        while sent < len(message) and not answer.ended:
            size = min(len(message) - sent, self._send_window, self._call_window, self._peer_largest_frame)
            if size > 0:
                last = sent + size == len(message)
                pending += _frame(_DATA, _END_STREAM if last else 0, stream, message[sent : sent + size])
                sent += size
                self._send_window -= size
                self._call_window -= size
                if len(pending) < 65536 and not last:
                    continue
            if pending:
                self._send(pending, until)
                pending = b""
            if size <= 0:
                frames += 1
                if frames > _MOST_FRAMES:
                    raise RpcError(rpc_status.RESOURCE_EXHAUSTED, "the server opens no window for the request")
                self._take_frame(stream, answer, until)

    # --- frames

    def _take_frame(self, stream: int, answer: GrpcAnswer, until: float) -> None:
        """Read one frame and let it count."""
        kind, flags, number, payload = self._read_frame(until)
        if kind == _GOAWAY:
            self._take_goaway(payload, stream)
        elif kind in (_SETTINGS, _PING, _WINDOW_UPDATE) and number == 0:
            self._control(kind, flags, number, payload, until)
        elif kind > _CONTINUATION:
            return  # an extension; to be ignored
        elif number == 0 or kind in (_PUSH_PROMISE, _CONTINUATION, _SETTINGS, _PING):
            raise _broken(f"a frame of type {kind} on stream {number}")
        elif number != stream:
            if number > stream or number % 2 == 0 or kind in (_DATA, _HEADERS):
                raise _broken(f"a frame on stream {number}, which was never opened or is closed")
        elif kind == _HEADERS:
            self._take_headers(flags, payload, stream, answer, until)
        elif kind == _DATA:
            answer.body += _unpadded(flags, payload)
            answer.ended = bool(flags & _END_STREAM)
            if answer.headers is None:
                raise _broken("data before headers")
            if len(answer.body) > _LARGEST_MESSAGE + 5:
                raise RpcError(rpc_status.RESOURCE_EXHAUSTED, f"an answer larger than {_LARGEST_MESSAGE} octets")
        elif kind == _RST_STREAM:
            if len(payload) != 4:
                raise _broken("an RST_STREAM of the wrong size")
            answer.reset = int.from_bytes(payload, "big")
            answer.ended = True
        elif kind == _WINDOW_UPDATE:
            self._call_window = _widened(self._call_window, payload)

    def _control(self, kind: int, flags: int, stream: int, payload: bytes, until: float) -> None:
        """SETTINGS, PING and the connection's WINDOW_UPDATE."""
        if kind == _WINDOW_UPDATE:
            self._send_window = _widened(self._send_window, payload)
        elif kind == _PING:
            if len(payload) != 8:
                raise _broken("a PING of the wrong size")
            if not flags & _ACK:
                self._send(_frame(_PING, _ACK, 0, payload), until)
        elif not flags & _ACK:
            if len(payload) % 6:
                raise _broken("SETTINGS of the wrong size")
            for at in range(0, len(payload), 6):
                self._take_setting(
                    int.from_bytes(payload[at : at + 2], "big"), int.from_bytes(payload[at + 2 : at + 6], "big")
                )
            self._send(_frame(_SETTINGS, _ACK, 0), until)

    def _take_setting(self, name: int, value: int) -> None:
        if name == _SETTINGS_INITIAL_WINDOW:
            if value > _LARGEST_WINDOW:
                raise _broken("an initial window beyond 2^31-1")
            self._call_window += value - self._stream_window
            self._stream_window = value
        elif name == _SETTINGS_MAX_FRAME:
            if not _LARGEST_FRAME <= value < 1 << 24:
                raise _broken(f"frames of {value} octets")
            self._peer_largest_frame = _LARGEST_FRAME  # the smallest there is does for us

    def _take_goaway(self, payload: bytes, stream: int) -> None:
        if len(payload) < 8:
            raise _broken("a GOAWAY of the wrong size")
        last = int.from_bytes(payload[:4], "big") & _LARGEST_WINDOW
        self._going_away = True
        if last < stream:
            code = int.from_bytes(payload[4:8], "big")
            words = payload[8:200].decode("utf-8", "replace")
            raise RpcError(
                rpc_status.UNAVAILABLE, f"the server went away (GOAWAY {code}) {words}".rstrip(), unprocessed=True
            )

    def _take_headers(self, flags: int, payload: bytes, stream: int, answer: GrpcAnswer, until: float) -> None:
        block = bytearray(_unpadded(flags, payload))
        if flags & _HAS_PRIORITY:
            del block[:5]
        end_stream, frames = flags & _END_STREAM, 0
        while not flags & _END_HEADERS:
            kind, flags, number, payload = self._read_frame(until)
            frames += 1
            if kind != _CONTINUATION or number != stream:
                raise _broken("a header block that is not continued")
            block += payload
            if len(block) > _LARGEST_BLOCK or frames > 100:  # empty ones come at no cost to the sender
                raise RpcError(rpc_status.RESOURCE_EXHAUSTED, f"more than {_LARGEST_BLOCK} octets of headers")
        try:
            headers = dict(self._decoder.decode(bytes(block)))
        except hpack.HpackError as error:
            raise _broken(f"{error} in a header block") from None
        if answer.headers is None and headers.get(b":status", b"").startswith(b"1") and not end_stream:
            return  # an informational answer; the real one follows
        if answer.headers is None:
            answer.headers = headers
        elif not end_stream:
            raise _broken("a second header block that does not end the stream")
        if end_stream:
            answer.trailers = headers
            answer.ended = True

    # --- octets

    def _read_frame(self, until: float) -> tuple[int, int, int, bytes]:
        """(type, flags, stream, payload) of the next frame."""
        start = self._peek(9, until)
        length = int.from_bytes(start[:3], "big")
        if length > _LARGEST_FRAME:
            raise _broken(f"a frame of {length} octets")
        kind, flags, stream = start[3], start[4], int.from_bytes(start[5:9], "big") & _LARGEST_WINDOW
        payload = bytes(self._peek(9 + length, until)[9 : 9 + length])
        del self._buffer[: 9 + length]
        return kind, flags, stream, payload

    def _peek(self, size: int, until: float) -> bytearray:
        """The buffer, filled up to ``size`` octets or more."""
        while len(self._buffer) < size:
            try:
                self._socket.settimeout(_remaining(until))
                received = self._socket.recv(65536)
            except TimeoutError:
                raise _late() from None
            except OSError as error:
                raise RpcError(rpc_status.UNAVAILABLE, f"the connection broke: {error}") from None
            if not received:
                raise RpcError(rpc_status.UNAVAILABLE, "the server closed the connection")
            self._buffer += received
        return self._buffer

    def _send(self, octets: bytes, until: float) -> None:
        """Send. A connection that breaks is found by the next read, after what the peer said before: GOAWAY, or an answer."""
        try:
            self._socket.settimeout(_remaining(until))
            self._socket.sendall(octets)
        except TimeoutError:
            raise _late() from None
        except OSError:
            pass

    def _is_closed(self) -> bool:
        """Whether the peer closed while nothing was asked."""
        try:
            self._socket.settimeout(_NO_TIME)
            received = self._socket.recv(65536)
        except TimeoutError:
            return False
        except OSError:
            return True
        self._buffer += received
        return not received


def _remaining(until: float) -> float:
    remaining = until - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    return remaining


def _late() -> RpcError:
    return RpcError(rpc_status.DEADLINE_EXCEEDED, "context deadline exceeded")


def _unpadded(flags: int, payload: bytes) -> bytes:
    if not flags & _PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise _broken("more padding than frame")
    return payload[1 : len(payload) - payload[0]]


def _widened(window: int, payload: bytes) -> int:
    increment = int.from_bytes(payload, "big") & _LARGEST_WINDOW
    if len(payload) != 4 or increment == 0 or window + increment > _LARGEST_WINDOW:
        raise _broken("a wrong WINDOW_UPDATE")
    return window + increment
