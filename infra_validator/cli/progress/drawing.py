"""What the live display and its last table look like. The only file that imports rich."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from infra_validator.cli.progress.board import Board, Row
from infra_validator.cli.progress.printable import one_line, printable
from infra_validator.cli.progress.summary import Line, Summary, summary
from infra_validator.report.verdict import ValidationReport

_A_SECOND = 5  # drawings
_SPINNERS = {True: "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", False: "|/-\\"}
_MARKS = {True: ("✓", "✗"), False: ("+", "x")}
_TABLE_WIDTH = 60  # columns; on a narrower terminal a table is no help
_STYLES = {"BLESSED": "green", "NOT_BLESSED": "bold red", "INCONCLUSIVE": "yellow"}


def drawing_on(stream: TextIO, board: Board) -> Drawing:
    """What draws on a terminal."""
    return Drawing(Console(file=stream, highlight=False, emoji=False, markup=False), board)


class Drawing:
    """Draws on a terminal. Nothing of what is shown is taken for rich's markup, and nothing in it moves the cursor.

    Args:
      console: the terminal.
      board: what goes on.
    """

    def __init__(self, console: Console, board: Board) -> None:
        self._console = console
        self._board = board
        self._has_unicode = (self._console.encoding or "").lower().startswith("utf")
        self._turn = 0
        self._live = Live(
            self,
            console=self._console,
            refresh_per_second=_A_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=self._console.is_terminal,
        )

    def start(self) -> None:
        """Begin to draw."""
        self._live.start()

    def stop(self) -> None:
        """Take the rows away and give the cursor back. May be called twice."""
        self._live.stop()

    def line(self, line: str) -> None:
        """Print a line above the rows."""
        self._console.print(Text(printable(line)), soft_wrap=True)

    def result(self, report: ValidationReport, path: str) -> None:
        """Print the table of the end, or as many words as a narrow terminal has room for, and where the report is."""
        lines = summary(report)
        if self._console.width >= _TABLE_WIDTH:
            self._print_table(lines)
        else:
            for line in lines.rows:
                self.line(f"{one_line(line.binary)}: {line.verdict} {line.reason}".rstrip())
        if path:
            self._console.print(Text(f"the report: {one_line(path)}"), soft_wrap=True)

    def _print_table(self, lines: Summary) -> None:
        table = Table(box=None, pad_edge=False, show_edge=False, header_style="dim")
        for title, of in lines.columns:
            table.add_column(title, justify="right" if of in ("load", "requests", "p99") else "left", overflow="fold")
        for line in lines.rows:
            table.add_row(*(self._cell(line, of) for _, of in lines.columns))
        self._console.print(table)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self._turn += 1
        yield from self._rows(options.max_width)

    def _rows(self, width: int) -> Iterator[Text]:
        for row in self._board.rows():
            yield _fitted(self._head(row), width)
            if row.done and width >= 40:
                done = "  ".join(f"{phase} {seconds:.2f} s" for phase, seconds in row.done)
                yield _fitted(Text(f"    {done}", style="dim"), width)

    def _head(self, row: Row) -> Text:
        """Mark, phase and its time first: they stay where the terminal is narrow."""
        spinner = _SPINNERS[self._has_unicode]
        ok, failed = _MARKS[self._has_unicode]
        mark = spinner[self._turn % len(spinner)] if row.phase else (failed if row.failed else ok)
        head = Text()
        head.append(mark, style="cyan" if row.phase else ("red" if row.failed else "green"))
        if row.phase:
            head.append(f" {row.phase} {row.seconds:.1f} s", style="bold")
        if row.detail:
            head.append(f" {one_line(row.detail)}")
        head.append(f" {one_line(row.label)}", style="blue")
        return head

    def _cell(self, line: Line, of: str) -> Text:
        text = one_line(str(getattr(line, of)))
        return Text(text, style=_STYLES.get(line.verdict, "") if of == "verdict" else "")


def _fitted(text: Text, width: int) -> Text:
    text.no_wrap = True
    text.truncate(max(1, width), overflow="ellipsis")
    return text
