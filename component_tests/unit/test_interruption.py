"""Interruptions: by hand and by real signals sent to this process."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

import pytest

from infra_validator.deadline import Deadline, News, wait_until
from infra_validator.errors import InfrastructureError
from infra_validator.interruption import Interruption, interrupted_by_signals
from infra_validator.reason_codes import ReasonCode


def test_it_is_quiet_until_it_is_set_and_keeps_the_first_reason() -> None:
    interruption = Interruption()
    interruption.check()
    interruption.set("SIGTERM")
    interruption.set("SIGINT")
    with pytest.raises(InfrastructureError, match="SIGTERM") as caught:
        interruption.check()
    assert caught.value.reason is ReasonCode.INTERRUPTED


def test_it_wakes_a_wait() -> None:
    interruption = Interruption()
    news = News()
    interruption.wakes(news)
    asked = threading.Event()

    def question() -> bool | None:
        asked.set()
        interruption.check()
        return None

    def interrupt() -> None:
        asked.wait()
        interruption.set("a button")

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(InfrastructureError, match="a button"):
        wait_until(question, Deadline.after(30), news=news, first_pause=30, longest_pause=30)
    thread.join()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_interrupts_and_the_earlier_handler_has_its_turn_afterwards(number: signal.Signals) -> None:
    got: list[int] = []

    def earlier(received: int, frame: FrameType | None) -> None:
        got.append(received)

    before = signal.signal(number, earlier)
    try:
        interruption = Interruption()
        with interrupted_by_signals(interruption):
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)  # a second one changes nothing
            assert interruption.why == number.name
            assert got == []
        assert got == [number]
        assert signal.getsignal(number) is earlier
    finally:
        signal.signal(number, before)


def test_nothing_is_delivered_when_nothing_came_or_when_it_is_not_wanted() -> None:
    got: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: got.append(number))
    try:
        with interrupted_by_signals(Interruption()):
            pass
        with interrupted_by_signals(Interruption(), deliver=False):
            os.kill(os.getpid(), signal.SIGTERM)
        assert got == []
    finally:
        signal.signal(signal.SIGTERM, before)


def test_off_the_main_thread_it_does_nothing_and_breaks_nothing() -> None:
    problems: list[BaseException] = []

    def work() -> None:
        try:
            with interrupted_by_signals(Interruption()):
                pass
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert problems == []
