"""One attempt: start, wait, query, stop; and what is known of it afterwards."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping

from infra_validator.core.answer import Answer, Tensor
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.errors import AttemptFailed, DeadlineExceeded, InfrastructureError, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import RequestOrigin, RequestSource, SampleRequest
from infra_validator.core.signals.interruption import Interruption
from infra_validator.core.states import ModelStatus, ModelStatusReport, Observation
from infra_validator.model_server_clients.base_client import BaseModelServerClient, RequestFailed, raise_if_gone
from infra_validator.model_server_runners.base_runner import BaseModelServerRunner
from infra_validator.report.evidence import CheckOutcome, CheckResult, Evidence, EvidenceLevel
from infra_validator.serving_binaries.base_binary import BaseServingBinary
from infra_validator.specs import ValidationSpec
from infra_validator.validation.answers.compared.comparison import Comparison
from infra_validator.validation.answers.compared.over_rest import AsOverRest
from infra_validator.validation.answers.inspection import AnswerInspection
from infra_validator.validation.answers.refusal import blamed
from infra_validator.validation.answers.served_signatures import difference_of
from infra_validator.validation.answers.standards import AnswerStandards
from infra_validator.validation.hardening import Relaxing
from infra_validator.validation.limits.measuring import Measuring
from infra_validator.validation.limits.under_load import LoadJob
from infra_validator.validation.stopwatch import Stopwatch

_LOOK_AGAIN_SECONDS = 10.0  # how long the server may take to say once more that it has the model
_SETTLING_SECONDS = (
    0.02  # how long the job is watched after the last answer: a crash that the answer caused shows by then
)
_METADATA_SECONDS = 10.0  # how long the server may take to tell the model's signatures
_LOG_SECONDS = 5.0  # between two looks at the log of a server that is waited for
#: What a model is blamed for whose server was not heard: unless it is the way to it that is cut.
_SILENCE = (ReasonCode.LOAD_TIMEOUT, ReasonCode.QUERY_TIMEOUT, ReasonCode.SERVER_UNHEALTHY)
_SERVED = "served_model"
_ALIVE = "alive_after_the_last_answer"

_STOP_SECONDS = 30.0  # what Stop may take beyond the server's own grace: daemons and API servers are slow at times


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One serving binary to validate, with the two factories that hide its platform and its protocol.

    Attributes:
      binary: the serving binary.
      platform: the platform's name, for the report.
      make_runner: a new runner; called once for each attempt.
      make_client: a client for an endpoint.
      meanwhile: called once a server is being started: begins what takes time and does not need it, and returns at once.
      restrictions: what its server is held to beyond what its image's author did, one phrase each.
      takes_a_slot: whether its servers run on this machine, where only so many are at work at once.
      relaxed: the same without restrictions; None where there are none, or they are not to be given up.
      relaxing: what giving them up means.
    """

    binary: BaseServingBinary
    platform: str
    make_runner: Callable[[], BaseModelServerRunner]
    make_client: Callable[[str], BaseModelServerClient]
    meanwhile: Callable[[], None] = lambda: None
    restrictions: tuple[str, ...] = ()
    takes_a_slot: bool = False
    relaxed: Candidate | None = None
    relaxing: Relaxing = Relaxing()


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
        standards: AnswerStandards,
        measuring: Measuring | None = None,
    ) -> None:
        self._candidate = candidate
        self.measuring = measuring or Measuring(spec)
        self._standards = standards
        self._signatures = standards.signatures
        self._inspection: AnswerInspection | None = None
        self._served: CheckResult | None = None
        self._spec = spec
        self._total = total
        self._interruption = interruption
        self._watch = watch
        self._say = say
        self._requests: RequestSource | None = None
        self._asked: _Asked | None = None
        self._loaded = False
        self._alive: CheckResult | None = None
        self.server_started = False
        self.requests_sent = 0
        self.server_log = ""
        self.left_behind: list[str] = []
        self.notes: tuple[str, ...] = ()
        self.platform_notes: tuple[str, ...] = ()
        self.restrictions = candidate.restrictions

    def carry_out(self, requests: RequestSource | None, concurrency: int) -> None:
        """Start, wait, query; stop in every case.

        Raises:
          AttemptFailed, InfrastructureError, UsageError, JobGone: why it is no success.
        """
        self._interruption.check()
        runner = self._candidate.make_runner()
        runner.on_progress = self._say
        runner.on_bytes = self._watch.bytes_moved
        runner.interruption = self._interruption
        runner.run_id = self._watch.of.run_id
        runner.stop_grace_seconds = self._spec.stop_grace_seconds
        self._interruption.wakes(runner.news)
        try:
            self._start(runner)
            self._talk(runner, requests, concurrency)
        except AttemptFailed as failure:
            if failure.reason in _SILENCE:
                runner.ExplainSilence()
            raise
        finally:
            self._stop(runner)

    @property
    def loaded(self) -> bool:
        """Whether the server said that it has the model."""
        return self._loaded

    @property
    def evidence(self) -> Evidence:
        """What was seen of the model."""
        asked = tuple(self._asked.signatures) if self._asked else ()
        answered = self._alive is not None and self._alive.outcome is CheckOutcome.PASSED
        loaded = EvidenceLevel.LOADED if self._loaded else EvidenceLevel.NONE
        return Evidence(
            level=EvidenceLevel.ANSWERED if answered else loaded,
            requests=self.requests_sent,
            source=self._requests.origin if self._requests else RequestOrigin.NONE,
            signatures_asked=asked,
            signatures_not_asked=tuple(name for name in sorted(self._signatures) if name not in asked),
            checks=(
                *((self._served,) if self._served else ()),
                *(self._inspection.results if self._inspection else ()),
                self._alive or CheckResult(_ALIVE, CheckOutcome.NOT_APPLICABLE, "Nothing was asked."),
            ),
        )

    def _start(self, runner: BaseModelServerRunner) -> None:
        with self._watch.phase("prepare"):
            runner.Prepare(self._total)
        self._loading = self._total.capped(self._spec.max_loading_time_seconds)
        with self._watch.phase("start"):
            runner.Start()
        self._candidate.meanwhile()
        with self._watch.phase("schedule"):
            try:
                runner.WaitUntilRunning(self._loading)
            except AttemptFailed:
                self.server_started = True  # it ran, even if nobody saw it running
                raise
        self.server_started = True
        self.measuring.started(runner)

    def _talk(self, runner: BaseModelServerRunner, requests: RequestSource | None, concurrency: int) -> None:
        with contextlib.ExitStack() as closing:
            with self._watch.phase("load"):
                client = closing.enter_context(self._candidate.make_client(runner.GetEndpoint()))
                client.WaitUntilModelLoaded(self._loading, self._looking_at_the_log(runner), runner.news)
                self._loaded = True
                self.measuring.loaded()
                self.notes = tuple(client.notes)
                self._compare_signatures(client, runner)
            if requests is not None:
                with self._watch.phase("query"):
                    self._query(client, runner, requests, concurrency, closing)
                    if not self.measuring.loads:
                        self._look_again(client, runner)
                if self.measuring.loads:
                    with self._watch.phase("measure"):
                        self._measure(client, runner, requests)
                        self._look_again(client, runner)
            if client.unloads:
                with self._watch.phase("unload"):
                    limit = self._total.capped(self._spec.max_loading_time_seconds)
                    client.UnloadModel(limit, runner.Observe)
        self.measuring.decide(self._watch.phases)

    def _looking_at_the_log(self, runner: BaseModelServerRunner) -> Callable[[], Observation]:
        """``runner.Observe``, which also raises what the server's own log says once it is broken, where the binary reads it meanwhile."""
        binary, clock = self._candidate.binary, self._loading.clock
        if not binary.explains_while_it_runs:
            return runner.Observe
        next_look = clock.monotonic() + _LOG_SECONDS

        def observe() -> Observation:
            nonlocal next_look
            if clock.monotonic() >= next_look:
                next_look = clock.monotonic() + _LOG_SECONDS
                explained = binary.Explain(runner.GetLogs())
                if explained is not None and explained[0] is ReasonCode.SERVER_BROKEN:
                    raise InfrastructureError(*explained)
            return runner.Observe()

        return observe

    def _compare_signatures(self, client: BaseModelServerClient, runner: BaseModelServerRunner) -> None:
        """Hold the server's own metadata against the SavedModel's.

        Raises:
          InfrastructureError: ANOTHER_MODEL_SERVED.
          JobGone: the job ended.
        """
        told = client.GetSignatures(self._loading.capped(_METADATA_SECONDS)) if self._signatures else None
        raise_if_gone(runner.Observe())
        if told is None:
            why = "The server does not tell the model's signatures, or the model's files cannot be read here."
            self._served = CheckResult(_SERVED, CheckOutcome.NOT_APPLICABLE, why)
            return
        difference = difference_of(self._signatures, told)
        if difference and not client.signatures_identify:
            self._served = CheckResult(_SERVED, CheckOutcome.NOT_APPLICABLE, difference)
            self.notes = (*self.notes, f"The server describes the model otherwise than the spec. {difference}")
            return
        if difference:
            self._served = CheckResult(_SERVED, CheckOutcome.FAILED, difference)
            raise InfrastructureError(ReasonCode.ANOTHER_MODEL_SERVED, difference)
        self._served = CheckResult(_SERVED, CheckOutcome.PASSED)

    def _query(
        self,
        client: BaseModelServerClient,
        runner: BaseModelServerRunner,
        requests: RequestSource,
        concurrency: int,
        closing: contextlib.ExitStack,
    ) -> None:
        """Send every request and have every answer.

        Raises:
          UsageError: the source gave none.
        """
        self._requests = requests
        self._asked = _Asked()
        self._inspection = AnswerInspection(
            client.ReadAnswer, self._standards, client.model_name, client.version, self._candidate.binary.label
        )
        client.on_latency = self._watch.note_latency
        client.on_answer = self._watch.counting(self.measuring.answered(self._inspection.look))
        limit = self._total.capped(self._spec.max_query_time_seconds)
        over_rest = self._over_rest(client, runner, limit)
        if over_rest is not None:
            closing.callback(over_rest.close)
            self._inspection.ask_over_rest(over_rest)
        asked = self.measuring.asking(self._asked.noting(requests))
        try:
            self.requests_sent = client.SendRequests(asked, limit, runner.Observe, concurrency)
        except RequestFailed as failure:
            raise blamed(failure, requests.origin) from failure
        if self._asked.count == 0:
            raise UsageError(
                "The source of the sample requests gave none for this attempt; a generator is exhausted after one use.",
                reason=ReasonCode.BAD_REQUESTS,
                next_step="Make the requests anew on every call: requests=lambda: make_them(), not lambda: made_before.",
            )
        if self.requests_sent < self._asked.count:
            raise InfrastructureError(
                ReasonCode.INTERNAL_ERROR,
                f"{self._asked.count} requests were taken, but the client says that {self.requests_sent} were answered.",
            )
        more = self._inspection.more_requests()
        if more is not None:
            client.SendRequests(more, limit, runner.Observe, concurrency)
        self._inspection.finish()

    def _measure(self, client: BaseModelServerClient, runner: BaseModelServerRunner, requests: RequestSource) -> None:
        from infra_validator.specs import LoadSpec

        self.measuring.load(
            LoadJob(
                self._candidate.binary.label,
                client,
                runner,
                requests,
                self._spec.load or LoadSpec(),
                self._spec.limits,
                self._total,
                self._interruption,
                self._watch.say,
                self._say,
                self._watch.load_went_on,
            )
        )

    def _over_rest(
        self, client: BaseModelServerClient, runner: BaseModelServerRunner, limit: Deadline
    ) -> AsOverRest | None:
        """The check that asks over REST, where the server can be asked so.

        Raises:
          UsageError: it cannot, and the spec wants it.
        """
        endpoint = runner.GetRestEndpoint() if client.has_rest else ""
        if not endpoint:
            if self._standards.over_rest:
                raise UsageError(
                    f"request_spec.protocols: there is no way to a REST port of {self._candidate.binary.label} on"
                    f" {self._candidate.platform}.",
                    next_step="Take rest out of the protocols, or see to it that the server's REST port can be reached from here.",
                )
            return None

        def ask(request: SampleRequest, answer: Answer) -> Mapping[str, Tensor]:
            return client.AskOverRest(endpoint, request, answer, limit) or {}

        return AsOverRest(
            ask,
            lambda: raise_if_gone(runner.Observe()),
            limit,
            Comparison(self._spec.answers),
            self._standards.over_rest,
        )

    def _look_again(self, client: BaseModelServerClient, runner: BaseModelServerRunner) -> None:
        """Look at the job and the model once more: a server that dies of its last answer, or loses the model, serves nobody.

        Raises:
          AttemptFailed: the model is not served any more (MODEL_UNAVAILABLE, SERVER_UNHEALTHY).
          JobGone: the job ended.
        """
        self._alive = CheckResult(
            _ALIVE, CheckOutcome.FAILED, "The server or the model was gone after the last answer."
        )
        last = ModelStatusReport(ModelStatus.NOT_READY, "", answered=False)

        def served() -> bool | None:
            nonlocal last
            raise_if_gone(runner.Observe())
            last = client.GetModelStatus(self._total.capped(_LOOK_AGAIN_SECONDS))
            if last.status is ModelStatus.UNAVAILABLE:
                raise AttemptFailed(ReasonCode.MODEL_UNAVAILABLE, f"After the last answer it says: {last.detail}.")
            return True if last.status is ModelStatus.READY else None

        try:
            wait_until(served, self._total.capped(_LOOK_AGAIN_SECONDS), news=runner.news)
        except DeadlineExceeded as error:
            raise AttemptFailed(
                ReasonCode.SERVER_UNHEALTHY, f"After the last answer: {last.detail}.", fingerprint="SERVER_UNHEALTHY"
            ) from error
        with contextlib.suppress(DeadlineExceeded):
            wait_until(lambda: raise_if_gone(runner.Observe()), self._total.capped(_SETTLING_SECONDS), news=runner.news)
        self._alive = CheckResult(_ALIVE, CheckOutcome.PASSED)

    def _stop(self, runner: BaseModelServerRunner) -> None:
        self.measuring.ended()
        with self._watch.phase("stop", lambda: "left something behind" if runner.stop_problems else "ok"):
            runner.Stop(Deadline.after(self._spec.stop_grace_seconds + _STOP_SECONDS))
        self._interruption.forget(runner.news)
        self.server_log = runner.GetLogs()
        self.platform_notes = tuple(runner.notes)
        if not runner.restricted:
            self.restrictions = ()
        self.left_behind = list(runner.stop_problems)
        for problem in self.left_behind:
            self._say(f"{self._candidate.binary.label}: {problem}")


class _Asked:
    """Notes what was taken from a source of requests. Written by whichever thread reads the source, read when all is answered."""

    def __init__(self) -> None:
        self.count = 0
        self.signatures: dict[str, None] = {}  # in the order in which they were asked first

    def noting(self, requests: RequestSource) -> Iterator[SampleRequest]:
        for request in requests():
            self.count += 1
            self.signatures[request.signature] = None
            yield request
