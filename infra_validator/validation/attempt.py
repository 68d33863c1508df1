"""One attempt: start, wait, query, stop; and what is known of it afterwards."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator

from infra_validator.core.deadline import Clock, Deadline
from infra_validator.core.errors import AttemptFailed
from infra_validator.core.interruption import Interruption
from infra_validator.core.sample_request import SampleRequest
from infra_validator.model_server_clients.base_client import BaseModelServerClient
from infra_validator.model_server_runners.base_runner import BaseModelServerRunner
from infra_validator.report.verdict import Phase
from infra_validator.serving_binaries.base_binary import BaseServingBinary
from infra_validator.specs import ValidationSpec

#: Called for every attempt anew: the sample requests, streamed.
RequestSource = Callable[[], Iterable[SampleRequest]]

_STOP_SECONDS = 30.0  # what Stop may take beyond the server's own grace: daemons and API servers are slow at times


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One serving binary to validate, with the two factories that hide its platform and its protocol.

    Attributes:
      binary: the serving binary.
      platform: the platform's name, for the report.
      make_runner: a new runner; called once for each attempt.
      make_client: a client for an endpoint.
    """

    binary: BaseServingBinary
    platform: str
    make_runner: Callable[[], BaseModelServerRunner]
    make_client: Callable[[str], BaseModelServerClient]


class Stopwatch:
    """Measures the phases of one attempt and tells each, as it ends, in one line."""

    def __init__(self, label: str, say: Callable[[str], None], clock: Clock) -> None:
        self.phases: list[Phase] = []
        self._label = label
        self._say = say
        self._clock = clock

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = self._clock.monotonic()
        outcome = "failed"
        try:
            yield
            outcome = "ok"
        finally:
            seconds = self._clock.monotonic() - began
            self.phases.append(Phase(name, seconds))
            self._say(f"{self._label}: {name} {outcome} ({seconds:.2f} s)")


class Attempt:
    """One start-wait-query-stop, and what is known of it afterwards."""

    def __init__(
        self,
        candidate: Candidate,
        spec: ValidationSpec,
        total: Deadline,
        interruption: Interruption,
        watch: Stopwatch,
        say: Callable[[str], None],
    ) -> None:
        self._candidate = candidate
        self._spec = spec
        self._total = total
        self._interruption = interruption
        self._watch = watch
        self._say = say
        self.server_started = False
        self.requests_sent = 0
        self.server_log = ""
        self.left_behind: list[str] = []

    def carry_out(self, requests: RequestSource | None, concurrency: int) -> None:
        """Start, wait, query; stop in every case.

        Raises:
          AttemptFailed, InfrastructureError, UsageError, JobGone: why it is no success.
        """
        self._interruption.check()
        runner = self._candidate.make_runner()
        runner.on_progress = self._say
        runner.interruption = self._interruption
        runner.stop_grace_seconds = self._spec.stop_grace_seconds
        self._interruption.wakes(runner.news)
        try:
            self._start(runner)
            self._talk(runner, requests, concurrency)
        finally:
            self._stop(runner)

    def _start(self, runner: BaseModelServerRunner) -> None:
        with self._watch.phase("prepare"):
            runner.Prepare(self._total)
        self._loading = self._total.capped(self._spec.max_loading_time_seconds)
        with self._watch.phase("start"):
            runner.Start()
        with self._watch.phase("schedule"):
            try:
                runner.WaitUntilRunning(self._loading)
            except AttemptFailed:
                self.server_started = True  # it ran, even if nobody saw it running
                raise
        self.server_started = True

    def _talk(self, runner: BaseModelServerRunner, requests: RequestSource | None, concurrency: int) -> None:
        with contextlib.ExitStack() as closing:
            with self._watch.phase("load"):
                client = closing.enter_context(self._candidate.make_client(runner.GetEndpoint()))
                client.WaitUntilModelLoaded(self._loading, runner.Observe, runner.news)
            if requests is not None:
                with self._watch.phase("query"):
                    limit = self._total.capped(self._spec.max_query_time_seconds)
                    self.requests_sent = client.SendRequests(requests(), limit, runner.Observe, concurrency)
            if client.unloads:
                with self._watch.phase("unload"):
                    limit = self._total.capped(self._spec.max_loading_time_seconds)
                    client.UnloadModel(limit, runner.Observe)

    def _stop(self, runner: BaseModelServerRunner) -> None:
        with self._watch.phase("stop"):
            runner.Stop(Deadline.after(self._spec.stop_grace_seconds + _STOP_SECONDS))
        self._interruption.forget(runner.news)
        self.server_log = runner.GetLogs()
        self.left_behind = list(runner.stop_problems)
        for problem in self.left_behind:
            self._say(f"{self._candidate.binary.label}: {problem}")
