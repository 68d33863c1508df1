"""What is drawn on a terminal: rows at any width, the table of the end, and nothing that a label or a server brings with it."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from component_tests.fakes.hand_clock import HandClock
from infra_validator.cli.progress.board import Board
from infra_validator.cli.progress.drawing import Drawing
from infra_validator.cli.progress.printable import one_line, printable
from infra_validator.core.progress import PhaseBegan, PhaseEnded, RequestAnswered, Try
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.evidence import Evidence, EvidenceLevel
from infra_validator.report.measurements import LimitOutcome, LimitResult, Measurements
from infra_validator.report.verdict import AttemptReport, BinaryReport, Finding, Phase, ValidationReport, Verdict, now

HOSTILE = "[bold red]x[/nothing] \x1b[2J\x1b]0;title\x07 \r\b\u202e:smile: " + "long" * 50


def console(width: int, encoding: str = "utf-8") -> Console:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace")
    return Console(file=file, width=width, force_terminal=True, highlight=False, emoji=False, markup=False)


def written(on: Console) -> str:
    on.file.flush()
    return on.file.buffer.getvalue().decode(on.encoding)  # type: ignore[attr-defined, no-any-return]


def board(label: str) -> Board:
    made = Board(HandClock())
    made.note(PhaseBegan(Try(label), "load"))
    made.note(PhaseEnded(Try(label), "load", "ok", 1.0))
    made.note(PhaseBegan(Try(label), "query"))
    made.note(RequestAnswered(Try(label), 1234, 1.0, 0.8))
    return made


@pytest.mark.parametrize("width", [1, 5, 20, 40, 80, 200])
@pytest.mark.parametrize("label", ["tensorflow/serving:2.19.0", HOSTILE, "模型" * 40])
def test_rows_fit_the_width(width: int, label: str) -> None:
    on = console(width)
    drawing = Drawing(on, board(label))
    with on.capture() as capture:
        on.print(drawing)
    lines = capture.get().splitlines()
    plain = Console(file=io.StringIO(), width=width, no_color=True, force_terminal=False)
    with plain.capture() as capture:
        plain.print(drawing)
    drawn = capture.get().splitlines()
    assert len(lines) == len(drawn) == (2 if width >= 40 else 1)
    assert all(cell_len(line) <= width for line in drawn)
    if width >= 80:
        assert "query 0.0 s 1234 requests, 1234/s, 0.8 ms" in drawn[0]
        assert "load 1.00 s" in drawn[1]


def test_nothing_of_a_label_is_taken_for_markup_or_moves_the_cursor() -> None:
    on = console(400)
    drawing = Drawing(on, board(HOSTILE))
    with on.capture() as capture:
        on.print(drawing)
        drawing.line(HOSTILE)
    text = capture.get()
    for harmful in ("\x1b[2J", "\x1b]0", "\x07", "\r", "\b", "\u202e"):
        assert harmful not in text
    assert text.count("[bold red]x[/nothing] \\x1b[2J") == 2
    assert ":smile:" in text


def test_a_terminal_without_unicode_is_drawn_on_in_ascii() -> None:
    on = console(80, "ascii")
    on.print(Drawing(on, board("a")))
    assert written(on).isascii()


def test_the_table_of_the_end() -> None:
    limits = [
        LimitResult(str(n), outcome, 1.0, 1.0, "ms") for n, outcome in enumerate([*LimitOutcome, LimitOutcome.KEPT])
    ]
    blessed = AttemptReport(
        1,
        Finding(ReasonCode.BLESSED),
        (Phase("load", 1.234), Phase("stop", 0.1)),
        True,
        evidence=Evidence(EvidenceLevel.ANSWERED, 17),
        measurements=Measurements(limits=tuple(limits)),
    )
    failed = Finding(ReasonCode.OP_NOT_REGISTERED, "x")
    report = ValidationReport(
        Verdict.BLESSED,
        Finding(ReasonCode.BLESSED),
        "/m",
        "m",
        (
            BinaryReport("t", "2.19.0", "p", False, Verdict.BLESSED, Finding(ReasonCode.BLESSED), (blessed,)),
            BinaryReport(
                "t", "1.15.0 [x]", "p", True, Verdict.NOT_BLESSED, failed, (AttemptReport(1, failed, (), True),)
            ),
        ),
        now(),
        1.0,
    )
    on = Console(file=io.StringIO(), width=120, no_color=True)
    with on.capture() as capture:
        Drawing(on, Board()).result(report, "out/[red]/verdict.json")
    assert [line.split() for line in capture.get().splitlines()] == [
        ["binary", "verdict", "reason", "load", "s", "requests", "limits"],
        ["2.19.0", "BLESSED", "1.23", "17", "2", "kept,", "1", "exceeded,", "1", "not", "measured"],
        ["1.15.0", "[x]", "(advisory)", "NOT_BLESSED", "OP_NOT_REGISTERED"],
        ["the", "report:", "out/[red]/verdict.json"],
    ]


@pytest.mark.parametrize("width", [1, 20, 59])
def test_the_end_on_a_narrow_terminal(width: int) -> None:
    failed = Finding(ReasonCode.OP_NOT_REGISTERED, "x")
    binary = BinaryReport(
        "t", "2.19.0 [x]", "p", False, Verdict.NOT_BLESSED, failed, (AttemptReport(1, failed, (), True),)
    )
    on = Console(file=io.StringIO(), width=width, no_color=True)
    report = ValidationReport(Verdict.NOT_BLESSED, failed, "/m", "m", (binary,), now(), 1.0)
    with on.capture() as capture:
        Drawing(on, Board()).result(report, "")
    assert capture.get() == "2.19.0 [x]: NOT_BLESSED OP_NOT_REGISTERED\n"


def test_printable() -> None:
    assert printable("a\tb\nc é 模") == "a\tb\nc é 模"
    assert printable("\x1b[31m\x9b\u202e\r") == "\\x1b[31m\\x9b\\u202e\\x0d"
    assert one_line("a\nb\tc") == "a\\nb c"
