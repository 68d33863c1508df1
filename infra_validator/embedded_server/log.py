"""Log lines on stderr in TensorFlow Serving's words and form (contract 1.5); people and scripts grep for what follows ``] ``."""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from typing import NoReturn

_LEVELS = "IWEF"
_asked = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "")
_lowest = int(_asked) if _asked.isdecimal() else 0


def _write(level: str, source: str, message: str) -> None:
    if _LEVELS.index(level) < _lowest:
        return
    stamp = time.time()
    # One write per line: lines of several threads, and TensorFlow's own, must not mix.
    line = f"{level}0000 00:00:{stamp:.6f} {threading.get_native_id():7d} {source}] {message}\n"
    _put(line)


def _put(line: str) -> None:
    try:
        sys.stderr.write(line)
        sys.stderr.flush()
    except (OSError, ValueError):
        pass  # nobody reads the log any more; that is no reason to stop serving


def net(source: str, message: str) -> None:
    """A line of the HTTP layer, which has a logger of its own in the real server."""
    if _lowest == 0:
        _put(f"[{source}] NET_LOG: {message}\n")


def info(source: str, message: str) -> None:
    _write("I", source, message)


def warning(source: str, message: str) -> None:
    _write("W", source, message)


def fatal(source: str, message: str) -> NoReturn:
    """Log, and abort the process as the real server does (status 134); no core is dumped."""
    _write("F", source, message)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.abort()


def error(source: str, message: str) -> None:
    _write("E", source, message)
