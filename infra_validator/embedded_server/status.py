"""The canonical status codes, and the one error of the embedded server's core: a code and a text."""

from __future__ import annotations

import enum
import errno
import os


class Code(enum.IntEnum):
    """Canonical codes; numbers and names are those of gRPC, TensorFlow and the wire."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class StatusError(Exception):
    """What a request or a load failed with.

    Attributes:
      code: the canonical code.
      message: the text as TensorFlow Serving would send it; never cut here (the gRPC edge cuts).
    """

    def __init__(self, code: Code, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(code, message)

    def __str__(self) -> str:
        """``CODE: text``, the form of the real server's log lines."""
        return f"{self.code.name}: {self.message}"


def invalid_argument(message: str) -> StatusError:
    return StatusError(Code.INVALID_ARGUMENT, message)


def not_found(message: str) -> StatusError:
    return StatusError(Code.NOT_FOUND, message)


_BY_ERRNO = {
    errno.ENOENT: Code.NOT_FOUND,
    errno.ENXIO: Code.NOT_FOUND,
    errno.EACCES: Code.PERMISSION_DENIED,
    errno.EPERM: Code.PERMISSION_DENIED,
    errno.ENOTDIR: Code.FAILED_PRECONDITION,
    errno.EISDIR: Code.FAILED_PRECONDITION,
    errno.EINVAL: Code.INVALID_ARGUMENT,
    errno.ENAMETOOLONG: Code.INVALID_ARGUMENT,
    errno.EMFILE: Code.RESOURCE_EXHAUSTED,
    errno.ENFILE: Code.RESOURCE_EXHAUSTED,
    errno.ENOMEM: Code.RESOURCE_EXHAUSTED,
    errno.EOVERFLOW: Code.OUT_OF_RANGE,
    errno.ETIMEDOUT: Code.DEADLINE_EXCEEDED,
}


def from_os_error(error: OSError) -> StatusError:
    """An error of the file system as TensorFlow words it: ``<path>; No such file or directory``."""
    code = _BY_ERRNO.get(error.errno or 0, Code.UNKNOWN)
    return StatusError(code, f"{os.fsdecode(error.filename or '')}; {os.strerror(error.errno or 0)}")
