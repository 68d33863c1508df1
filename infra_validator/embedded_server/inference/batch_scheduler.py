"""Forms batches of tasks (contract 3.9). Knows nothing of tensors.

There are no threads of its own: the thread of a batch's first task, its leader, runs the batch when the batch is ready (full, or
old enough) and one of the ``slots`` is free; the threads of the other tasks wait for it. So a task that comes alone is run where it
came from, and nothing is left to be ended when a version is unloaded. A batch that waits for a slot goes on taking tasks; slots go
to the batches in the order in which these became ready, whatever their queue.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from infra_validator.embedded_server.status import Code, StatusError, invalid_argument

Value = TypeVar("Value")
Answer = TypeVar("Answer")


@dataclasses.dataclass(frozen=True)
class Limits:
    """When batches of a queue are ready, and how much it takes.

    Attributes:
      task_rows: the rows that one task may have.
      batch_rows: the rows that one batch may have.
      timeout: seconds after which a batch is ready though it is not full.
      batches: how many batches may wait.
      splits: whether a task may be spread over several batches.
    """

    task_rows: int = 1000
    batch_rows: int = 1000
    timeout: float = 0.0
    batches: int = 10
    splits: bool = False


class State(enum.Enum):
    """Of a batch; in this order."""

    FORMING = enum.auto()  # not full, not old enough
    READY = enum.auto()  # waits for a slot
    GRANTED = enum.auto()  # has a slot; its leader is on the way
    RUNNING = enum.auto()  # takes no more tasks


class Task(Generic[Value, Answer]):
    """One request, or a piece of one.

    Attributes:
      values: what to run.
      rows: how much of a batch it takes.
      enqueued, deadline: of the scheduler's clock.
      answer, error: one of them is there when it is done.
    """

    __slots__ = ("answer", "batch", "deadline", "done", "enqueued", "error", "rows", "values", "woken")

    def __init__(self, values: Value, rows: int, enqueued: float, deadline: float) -> None:
        self.values = values
        self.rows = rows
        self.enqueued = enqueued
        self.deadline = deadline
        self.batch: _Batch[Value, Answer]
        self.done = False
        self.answer: Answer | None = None
        self.error: BaseException | None = None
        self.woken: threading.Condition | None = None  # made when it has to wait

    def wake(self) -> None:
        if self.woken is not None:
            self.woken.notify()

    def end(self, answer: Answer | None, error: BaseException | None) -> None:
        if not self.done:  # else it has gone away meanwhile
            self.answer, self.error, self.done = answer, error, True
            self.wake()


class _Batch(Generic[Value, Answer]):
    __slots__ = ("queue", "ready_at", "rows", "state", "tasks")

    def __init__(self, queue: Queue[Value, Answer], ready_at: float) -> None:
        self.queue = queue
        self.ready_at = ready_at
        self.rows = 0
        self.state = State.FORMING
        self.tasks: list[Task[Value, Answer]] = []


class Queue(Generic[Value, Answer]):
    """The batches of tasks that can run together.

    Args:
      limits: see there.
      process: runs the tasks of a batch; one answer each, in their order. May raise: all the tasks fail with that.
      cut: the rows from the second argument up to the third of a task's values; for queues that split.
    """

    def __init__(
        self,
        limits: Limits,
        process: Callable[[Sequence[Task[Value, Answer]]], Sequence[Answer]],
        cut: Callable[[Value, int, int], Value],
    ) -> None:
        self.limits = limits
        self.process = process
        self.cut = cut
        self.batches: collections.deque[_Batch[Value, Answer]] = collections.deque()

    def pieces(self, rows: int) -> list[int]:
        """The rows that a task of ``rows`` would put into each batch, the first of which is the open one.

        Raises:
          StatusError: the task is too large (INVALID_ARGUMENT), or the queue is full (UNAVAILABLE).
        """
        limits, count = self.limits, max(len(self.batches), 1)
        opened = self.batches[-1].rows if self.batches else 0
        room = limits.batch_rows - opened
        if rows > limits.task_rows:
            raise invalid_argument(f"Task size {rows} is larger than maximum input batch size {limits.task_rows}")
        full = "The batch scheduling queue to which this task was submitted is full; "
        if not limits.splits:
            if rows > room and count >= limits.batches:
                raise StatusError(
                    Code.UNAVAILABLE,
                    f"{full}currently {count} batches enqueued and max_enqueued_batches is {limits.batches}",
                )
            return [rows]
        capacity = (limits.batches - count) * limits.batch_rows + room
        if rows > capacity:
            raise StatusError(
                Code.UNAVAILABLE,
                f"{full}task size is {rows} but scheduling capacity is only {capacity} (num_enqueued_batches={count}, "
                f"max_enqueued_batches={limits.batches}, open_batch_size={opened}, "
                f"max_execution_batch_size={limits.batch_rows})",
            )
        if rows <= room:
            return [rows]
        sizes = [room] if room else []
        for left in range(rows - room, 0, -limits.batch_rows):
            sizes.append(min(left, limits.batch_rows))
        return sizes


class Scheduler:
    """Runs tasks in batches.

    Args:
      slots: how many batches run at once.
      clock: monotonic seconds.
    """

    def __init__(self, slots: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._free = slots
        self._lock = threading.Lock()
        self._waiting: collections.deque[_Batch[object, object]] = collections.deque()

    def run(self, queue: Queue[Value, Answer], values: Value, rows: int, deadline: float) -> list[Answer]:
        """Run a request in a batch and return its answer; several, in their order, if it was split.

        Args:
          rows: how much of a batch it takes.
          deadline: of ``clock``; nothing waits for longer.

        Raises:
          StatusError: it is too large or the queue is full; RESOURCE_EXHAUSTED if it is still in the queue at its deadline,
            DEADLINE_EXCEEDED if it is running then; whatever ``process`` raised.
        """
        with self._lock:
            tasks = self._enqueue(queue, values, rows, deadline)
            leads = self._wait(tasks[0]) if len(tasks) == 1 else None
        if leads is not None:
            self._process(leads)
        if len(tasks) > 1:
            self._see_all_through(tasks)
        answers = []
        for task in tasks:
            if isinstance(task.error, StatusError):  # raised once for each task: never the same object
                raise StatusError(task.error.code, task.error.message) from task.error
            if task.error is not None:
                raise task.error
            assert task.answer is not None, "a task that is done has an answer or an error"
            answers.append(task.answer)
        return answers

    def _enqueue(
        self, queue: Queue[Value, Answer], values: Value, rows: int, deadline: float
    ) -> list[Task[Value, Answer]]:
        now, start, sizes = self.clock(), 0, queue.pieces(rows)
        tasks = list[Task[Value, Answer]]()
        for size in sizes:
            piece = values if len(sizes) == 1 else queue.cut(values, start, start + size)
            tasks.append(Task(piece, size, now, deadline))
            start += size
        for task in tasks:
            self._join(queue, task)
        return tasks

    def _join(self, queue: Queue[Value, Answer], task: Task[Value, Answer]) -> None:
        batches, limits = queue.batches, queue.limits
        if not batches or batches[-1].rows + task.rows > limits.batch_rows:
            if batches:
                self._ready(batches[-1])
            batches.append(_Batch(queue, task.enqueued + limits.timeout))
        batch = batches[-1]
        batch.tasks.append(task)
        batch.rows += task.rows
        task.batch = batch
        if batch.rows >= limits.batch_rows:
            self._ready(batch)

    def _see_all_through(self, tasks: Sequence[Task[Value, Answer]]) -> None:
        """Return when all are done. Each of them may lead a batch that others wait for, so each needs a thread."""
        threads = [threading.Thread(target=self._see_through, args=(task,), daemon=True) for task in tasks[1:]]
        started = 0
        try:
            for thread in threads:
                thread.start()
                started += 1
        except RuntimeError:  # no more threads to be had: one after the other, then
            pass
        for task in (tasks[0], *tasks[1 + started :]):
            self._see_through(task)
        for thread in threads[:started]:
            thread.join()  # ends at the deadline of its task, or with the run that it leads

    def _see_through(self, task: Task[Value, Answer]) -> None:
        with self._lock:
            leads = self._wait(task)
        if leads is not None:
            self._process(leads)

    def _wait(self, task: Task[Value, Answer]) -> _Batch[Value, Answer] | None:
        """Wait, with the lock, until the task is done (None) or its thread has to run this batch, at its deadline at the latest."""
        while not task.done:
            now, batch = self.clock(), task.batch
            if now >= task.deadline:
                self._leave(task)
                break
            until = task.deadline
            if batch.tasks[0] is task:
                if batch.state is State.FORMING and now >= batch.ready_at:
                    self._ready(batch)
                if batch.state is State.GRANTED:
                    batch.state = State.RUNNING
                    batch.queue.batches.remove(batch)
                    return batch
                if batch.state is State.FORMING:
                    until = min(until, batch.ready_at)
            if task.woken is None:
                task.woken = threading.Condition(self._lock)
            task.woken.wait(until - now)
        return None

    def _process(self, batch: _Batch[Value, Answer]) -> None:
        answers: Sequence[Answer | None] = [None] * len(batch.tasks)
        failure: BaseException | None = None
        try:
            answers = batch.queue.process(batch.tasks)
        except BaseException as error:  # must reach every task of the batch, whatever it is
            failure = error
        with self._lock:
            for task, answer in zip(batch.tasks, answers, strict=True):
                task.end(answer, failure)
            self._release()

    def _leave(self, task: Task[Value, Answer]) -> None:
        """The task's time is up."""
        batch = task.batch
        if batch.state is State.RUNNING:
            task.end(None, StatusError(Code.DEADLINE_EXCEEDED, "Timed out waiting for notification"))
            return
        text = "Run() timeout exceeded while waiting in batching queue"
        task.end(None, StatusError(Code.RESOURCE_EXHAUSTED, text))
        batch.tasks.remove(task)
        batch.rows -= task.rows
        if batch.tasks:
            batch.tasks[0].wake()  # who may be the new leader
            return
        batch.queue.batches.remove(batch)
        if batch.state is State.READY:
            self._waiting.remove(batch)  # type: ignore[arg-type]
        elif batch.state is State.GRANTED:
            self._release()

    def _ready(self, batch: _Batch[Value, Answer]) -> None:
        if batch.state is not State.FORMING:
            return
        if self._free:
            self._free -= 1
            batch.state = State.GRANTED
            batch.tasks[0].wake()
        else:
            batch.state = State.READY
            self._waiting.append(batch)  # type: ignore[arg-type]

    def _release(self) -> None:
        """A slot is free: the next batch gets it."""
        if self._waiting:
            batch = self._waiting.popleft()
            batch.state = State.GRANTED
            batch.tasks[0].wake()
        else:
            self._free += 1
