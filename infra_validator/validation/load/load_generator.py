"""Loads a server with one kind of request: warm-up, blocks, a whole run."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_clients.base_client import BaseModelServerClient, Job
from infra_validator.report.measurements import LoadRun
from infra_validator.specs.limits.load_spec import LoadMode, LoadSpec
from infra_validator.validation.load.block import Block, load_run_of
from infra_validator.validation.load.histogram import require_package
from infra_validator.validation.load.kinds import RequestKind
from infra_validator.validation.load.reached import raise_if_not_reached
from infra_validator.validation.load.schedule import Schedule
from infra_validator.validation.load.sending import Sending
from infra_validator.validation.load.windows import WINDOWS_THAT_AGREE, Window, none_answered, why_not_steady

_TELL_SECONDS = 0.25  # between two reports of progress
_SHARE_OF_WARM_UP = 0.5  # of the time that is left, at most, where the spec does not say how long is measured


@dataclasses.dataclass(frozen=True)
class LoadProgress:
    """How far a load is.

    Attributes:
      kind: what is asked.
      warm_up: whether it does not count yet.
      seconds: since the run began.
      requests, errors: of the present stretch, so far.
      rate_rps, p50_ms: of the latest whole window; 0 before there is one.
    """

    kind: RequestKind
    warm_up: bool
    seconds: float
    requests: int
    errors: int
    rate_rps: float
    p50_ms: float


@dataclasses.dataclass(frozen=True)
class WarmUp:
    """A warm-up.

    Attributes:
      windows: in order.
      why_not_steady: one sentence; empty: the last three agree, or nobody asked.
    """

    windows: tuple[Window, ...] = ()
    why_not_steady: str = ""


class LoadGenerator:
    """Loads one server with one kind of request, over a connection of its own. A context manager; used by one thread.

    Args:
      client: opens the connection.
      job: the server's; its end ends every stretch at once.
      kind: what is asked.
      spec: how.
      deadline: when all must have ended; ``spec.at_most_seconds`` of load ends it earlier.
      on_progress: called four times a second.

    Raises:
      InfrastructureError: hdrhistogram is not installed, or the client has no way to send load (LIMIT_NOT_MEASURED).
    """

    def __init__(
        self,
        client: BaseModelServerClient,
        job: Job,
        kind: RequestKind,
        spec: LoadSpec,
        deadline: Deadline,
        on_progress: Callable[[LoadProgress], None] | None = None,
    ) -> None:
        require_package()
        connection = client.OpenLoad(kind.requests)
        if connection is None:
            raise InfrastructureError(
                ReasonCode.LIMIT_NOT_MEASURED,
                f"{type(client).__name__} has no way to put a server under load (OpenLoad).",
            )
        self._connection = connection
        self._job = job
        self._kind = kind
        self._spec = spec
        self._deadline = deadline
        self._clock = deadline.clock
        self._on_progress = on_progress
        self._began = self._clock.monotonic()
        self._seconds_left = spec.at_most_seconds
        self._asked = 0
        self._tell_at = 0.0

    def __enter__(self) -> LoadGenerator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    def warm_up(self) -> WarmUp:
        """Send requests that do not count: for ``warm_up_seconds``, or until three windows agree.

        Without ``warm_up_seconds`` it takes what measuring leaves of ``at_most_seconds``, half of it where that is not known.

        Raises: as ``block``.
        """
        spec = self._spec
        if spec.warm_up_seconds is not None:
            if not spec.warm_up_seconds:
                return WarmUp()
            return WarmUp(tuple(self._send(spec.warm_up_seconds, None, warm_up=True).windows))
        measured = spec.seconds
        if measured is None and spec.requests is not None and spec.rate_rps is not None:
            measured = spec.requests / spec.rate_rps
        left = self._seconds_left
        limit = left * _SHARE_OF_WARM_UP if measured is None else max(left - measured, 0.0) * 0.9
        block = self._send(
            limit, None, warm_up=True, until=lambda windows: not why_not_steady(windows) or none_answered(windows)
        )
        return WarmUp(tuple(block.windows), why_not_steady(block.windows))

    def block(self, *, seconds: float | None = None, requests: int | None = None) -> Block:
        """Measure for so long, or so many requests.

        Those under way at the end are waited for, and count.

        Raises:
          JobGone: the server ended.
          AttemptFailed: it closed its port (SERVER_UNHEALTHY).
          InfrastructureError: CONNECTION_LOST, INTERRUPTED; LOAD_NOT_REACHED: the validator cannot send so fast.
        """
        return self._send(seconds, requests, warm_up=False)

    def run(self, at_least_requests: int = 0) -> LoadRun:
        """Warm up and measure, all as the spec says.

        Args:
          at_least_requests: where windows that agree end the measurement, it goes on until so many requests were answered.

        Raises: as ``block``.
        """
        spec = self._spec
        if spec.seconds is None and spec.requests is None:
            return self._run_until_steady(at_least_requests)
        warm_up = self.warm_up()
        block = self.block(seconds=spec.seconds, requests=spec.requests)
        why = warm_up.why_not_steady
        if spec.warm_up_seconds is not None or why:
            why = why_not_steady(block.windows)
        return load_run_of(self._kind, spec, [block], warm_up=warm_up.windows, why_not_steady=self._in_time(why))

    def _run_until_steady(self, at_least_requests: int) -> LoadRun:
        """As perf_analyzer: windows until three agree, and these are what counts; those before them are the warm-up."""
        warm_up = self.warm_up() if self._spec.warm_up_seconds is not None else WarmUp()
        first: int | None = None

        def enough(windows: Sequence[Window]) -> bool:
            nonlocal first
            whole = [window for window in windows if window.whole]
            if first is None and not why_not_steady(whole):
                first = len(whole) - WINDOWS_THAT_AGREE
            if first is None:
                return none_answered(whole)
            return sum(window.latencies.total for window in whole[first:]) >= at_least_requests

        block = self._send(None, None, warm_up=False, until=enough)
        why = "" if first is not None else why_not_steady(block.windows)
        early, block = block.windows[: first or 0], block.since(first or 0)
        windows = (*warm_up.windows, *early)
        return load_run_of(self._kind, self._spec, [block], warm_up=windows, why_not_steady=self._in_time(why))

    def _in_time(self, why: str) -> str:
        """Why it was not steady, with the bound where it was the bound that ended it."""
        if why and self._seconds_left <= 0:
            return f"The bound of {self._spec.at_most_seconds:g} s came first. {why}"
        return why

    def _send(
        self,
        seconds: float | None,
        requests: int | None,
        *,
        warm_up: bool,
        until: Callable[[Sequence[Window]], bool] | None = None,
    ) -> Block:
        spec = self._spec
        callers = spec.concurrency
        if spec.mode is LoadMode.OPEN:
            assert spec.rate_rps is not None
            callers = min(callers, max(1, math.ceil(spec.rate_rps * spec.timeout_seconds)))
        now = self._clock.monotonic()
        sending = Sending(
            self._connection,
            callers,
            Schedule(now, spec.rate_rps, seconds, requests),
            spec.timeout_seconds,
            self._deadline.capped(self._seconds_left),
            self._job,
            run_began=self._began,
            catch_up=not warm_up,
            first=self._asked,
            until=until,
            on_look=lambda windows: self._tell(windows, warm_up),
        )
        try:
            block = sending.carry_out()
        finally:
            self._seconds_left -= self._clock.monotonic() - now
            self._asked += sending.sent
        if spec.rate_rps is not None and not warm_up:
            raise_if_not_reached(spec.rate_rps, block, sending.rate_kept, sending.looks_late)
        return block

    def _tell(self, windows: Sequence[Window], warm_up: bool) -> None:
        now = self._clock.monotonic()
        if self._on_progress is None or now < self._tell_at:
            return
        self._tell_at = now + _TELL_SECONDS
        latest = next((window for window in reversed(windows) if window.whole), None)
        self._on_progress(
            LoadProgress(
                self._kind,
                warm_up,
                now - self._began,
                sum(window.latencies.total for window in windows),
                sum(window.errors for window in windows),
                latest.rate if latest else 0.0,
                latest.latencies.percentile(50.0) if latest else 0.0,
            )
        )
