"""gRPC's status codes and the error a call ends with."""

from __future__ import annotations

OK = 0
CANCELLED = 1
UNKNOWN = 2
INVALID_ARGUMENT = 3
DEADLINE_EXCEEDED = 4
NOT_FOUND = 5
PERMISSION_DENIED = 7
RESOURCE_EXHAUSTED = 8
UNIMPLEMENTED = 12
INTERNAL = 13
UNAVAILABLE = 14
UNAUTHENTICATED = 16

# Index is the code. First gRPC's (and TensorFlow's) name, then the name Go's gRPC prints.
_NAMES = (
    ("OK", "OK"),
    ("CANCELLED", "Canceled"),
    ("UNKNOWN", "Unknown"),
    ("INVALID_ARGUMENT", "InvalidArgument"),
    ("DEADLINE_EXCEEDED", "DeadlineExceeded"),
    ("NOT_FOUND", "NotFound"),
    ("ALREADY_EXISTS", "AlreadyExists"),
    ("PERMISSION_DENIED", "PermissionDenied"),
    ("RESOURCE_EXHAUSTED", "ResourceExhausted"),
    ("FAILED_PRECONDITION", "FailedPrecondition"),
    ("ABORTED", "Aborted"),
    ("OUT_OF_RANGE", "OutOfRange"),
    ("UNIMPLEMENTED", "Unimplemented"),
    ("INTERNAL", "Internal"),
    ("UNAVAILABLE", "Unavailable"),
    ("DATA_LOSS", "DataLoss"),
    ("UNAUTHENTICATED", "Unauthenticated"),
)


def code_name(code: int) -> str:
    """``NOT_FOUND`` for 5; the number itself for a code that nobody knows."""
    return _NAMES[code][0] if 0 <= code < len(_NAMES) else str(code)


class RpcError(Exception):
    """A call that ended with a status other than OK, given by the server or found on the way.

    Attributes:
      code: gRPC status code.
      message: the status message.
      unprocessed: the server surely did nothing (it refused the stream, or went away before it): safe to call again.
    """

    def __init__(self, code: int, message: str, *, unprocessed: bool = False) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.unprocessed = unprocessed

    def __str__(self) -> str:
        """As Go's gRPC prints it, which is what the original probe logs."""
        name = _NAMES[self.code][1] if 0 <= self.code < len(_NAMES) else f"Code({self.code})"
        return f"rpc error: code = {name} desc = {self.message}"
