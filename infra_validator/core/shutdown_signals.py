"""SIGTERM and SIGINT while something runs that must be cleaned up."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any

from infra_validator.core.interruption import Interruption

_LOG = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def shutdown_signals(interruption: Interruption) -> Iterator[None]:
    """While inside, SIGTERM and SIGINT interrupt; then they go to the handlers that were there before, which are put back.

    Nothing is raised in the middle of the block, so neither the first signal nor a second one can break a clean-up. Where
    a signal was ignored before, it stays ignored. Off the main thread no handler can be set (Beam's worker threads): the
    block runs without, and what must not stay behind has its own watchdog.

    Args:
      interruption: set by the signal; whatever runs inside listens to it and raises INTERRUPTED once it is cleaned up.
    """
    received: list[int] = []
    previous: dict[int, Any] = {}

    def handler(signum: int, frame: FrameType | None) -> None:
        received.append(signum)
        interruption.set(signal.Signals(signum).name)

    try:
        for signum in _SIGNALS:
            before = signal.getsignal(signum)
            if before is not None and before != signal.SIG_IGN:  # None: set from C, so it could not be put back
                previous[signum] = signal.signal(signum, handler)
    except ValueError:
        _LOG.info("This is not the main thread: signals are left to their present handlers.")
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
        if received and callable(previous[received[0]]):
            signal.raise_signal(received[0])
