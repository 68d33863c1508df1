"""Reads an iterable in a thread of its own, so that a source that is slow or hangs holds up nobody who has limits and signals to see."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Ended:
    """What is handed over last.

    Attributes:
      error: what ended the reading; None where the iterable just ended.
    """

    __slots__ = ("error",)

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class ReadBeside(Generic[T]):
    """One reading. A context manager: on leaving, no further item is read; a thread that hangs in its source is left behind.

    Args:
      iterable: what to read; iterated, and a generator closed, by the thread only.
      hand_over: called by the thread with every item, in order, and with Ended in the end. Must not block.
      at_once: how many items may be handed over that nobody has given back.
    """

    def __init__(self, iterable: Iterable[T], hand_over: Callable[[T | Ended], None], at_once: int) -> None:
        self._iterable = iterable
        self._hand_over = hand_over
        self._free = threading.Semaphore(at_once)
        self._stopped = False

    def give_back(self) -> None:
        """An item is done with: one more may be read."""
        self._free.release()

    def __enter__(self) -> ReadBeside[T]:
        threading.Thread(target=self._read, name="reading requests", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        self._free.release()

    def _read(self) -> None:
        error: BaseException | None = None
        try:
            iterator = iter(self._iterable)
            try:
                while self._free.acquire() and not self._stopped:
                    try:
                        item = next(iterator)
                    except StopIteration:
                        break
                    self._hand_over(item)
            finally:
                close = getattr(iterator, "close", None)
                if close is not None:
                    close()
        except BaseException as raised:
            error = raised
        self._hand_over(Ended(error))
