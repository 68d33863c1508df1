"""HTTP/1 requests out of the bytes of a connection, however these are cut (contract 6.2). No sockets and no threads in here."""

from __future__ import annotations

import dataclasses
import re
import zlib

_LONGEST_LINE = 65536  # bytes of a request line
_LONGEST_HEAD = 1 << 20  # bytes of request line and headers together
_LONGEST_CHUNK_LINE = 4096
_INFLATED_AT_MOST = 100 * 2**20

_REQUEST_LINE = re.compile(rb"([^ \t\r\n]+)[ \t]+([^ \t\r\n]+)[ \t]+HTTP/1\.([0-9]+)[ \t]*\r?\n")
_HEAD_ENDS = re.compile(rb"\n\r?\n")
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,15})[ \t]*(?:;[^\n]*)?\r?\n")


class BadRequestError(Exception):
    """The bytes are no request."""


class RequestHeaders:
    """A request's headers; of several with one name the first counts."""

    def __init__(self, lines: list[bytes]) -> None:
        self._values: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon or not name.strip():
                raise BadRequestError
            self._values.setdefault(name.strip().lower(), value.strip())

    def get(self, name: str, /) -> str | None:
        """The value of a header; the case of its name does not matter."""
        return self._values.get(name.lower())

    def has(self, name: str, word: str) -> bool:
        """Whether a word stands in a header, in any case."""
        return word in (self.get(name) or "").lower()


@dataclasses.dataclass
class Request:
    """A request.

    Attributes:
      verb: the method.
      target: the target as it was sent.
      headers: its headers.
      is_http_1_0: whether it is of HTTP/1.0.
      keeps_open: whether the connection outlives the answer; one of HTTP/1.0 never does.
      expects_continue: whether the client waits for a word before it sends the body.
      body: as it was sent, without the chunks' heads; ``content`` is what it means.
    """

    verb: str
    target: str
    headers: RequestHeaders
    is_http_1_0: bool
    keeps_open: bool
    expects_continue: bool
    body: bytes = b""

    def content(self) -> bytes:
        """The body, unpacked if it is gzipped; empty if that is broken or too large."""
        return inflated(self.body) if self.headers.has("Content-Encoding", "gzip") else self.body


class RequestReader:
    """Takes bytes as they come, gives requests as they are whole.

    Attributes:
      current: the request whose head is there and whose body is not.
    """

    def __init__(self) -> None:
        self.current: Request | None = None
        self._data = bytearray()
        self._at = 0  # what stands before this is dealt with
        self._length = 0  # of the body, unless it comes in chunks
        self._body: bytearray | None = None  # of chunks
        self._in_trailers = False

    @property
    def has_begun(self) -> bool:
        """Whether there is a piece of a request."""
        return self.current is not None or bool(self._data)

    def feed(self, data: bytes) -> None:
        """Take what has come."""
        self._data += data

    def next(self) -> Request | None:
        """The next whole request; None: more bytes are needed.

        Raises:
          BadRequestError: no request can come of these bytes.
        """
        if self.current is None:
            self.current = self._head()
            if self.current is None:
                return None
        request = self.current
        if self._body is None:
            if len(self._data) < self._length:
                return None
            request.body = bytes(memoryview(self._data)[: self._length])
            self._drop(self._length)
        elif self._chunks(self._body):
            request.body, self._body = bytes(self._body), None
        else:
            return None
        self.current = None
        return request

    def _drop(self, count: int) -> None:
        del self._data[:count]
        self._at = 0

    def _head(self) -> Request | None:
        data = self._data
        while data[:1] == b"\n" or data[:2] == b"\r\n":  # between two requests
            self._drop(1 if data[:1] == b"\n" else 2)
        if data and data != b"\r" and not 0x20 < data[0] < 0x7F:  # TLS, for one
            raise BadRequestError
        line_ends = data.find(b"\n", 0, _LONGEST_LINE) + 1
        if not line_ends:
            if len(data) >= _LONGEST_LINE:
                raise BadRequestError
            return None
        first = _REQUEST_LINE.match(data)
        if first is None:
            raise BadRequestError
        end = _HEAD_ENDS.search(data, max(self._at, line_ends - 1))
        if end is None:
            if len(data) > _LONGEST_HEAD:
                raise BadRequestError
            self._at = len(data) - 3  # where the end may have begun
            return None
        lines = re.sub(rb"\r?\n[ \t]+", b" ", bytes(data[line_ends : end.start()])).splitlines()
        headers = RequestHeaders(lines)
        old = first[3] == b"0"
        request = Request(
            first[1].decode("latin-1"),
            first[2].decode("latin-1"),
            headers,
            is_http_1_0=old,
            keeps_open=not old and not headers.has("Connection", "close"),
            expects_continue=not old and headers.has("Expect", "100-continue"),
        )
        self._drop(end.end())
        if headers.has("Transfer-Encoding", "chunked"):
            self._body, self._in_trailers = bytearray(), False
        else:
            length = headers.get("Content-Length") or "0"
            if not length.isascii() or not length.isdigit() or len(length) > 18:
                raise BadRequestError
            self._length = int(length)
        return request

    def _chunks(self, body: bytearray) -> bool:
        """Move whole chunks to the body; whether the last one is there."""
        data, at = self._data, 0
        try:
            while not self._in_trailers:
                line_ends = data.find(b"\n", at, at + _LONGEST_CHUNK_LINE) + 1
                if not line_ends and len(data) - at < _LONGEST_CHUNK_LINE:
                    return False
                head = _CHUNK_SIZE.fullmatch(data, at, line_ends) if line_ends else None
                if head is None:
                    raise BadRequestError
                size = int(head[1], 16)
                if not size:
                    self._in_trailers, at = True, line_ends
                    break
                if len(data) < line_ends + size + 2:
                    return False
                if data[line_ends + size : line_ends + size + 2] != b"\r\n":
                    raise BadRequestError
                body += memoryview(data)[line_ends : line_ends + size]
                at = line_ends + size + 2
            while line_ends := data.find(b"\n", at) + 1:
                line, at = data[at:line_ends], line_ends
                if not line.strip():
                    return True
            if len(data) - at > _LONGEST_HEAD:
                raise BadRequestError
            return False
        finally:
            self._drop(at)


def inflated(body: bytes) -> bytes:
    """A gzipped body unpacked; empty if it is broken or too large."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        content = unpacker.decompress(body, _INFLATED_AT_MOST)
    except zlib.error:
        return b""
    return content if unpacker.eof else b""
