"""Measures what a load allocates, in a process where other loads may run at the same time.

glibc counts the bytes that are allocated and not freed; the growth over a load that runs alone is its size. While several run,
growth is shared out between them in proportion to what they are expected to take, and such a reading is less exact.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator

_BETWEEN_TRIMS = 0.25  # seconds; giving free memory back walks the whole heap


class _Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keep",
        )
    ]


def allocated_bytes() -> int:
    """Bytes that this process has allocated and not freed; resident anonymous memory where glibc (2.33) cannot tell."""
    mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo2 is None:
        return resident_bytes()
    mallinfo2.restype = _Mallinfo2
    info = mallinfo2()
    return int(info.uordblks + info.hblkhd)


def resident_bytes() -> int:
    """Resident anonymous memory of this process."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0


@dataclasses.dataclass(eq=False)
class Reading:
    """One measurement.

    Attributes:
      expected: bytes, for the shares.
      bytes: what was measured; final when the block has ended.
      alone: whether nothing else was loaded or unloaded meanwhile.
    """

    expected: int
    bytes: float = 0.0
    alone: bool = True


class MemoryMeter:
    """Shares the growth of the process's memory out among the loads that run.

    Args:
      read: the process's allocated bytes now.
    """

    def __init__(self, read: Callable[[], int] = allocated_bytes) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._running: list[Reading] = []
        self._freeing = 0
        self._last = 0
        self._trim_at = 0.0
        self._timer: threading.Timer | None = None

    @contextlib.contextmanager
    def measuring(self, expected: int) -> Iterator[Reading]:
        """Measure the block."""
        reading = Reading(max(1, expected))
        with self._lock:
            self._share_out()
            self._running.append(reading)
            self._note_company()
        try:
            yield reading
        finally:
            with self._lock:
                self._share_out()
                self._running.remove(reading)

    @contextlib.contextmanager
    def freeing(self) -> Iterator[None]:
        """Around an unload: its negative growth must not be taken for somebody's size. Gives the memory back at the end."""
        with self._lock:
            self._share_out()
            self._freeing += 1
            self._note_company()
        try:
            yield
        finally:
            with self._lock:
                self._share_out()
                self._freeing -= 1
            self._trim()

    def _share_out(self) -> None:
        now = self._read()
        growth, self._last = now - self._last, now
        if self._freeing:
            return
        total = sum(reading.expected for reading in self._running)
        for reading in self._running:
            reading.bytes += growth * reading.expected / total

    def _note_company(self) -> None:
        if len(self._running) + self._freeing > 1:
            for reading in self._running:
                reading.alone = False

    def _trim(self) -> None:
        """Give freed memory back to the machine: now, or soon when that was done just before."""
        with self._lock:
            wait = self._trim_at - time.monotonic()
            if wait > 0:
                if self._timer is None:
                    self._timer = threading.Timer(wait, self._trim_late)
                    self._timer.daemon = True
                    self._timer.start()
                return
            self._trim_at = time.monotonic() + _BETWEEN_TRIMS
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)

    def _trim_late(self) -> None:
        with self._lock:
            self._timer = None
            self._trim_at = 0.0
        self._trim()
