"""What every way of showing progress is, and the plainest one."""

from __future__ import annotations

import contextlib
import threading
from types import TracebackType
from typing import TextIO

from infra_validator.cli.progress.printable import printable
from infra_validator.core.progress import Progress
from infra_validator.report.verdict import ValidationReport


class Display:
    """Shows nothing. A context manager; ``say`` and ``tell`` are called from several threads and never raise."""

    def say(self, line: str) -> None:
        """Show one line."""

    def tell(self, event: Progress) -> None:
        """Take note of what goes on."""

    def words(self, text: str) -> str:
        """Text of unknown origin as it may be printed on standard output beside this display."""
        return printable(text)

    def json(self, text: str) -> str:
        """JSON as it may be printed on standard output beside this display: the same data."""
        return text

    def end(self, report: ValidationReport, path: str) -> None:
        """Show the end; called inside of the block, before the result is printed.

        Args:
          report: the result.
          path: of the report that was written; empty where none was.
        """

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class Lines(Display):
    """One line after the other.

    Args:
      stream: where to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def say(self, line: str) -> None:
        self.put(printable(line))

    def put(self, line: str) -> None:
        """Write a line as it is."""
        with self._lock, contextlib.suppress(OSError, ValueError):  # nobody reads it, there is no room, it is closed
            print(line, file=self._stream, flush=True)
