"""What goes back over HTTP: the answer of the REST API, whatever reads the requests."""

from __future__ import annotations

import dataclasses
from typing import Protocol

from infra_validator.embedded_server.status import Code

#: The words beside the status codes, as the real server has them.
REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    429: "Client Error",
    499: "Client Error",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    504: "Gateway Time-out",
}
#: The status code of each canonical code; 500 for the others.
HTTP_STATUS = {
    Code.OK: 200,
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.ABORTED: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.CANCELLED: 499,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}

JSON = "application/json"


class Headers(Protocol):
    """A request's headers, by name in any case."""

    def get(self, name: str, /) -> str | None: ...


@dataclasses.dataclass(frozen=True)
class Answer:
    """What goes back.

    Attributes:
      status: the HTTP status code.
      body: the whole body.
      content_type: of the body.
      headers: further headers.
      close: whether the connection ends with it.
    """

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    close: bool = False


def error_page(status: int) -> Answer:
    """The HTML page of what is no REST request at all; the connection ends with it."""
    reason = REASONS.get(status, "Error")
    page = f"<HTML><HEAD>\n<TITLE>{status} {reason}</TITLE>\n</HEAD><BODY>\n<H1>{reason}</H1>\n</BODY></HTML>\n"
    return Answer(status, page.encode(), "text/html", close=True)
