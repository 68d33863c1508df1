"""How much memory a process and its children hold."""

from __future__ import annotations

from collections.abc import Callable

from infra_validator.core.states import MemoryReading
from infra_validator.model_server_runners.cleanup.processes import proportional_bytes

_SOURCE = "proportional set size of the process tree"
_READINGS_PER_SEARCH = 20  # how often memory is read before children are searched for again: that reads all of /proc


class ProcessMemory:
    """Reads the memory of one server and its children. Used by one thread at a time."""

    def __init__(self) -> None:
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
        octets = proportional_bytes(self._pids)
        if octets is None:
            problem = (
                "The system does not tell how much memory the server takes (/proc/PID/smaps_rollup cannot be read)."
            )
            return MemoryReading.none(_SOURCE, problem)
        return MemoryReading(octets, _SOURCE)
