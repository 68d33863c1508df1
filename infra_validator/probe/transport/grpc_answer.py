"""What an answer over HTTP/2 means to gRPC: the one message of a unary call, or the status it ended with."""

from __future__ import annotations

from infra_validator.probe.transport import rpc_status
from infra_validator.probe.transport.rpc_status import RpcError

# What an RST_STREAM error code means as a status, as gRPC maps them; the rest is INTERNAL.
_STATUS_OF_RESET = {
    7: rpc_status.UNAVAILABLE,  # REFUSED_STREAM
    8: rpc_status.CANCELLED,  # CANCEL
    11: rpc_status.RESOURCE_EXHAUSTED,  # ENHANCE_YOUR_CALM
    12: rpc_status.PERMISSION_DENIED,  # INADEQUATE_SECURITY
}
# What an HTTP status without a gRPC status means, as gRPC maps them; the rest is UNKNOWN.
_STATUS_OF_HTTP = {
    "400": rpc_status.INTERNAL,
    "401": rpc_status.UNAUTHENTICATED,
    "403": rpc_status.PERMISSION_DENIED,
    "404": rpc_status.UNIMPLEMENTED,
    "429": rpc_status.UNAVAILABLE,
    "502": rpc_status.UNAVAILABLE,
    "503": rpc_status.UNAVAILABLE,
    "504": rpc_status.UNAVAILABLE,
}


class GrpcAnswer:
    """What has come of one call's answer.

    Attributes:
      headers: of the first header block; None before it.
      trailers: of the block that ended the stream; the same as ``headers`` in an answer of trailers only.
      body: all DATA.
      ended: nothing more will come.
      reset: the error code of an RST_STREAM.
    """

    __slots__ = ("body", "ended", "headers", "reset", "trailers")

    def __init__(self) -> None:
        self.headers: dict[bytes, bytes] | None = None
        self.trailers: dict[bytes, bytes] | None = None
        self.body = bytearray()
        self.ended = False
        self.reset: int | None = None


def message_of(answer: GrpcAnswer) -> bytes:
    """The message in a complete answer. Raises RpcError for every other end."""
    if answer.reset is not None:
        code = _STATUS_OF_RESET.get(answer.reset, rpc_status.INTERNAL)
        raise RpcError(code, f"the server reset the call (RST_STREAM {answer.reset})", unprocessed=answer.reset == 7)
    headers, trailers = answer.headers or {}, answer.trailers or {}
    if b"grpc-status" in trailers:
        code = _grpc_code(trailers[b"grpc-status"])
        if code != rpc_status.OK:
            raise RpcError(code, _percent_decoded(trailers.get(b"grpc-message", b"")))
    status = headers.get(b":status", b"").decode("latin-1")
    if status != "200":
        raise RpcError(
            _STATUS_OF_HTTP.get(status, rpc_status.UNKNOWN),
            f"the server answered with HTTP status {status[:20] or 'none'}",
        )
    kind = headers.get(b"content-type", b"").decode("latin-1")
    if kind != "application/grpc" and not kind.startswith(("application/grpc+", "application/grpc;")):
        raise RpcError(rpc_status.UNKNOWN, f"the server's answer has content-type {kind[:100]!r}, not application/grpc")
    if b"grpc-status" not in trailers:
        raise RpcError(rpc_status.INTERNAL, "the server ended the answer without a grpc-status")
    body = answer.body
    if body and body[0] != 0:
        encoding = headers.get(b"grpc-encoding", b"none").decode("latin-1")[:40]
        raise RpcError(rpc_status.UNIMPLEMENTED, f"the answer is compressed ({encoding}), which was not asked for")
    if len(body) < 5 or len(body) != 5 + int.from_bytes(body[1:5], "big"):
        raise RpcError(rpc_status.INTERNAL, "the answer is not exactly one message")
    return bytes(body[5:])


def _grpc_code(text: bytes) -> int:
    return int(text) if text.isdigit() and len(text) <= 9 else rpc_status.UNKNOWN


def _percent_decoded(text: bytes) -> str:
    out = bytearray()
    at = 0
    while at < len(text):
        pair = text[at + 1 : at + 3]
        if text[at] == 0x25 and len(pair) == 2 and all(digit in b"0123456789abcdefABCDEF" for digit in pair):
            out.append(int(pair, 16))
            at += 3
        else:
            out.append(text[at])
            at += 1
    return out.decode("utf-8", "replace")
