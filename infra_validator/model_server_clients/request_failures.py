"""What a failed request means: who is behind it, by the server's status and words."""

from __future__ import annotations

import re

import grpc

from infra_validator.core.errors import AttemptFailed, shorten
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.model_server_clients.base_client import RequestFailed

_LONGEST_TEXT = 1000  # characters of a server's message in a report

#: What gRPC answers when the connection broke under a request; a server may answer the same by itself.
BROKEN = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.CANCELLED,
)

#: The words of gRPC's own library for a connection that broke or could not be made.
_CUT = re.compile(
    r"Socket closed|Connection reset|Connection aborted|Connection refused|Broken pipe|End of TCP stream|recvmsg"
    r"|failed to connect|Failed to connect|Stream removed|GOAWAY|[Tt]ransport closed|FD [Ss]hutdown|keepalive watchdog"
)

#: How TensorFlow Serving says that the model lacks the signature (Predict, Classify and Regress, MultiInference).
_NO_SIGNATURE = re.compile(
    r"Serving signature key \"[^\"]*\" not found|No signature was found with the name|Requested signature not found in model graph"
)

#: How TensorFlow says, when a request first reaches it, that the binary lacks an operation that the graph uses.
_NO_OPERATION = re.compile(r"No OpKernel was registered to support Op|Op type not registered")

#: How a server says that a request is larger than it receives: gRPC's libraries, and HTTP. The model never saw it.
_TOO_LARGE = re.compile(r"[Rr]eceived message larger than max|^HTTP 413\b")


def told(request: SampleRequest, code: grpc.StatusCode, text: str) -> str:
    """The request and the server's words."""
    return f"{request.label}, signature {request.signature!r}: {code.name}: {quoted(text)}"


def quoted(text: str) -> str:
    """As much of a server's words as a report has room for."""
    return shorten(text, _LONGEST_TEXT)


def is_cut(code: grpc.StatusCode, text: str) -> bool:
    """Whether the connection broke, or could not be made, rather than the server answering."""
    return code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN) and bool(_CUT.search(text))


def is_unreachable(text: str) -> bool:
    """Whether no connection could be made, rather than one having broken."""
    return "ailed to connect" in text


def is_refused_connection(text: str) -> bool:
    """Whether nobody listens where the server was."""
    return "Connection refused" in text


def failure_of(request: SampleRequest, code: grpc.StatusCode, text: str) -> AttemptFailed:
    """The failure behind an answer that is an error."""
    quotes = (quoted(text),)
    if _NO_SIGNATURE.search(text):
        return AttemptFailed(ReasonCode.SIGNATURE_NOT_FOUND, told(request, code, text), quotes=quotes)
    if _NO_OPERATION.search(text):
        return AttemptFailed(ReasonCode.OP_NOT_REGISTERED, told(request, code, text), quotes=quotes)
    return RequestFailed(
        request,
        told(request, code, text),
        refused=code is grpc.StatusCode.INVALID_ARGUMENT or bool(_TOO_LARGE.search(text)),
        fingerprint=f"REQUEST_FAILED: {code.name}: {quoted(text)}",
        quotes=quotes,
    )
