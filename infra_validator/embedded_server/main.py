"""The process: from flags to open ports, in the real server's order (contract 1.3 to 1.6)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from infra_validator._version import __version__
from infra_validator.core.signals.shutdown_signals import StopSignals
from infra_validator.embedded_server import log
from infra_validator.embedded_server.engine import c_api, op_libraries
from infra_validator.embedded_server.flags import ParseResult, parse, usage
from infra_validator.embedded_server.status import StatusError

if TYPE_CHECKING:
    from infra_validator.embedded_server.server import Server

#: main() of the real server returns -1.
FAILED = 255
_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
_LARGE_BLOCK = 4 * 2**20  # bytes


def main(argv: Sequence[str] | None = None) -> int:
    """Run the embedded model server until it is killed; returns only when it does not start.

    Args:
      argv: the arguments after the program's name; the process's own if None.
    """
    parsed = parse(sys.argv[1:] if argv is None else argv)
    for complaint in parsed.complaints:
        print(complaint, file=sys.stderr)
    if parsed.usage_asked:
        print(usage(sys.argv[0]), end="", flush=True)
        return FAILED
    try:
        version = c_api.load_library()
    except c_api.TensorFlowMissingError as error:
        print(error, flush=True)
        return FAILED
    if parsed.flags.version:
        print(f"TensorFlow ModelServer: {__version__}+embedded\nTensorFlow Library: {version}", flush=True)
        return 0
    if parsed.unknown:
        print(f"unknown argument: {parsed.unknown[0]}\n{usage(sys.argv[0])}", end="", flush=True)
        if parsed.flags.strict_flags:
            return FAILED
    for line in parsed.warnings:
        log.warning("main.cc", line)
    for path in filter(None, parsed.flags.load_op_library.split(",")):
        try:
            op_libraries.load(path)
        except StatusError as error:
            print(f"Failed to start server. Error: --load_op_library={path}: {error}", flush=True)
            return FAILED
    return _serve(parsed)


def _serve(parsed: ParseResult) -> int:
    from infra_validator.embedded_server.server import Server  # grpc and protobuf: not needed for --help

    _return_large_blocks()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python would print a traceback where the real server just dies
    server: Server | None = None
    try:
        server = Server(parsed.flags, parsed.given)
        server.start()
    except StatusError as error:
        if server is not None:
            server.close()  # before the message: what is read of a log is its end
        print(f"Failed to start server. Error: {error}", flush=True)
        sys.stderr.flush()
        os._exit(FAILED)  # threads of TensorFlow and gRPC must not hold up the exit
    if parsed.flags.shutdown_grace_seconds > 0:
        _end_gracefully(server, parsed.flags.shutdown_grace_seconds)
    server.wait()
    return 0


def _return_large_blocks() -> None:
    """Have the C library give the memory of large tensors back at once.

    By default it keeps freed blocks of up to 32 MiB, and does so for each of dozens of threads.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)


def _end_gracefully(server: Server, grace: float) -> None:
    """On SIGTERM or SIGINT let requests finish, then die of the signal all the same; a second signal kills at once."""
    with StopSignals() as signals:
        number = signals.wait() or signal.SIGTERM
        signal.signal(number, signal.SIG_DFL)
        server.stop(grace)
        os.kill(os.getpid(), number)
