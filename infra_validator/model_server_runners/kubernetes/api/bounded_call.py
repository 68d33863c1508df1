"""Makes a blocking call of a library keep a deadline that the library cannot keep.

The libraries' timeouts are for one read: a server that sends a byte now and then, in its headers or its body, holds a call for as long
as it likes; so does a name server. The call is therefore made in a thread of its own, which is left alone when the time is over.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import DeadlineExceeded, naming_exhaustion

T = TypeVar("T")


def bounded(call: Callable[[], T], deadline: Deadline, undo: Callable[[T], object] = lambda answer: None) -> T:
    """What ``call`` returns or raises.

    Args:
      call: ends by itself at some time, but perhaps late.
      deadline: how long it is waited for.
      undo: called with what a call has returned that nobody waits for any more.

    Raises:
      DeadlineExceeded: it did not end in time.
      InfrastructureError: there is no thread to make it in (RESOURCES_EXHAUSTED).
    """
    run = _Run(call, undo)
    with naming_exhaustion():
        threading.Thread(target=run.run, name="bounded call", daemon=True).start()
    return run.wait(deadline)


class _Run(Generic[T]):
    def __init__(self, call: Callable[[], T], undo: Callable[[T], object]) -> None:
        self._call = call
        self._undo = undo
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._left = False
        self._answers: list[T] = []
        self._problem: BaseException | None = None

    def run(self) -> None:
        try:
            answer = self._call()
        except BaseException as error:
            self._problem = error
        else:
            with self._lock:
                self._answers.append(answer)
                left = self._left
            if left:
                with contextlib.suppress(Exception):
                    self._undo(answer)
        self._ended.set()

    def wait(self, deadline: Deadline) -> T:
        self._ended.wait(min(deadline.remaining(), threading.TIMEOUT_MAX))
        with self._lock:
            if self._answers:
                return self._answers[0]
            self._left = True
        if self._problem is None:
            raise DeadlineExceeded()
        raise self._problem
