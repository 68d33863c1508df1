"""How much memory a model server holds, as its platform tells it at one moment."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class MemoryReading:
    """One reading.

    Attributes:
      octets: bytes that the server holds now; None where the platform does not tell.
      source: where they were read, for people, e.g. ``proportional set size of the process tree``.
      peak_octets: the most that it ever held, where the kernel keeps a record of its own; else None.
      problem: why ``octets`` is None, one sentence.
    """

    octets: int | None
    source: str
    peak_octets: int | None = None
    problem: str = ""

    @classmethod
    def none(cls, source: str, problem: str) -> MemoryReading:
        """A reading that could not be had."""
        return cls(None, source, problem=problem)
