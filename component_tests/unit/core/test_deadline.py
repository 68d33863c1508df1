from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from component_tests.fakes.hand_clock import HandClock
from infra_validator.core.deadline import SYSTEM_CLOCK, Deadline, News, wait_until
from infra_validator.core.errors import DeadlineExceeded


def test_what_remains() -> None:
    clock = HandClock()
    deadline = Deadline.after(10, clock)
    clock.now += 4
    assert deadline.remaining() == 6
    assert not deadline.expired()
    clock.now += 7
    assert deadline.remaining() == 0
    assert deadline.expired()


def test_a_utc_timestamp_is_a_deadline_as_in_the_seed() -> None:
    clock = HandClock()
    assert Deadline.of(clock.utc() + 3, clock).remaining() == pytest.approx(3)
    deadline = Deadline.after(1, clock)
    assert Deadline.of(deadline) is deadline


def test_the_wall_clock_may_step_without_moving_a_deadline() -> None:
    clock = HandClock()
    deadline = Deadline.of(clock.utc() + 3, clock)
    clock.utc_offset += 3600
    assert deadline.remaining() == pytest.approx(3)


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_the_earlier_one_counts(first: float, second: float) -> None:
    clock = HandClock()
    deadline = Deadline.after(first, clock)
    assert deadline.capped(second).remaining() == pytest.approx(min(first, second))
    assert deadline.earlier(Deadline.after(second, clock)).remaining() == pytest.approx(min(first, second))


def test_never_is_later_than_everything() -> None:
    clock = HandClock()
    never = Deadline.never(clock)
    assert never.remaining() == math.inf
    assert never.capped(5).remaining() == 5


def test_a_deadline_that_is_put_off_is_as_much_later() -> None:
    clock = HandClock()
    assert Deadline.after(3, clock).put_off(4).remaining() == 7


def test_a_deadline_shows_what_remains() -> None:
    clock = HandClock()
    assert repr(Deadline.after(2.5, clock)) == "<Deadline in 2.500 s>"


def test_a_question_is_asked_until_it_is_answered() -> None:
    clock = HandClock()
    answers = iter([None, None, "yes"])
    assert wait_until(lambda: next(answers), Deadline.after(10, clock)) == "yes"
    assert clock.pauses == pytest.approx([0.002, 0.003])


def test_false_and_zero_are_answers() -> None:
    clock = HandClock()
    assert wait_until(lambda: False, Deadline.after(1, clock)) is False
    assert wait_until(lambda: 0, Deadline.after(1, clock)) == 0


def test_the_question_is_asked_once_when_the_deadline_has_come_already() -> None:
    clock = HandClock()
    asked = []
    with pytest.raises(DeadlineExceeded):
        wait_until(lambda: asked.append(1), Deadline.after(0, clock))
    assert asked == [1]
    assert clock.pauses == []


@given(st.floats(0.0001, 100.0))
def test_a_wait_ends_at_its_deadline_and_asks_once_more_then(seconds: float) -> None:
    clock = HandClock()
    asked: list[float] = []
    with pytest.raises(DeadlineExceeded):
        wait_until(lambda: asked.append(clock.now), Deadline.after(seconds, clock))
    assert clock.now == pytest.approx(100 + seconds)
    assert asked[-1] == pytest.approx(100 + seconds)


def test_pauses_grow_to_their_longest() -> None:
    clock = HandClock()
    with pytest.raises(DeadlineExceeded):
        wait_until(lambda: None, Deadline.after(5, clock), first_pause=0.01, longest_pause=0.05)
    assert clock.pauses[:6] == pytest.approx([0.01, 0.015, 0.0225, 0.03375, 0.05, 0.05])


def test_a_pause_is_no_longer_than_a_tenth_of_a_second_where_nothing_else_is_said() -> None:
    clock = HandClock()
    with pytest.raises(DeadlineExceeded):
        wait_until(lambda: None, Deadline.after(5, clock))
    assert max(clock.pauses) == pytest.approx(0.1)


def test_patience_is_a_share_of_what_was_waited_and_a_second_at_most() -> None:
    clock = HandClock()
    with pytest.raises(DeadlineExceeded):
        wait_until(lambda: None, Deadline.after(200, clock), longest_pause=0.02, patience=0.02)
    assert clock.pauses[:3] == pytest.approx([0.002, 0.003, 0.0045])
    assert max(clock.pauses) == 1.0
    assert len(clock.pauses) < 500


def test_deadline_exceeded_is_a_timeout() -> None:
    assert issubclass(DeadlineExceeded, TimeoutError)


def test_announcements_are_counted() -> None:
    news = News()
    counts = [news.count]
    for _ in range(2):
        news.announce()
        counts.append(news.count)
    assert counts == [0, 1, 2]


@pytest.mark.parametrize("pause", [lambda news, *wait: news.wait(*wait), SYSTEM_CLOCK.pause], ids=["news", "clock"])
def test_a_waiter_for_news_goes_on_when_there_is_some(pause: Callable[..., None]) -> None:
    news = News()
    waiter = threading.Thread(target=pause, args=(news, news.count, 200.0))
    waiter.start()
    waiter.join(0.2)
    assert waiter.is_alive()
    news.announce()
    waiter.join(100)
    assert not waiter.is_alive()


def test_the_systems_clock_tells_the_time() -> None:
    before = time.time()
    assert before <= SYSTEM_CLOCK.utc() <= time.time()


def test_news_between_question_and_pause_are_not_lost() -> None:
    clock = HandClock()
    news = News()
    answers = iter([None, "yes"])

    def question() -> str | None:
        news.announce()
        return next(answers)

    assert wait_until(question, Deadline.after(10, clock), news=news) == "yes"
    assert clock.pauses == []


def test_news_from_another_thread_end_a_long_pause() -> None:
    news = News()
    asked = threading.Event()
    told = threading.Event()

    def question() -> bool | None:
        asked.set()
        return True if told.is_set() else None

    def tell() -> None:
        asked.wait(30)
        told.set()
        news.announce()

    teller = threading.Thread(target=tell)
    teller.start()
    # Pauses of an hour: without the news this would run into the test's own time limit.
    assert wait_until(question, Deadline.after(7200), news=news, first_pause=3600, longest_pause=3600)
    teller.join()
