"""Reading that begins at once, so that a bad file is reported before a server is started."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


def begun(items: Iterator[T]) -> Iterator[T] | None:
    """``items`` with the first one read already, which raises what reading it raises; None if there is none."""
    for first in items:
        return itertools.chain((first,), items)
    return None
