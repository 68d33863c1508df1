"""Interruptions: what ends waits early (signals have their own test)."""

from __future__ import annotations

import threading

import pytest

from infra_validator.core.deadline import Deadline, News, wait_until
from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.signals.interruption import Interruption


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
