"""The server's half of SPDY/3.1, which is how kubectl forwards ports, and before 1.31 how it executes commands.

Frames as in the SPDY protocol, draft 3.1. As by the API server's and kubectl's own implementation there is no flow control: windows are
neither kept nor renewed, a WINDOW_UPDATE is only checked. The bytes come either from the upgraded connection itself or out of the
binary messages of a WebSocket ("SPDY/3.1+portforward.k8s.io").
"""

from __future__ import annotations

import queue
import struct
import threading
import zlib
from collections.abc import Callable

from component_tests.fakes.kubernetes_api.websocket_frames import BINARY, CONTINUATION, Frames

UPGRADE = "SPDY/3.1"
FORWARD_PROTOCOL = "portforward.k8s.io"
TUNNEL = f"{UPGRADE}+{FORWARD_PROTOCOL}"

_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _HEADERS, _WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
_FIN = 1
_PROTOCOL_ERROR, _INVALID_STREAM, _CANCEL, _STREAM_ALREADY_CLOSED = 1, 2, 5, 9  # statuses of RST_STREAM
_LENGTHS = {_RST_STREAM: 8, _PING: 4, _GOAWAY: 8, _WINDOW_UPDATE: 8}

_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow authorization "
    "cache-control connection content-base content-encoding content-language content-length content-location content-md5 "
    "content-range content-type date etag expect expires from host if-match if-modified-since if-none-match if-range "
    "if-unmodified-since last-modified location max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after "
    "server te trailer transfer-encoding upgrade user-agent vary via warning www-authenticate method get status 200_OK version "
    "HTTP/1.1 url public set-cookie keep-alive origin"
)
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found"
    "500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = (
    b"".join(struct.pack(">I", len(word)) + word.replace("_", " ").encode() for word in _WORDS.split()) + _TAIL.encode()
)


class SessionError(Exception):
    """The client broke a rule that concerns the whole connection."""


