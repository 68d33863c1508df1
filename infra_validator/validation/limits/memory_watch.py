"""The server's memory over time: read many times a second by a thread beside the attempt, at a small share of a processor."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from infra_validator.core.deadline import SYSTEM_CLOCK, Clock, Deadline, News
from infra_validator.core.states import MemoryReading
from infra_validator.report.measurements import MemoryUse

_EVERY_SECONDS = 0.05
_READ_SECONDS = 5.0  # how long one reading may take
_SHARE = (
    0.02  # of one processor's time that reading may take: a large process takes milliseconds, and is read less often
)
_MOST_POINTS = 2000  # of the curve: above that neighbours become one, the larger


class MemoryWatch:
    """Reads the memory from when it is made until ``close``.

    Args:
      read: the runner's ``ReadMemory``.
      began: the moment that the curve counts from, on the clock.
      clock: where time is read.
      every_seconds: the shortest pause between two readings.
    """

    def __init__(
        self,
        read: Callable[[Deadline], MemoryReading],
        began: float,
        clock: Clock = SYSTEM_CLOCK,
        every_seconds: float = _EVERY_SECONDS,
    ) -> None:
        self._read = read
        self._every = every_seconds
        self._clock = clock
        self._began = began
        self._since = clock.monotonic()
        self._cost = 0.0
        self._curve: list[tuple[float, int]] = []
        self._stride, self._pending = 1, 0  # how many readings make one point, and how many the last one holds
        self._source = ""
        self._problem = ""
        self._after_load: int | None = None
        self._peak: int | None = None
        self._asked = False
        self._record_before: int | None = None  # the kernel's own record when asking began
        self._under_load: int | None = None
        self._lock = threading.Lock()
        self._news = News()
        self._closed = False
        self._thread = threading.Thread(target=self._watch, name="memory of the server", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str:
        """Why nothing was read, one sentence; empty where something was."""
        return "" if self._curve else self._problem

    @property
    def use(self) -> MemoryUse | None:
        """What was seen; None where nothing was."""
        with self._lock:
            if not self._curve:
                return None
            spent = max(self._clock.monotonic() - self._since, 1e-9)
            return MemoryUse(
                self._source,
                self._after_load,
                self._peak,
                self._under_load,
                tuple(self._curve),
                min(1.0, self._cost / spent),
            )

    def loaded(self) -> None:
        """Called when the model is loaded, before anything is asked."""
        reading = self._take()
        self._after_load = reading.octets

    def asked(self) -> None:
        """Called before the first request is sent."""
        self._record_before = self._take().peak_octets
        self._asked = True

    def answered(self) -> None:
        """Called when the last answer has come."""
        self._take()
        self._asked = False

    def close(self) -> None:
        """End the watch, before the server is stopped. May be called twice."""
        self._closed = True
        self._news.announce()
        self._thread.join(_READ_SECONDS)

    def _watch(self) -> None:
        while not self._closed:
            seen = self._news.count
            before = self._clock.monotonic()
            reading = self._take()
            now = self._clock.monotonic()
            if reading.octets is None and not self._curve and self._problem == reading.problem:
                pause = max(1.0, self._every)  # it is not told; it may be a little later
            else:
                pause = max(self._every, self._cost / _SHARE - (now - self._since), now - before)
            if not self._closed:
                self._clock.pause(self._news, seen, pause)

    def _take(self) -> MemoryReading:
        with self._lock:
            if self._closed:
                return MemoryReading(None, self._source)
            before = (
                time.thread_time()
            )  # not the clock's: beside a load a thread waits for its turn much longer than it reads
            reading = self._read(Deadline.after(_READ_SECONDS, self._clock))
            now = self._clock.monotonic()
            self._cost += time.thread_time() - before
            if reading.octets is None:
                self._problem = self._problem or reading.problem
                return reading
            self._source = reading.source
            self._note(now - self._began, reading.octets)
            self._peak = max(self._peak or 0, reading.octets, reading.peak_octets or 0)
            if self._asked:
                self._note_under_load(reading)
            return reading

    def _note_under_load(self, reading: MemoryReading) -> None:
        """The kernel's record counts where it grew since asking began: then the peak was now."""
        most = max(self._under_load or 0, reading.octets or 0)
        record, before = reading.peak_octets, self._record_before
        if record is not None and before is not None and record > before:
            most = max(most, record)
        self._under_load = most

    def _note(self, seconds: float, octets: int) -> None:
        """Add a point to the curve, which stays short: of several readings the largest is kept."""
        if self._pending and self._curve:
            last_seconds, last = self._curve[-1]
            self._curve[-1] = (seconds, octets) if octets > last else (last_seconds, last)
        else:
            self._curve.append((seconds, octets))
        self._pending = (self._pending + 1) % self._stride
        if len(self._curve) > _MOST_POINTS:
            pairs = [self._curve[i : i + 2] for i in range(0, len(self._curve), 2)]
            self._curve = [max(pair, key=lambda point: point[1]) for pair in pairs]
            self._stride *= 2
            self._pending = 0
