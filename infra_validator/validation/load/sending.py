"""Sends one stretch of load: callers in threads, and one who watches the server's job and takes in what they hand over.

A caller that asks blocks in grpc until the answer is there and takes the time itself, so nothing stands between the answer and the
moment that is noted. What it noted it appends to a queue; all counting is done by the thread that watches, 50 times a second.
"""

from __future__ import annotations

import collections
import dataclasses
import threading
import time
from collections.abc import Callable, Sequence

from infra_validator.core.deadline import Deadline, News, wait_until
from infra_validator.core.errors import DeadlineExceeded, InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_clients.base_client import Job, raise_if_gone
from infra_validator.model_server_clients.load_connection import LoadConnection, LoadFailure
from infra_validator.validation.load.block import Block
from infra_validator.validation.load.connection_watch import ConnectionWatch
from infra_validator.validation.load.histogram import Latencies
from infra_validator.validation.load.schedule import Schedule, own_delay
from infra_validator.validation.load.windows import Window

LOOK_SECONDS = 0.02  # how often the job is looked at, and what was answered is counted
_FEWEST_IN_A_WINDOW = 20  # requests; a window of a slow server lasts until it has so many
_LONGEST_WINDOW = 1.0  # seconds, of a quick one
_PAUSE_SECONDS = 0.05  # of a caller whose connection broke, before it asks again
_LEAVING_SECONDS = 5.0  # how long callers may take to leave once their connection was closed

#: When it was answered, its latency, the sender's own part of that, and what came instead of an answer.
_Outcome = tuple[float, float, float, "LoadFailure | None"]


