"""The server's half of WebSocket (RFC 6455), as far as exec and port-forward need it."""

from __future__ import annotations

import base64
import hashlib
import struct
import threading
from typing import BinaryIO

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def accept_key(key: str) -> str:
    """The value of Sec-WebSocket-Accept for a client's key."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()


class Frames:
    """Frames over an open connection. Sending is thread-safe; receiving is for one thread."""

    def __init__(self, reader: BinaryIO, writer: BinaryIO) -> None:
        self._reader = reader
        self._writer = writer
        self._lock = threading.Lock()

    def receive(self) -> tuple[int, bytes]:
        """The next frame's opcode and payload; (CLOSE, b"") at the end of the stream."""
        while True:
            head = self._reader.read(2)
            if len(head) < 2:
                return CLOSE, b""
            opcode, length = head[0] & 0x0F, head[1] & 0x7F
            if length == 126:
                (length,) = struct.unpack(">H", self._reader.read(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", self._reader.read(8))
            if not head[1] & 0x80 or head[0] & 0x70:
                return CLOSE, b""  # a client's frame that is not masked, or uses an extension, ends the connection
            mask = self._reader.read(4)
            payload = self._reader.read(length)
            if len(payload) < length:
                return CLOSE, b""
            payload = _masked(payload, mask)
            if opcode == PING:
                self.send(payload, PONG)
                continue
            return opcode, payload

    def send(self, payload: bytes, opcode: int = BINARY) -> None:
        length = len(payload)
        if length < 126:
            head = struct.pack(">BB", 0x80 | opcode, length)
        elif length < 65536:
            head = struct.pack(">BBH", 0x80 | opcode, 126, length)
        else:
            head = struct.pack(">BBQ", 0x80 | opcode, 127, length)
        with self._lock:
            self._writer.write(head + payload)
            self._writer.flush()


def _masked(payload: bytes, mask: bytes) -> bytes:
    whole = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(whole, "big")).to_bytes(len(payload), "big")
