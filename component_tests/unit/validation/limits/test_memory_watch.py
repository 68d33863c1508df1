"""The memory watch, over readings as they may come. It is driven by its own calls; its thread only adds readings."""

from __future__ import annotations

import threading
import time

from infra_validator.core.deadline import SYSTEM_CLOCK, Deadline
from infra_validator.core.states import MemoryReading
from infra_validator.validation.limits.memory_watch import MemoryWatch

_NEVER_AGAIN = 3600.0  # seconds between two readings of the thread: one, and then none


class Server:
    """A server whose memory is what a test says."""

    def __init__(self, octets: int | None = 100, peak: int | None = None) -> None:
        self.octets, self.peak = octets, peak
        self.read = threading.Event()
        self.readings = 0

    def __call__(self, deadline: Deadline) -> MemoryReading:
        self.readings += 1
        self.read.set()
        return MemoryReading(self.octets, "a test", self.peak, "" if self.octets else "It is not told.")


def _watch(server: Server, every: float = _NEVER_AGAIN) -> MemoryWatch:
    watch = MemoryWatch(server, SYSTEM_CLOCK.monotonic(), every_seconds=every)
    assert server.read.wait(10)
    return watch


def test_after_load_and_under_load_are_told_apart() -> None:
    server = Server()
    watch = _watch(server)
    server.octets = 900  # while it loads
    watch.loaded()
    server.octets = 500
    watch.asked()
    server.octets = 700
    watch.answered()
    server.octets = 5000  # after the last answer
    watch.close()
    use = watch.use
    assert use is not None
    assert (use.after_load_bytes, use.under_load_peak_bytes, use.peak_bytes) == (900, 700, 900)
    assert use.source == "a test"
    assert 0 <= use.reading_share < 1


def test_the_kernels_own_record_counts_where_it_grew_while_the_server_was_asked() -> None:
    for record, under_load in ((2000, 200), (3000, 3000)):
        server = Server(200, peak=2000)
        watch = _watch(server)
        watch.loaded()
        watch.asked()
        server.peak = record
        watch.answered()
        watch.close()
        use = watch.use
        assert use is not None
        assert (use.under_load_peak_bytes, use.peak_bytes) == (under_load, record)


def test_what_is_not_told_is_no_error_and_is_asked_for_rarely() -> None:
    server = Server(None)
    watch = _watch(server, every=0.001)
    watch.loaded()
    watch.close()
    assert watch.use is None
    assert watch.problem == "It is not told."


def test_the_curve_is_thinned_and_keeps_its_peak() -> None:
    server = Server()
    watch = _watch(server)
    watch.asked()
    for number in range(10_001):
        server.octets = 7777 if number == 4321 else 100 + number % 10
        watch.answered()
        watch.asked()
    watch.close()
    use = watch.use
    assert use is not None
    assert 500 < len(use.curve) <= 2001
    assert max(octets for _, octets in use.curve) == 7777
    seconds = [second for second, _ in use.curve]
    assert seconds == sorted(seconds)


def test_a_reading_that_takes_long_is_made_rarely() -> None:
    """Twenty times a second would be all of the time; the pause grows with the reading."""
    readings = threading.Semaphore(0)

    def slow(deadline: Deadline) -> MemoryReading:
        spent = time.thread_time()
        while time.thread_time() - spent < 0.01:
            pass
        readings.release()
        return MemoryReading(1, "a test")

    watch = MemoryWatch(slow, SYSTEM_CLOCK.monotonic(), every_seconds=0.001)
    for _ in range(3):
        assert readings.acquire(timeout=60)
    watch.close()
    use = watch.use
    assert use is not None
    assert use.reading_share < 0.25  # the first reading, without any pause, counts
