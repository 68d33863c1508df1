"""Measures what a load allocates, in a process where other loads may run at the same time.

glibc counts the bytes that are allocated and not freed; the growth over a load that runs alone is its size. While several run,
growth is shared out between them in proportion to what they are expected to take, and such a reading is less exact.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import threading
from collections.abc import Callable, Iterator

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGE_BLOCK = 2**20
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


_LIBC = ctypes.CDLL(None)
_MALLINFO2 = getattr(_LIBC, "mallinfo2", None)
if _MALLINFO2 is not None:
    _MALLINFO2.restype = _Mallinfo2


def allocated_bytes() -> int:
    """Bytes that this process has allocated and not freed; resident anonymous memory where glibc (2.33) cannot tell."""
    if _MALLINFO2 is None:
        return resident_bytes()
    info = _MALLINFO2()
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
            self._give_back()

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

    def _give_back(self) -> None:
        """Give freed memory back to the machine: now, and once more a little later, for what other threads of TensorFlow free
        after a session has been closed."""
        with self._lock:
            if self._timer is not None:
                return
            self._timer = threading.Timer(_BETWEEN_TRIMS, self._give_back_late)
            self._timer.daemon = True
            self._timer.start()
        trim()

    def _give_back_late(self) -> None:
        with self._lock:
            self._timer = None
        trim()


def return_large_blocks() -> None:
    """Have glibc return blocks of a MiB and more to the machine the moment they are freed.

    By itself it raises its thresholds when such blocks come and go, and an arena then keeps tens of MiB.
    """
    mallopt = getattr(_LIBC, "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)
        mallopt(_M_TRIM_THRESHOLD, _LARGE_BLOCK)


def trim() -> None:
    """Have glibc return free memory to the machine."""
    malloc_trim = getattr(_LIBC, "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
