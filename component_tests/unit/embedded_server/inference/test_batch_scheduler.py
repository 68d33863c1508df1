"""What runs together, when, and what becomes of those that do not get to run. Without TensorFlow."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from infra_validator.embedded_server.inference.batch_scheduler import Limits, Queue, Scheduler, Task
from infra_validator.embedded_server.status import Code, StatusError

Values = list[str]
WITHIN = 30.0  # seconds; nothing here takes more than a fraction of one
NEVER = 3600.0


class Runner:
    """What a queue runs its batches with: answers each task with its values in upper case, and remembers the batches.

    Attributes:
      batches: the tasks' values, batch by batch, as they were run.
      gate: batches run while it is set.
      begun: counts the batches that have begun.
    """

    def __init__(self) -> None:
        self.batches: list[list[Values]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Semaphore(0)
        self.failure: Exception | None = None

    def __call__(self, tasks: Sequence[Task[Values, Values]]) -> list[Values]:
        self.batches.append([task.values for task in tasks])
        self.begun.release()
        assert self.gate.wait(WITHIN)
        if self.failure is not None:
            raise self.failure
        return [[value.upper() for value in task.values] for task in tasks]


class Bench:
    """A scheduler, a queue and threads that ask."""

    def __init__(self, pool: concurrent.futures.ThreadPoolExecutor) -> None:
        self.pool = pool
        self.runner = Runner()
        self.scheduler = Scheduler(1)

    def queue(self, **limits: float) -> Queue[Values, Values]:
        return Queue(Limits(**limits), self.runner, lambda values, start, stop: values[start:stop])  # type: ignore[arg-type]

    def ask(self, queue: Queue[Values, Values], values: str, timeout: float = NEVER) -> list[Values]:
        """Run a task with a row for each letter."""
        return self.scheduler.run(queue, list(values), len(values), self.scheduler.clock() + timeout)

    def asked(
        self, queue: Queue[Values, Values], values: str, timeout: float = NEVER
    ) -> concurrent.futures.Future[list[Values]]:
        """The same from another thread."""
        return self.pool.submit(self.ask, queue, values, timeout)

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """The only slot is taken inside of this."""
        self.runner.gate.clear()
        first = self.asked(self.queue(), "!")
        assert self.runner.begun.acquire(timeout=WITHIN)
        yield
        self.runner.gate.set()
        assert first.result(WITHIN) == [["!"]]
        assert self.runner.batches.pop(0) == [["!"]]


@pytest.fixture
def bench() -> Iterator[Bench]:
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        bench = Bench(pool)
        yield bench
        bench.runner.gate.set()


def until(question: Callable[[], bool]) -> None:
    end = time.monotonic() + WITHIN
    while not question():
        assert time.monotonic() < end
        time.sleep(0.001)


def rows(queue: Queue[Values, Values]) -> list[int]:
    """Of the batches that wait."""
    return [batch.rows for batch in queue.batches]


@contextlib.contextmanager
def fails(code: Code, text: str) -> Iterator[None]:
    with pytest.raises(StatusError) as caught:
        yield
    assert (caught.value.code, caught.value.message) == (code, text)


def test_a_task_that_comes_alone_runs_at_once_in_its_own_thread(bench: Bench) -> None:
    threads: list[threading.Thread] = []

    def process(tasks: Sequence[Task[Values, Values]]) -> list[Values]:
        threads.append(threading.current_thread())
        return [task.values for task in tasks]

    queue = Queue[Values, Values](Limits(), process, lambda values, start, stop: values[start:stop])
    assert bench.ask(queue, "a") == [["a"]]
    assert threads == [threading.current_thread()]


def test_a_full_batch_does_not_wait_for_its_time(bench: Bench) -> None:
    queue = bench.queue(batch_rows=3, timeout=NEVER)
    first = bench.asked(queue, "a")
    until(lambda: rows(queue) == [1])
    assert bench.ask(queue, "bc") == [["B", "C"]]
    assert first.result(WITHIN) == [["A"]]
    assert bench.runner.batches == [[["a"], ["b", "c"]]]


def test_a_batch_that_is_not_full_runs_when_its_time_has_come(bench: Bench) -> None:
    assert bench.ask(bench.queue(batch_rows=3, timeout=0.01), "a") == [["A"]]


def test_what_comes_while_all_slots_are_taken_runs_together(bench: Bench) -> None:
    queue = bench.queue()
    with bench.busy():
        others = [bench.asked(queue, letter) for letter in "abcd"]
        until(lambda: rows(queue) == [4])
    assert sorted(other.result(WITHIN)[0][0] for other in others) == list("ABCD")
    assert len(bench.runner.batches) == 1


def test_as_many_batches_run_at_once_as_there_are_slots(bench: Bench) -> None:
    bench.scheduler = Scheduler(2)
    bench.runner.gate.clear()
    queue = bench.queue(batch_rows=1)
    asked = [bench.asked(queue, letter) for letter in "abc"]
    assert bench.runner.begun.acquire(timeout=WITHIN)
    assert bench.runner.begun.acquire(timeout=WITHIN)
    until(lambda: rows(queue) == [1])
    assert not bench.runner.begun.acquire(timeout=0.01)
    bench.runner.gate.set()
    assert sorted(one.result(WITHIN)[0][0] for one in asked) == list("ABC")


def test_a_task_that_does_not_fit_closes_the_batch(bench: Bench) -> None:
    queue = bench.queue(batch_rows=3, timeout=NEVER)
    first = bench.asked(queue, "ab")
    until(lambda: rows(queue) == [2])
    second = bench.asked(queue, "cd")
    assert first.result(WITHIN) == [["A", "B"]]
    assert bench.ask(queue, "e") == [["E"]]
    assert second.result(WITHIN) == [["C", "D"]]
    assert bench.runner.batches == [[["a", "b"]], [["c", "d"], ["e"]]]


def test_queues_do_not_mix_and_get_their_turns_in_order(bench: Bench) -> None:
    one, other = bench.queue(batch_rows=1), bench.queue(batch_rows=1)
    asked = []
    with bench.busy():
        for letter, queue in (("a", one), ("x", other), ("b", one), ("y", other)):
            asked.append(bench.asked(queue, letter))
            until(lambda: len(one.batches) + len(other.batches) == len(asked))
    assert [each.result(WITHIN) for each in asked] == [[["A"]], [["X"]], [["B"]], [["Y"]]]
    assert bench.runner.batches == [[["a"]], [["x"]], [["b"]], [["y"]]]


def test_an_error_is_everybodys_and_each_gets_one_of_their_own(bench: Bench) -> None:
    bench.runner.failure = StatusError(Code.INTERNAL, "no")
    queue = bench.queue(batch_rows=2, timeout=NEVER)
    other = bench.asked(queue, "a")
    until(lambda: rows(queue) == [1])
    with fails(Code.INTERNAL, "no"):
        bench.ask(queue, "b")
    error = other.exception(WITHIN)
    assert isinstance(error, StatusError)
    assert error is not bench.runner.failure
    bench.runner.failure = None
    assert bench.ask(bench.queue(), "c") == [["C"]], "the slot is free again"


def test_a_surprise_is_everybodys_too(bench: Bench) -> None:
    bench.runner.failure = ZeroDivisionError()
    queue = bench.queue(batch_rows=2, timeout=NEVER)
    other = bench.asked(queue, "a")
    until(lambda: rows(queue) == [1])
    with pytest.raises(ZeroDivisionError):
        bench.ask(queue, "b")
    assert isinstance(other.exception(WITHIN), ZeroDivisionError)


# ------------------------------------------------------------------------------------------------------- refusals


def test_a_task_that_is_too_large(bench: Bench) -> None:
    with fails(Code.INVALID_ARGUMENT, "Task size 3 is larger than maximum input batch size 2"):
        bench.ask(bench.queue(task_rows=2, batch_rows=2), "abc")


def test_a_full_queue(bench: Bench) -> None:
    queue = bench.queue(batch_rows=2, timeout=NEVER, batches=1)
    first = bench.asked(queue, "a")
    until(lambda: rows(queue) == [1])
    full = (
        "The batch scheduling queue to which this task was submitted is full; currently 1 batches enqueued and "
        "max_enqueued_batches is 1"
    )
    with fails(Code.UNAVAILABLE, full):
        bench.ask(queue, "bc")
    assert bench.ask(queue, "d") == [["D"]], "what fits is still taken"
    assert first.result(WITHIN) == [["A"]]


# ------------------------------------------------------------------------------------------------------ deadlines

IN_QUEUE = "Run() timeout exceeded while waiting in batching queue"


def test_a_deadline_in_a_batch_that_is_forming(bench: Bench) -> None:
    queue = bench.queue(timeout=NEVER)
    with fails(Code.RESOURCE_EXHAUSTED, IN_QUEUE):
        bench.ask(queue, "a", timeout=0.01)
    assert not queue.batches


def test_a_deadline_while_no_slot_is_free(bench: Bench) -> None:
    queue = bench.queue()
    with bench.busy():
        with fails(Code.RESOURCE_EXHAUSTED, IN_QUEUE):
            bench.ask(queue, "a", timeout=0.01)
        assert not queue.batches
    assert bench.ask(queue, "b") == [["B"]]
    assert bench.runner.batches == [[["b"]]]


def test_the_others_stay_when_the_first_one_leaves(bench: Bench) -> None:
    queue = bench.queue()
    with bench.busy():
        first = bench.asked(queue, "a", timeout=0.2)
        until(lambda: rows(queue) == [1])
        second = bench.asked(queue, "b")
        error = first.exception(WITHIN)
        assert isinstance(error, StatusError)
        assert error.code is Code.RESOURCE_EXHAUSTED
        until(lambda: rows(queue) == [1])
    assert second.result(WITHIN) == [["B"]]


def test_the_others_time_goes_on_when_the_first_one_leaves_a_forming_batch(bench: Bench) -> None:
    queue = bench.queue(timeout=0.3)
    first = bench.asked(queue, "a", timeout=0.01)
    second = bench.asked(queue, "b")
    assert isinstance(first.exception(WITHIN), StatusError)
    assert second.result(WITHIN) == [["B"]]


def test_a_deadline_while_the_batch_runs(bench: Bench) -> None:
    queue = bench.queue(batch_rows=2, timeout=NEVER)
    bench.runner.gate.clear()
    leader = bench.asked(queue, "a")
    until(lambda: rows(queue) == [1])
    with fails(Code.DEADLINE_EXCEEDED, "Timed out waiting for notification"):
        bench.ask(queue, "b", timeout=0.5)
    bench.runner.gate.set()
    assert leader.result(WITHIN) == [["A"]]


# ------------------------------------------------------------------------------------------------------ splitting


def test_a_large_task_is_spread_over_batches(bench: Bench) -> None:
    queue = bench.queue(task_rows=10, batch_rows=3, timeout=NEVER, splits=True)
    first = bench.asked(queue, "ab")
    until(lambda: rows(queue) == [2])
    large = bench.asked(queue, "cdefgh")
    assert first.result(WITHIN) == [["A", "B"]]
    until(lambda: rows(queue) == [2])
    assert bench.ask(queue, "i") == [["I"]]
    assert large.result(WITHIN) == [["C"], ["D", "E", "F"], ["G", "H"]]
    assert bench.runner.batches == [[["a", "b"], ["c"]], [["d", "e", "f"]], [["g", "h"], ["i"]]]


def test_one_piece_that_fails_fails_the_task(bench: Bench) -> None:
    bench.runner.failure = StatusError(Code.INTERNAL, "no")
    with fails(Code.INTERNAL, "no"):
        bench.ask(bench.queue(task_rows=10, batch_rows=3, splits=True), "abcde")


def test_a_deadline_of_a_task_in_pieces(bench: Bench) -> None:
    queue = bench.queue(task_rows=10, batch_rows=3, splits=True)
    with bench.busy():
        with fails(Code.RESOURCE_EXHAUSTED, IN_QUEUE):
            bench.ask(queue, "abcde", timeout=0.01)
        assert not queue.batches


def test_a_large_task_in_a_queue_without_room(bench: Bench) -> None:
    queue = bench.queue(task_rows=10, batch_rows=2, timeout=NEVER, batches=2, splits=True)
    first = bench.asked(queue, "a")
    until(lambda: rows(queue) == [1])
    full = (
        "The batch scheduling queue to which this task was submitted is full; task size is 4 but scheduling capacity is only 3 "
        "(num_enqueued_batches=1, max_enqueued_batches=2, open_batch_size=1, max_execution_batch_size=2)"
    )
    with fails(Code.UNAVAILABLE, full):
        bench.ask(queue, "bcde")
    with fails(Code.INVALID_ARGUMENT, "Task size 11 is larger than maximum input batch size 10"):
        bench.ask(queue, "bcdefghijkl")
    assert bench.ask(queue, "bcd") == [["B"], ["C", "D"]]
    assert first.result(WITHIN) == [["A"]]


def test_many_threads_and_every_answer_is_its_own(bench: Bench) -> None:
    bench.scheduler = Scheduler(2)
    queues = [
        bench.queue(task_rows=9, batch_rows=4, timeout=timeout, splits=splits, batches=99)
        for timeout in (0.0, 0.001)
        for splits in (False, True)
    ]
    letters = "abcdefghijklmnopqrstuvwxyz"

    def ask_often(number: int) -> None:
        for turn in range(40):
            queue = queues[(number + turn) % 4]
            most = 9 if queue.limits.splits else 4
            start = (number * 7 + turn) % 20
            word = letters[start : start + 1 + turn % most]
            assert "".join(letter for piece in bench.ask(queue, word) for letter in piece) == word.upper()

    for done in [bench.pool.submit(ask_often, number) for number in range(16)]:
        done.result(WITHIN)
    assert not any(queue.batches for queue in queues)


def test_deadlines_at_every_moment_lose_neither_slots_nor_answers(bench: Bench) -> None:
    bench.scheduler = Scheduler(2)
    queues = [
        bench.queue(task_rows=9, batch_rows=3, timeout=0.0005, splits=splits, batches=99) for splits in (False, True)
    ]
    outcomes = collections.Counter[str]()

    def ask_often(number: int) -> None:
        for turn in range(60):
            queue = queues[(number + turn) % 2]
            word = "abcdefghi"[: 1 + turn % (9 if queue.limits.splits else 3)]
            try:
                tenths = (number * 13 + turn * 7) % 20  # of a millisecond
                pieces = bench.ask(queue, word, timeout=tenths * 1e-4 if tenths < 19 else NEVER)
            except StatusError as error:
                outcomes[error.code.name] += 1
            else:
                assert "".join(letter for piece in pieces for letter in piece) == word.upper()
                outcomes["OK"] += 1

    for done in [bench.pool.submit(ask_often, number) for number in range(14)]:
        done.result(WITHIN)
    assert set(outcomes) <= {"OK", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
    assert outcomes["OK"], outcomes
    assert outcomes["RESOURCE_EXHAUSTED"], outcomes
    assert not any(queue.batches for queue in queues)
    bench.runner.begun = threading.Semaphore(0)
    bench.runner.gate.clear()
    both = [bench.asked(bench.queue(), letter) for letter in "xy"]
    assert bench.runner.begun.acquire(timeout=WITHIN)
    assert bench.runner.begun.acquire(timeout=WITHIN), "both slots are free again"
    bench.runner.gate.set()
    assert [one.result(WITHIN) for one in both] == [[["X"]], [["Y"]]]
