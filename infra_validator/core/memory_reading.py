"""How much memory a model server holds, as its platform tells it at one moment."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class MemoryReading:
    """One reading.

    Attributes:
      octets: bytes that the server holds now.
      source: where they were read, for people, e.g. ``proportional set size of the process tree``.
      peak_octets: the most that it ever held, where the kernel keeps a record of its own; else None.
    """

    octets: int
    source: str
    peak_octets: int | None = None


class MemoryNotReadable(Exception):
    """The platform does not tell how much memory the server holds; the text is a sentence that says why. No fault of anybody's."""
