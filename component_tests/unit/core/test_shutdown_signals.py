"""Signals interrupt, wait for the clean-up, and then reach whoever had handled them before."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from infra_validator.core.interruption import Interruption
from infra_validator.core.shutdown_signals import shutdown_signals


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """What the program's own SIGTERM handler has heard."""
    signals: list[int] = []

    def handler(signum: int, frame: FrameType | None) -> None:
        signals.append(signum)

    before = signal.signal(signal.SIGTERM, handler)
    yield signals
    signal.signal(signal.SIGTERM, before)


def test_a_signal_interrupts_and_reaches_the_previous_handler_after_the_block(heard: list[int]) -> None:
    interruption = Interruption()
    with shutdown_signals(interruption):
        signal.raise_signal(signal.SIGTERM)
        assert interruption.why == "SIGTERM"
        assert heard == []
    assert heard == [signal.SIGTERM]


def test_a_second_signal_does_not_break_the_clean_up(heard: list[int]) -> None:
    cleaned_up = False
    with shutdown_signals(Interruption()):
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            cleaned_up = True
    assert cleaned_up
    assert heard == [signal.SIGTERM]


def test_ctrl_c_is_a_keyboard_interrupt_after_the_block() -> None:
    interruption = Interruption()
    with pytest.raises(KeyboardInterrupt), shutdown_signals(interruption):
        signal.raise_signal(signal.SIGINT)
    assert interruption.why == "SIGINT"


def test_handlers_are_put_back_when_the_block_fails(heard: list[int]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(RuntimeError):
        with shutdown_signals(Interruption()):
            raise RuntimeError
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        interruption = Interruption()
        with shutdown_signals(interruption):
            signal.raise_signal(signal.SIGTERM)
        assert interruption.why is None
    finally:
        signal.signal(signal.SIGTERM, before)


def test_off_the_main_thread_nothing_is_set_and_nothing_fails() -> None:
    ran = []

    def body() -> None:
        with shutdown_signals(Interruption()):
            ran.append(True)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert ran == [True]