class Sending:
    """One stretch of load. Used once.

    Args:
      connection: where to ask.
      callers: how many threads ask.
      schedule: what is due when; it begins anew when all callers are there.
      timeout_seconds: of each request, from when it was due.
      deadline: when all must have ended; what is under way then is cut off and counts as an error.
      job: the server's.
      run_began: when the run began that this is a part of.
      catch_up: whether requests that are due and were not sent yet are sent even when ``schedule.seconds`` are over.
      first: the number of its first request among all of that run, so that the pool of requests goes on.
      until: asked after each window whether that is enough.
      on_look: called now and then with the windows so far.
    """

    def __init__(
        self,
        connection: LoadConnection,
        callers: int,
        schedule: Schedule,
        timeout_seconds: float,
        deadline: Deadline,
        job: Job,
        *,
        run_began: float,
        catch_up: bool = True,
        first: int = 0,
        until: Callable[[Sequence[Window]], bool] | None = None,
        on_look: Callable[[Sequence[Window]], None] | None = None,
    ) -> None:
        self._connection = connection
        self._callers = callers
        self._schedule = schedule
        self._timeout_seconds = timeout_seconds
        self._deadline = deadline
        self._clock = deadline.clock
        self._job = job
        self._run_began = run_began
        self._catch_up = catch_up
        self._first = first
        self._until = until
        self._on_look = on_look
        self._outcomes: collections.deque[_Outcome] = collections.deque()
        self._turn = threading.Lock()  # held by the one caller that waits for the next request to be due
        self._next = 0
        self._stopped = False
        self._stop = News()
        self._working = callers
        self._left = News()
        self._broken: BaseException | None = None
        self._window_seconds = min(_LONGEST_WINDOW, (schedule.seconds or 5 * _LONGEST_WINDOW) / 5)
        self._block = Block()
        self._watch = ConnectionWatch(self._clock)
        self._last_answer = self._last_sent = self._looked = schedule.began
        self.looks_late = Latencies()  # how late this thread itself was, each time it looked

    @property
    def sent(self) -> int:
        """How many requests were taken to be sent."""
        return self._next

    @property
    def rate_kept(self) -> float:
        """The share of the schedule that was kept: of the requests due by the last one's sending, how many were sent by then."""
        due = self._schedule.due_by(self._last_sent)
        return min(1.0, self._next / due) if due else 1.0

    def carry_out(self) -> Block:
        """Send it all and return what was measured.

        Raises:
          JobGone: the server ended meanwhile.
          AttemptFailed, InfrastructureError: the connection does not hold (see ConnectionWatch).
          InfrastructureError: so many threads cannot be had (LOAD_NOT_REACHED).
        """
        processor = time.process_time()
        threads = [threading.Thread(target=self._call, name=f"load {i}", daemon=True) for i in range(self._callers)]
        try:
            with self._turn:  # callers begin when all are there
                self._start(threads)
                self._begin()
            try:
                wait_until(self._look, self._deadline, news=self._left, longest_pause=LOOK_SECONDS)
            except DeadlineExceeded:
                self._cut_off()
        finally:
            if self._working:
                self._end_callers()
        if self._broken is not None:
            raise self._broken
        self._watch.raise_if_broken(self._job, at_end=True)
        now = self._clock.monotonic()
        self._block.processor_seconds = time.process_time() - processor
        self._block.share_seconds = now - self._schedule.began
        self._block.seconds = max(self._last_answer - self._schedule.began, 1e-9)
        last = self._block.windows[-1]
        last.seconds = max(0.0, self._block.seconds - (last.starts_at - self._block.windows[0].starts_at))
        if not (last.latencies.total or last.errors) and len(self._block.windows) > 1:
            self._block.windows.pop()
        return self._block

    def _start(self, threads: Sequence[threading.Thread]) -> None:
        for number, thread in enumerate(threads):
            try:
                thread.start()
            except RuntimeError as error:
                self._working -= len(threads) - number
                raise InfrastructureError(
                    ReasonCode.LOAD_NOT_REACHED,
                    f"Only {number} of {len(threads)} callers could be started: {error}.",
                    next_step="Lower validation_spec.load.concurrency, or allow the validator more processes and threads.",
                ) from error

    def _begin(self) -> None:
        now = self._clock.monotonic()
        self._schedule = dataclasses.replace(self._schedule, began=now)
        self._block.windows.append(Window(now - self._run_began))
        self._last_answer = self._last_sent = self._looked = now

    # ---------------------------------------------------------------- the callers

    def _call(self) -> None:
        try:
            while self._ask_next():
                pass
        except BaseException as error:
            self._broken = error
        finally:
            with self._turn:
                self._working -= 1
            self._left.announce()

    def _ask_next(self) -> bool:
        """Send the next request when it is due; whether there was one."""
        free = self._clock.monotonic()
        with self._turn:
            free = max(free, self._schedule.began)
            due = self._schedule.due(self._next, free)
            if due is None or self._stopped:
                return False
            if not self._wait_until(due):
                return False
            number = self._next
            self._next += 1
        sent = self._last_sent = self._clock.monotonic()
        left = self._timeout_seconds - (sent - due)
        failure = self._connection.ask(self._first + number, left) if left > 0 else self._too_late()
        done = self._clock.monotonic()
        self._outcomes.append((done, done - due, own_delay(due, free, sent), failure))
        if failure is not None and failure.lost and not self._stopped:
            self._clock.pause(self._stop, 0, _PAUSE_SECONDS)
        return True

    def _wait_until(self, due: float) -> bool:
        """Wait for the moment; whether sending goes on."""
        while not self._stopped:
            early = due - self._clock.monotonic()
            if early <= 0:
                return True
            self._clock.pause(self._stop, 0, early)
        return False

    def _too_late(self) -> LoadFailure:
        return LoadFailure(
            f"not sent within {self._timeout_seconds:g} s of being due: {self._callers} requests were under way all the time"
        )

    # ---------------------------------------------------------------- the one who watches

    def _look(self) -> bool | None:
        """Look at the job and take in what was answered; True when all callers have left."""
        now = self._clock.monotonic()
        self.looks_late.add(max(0.0, now - self._looked - LOOK_SECONDS))
        self._looked = now
        raise_if_gone(self._job())
        if not self._catch_up and self._schedule.is_over(now):
            self._stop_sending()
        working = self._working
        self._take_in()
        self._watch.raise_if_broken(self._job)
        self._close_window(now)
        if self._on_look is not None:
            self._on_look(self._block.windows)
        return None if working else True

    def _take_in(self, cut_off: str = "") -> None:
        """Count what callers have handed over; ``cut_off`` is what to say of those that we cut off ourselves."""
        window = self._block.windows[-1]
        while self._outcomes:
            done, latency, own, failure = self._outcomes.popleft()
            self._last_answer = max(self._last_answer, done)
            self._block.delays.add(own)
            if failure is None:
                window.latencies.add(latency)
                self._watch.answered()
            elif failure.lost and not cut_off:
                self._block.lost += 1
                self._watch.lost(failure, done - latency, done)
            else:
                window.errors += 1
                self._block.error = self._block.error or (cut_off if failure.lost else failure.text)

    def _close_window(self, now: float) -> None:
        window = self._block.windows[-1]
        passed = now - self._run_began - window.starts_at
        if passed < self._window_seconds or window.latencies.total + window.errors < _FEWEST_IN_A_WINDOW:
            return
        window.seconds, window.whole = passed, True
        self._block.windows.append(Window(window.starts_at + passed))
        if self._until is not None and self._until(self._block.windows):
            self._stop_sending()

    def _stop_sending(self) -> None:
        self._stopped = True
        self._stop.announce()

    def _cut_off(self) -> None:
        """The time is up: what is under way, or due and not sent, is an error."""
        now = self._clock.monotonic()
        unsent = max(0, self._schedule.due_by(now) - self._next)
        self._end_callers()
        told = "not answered when the time of the measurement was up"
        self._take_in(cut_off=told)
        if unsent:
            self._block.windows[-1].errors += unsent
            self._block.error = self._block.error or told.replace("answered", "sent")
        self._last_answer = max(self._last_answer, now)

    def _end_callers(self) -> None:
        """Have all callers leave, by closing their connection under them."""
        self._stop_sending()
        self._connection.close()
        try:
            wait_until(
                lambda: None if self._working else True,
                Deadline.after(_LEAVING_SECONDS, self._clock),
                news=self._left,
                longest_pause=LOOK_SECONDS,
            )
        except DeadlineExceeded:
            pass  # daemon threads: nobody waits for them
