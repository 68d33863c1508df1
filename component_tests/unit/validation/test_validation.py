"""The decision, over runners and clients that do as they are told. No platform, no network; the clock moves by hand."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable

import pytest

from component_tests.fakes.hand_clock import HandClock
from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed, InfrastructureError, JobAborted, UsageError
from infra_validator.core.launch_plan import LaunchPlan, ModelMount
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import RequestOrigin, RequestSource, SampleRequest
from infra_validator.core.signals.interruption import Interruption
from infra_validator.core.states import JobState, ModelStatus, ModelStatusReport, Observation
from infra_validator.model_server_clients.base_client import BaseModelServerClient, Job, JobGone
from infra_validator.model_server_runners.base_runner import BaseModelServerRunner
from infra_validator.protos import tensorflow_pb2
from infra_validator.report.evidence import CheckOutcome, Evidence, EvidenceLevel, weakest
from infra_validator.report.verdict import Finding, ValidationReport, Verdict
from infra_validator.serving_binaries.base_binary import BaseServingBinary
from infra_validator.specs import ServingSpec, ValidationSpec
from infra_validator.validation.answers.standards import AnswerStandards
from infra_validator.validation.attempt import Candidate
from infra_validator.validation.validation import Validation

SPEC = ServingSpec.of({"tensorflow_serving": {}, "local_process": {}})


@dataclasses.dataclass
class Story:
    """What one attempt shall be like."""

    launch: Exception | None = None
    seen: Observation = dataclasses.field(default_factory=Observation.running)
    status: ModelStatusReport = dataclasses.field(default_factory=lambda: ModelStatusReport(ModelStatus.READY))
    answer: Exception | None = None
    log: str = ""
    cleanup: Exception | None = None
    seen_after: Observation | None = None  # of the job, once the last request was answered
    status_after: ModelStatusReport | None = None


class Binary(BaseServingBinary):
    name = "tensorflow_serving"
    client = "told"

    def __init__(self, label: str = "told", advisory: bool = False) -> None:
        self._label = label
        self.advisory = advisory

    @property
    def label(self) -> str:
        return self._label

    def MakeLaunchPlan(self, model_path: str, platform: str) -> LaunchPlan:
        return LaunchPlan(self.name, self.label, ModelMount(model_path, "/models", "m", 1))

    def Explain(self, log: str) -> tuple[ReasonCode, str] | None:
        if "already in use" in log:
            return ReasonCode.PORT_NOT_AVAILABLE, log
        return (ReasonCode.OP_NOT_REGISTERED, log) if "Op type" in log else None


class Runner(BaseModelServerRunner):
    platform = "local_process"

    def __init__(self, story: Story) -> None:
        super().__init__("/model", Binary(), SPEC)
        self._story = story

    def _launch(self) -> None:
        def undo(deadline: Deadline) -> None:
            if self._story.cleanup:
                raise self._story.cleanup

        self.register_cleanup("remove it", undo)
        if self._story.launch:
            raise self._story.launch

    def _look(self) -> Observation:
        return self._story.seen

    def _find_endpoint(self) -> str:
        return "nowhere:1"

    def _tail_logs(self) -> str:
        return self._story.log


class Client(BaseModelServerClient):
    def __init__(self, story: Story) -> None:
        super().__init__("nowhere:1", "m")
        self._story = story

    def GetModelStatus(self, deadline: Deadline) -> ModelStatusReport:
        return self._story.status

    def SendRequests(
        self,
        requests: Iterable[SampleRequest],
        deadline: Deadline,
        job: Job = Observation.running,
        concurrency: int = 8,
    ) -> int:
        sent = len(list(requests))
        if self._story.answer:
            raise self._story.answer
        self._story.seen = self._story.seen_after or self._story.seen
        self._story.status = self._story.status_after or self._story.status
        return sent

    def Close(self) -> None:
        pass


class Candidates:
    """Makes a candidate whose attempts follow the stories in turn, and remembers the runners."""

    def __init__(self) -> None:
        self.runners: list[Runner] = []

    def make(self, *stories: Story, label: str = "told", advisory: bool = False) -> Candidate:
        turns = iter(stories)
        current: list[Story] = []

        def make_runner() -> Runner:
            current[:] = [next(turns)]
            runner = Runner(current[0])
            self.runners.append(runner)
            return runner

        return Candidate(Binary(label, advisory), "local_process", make_runner, lambda endpoint: Client(current[0]))


REQUEST = SampleRequest("/tensorflow.serving.PredictionService/Predict", "serving_default", b"", "record 1")


def run(
    *candidates: Candidate,
    tries: int = 5,
    requests: RequestSource | Callable[[], Iterable[SampleRequest]] | None = None,
    interruption: Interruption | None = None,
    on_flaky: str = "bless",
    on_progress: Callable[[str], None] = lambda line: None,
) -> ValidationReport:
    spec = ValidationSpec.of({"num_tries": tries, "max_loading_time_seconds": 10, "on_flaky": on_flaky})
    validation = Validation(
        candidates,
        spec,
        requests=requests,
        standards=AnswerStandards(
            signatures=dict.fromkeys(("other", "serving_default"), tensorflow_pb2.SignatureDef())
        ),
        on_progress=on_progress,
        interruption=interruption,
        clock=HandClock(),
    )
    return validation.run("/model", "m")


def exited(code: int) -> Observation:
    return Observation.gone(ReasonCode.SERVER_EXITED, f"exit code {code}")


def test_a_good_model_is_blessed_at_the_first_try() -> None:
    made = Candidates()
    report = run(made.make(Story()), requests=lambda: [REQUEST, REQUEST])
    assert report.verdict is Verdict.BLESSED
    (attempt,) = report.serving_binaries[0].attempts
    assert [phase.name for phase in attempt.phases] == ["prepare", "start", "schedule", "load", "query", "stop"]
    assert attempt.requests_sent == 2
    assert made.runners[0].state is JobState.END


def test_load_only_sends_nothing() -> None:
    report = run(Candidates().make(Story()))
    assert [phase.name for phase in report.serving_binaries[0].phases] == [
        "prepare",
        "start",
        "schedule",
        "load",
        "stop",
    ]


def test_a_server_that_exits_twice_in_the_same_way_is_not_tried_a_third_time() -> None:
    report = run(Candidates().make(*[Story(seen=exited(1))] * 5))
    assert report.verdict is Verdict.NOT_BLESSED
    assert report.finding.reason is ReasonCode.SERVER_EXITED
    assert len(report.serving_binaries[0].attempts) == 2


def test_a_server_that_exits_in_different_ways_is_tried_on() -> None:
    report = run(Candidates().make(*[Story(seen=exited(code)) for code in (1, 2, 3)], Story()))
    assert report.verdict is Verdict.BLESSED
    assert len(report.serving_binaries[0].attempts) == 4


def test_a_crash_by_signal_once_is_forgiven() -> None:
    crash = Story(seen=Observation.gone(ReasonCode.SERVER_KILLED, "signal SIGSEGV"))
    assert run(Candidates().make(crash, Story())).verdict is Verdict.BLESSED


def test_what_cannot_heal_is_not_retried() -> None:
    failure = AttemptFailed(ReasonCode.REQUEST_FAILED, "INVALID_ARGUMENT: no")
    report = run(Candidates().make(Story(answer=failure)), requests=lambda: [REQUEST])
    assert report.verdict is Verdict.NOT_BLESSED
    assert len(report.serving_binaries[0].attempts) == 1
    assert "INVALID_ARGUMENT: no" in report.finding.sentence


def test_a_timeout_uses_all_tries_and_the_manual_clock_says_how_long() -> None:
    waiting = Story(status=ModelStatusReport(ModelStatus.NOT_READY, "LOADING"))
    report = run(Candidates().make(*[waiting] * 3), tries=3)
    assert report.finding.reason is ReasonCode.LOAD_TIMEOUT
    assert "LOADING" in report.finding.sentence
    assert len(report.serving_binaries[0].attempts) == 3
    load = [phase for a in report.serving_binaries[0].attempts for phase in a.phases if phase.name == "load"]
    assert [phase.seconds for phase in load] == pytest.approx([10.0] * 3)


def test_the_log_names_the_deeper_cause_and_ends_the_tries() -> None:
    story = Story(seen=exited(255), log="Op type not registered 'Foo'")
    report = run(Candidates().make(story))
    assert report.finding.reason is ReasonCode.OP_NOT_REGISTERED
    assert "Foo" in report.finding.sentence
    assert report.serving_binaries[0].server_log == story.log


OLD_LINE = "Address already in use"


def test_a_crash_is_not_explained_by_an_old_line_about_a_port() -> None:
    crash = Story(seen=Observation.gone(ReasonCode.SERVER_KILLED, "signal SIGSEGV"), log=OLD_LINE)
    report = run(Candidates().make(crash, crash))
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, ReasonCode.SERVER_KILLED)


def test_a_server_that_had_the_model_had_its_port() -> None:
    story = Story(answer=JobGone(exited(1)), log=OLD_LINE)
    report = run(Candidates().make(story, story), requests=lambda: [REQUEST])
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, ReasonCode.SERVER_EXITED)


def test_a_server_that_exits_at_its_start_may_be_explained_by_its_port() -> None:
    report = run(Candidates().make(Story(seen=exited(1), log=OLD_LINE), Story()))
    assert report.blessed
    assert report.serving_binaries[0].attempts[0].finding.reason is ReasonCode.PORT_NOT_AVAILABLE


def test_a_server_that_never_ran_is_inconclusive() -> None:
    report = run(Candidates().make(Story(launch=InfrastructureError(ReasonCode.BINARY_NOT_FOUND, "/x"))))
    assert report.verdict is Verdict.INCONCLUSIVE
    assert not report.serving_binaries[0].attempts[0].server_started


def test_an_abort_is_tried_again_and_counts_when_the_tries_are_used_up() -> None:
    aborted = Story(seen=Observation.gone(ReasonCode.JOB_ABORTED, "evicted"))
    assert run(Candidates().make(aborted, Story())).verdict is Verdict.BLESSED
    report = run(Candidates().make(*[aborted] * 3), tries=3)
    assert report.verdict is Verdict.NOT_BLESSED
    assert report.finding.reason is ReasonCode.JOB_ABORTED
    assert len(report.serving_binaries[0].attempts) == 3


def test_an_abort_raised_by_a_platform_is_the_same() -> None:
    report = run(
        Candidates().make(Story(answer=JobAborted(ReasonCode.JOB_ABORTED, "gone"))), tries=1, requests=lambda: [REQUEST]
    )
    assert report.verdict is Verdict.NOT_BLESSED


def test_a_broken_cleanup_never_hides_the_verdict() -> None:
    said: list[str] = []
    report = run(Candidates().make(Story(cleanup=OSError("the daemon is gone"))), on_progress=said.append)
    assert report.verdict is Verdict.BLESSED
    assert any("stop left something behind" in line for line in said)
    assert not any("stop ok" in line for line in said)
    assert report.serving_binaries[0].attempts[0].left_behind == ("Could not remove it: the daemon is gone",)


def test_a_fault_of_our_own_is_inconclusive_and_everything_is_stopped() -> None:
    made = Candidates()
    report = run(made.make(Story(answer=ZeroDivisionError("x"))), requests=lambda: [REQUEST])
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.finding.reason is ReasonCode.INTERNAL_ERROR
    assert made.runners[0].state is JobState.END


def test_a_quota_is_tried_with_pauses_and_each_pause_is_said() -> None:
    full = Story(launch=InfrastructureError(ReasonCode.QUOTA_EXCEEDED, "pods"))
    clock, said = HandClock(), list[str]()
    spec = ValidationSpec.of({"num_tries": 5})
    candidate = Candidates().make(full, full, Story())
    report = Validation([candidate], spec, on_progress=said.append, clock=clock).run("/model", "m")
    assert report.verdict is Verdict.BLESSED
    assert sum(clock.pauses) == pytest.approx(1.0 + 4.0)
    assert [line for line in said if "again" in line] == [
        "told: QUOTA_EXCEEDED; tried again in 1 s",
        "told: QUOTA_EXCEEDED; tried again in 4 s",
    ]


def test_a_lost_race_for_a_port_uses_up_no_try() -> None:
    lost = Story(launch=InfrastructureError(ReasonCode.PORT_NOT_AVAILABLE, "port 1"))
    assert run(Candidates().make(lost, lost, Story()), tries=1).verdict is Verdict.BLESSED
    report = run(Candidates().make(*[lost] * 3), tries=1)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert len(report.serving_binaries[0].attempts) == 3


def test_every_required_binary_must_bless() -> None:
    good, bad = Story(), Story(answer=AttemptFailed(ReasonCode.REQUEST_FAILED, "no"))
    made = Candidates()
    report = run(made.make(good, label="a"), made.make(bad, label="b"), requests=lambda: [REQUEST])
    assert report.verdict is Verdict.NOT_BLESSED
    assert "(b)" in report.finding.sentence
    assert [b.verdict for b in report.serving_binaries] == [Verdict.BLESSED, Verdict.NOT_BLESSED]


def test_an_advisory_binary_is_reported_and_does_not_decide() -> None:
    made = Candidates()
    bad = Story(launch=InfrastructureError(ReasonCode.BINARY_NOT_FOUND))
    report = run(made.make(Story(), label="a"), made.make(bad, label="b", advisory=True))
    assert report.verdict is Verdict.BLESSED


def test_a_rejection_outweighs_what_could_not_be_tested() -> None:
    made = Candidates()
    report = run(
        made.make(Story(launch=InfrastructureError(ReasonCode.BINARY_NOT_FOUND)), label="a"),
        made.make(Story(seen=Observation.gone(ReasonCode.SERVER_OUT_OF_MEMORY, "")), label="b"),
    )
    assert report.verdict is Verdict.NOT_BLESSED


def test_nothing_to_validate_with_is_no_blessing() -> None:
    with pytest.raises(UsageError):
        run()
    with pytest.raises(UsageError):
        run(Candidates().make(Story(), advisory=True))


def test_a_blessing_without_a_server_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="no blessing without a server"):
        ValidationReport(Verdict.BLESSED, Finding(ReasonCode.BLESSED), "/model", "m", (), "", 0.0)


def test_an_interruption_ends_a_wait_and_stops_the_runner() -> None:
    interruption = Interruption()
    made = Candidates()

    def interrupt() -> list[SampleRequest]:
        interruption.set("SIGTERM")
        interruption.check()
        return []

    report = run(made.make(Story()), requests=interrupt, interruption=interruption)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.finding.reason is ReasonCode.INTERRUPTED
    assert made.runners[0].state is JobState.END


def test_the_report_is_json_with_the_promised_keys() -> None:
    report = json.loads(run(Candidates().make(Story(log="last line"))).to_json())
    assert {"schema_version", "verdict", "reason_code", "reason", "next_step", "serving_binaries"} <= report.keys()
    (binary,) = report["serving_binaries"]
    assert {"verdict", "attempts", "phases"} <= binary.keys()
    assert [attempt["server_log_tail"] for attempt in binary["attempts"]] == ["last line"]
    assert "server_log_tail" not in binary  # a log stands in the file once
    assert report["schema_version"] == 3
    assert binary["evidence"]["level"] == "LOADED"


def test_a_blessing_says_what_it_rests_on() -> None:
    source = RequestSource(lambda: [REQUEST, REQUEST], RequestOrigin.EXAMPLES)
    report = run(Candidates().make(Story()), requests=source)
    assert report.evidence.to_dict() == {
        "level": "ANSWERED",
        "requests": 2,
        "source": "examples",
        "signatures_asked": ["serving_default"],
        "signatures_not_asked": ["other"],
        "checks": [
            {
                "name": "served_model",
                "outcome": "not_applicable",
                "detail": "The server does not tell the model's signatures, or the model's files cannot be read here.",
            },
            *[
                {"name": name, "outcome": "not_applicable", "detail": detail}
                for name, detail in [
                    ("answer_readable", "The protocol does not tell what an answer holds."),
                    ("answer_model", "No answer had it to look at."),
                    ("answer_outputs", "No answer had it to look at."),
                    ("answer_types", "No answer had it to look at."),
                    ("answer_finite", "No answer had it to look at."),
                ]
            ],
            {"name": "alive_after_the_last_answer", "outcome": "passed", "detail": ""},
        ],
        "digest_verified": False,
    }
    assert report.sentence == "The model was loaded; 2 requests were sent to it and answered."


def test_a_model_that_was_only_loaded_is_said_to_be_only_loaded() -> None:
    report = run(Candidates().make(Story()))
    assert report.sentence == "The model was loaded; no request was sent to it."
    assert report.evidence.level is EvidenceLevel.LOADED
    assert report.evidence.source is RequestOrigin.NONE
    assert report.evidence.signatures_not_asked == ("other", "serving_default")


def test_the_evidence_of_a_model_that_never_loaded_claims_nothing() -> None:
    report = run(Candidates().make(*[Story(seen=exited(1))] * 2), requests=lambda: [REQUEST])
    assert report.evidence.level is EvidenceLevel.NONE
    assert report.evidence.requests == 0


def test_the_whole_rests_on_the_weakest_binary_and_not_on_an_advisory_one() -> None:
    strong = Evidence(EvidenceLevel.ANSWERED, 3, RequestOrigin.FILE, ("a", "b"), (), (), True)
    weak = Evidence(EvidenceLevel.ANSWERED, 2, RequestOrigin.FILE, ("a",), ("b",), (), False)
    assert weakest([strong, weak]) == weak
    assert weakest([]) == Evidence()


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (Story(seen_after=Observation.gone(ReasonCode.SERVER_KILLED, "signal SIGSEGV")), ReasonCode.SERVER_KILLED),
        (Story(seen_after=Observation.gone(ReasonCode.SERVER_OUT_OF_MEMORY, "")), ReasonCode.SERVER_OUT_OF_MEMORY),
        (Story(status_after=ModelStatusReport(ModelStatus.UNAVAILABLE, "END")), ReasonCode.MODEL_UNAVAILABLE),
        (Story(status_after=ModelStatusReport(ModelStatus.NOT_READY, "?")), ReasonCode.SERVER_UNHEALTHY),
    ],
    ids=["crashed", "out of memory", "unloaded", "deaf"],
)
def test_a_server_that_is_gone_after_the_last_answer_is_not_blessed(after: Story, reason: ReasonCode) -> None:
    report = run(Candidates().make(after), requests=lambda: [REQUEST], tries=1)
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, reason)
    assert report.evidence.level is EvidenceLevel.LOADED
    assert report.evidence.checks[-1].outcome is CheckOutcome.FAILED


def crashed() -> Story:
    return Story(seen=Observation.gone(ReasonCode.SERVER_KILLED, "signal SIGSEGV"))


def test_a_blessing_after_a_crash_is_flaky_and_says_the_first_cause() -> None:
    report = run(Candidates().make(crashed(), Story()))
    assert report.blessed
    assert report.to_dict()["flaky"] is True
    assert "told is flaky: attempt 1 failed with SERVER_KILLED" in report.warnings[0]
    assert not run(Candidates().make(Story())).flaky


def test_a_flaky_model_is_rejected_for_the_first_reason_where_the_spec_says_so() -> None:
    report = run(Candidates().make(crashed(), Story()), on_flaky="reject")
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, ReasonCode.SERVER_KILLED)
    assert report.flaky


@pytest.mark.parametrize(
    "first",
    [
        Story(launch=InfrastructureError(ReasonCode.PORT_NOT_AVAILABLE, "port 1")),
        Story(seen=Observation.gone(ReasonCode.JOB_ABORTED, "evicted")),
    ],
    ids=["port", "evicted"],
)
def test_what_the_platform_did_to_the_job_makes_no_model_flaky(first: Story) -> None:
    report = run(Candidates().make(first, Story()), on_flaky="reject")
    assert report.blessed
    assert not report.flaky


def test_a_generator_that_is_used_up_is_an_error_that_says_so() -> None:
    used_up = iter([REQUEST])
    list(used_up)
    report = run(Candidates().make(Story()), requests=lambda: used_up)
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, ReasonCode.BAD_REQUESTS)
    assert "exhausted after one use" in report.finding.sentence
