"""How a load is sent: one connection that many threads ask again and again."""

from __future__ import annotations

import dataclasses
from typing import Protocol


@dataclasses.dataclass(frozen=True)
class LoadFailure:
    """A request under load that was not answered rightly.

    Attributes:
      text: the request and the server's words.
      lost: whether the connection broke or could not be made, rather than the server answering.
      refused: whether nobody listens where the server was.
    """

    text: str
    lost: bool = False
    refused: bool = False


class LoadConnection(Protocol):
    """Asks the requests that it was made with."""

    def ask(self, number: int, timeout_seconds: float) -> LoadFailure | None:
        """Ask the request of this number, counted through all of them again and again; blocks until it is answered.

        Thread-safe. ``close`` ends it, as a failure.

        Returns:
          None if it was answered, and not with nothing; else what came instead.
        """
        ...

    def close(self) -> None:
        """End what is under way and give the connection back. May be called twice."""
        ...
