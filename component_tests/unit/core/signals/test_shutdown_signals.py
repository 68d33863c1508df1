"""Signals interrupt, wait for the clean-up, and then reach whoever had handled them before."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Iterator
from types import FrameType

import pytest

from infra_validator.core.deadline import News
from infra_validator.core.signals.interruption import Interruption
from infra_validator.core.signals.shutdown_signals import shutdown_signals


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


def test_a_signal_on_another_thread_ends_a_wait_that_has_no_end() -> None:
    """Python runs no handler while its main thread blocks; who waits for the news is woken all the same."""
    interruption = Interruption()
    news = News()
    interruption.wakes(news)
    with pytest.raises(KeyboardInterrupt), shutdown_signals(interruption):  # noqa: PT012
        threading.Thread(target=lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT)).start()
        news.wait(0, 3600)
        assert interruption.why == "SIGINT"


def test_a_forked_child_neither_holds_the_block_nor_sends_us_its_signals() -> None:
    interruption = Interruption()
    begun, held = os.pipe(), os.pipe()
    with shutdown_signals(interruption), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn of a fork beside threads, which is what is tried here
        child = os.fork()
        if child == 0:
            os.write(begun[1], b"x")
            os.read(held[0], 1)
            os._exit(0)
        os.read(begun[0], 1)
        os.kill(child, signal.SIGTERM)
    assert interruption.why is None
    os.write(held[1], b"x")
    assert os.waitpid(child, 0)[1] == 0
    for end in (*begun, *held):
        os.close(end)


def test_what_was_told_is_not_taken_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    interruption = Interruption()
    try:
        with shutdown_signals(interruption, until_exit=True):
            interruption.close()
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert interruption.why is None
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_other_signals_reach_the_wakeup_descriptor_that_was_there_before() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.signal(signal.SIGUSR1, lambda number, frame: None)
    descriptor = signal.set_wakeup_fd(writer)
    try:
        with shutdown_signals(Interruption()):
            signal.raise_signal(signal.SIGUSR1)
            assert os.read(reader, 1)[0] == signal.SIGUSR1
        assert signal.set_wakeup_fd(writer) == writer
    finally:
        signal.set_wakeup_fd(descriptor)
        signal.signal(signal.SIGUSR1, before)
        os.close(reader)
        os.close(writer)