class TunneledBytes:
    """The bytes in the binary messages of a WebSocket; where a message ends means nothing."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._held = bytearray()

    def read(self, size: int) -> bytes:
        """``size`` bytes; fewer only at the end."""
        while len(self._held) < size:
            opcode, payload = self._frames.receive()
            if opcode not in (BINARY, CONTINUATION):
                break
            self._held += payload
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken

    def write(self, data: bytes) -> None:
        self._frames.send(data)


class Stream:
    """One stream that the client opened."""

    def __init__(self, session: Session, number: int, headers: dict[str, str]) -> None:
        self.headers = headers
        self.number = number
        self.received: queue.SimpleQueue[bytes] = queue.SimpleQueue()  # an empty one is the end
        self.client_done = False
        self.was_reset = False
        self._session = session
        self._done = False

    def write(self, data: bytes) -> None:
        if not self._done:
            self._session.send_data(self.number, data)

    def close(self) -> None:
        """Half-close: the client may still write."""
        if not self._done:
            self._done = True
            self._session.send_data(self.number, b"", _FIN)

    def end(self) -> None:
        """Nothing comes from the client any more."""
        if not self.client_done:
            self.client_done = True
            self.received.put(b"")

    def reset(self) -> None:
        """Nothing goes either way any more."""
        self.was_reset = self._done = True
        self.end()


class Session:
    """One SPDY connection. Sending is thread-safe; ``run`` is for one thread.

    Arguments:
      read: gives that many bytes, fewer at the end.
      write: sends all of some bytes.
      opened: called with each new stream before it is accepted; gives what is to be done once it is. A ValueError refuses the stream.
    """

    def __init__(
        self,
        read: Callable[[int], bytes],
        write: Callable[[bytes], object],
        opened: Callable[[Stream], Callable[[], object]],
    ) -> None:
        self._read = read
        self._write = write
        self._opened = opened
        self._lock = threading.Lock()
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._streams: dict[int, Stream] = {}
        self._last = 0
        self._going_away = False

    def run(self) -> None:
        """Serve until the client is gone or breaks a rule of the connection."""
        try:
            while len(head := self._read(8)) == 8:
                first, rest = struct.unpack(">II", head)
                flags, length = rest >> 24, rest & 0xFFFFFF
                payload = self._read(length)
                if len(payload) < length:
                    break
                if first >> 31:
                    self._control(first >> 16 & 0x7FFF, first & 0xFFFF, flags, payload)
                else:
                    self._data(first, flags, payload)
        except (SessionError, zlib.error, struct.error):
            self._send(_GOAWAY, 0, struct.pack(">II", self._last, _PROTOCOL_ERROR))
        finally:
            for stream in self._streams.values():
                stream.reset()

    def send_data(self, number: int, data: bytes, flags: int = 0) -> None:
        with self._lock:
            self._write(struct.pack(">II", number, flags << 24 | len(data)) + data)

    # ---------------------------------------------------------------- frames of the client

    def _control(self, version: int, kind: int, flags: int, payload: bytes) -> None:
        if version != 3:
            raise SessionError(f"version {version}")
        if kind in _LENGTHS and (len(payload) != _LENGTHS[kind] or flags):
            raise SessionError(f"a frame of type {kind} with {len(payload)} bytes and flags {flags}")
        if kind == _SYN_STREAM:
            self._syn_stream(flags, payload)
        elif kind == _RST_STREAM:
            number, status = struct.unpack(">II", payload)
            if not number or not status:
                raise SessionError("RST_STREAM of no stream, or without a status")
            if number in self._streams:
                self._streams.pop(number).reset()
        elif kind == _SETTINGS:
            (count,) = struct.unpack_from(">I", payload)
            if len(payload) != 4 + 8 * count:
                raise SessionError("SETTINGS of a wrong length")
        elif kind == _PING:
            (number,) = struct.unpack(">I", payload)
            if number % 2:  # the client's own; an even one would answer ours, and there are none
                self._send(_PING, 0, payload)
        elif kind == _GOAWAY:
            self._going_away = True
        elif kind == _HEADERS:
            self._headers(payload[4:])  # nothing comes of them, but the compression goes on over them
        elif kind == _WINDOW_UPDATE:
            (delta,) = struct.unpack_from(">I", payload, 4)
            if not 0 < delta < 1 << 31:
                raise SessionError("WINDOW_UPDATE by nothing")
        elif kind == _SYN_REPLY:
            raise SessionError("SYN_REPLY to no stream of ours")

    def _syn_stream(self, flags: int, payload: bytes) -> None:
        number, _associated = struct.unpack_from(">II", payload)
        if not number % 2 or number <= self._last or self._going_away:
            raise SessionError(f"SYN_STREAM of {number} after {self._last}")
        headers = self._headers(payload[10:])
        self._last = number
        if headers is None:
            self._reset(number, _PROTOCOL_ERROR)
            return
        stream = Stream(self, number, headers)
        try:
            accepted = self._opened(stream)
        except ValueError:
            self._reset(number, _CANCEL)
            return
        self._streams[number] = stream
        with self._lock:  # the headers must go out in the order in which they are compressed
            block = self._deflate.compress(struct.pack(">I", 0)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
            self._write(_control_frame(_SYN_REPLY, 0, struct.pack(">I", number) + block))
        if flags & _FIN:
            stream.end()
        accepted()

    def _headers(self, block: bytes) -> dict[str, str] | None:
        """The names and values of a compressed block; None if one breaks a rule."""
        plain = self._inflate.decompress(block)
        (count,) = struct.unpack_from(">I", plain)
        at = 4
        parts = []
        for _ in range(2 * count):
            (length,) = struct.unpack_from(">I", plain, at)
            parts.append(plain[at + 4 : at + 4 + length].decode("latin-1"))
            at += 4 + length
        if at != len(plain):
            raise SessionError("a header block of another length than its parts")
        names = parts[::2]
        if len(set(names)) < count or any(not name or name != name.lower() for name in names):
            return None
        return dict(zip(names, parts[1::2], strict=True))

    def _data(self, number: int, flags: int, data: bytes) -> None:
        if not number:
            raise SessionError("data on stream 0")
        stream = self._streams.get(number)
        if stream is None:
            if number > self._last:
                self._reset(number, _INVALID_STREAM)
            return  # data that crossed the end of its stream
        if stream.client_done:
            self._reset(number, _STREAM_ALREADY_CLOSED)
            return
        if data:
            stream.received.put(data)
        if flags & _FIN:
            stream.end()

    # ---------------------------------------------------------------- frames to the client

    def _reset(self, number: int, status: int) -> None:
        self._send(_RST_STREAM, 0, struct.pack(">II", number, status))

    def _send(self, kind: int, flags: int, payload: bytes) -> None:
        with self._lock:
            self._write(_control_frame(kind, flags, payload))


def _control_frame(kind: int, flags: int, payload: bytes) -> bytes:
    return struct.pack(">HHI", 0x8003, kind, flags << 24 | len(payload)) + payload
