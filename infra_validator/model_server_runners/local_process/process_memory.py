"""How much memory a process and its children hold."""

from __future__ import annotations

import time
from collections.abc import Callable

from infra_validator.core.states import MemoryReading
from infra_validator.model_server_runners.cleanup.processes import private_bytes, proportional_bytes

_SOURCE = "proportional set size of the process tree"
_WHOLE_SHARE = (
    0.01  # of one processor's time that the kernel may take to count all pages: some milliseconds for a large process
)
_READINGS_PER_SEARCH = 20  # how often memory is read before children are searched for again: that reads all of /proc


class ProcessMemory:
    """Reads the memory of one server and its children. Used by one thread at a time.

    Counting every page takes milliseconds; what the processes hold for themselves is told in microseconds. So the pages are counted now and
    then, and what was taken or given back since is added.
    """

    def __init__(self) -> None:
        self._counted = 0
        self._private = 0  # when the pages were counted
        self._count_at = 0.0  # on the monotonic clock
        self._readings = 0
        self._pids: list[int] = []

    def read(self, family: Callable[[], list[int]]) -> MemoryReading:
        """One reading.

        Args:
          family: searches for the living processes of the server.
        """
        if self._readings % _READINGS_PER_SEARCH == 0 or not self._pids:
            self._pids = family()
        self._readings += 1
        if time.monotonic() < self._count_at:
            return MemoryReading(max(0, self._counted + private_bytes(self._pids) - self._private), _SOURCE)
        spent = time.thread_time()
        octets = proportional_bytes(self._pids)
        if octets is None:
            problem = (
                "The system does not tell how much memory the server takes (/proc/PID/smaps_rollup cannot be read)."
            )
            return MemoryReading.none(_SOURCE, problem)
        self._counted, self._private = octets, private_bytes(self._pids)
        self._count_at = time.monotonic() + (time.thread_time() - spent) / _WHOLE_SHARE
        return MemoryReading(octets, _SOURCE)
