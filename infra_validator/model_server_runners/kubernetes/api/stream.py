"""An answer of the API server that goes on: the lines of a watch, the bytes of a log, the frames of a WebSocket."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any, Protocol

import urllib3

from infra_validator.model_server_runners.kubernetes.api.errors import ApiUnreachable, innermost


class WebSocket(Protocol):
    """What is needed of the websocket-client library's WebSocket."""

    sock: socket.socket

    def settimeout(self, timeout: float) -> object: ...

    def send(self, payload: bytes, opcode: int) -> object: ...

    def recv_data(self) -> tuple[int, bytes]: ...

    def shutdown(self) -> object: ...


class JsonStream:
    """A stream of JSON objects, one per line, or of plain bytes. Read by one thread; ``break_off`` may be called by another."""

    def __init__(self, response: Any, what: str) -> None:
        self._response = response
        self._what = what
        self._rest = b""
        self.bytes_read = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The objects as they come; ends when the server ends the stream.

        Raises:
          ApiUnreachable: the stream broke, fell silent, or holds something else than JSON.
        """
        for chunk in self.chunks():
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                if line.strip():
                    yield self._parsed(line)
        if self._rest.strip():
            raise ApiUnreachable(self._what, "the stream broke in the middle of an object")

    def chunks(self) -> Iterator[bytes]:
        """The stream's bytes as they come. Raises ApiUnreachable where it breaks."""
        try:
            for chunk in self._response.stream(None if self._response.chunked else 1):
                self.bytes_read += len(chunk)
                yield chunk
        except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as error:
            # AttributeError: the library's way of telling that the connection was shut under it
            raise ApiUnreachable(self._what, f"the stream broke: {innermost(error)}") from error

    def _parsed(self, line: bytes) -> dict[str, Any]:
        try:
            given = json.loads(line)
        except ValueError:
            given = None
        if not isinstance(given, dict):
            raise ApiUnreachable(self._what, f"the stream broke: no object: {line[:80]!r}")
        return given

    def break_off(self) -> None:
        """End a read that is under way in another thread."""
        held = getattr(self._response.connection, "sock", None)
        if held is not None:
            with contextlib.suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)
