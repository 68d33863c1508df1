"""SIGTERM and SIGINT, whichever thread they land on: one way for every program of the package.

The kernel hands a process's signal to any thread, and TensorFlow and gRPC have many. Python then runs its handler in the main thread, as
soon as that executes Python again, which it does not while it blocks in C. But Python's C handler writes the signal's number to the
*wakeup descriptor* at once, in whichever thread. So here somebody reads that descriptor: the main thread itself where it has nothing else
to do (``StopSignals.wait``), else a thread of its own (``shutdown_signals``).

Signals are not blocked and waited for instead, since children inherit the mask: a model server would not hear SIGTERM.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType

from infra_validator.core.signals.interruption import Interruption

_LOG = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: What ``signal.getsignal`` returns: a handler, a number that stands for ignoring or the default, or None for one set from C.
Handler = Callable[[int, FrameType | None], object] | int | None
_END = b"\0"  # no signal's number


class StopSignals:
    """While inside the block, SIGTERM and SIGINT have no effect of their own: ``wait`` returns them. Entered in the main thread.

    A signal that was ignored before stays ignored; one whose handler was set from C keeps that handler.

    Args:
      hear: called with a signal's number in the main thread, as soon as that executes Python again; ``wait`` does not need it.
    """

    def __init__(self, hear: Callable[[int], None] = lambda number: None) -> None:
        self._hear = hear
        self._before: dict[int, Handler] = {}
        self._reader = self._writer = self._wakeup_before = -1

    def __enter__(self) -> StopSignals:
        """Raises ValueError off the main thread."""
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        try:
            self._wakeup_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        except ValueError:
            os.close(self._writer)
            os.close(self._reader)
            raise
        _forget_in_children()
        for number in STOP_SIGNALS:
            before = signal.getsignal(number)
            if before is not None and before != signal.SIG_IGN:  # None: set from C, so it could not be put back
                self._before[number] = signal.signal(number, lambda number, _: self._hear(number))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.put_back()
        os.close(self._reader)

    def wait(self) -> int | None:
        """Block until one of the signals has come, in any thread; returns its number. None after ``put_back``."""
        while (data := os.read(self._reader, 1)) != _END:
            if data[0] in self._before:
                return data[0]
            if self._wakeup_before >= 0:  # another signal, which somebody else waits for
                with contextlib.suppress(OSError):
                    os.write(self._wakeup_before, data)
        return None

    def handler_before(self, number: int) -> Handler:
        """The handler that was there before."""
        return self._before[number]

    def put_back(self, *, ignore: bool = False) -> None:
        """Put the handlers back that were there before, or have the signals ignored from now on. Counts once."""
        if self._writer < 0:
            return
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_IGN if ignore else before)
        signal.set_wakeup_fd(self._wakeup_before)
        os.write(self._writer, _END)  # no end of file comes while a forked child holds the pipe
        os.close(self._writer)
        self._writer = -1


@contextlib.contextmanager
def shutdown_signals(interruption: Interruption, *, until_exit: bool = False) -> Iterator[None]:
    """While inside, SIGTERM and SIGINT interrupt; then they go to the handlers that were there before, which are put back.

    Nothing is raised in the middle of the block, so neither the first signal nor a second one can break a clean-up. Off the
    main thread no handler can be set (Beam's worker threads): the block runs without, and what must not stay behind has its
    own watchdog.

    Args:
      interruption: set by the signal; whatever runs inside listens to it and raises INTERRUPTED once it is cleaned up.
      until_exit: whether the process ends right after the block: then signals are ignored from there on, or from ``interruption.close``
        on, so that none can change the exit code of a result that was printed already, or cut its text (Python's buffered writer loses
        what is left of a write that a handled signal has interrupted).
    """
    received: list[int] = []

    def hear(number: int) -> None:
        received.append(number)
        interruption.set(signal.Signals(number).name)

    def listen() -> None:
        while (number := signals.wait()) is not None:
            hear(number)

    signals = StopSignals(hear)
    try:
        signals.__enter__()
    except ValueError:
        _LOG.info("This is not the main thread: signals are left to their present handlers.")
        yield
        return
    listener = threading.Thread(target=listen, name="shutdown-signals", daemon=True)
    listener.start()
    if until_exit:
        interruption.at_close(lambda: signals.put_back(ignore=True))
    try:
        yield
    finally:
        signals.put_back(ignore=until_exit)
        listener.join()
        signals.__exit__(None, None, None)
        if received and not until_exit and callable(signals.handler_before(received[0])):
            signal.raise_signal(received[0])


@functools.cache
def _forget_in_children() -> None:
    """A forked child shares the pipe, but its signals are its own."""
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
