"""Events become rows."""

from __future__ import annotations

import pytest

from component_tests.fakes.hand_clock import HandClock
from infra_validator.cli.progress.board import Board, size
from infra_validator.core.progress import (
    BytesMoved,
    FleetWentOn,
    LoadWentOn,
    PhaseBegan,
    PhaseEnded,
    RequestAnswered,
    TriedAgain,
    Try,
)


def test_a_row_for_each_serving_binary_in_the_order_of_their_coming() -> None:
    clock = HandClock()
    board = Board(clock)
    board.note(PhaseBegan(Try("b"), "prepare"))
    board.note(PhaseBegan(Try("a"), "start"))
    clock.now += 2.0
    assert [(row.label, row.phase, row.seconds) for row in board.rows()] == [("b", "prepare", 2.0), ("a", "start", 2.0)]


def test_phases_bytes_and_requests() -> None:
    board = Board(HandClock())
    one = Try("a")
    board.note(PhaseBegan(one, "prepare"))
    board.note(BytesMoved(one, "pull", 120_000_000, 400_000_000))
    assert board.rows()[0].detail == "pull 120 MB of 400 MB (30 %)"
    board.note(PhaseEnded(one, "prepare", "ok", 3.0))
    board.note(PhaseBegan(one, "query"))
    assert board.rows()[0].detail == ""
    board.note(RequestAnswered(one, 1, 0.5, 10.0))
    assert board.rows()[0].detail == "1 request, 2/s, 10.0 ms"
    board.note(RequestAnswered(one, 2, 1.0, 30.0))
    assert board.rows()[0].detail == "2 requests, 2/s, 11.0 ms"
    board.note(PhaseEnded(one, "query", "failed", 1.0))
    (row,) = board.rows()
    assert (row.phase, row.failed, row.done) == ("", True, (("prepare", 3.0), ("query", 1.0)))


def test_a_load_is_told_as_it_goes() -> None:
    board = Board(HandClock())
    one = Try("a")
    board.note(PhaseBegan(one, "measure"))
    board.note(LoadWentOn(one, True, 12, 0.0, 0.0))
    assert board.rows()[0].detail == "warm-up, 12 requests"
    board.note(LoadWentOn(one, False, 400, 99.6, 3.21))
    assert board.rows()[0].detail == "400 requests, 100/s, p50 3.2 ms"


def test_another_attempt_begins_anew() -> None:
    board = Board(HandClock())
    board.note(PhaseBegan(Try("a"), "load"))
    board.note(PhaseEnded(Try("a"), "load", "failed", 1.0))
    board.note(TriedAgain(Try("a"), "SERVER_EXITED", 4.0))
    (row,) = board.rows()
    assert (row.label, row.detail) == ("a", "SERVER_EXITED; tried again in 4 s")
    board.note(PhaseBegan(Try("a", 2), "start"))
    (row,) = board.rows()
    assert (row.label, row.phase, row.done, row.failed, row.detail) == ("a (try 2)", "start", (), False, "")


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (123_456_789, "123 MB"), (2.5e12, "2.5 TB")]
)
def test_sizes(count: float, text: str) -> None:
    assert size(count) == text


def test_a_model_of_a_fleet_leaves_the_board_when_it_is_done() -> None:
    board = Board()
    for name in ("a", "ab"):
        board.note(PhaseBegan(Try(f"{name}: embedded"), "load"))
    board.note(FleetWentOn(Try("fleet"), 1, 2, {"BLESSED": 1, "NOT_BLESSED": 0}, "a: "))
    assert [(row.label, row.detail) for row in board.rows()] == [
        ("ab: embedded", ""),
        ("fleet", "1 of 2 models: 1 BLESSED"),
    ]
