"""The live display of a terminal, drawn with rich, which is imported beside the start of the server."""

from __future__ import annotations

import contextlib
import importlib
import re
import threading
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from infra_validator.cli.progress.board import Board
from infra_validator.cli.progress.display import Lines
from infra_validator.core.progress import BytesMoved, PhaseBegan, PhaseEnded, Progress
from infra_validator.report.verdict import ValidationReport

if TYPE_CHECKING:
    from infra_validator.cli.progress.drawing import Drawing

_BEGINS_AFTER = 0.3  # seconds; what is over by then needs no display
_ENOUGH_SECONDS = 5.0  # how long an import may take that the end waits for
#: Lines that say what is drawn anyway.
_DRAWN = re.compile(r"(?:.*: )?(?:pulling \S+: |the model is copied: |uploading the model: )")


class LiveDisplay(Lines):
    """Rows that are drawn again a few times a second; lines are printed above them.

    Args:
      stream: a terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._board = Board()
        self._begin, self._ended = threading.Event(), threading.Event()
        self._held: list[str] = []
        self._drawn_lines: list[str] = []
        self._drawing: Drawing | None = None
        self._thread = threading.Thread(target=self._draw, name="progress display", daemon=True)

    def say(self, line: str) -> None:
        with self._lock:
            if line in self._drawn_lines:
                self._drawn_lines.remove(line)
                return
            if _DRAWN.match(line):
                return
            drawing = self._drawing
            if drawing is None and not self._ended.is_set():
                self._held.append(line)
                return
        if drawing is not None:
            with contextlib.suppress(OSError, ValueError):
                drawing.line(line)
        else:
            super().say(line)

    def tell(self, event: Progress) -> None:
        self._board.note(event)
        if isinstance(event, PhaseEnded):
            with self._lock:
                self._drawn_lines.append(str(event))
        elif isinstance(event, BytesMoved) or (isinstance(event, PhaseBegan) and event.phase in ("schedule", "load")):
            self._begin.set()

    def end(self, report: ValidationReport, path: str) -> None:
        self._stop()
        if not any(binary.attempts for binary in report.serving_binaries):
            return
        with contextlib.suppress(OSError, ValueError):
            drawing = self._drawing or _new_drawing(self._stream, self._board)
            drawing.result(report, path)

    def __enter__(self) -> LiveDisplay:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        """Have nothing drawn any more, and the cursor where it belongs. May be called twice."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._begin.set()
        if self._thread.is_alive():
            self._thread.join(_ENOUGH_SECONDS)
        with contextlib.suppress(OSError, ValueError):
            if self._drawing is not None:
                self._drawing.stop()
        with self._lock:
            held, self._held = self._held, []
        for line in held:
            super().say(line)

    def _draw(self) -> None:
        """Import and start; then rich's own thread draws."""
        self._begin.wait(_BEGINS_AFTER)
        if self._ended.is_set():
            return
        drawing = _new_drawing(self._stream, self._board)
        with self._lock:
            if self._ended.is_set():
                return
            with contextlib.suppress(OSError, ValueError):
                drawing.start()
                for line in self._held:
                    drawing.line(line)
            self._held = []
            self._drawing = drawing


def _new_drawing(stream: TextIO, board: Board) -> Drawing:
    module = importlib.import_module("infra_validator.cli.progress.drawing")  # rich: a tenth of a second
    made: Drawing = module.drawing_on(stream, board)
    return made
