"""How a validation goes: side by side, under restrictions and without, with slots; what is told meanwhile and kept afterwards."""

from __future__ import annotations

import dataclasses
import errno
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from component_tests.fakes.hand_clock import HandClock
from component_tests.unit.validation.answers.made_answers import tensor
from component_tests.unit.validation.test_validation import REQUEST, Binary, Candidates, Runner, Story, crashed, exited
from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed, InfrastructureError, UsageError
from infra_validator.core.progress import Progress, TriedAgain, Try
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import RequestSource, SampleRequest
from infra_validator.core.signals.interruption import Interruption
from infra_validator.core.states import ModelStatus, ModelStatusReport, Observation
from infra_validator.model_server_clients.base_client import JobGone
from infra_validator.model_server_runners.base_runner import BaseModelServerRunner
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.protos import tensorflow_serving_pb2 as pb
from infra_validator.report.verdict import BinaryReport, Finding, ValidationReport, Verdict
from infra_validator.specs import ValidationSpec
from infra_validator.validation.attempt import Candidate
from infra_validator.validation.hardening import OF_A_SANDBOX
from infra_validator.validation.limits.alone import alone
from infra_validator.validation.limits.under_load import UnderLoad
from infra_validator.validation.redaction.redaction import Redaction
from infra_validator.validation.slots import Slots
from infra_validator.validation.validation import Validation, decide

PATIENCE = 60.0  # seconds; a test that needs them fails
QUOTA = InfrastructureError(ReasonCode.QUOTA_EXCEEDED, "pods")
NOT_FOUND = InfrastructureError(ReasonCode.BINARY_NOT_FOUND, "/x")


class Course:
    """A validation with all that it tells; made of candidates, a spec and the arguments of Validation."""

    def __init__(self, *candidates: Candidate, spec: dict[str, Any] | None = None, **more: Any) -> None:
        self.said: list[str] = []
        self.told: list[Progress] = []
        given = ValidationSpec.of({"max_loading_time_seconds": 10, **(spec or {})})
        more = {"on_progress": self.said.append, "tell": self.told.append, "clock": HandClock(), **more}
        self.validation = Validation(candidates, given, **more)

    def run(self) -> ValidationReport:
        return self.validation.run("/model", "m")


def with_runner(candidate: Candidate, change: Callable[[Runner], None]) -> Candidate:
    """The candidate, each of whose runners is changed once it is made."""

    def make() -> BaseModelServerRunner:
        runner = candidate.make_runner()
        assert isinstance(runner, Runner)
        change(runner)
        return runner

    return dataclasses.replace(candidate, make_runner=make)


def test_a_report_says_what_was_validated_when_and_for_how_long() -> None:
    report = Course(Candidates().make(Story(launch=QUOTA), Story())).run()
    assert (report.model, report.model_name) == ("/model", "m")
    assert report.started_at == "2001-09-09T01:46:40+00:00"
    assert report.seconds == pytest.approx(1.0)
    (binary,) = report.serving_binaries
    assert (binary.binary, binary.label, binary.platform, binary.advisory) == (
        "tensorflow_serving",
        "told",
        "local_process",
        False,
    )
    assert [attempt.number for attempt in binary.attempts] == [1, 2]
    assert [attempt.finding for attempt in binary.attempts] == [Finding.of(QUOTA), Finding(ReasonCode.BLESSED)]


class Given(tuple[Candidate, ...]):
    """Candidates that know when all of them are on their way."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self.all_on_their_way = threading.Event()

    def __iter__(self) -> Iterator[Candidate]:
        yield from super().__iter__()
        self.all_on_their_way.set()


def threads_at_work(number: int, spec: dict[str, Any]) -> tuple[set[str], list[str]]:
    """The threads that there are while so many serving binaries are validated, each held up until all wait; and what is said."""
    threads: set[str] = set()
    said: list[str] = []

    def note(runner: Runner) -> None:
        assert given.all_on_their_way.wait(PATIENCE)
        threads.update(thread.name for thread in threading.enumerate() if thread.name.startswith("validation"))

    made = Candidates()
    given = Given([with_runner(made.make(Story(launch=NOT_FOUND), label=f"b{n}"), note) for n in range(number)])
    report = Validation(given, ValidationSpec.of(spec), on_progress=said.append, clock=HandClock()).run("/model", "m")
    assert [binary.label for binary in report.serving_binaries] == [f"b{n}" for n in range(number)]
    return threads, said


@pytest.mark.parametrize("number", [1, 4, 5])
def test_at_most_four_serving_binaries_are_validated_at_once(number: int) -> None:
    threads, said = threads_at_work(number, {})
    assert threads == {f"validation_{n}" for n in range(min(number, 4))}
    assert not any("one after the other" in line for line in said)


def test_those_whose_speed_is_measured_are_validated_one_after_the_other() -> None:
    limits = {"limits": {"throughput_at_least_rps": 5}}
    threads, said = threads_at_work(2, limits)
    assert threads == {"validation_0"}
    line = "The serving binaries are validated one after the other, so that none disturbs another's measurement."
    assert said[0] == line
    assert line not in threads_at_work(1, limits)[1]


def test_a_keyboard_interrupt_ends_all_of_it() -> None:
    def interrupt(runner: Runner) -> None:
        raise KeyboardInterrupt

    interruption = Interruption()
    with pytest.raises(KeyboardInterrupt):
        Course(with_runner(Candidates().make(Story()), interrupt), interruption=interruption).run()
    assert interruption.why == "KeyboardInterrupt"


def test_a_validation_without_serving_binaries_is_not_made() -> None:
    with pytest.raises(UsageError, match="There is no serving binary to validate with"):
        Course()


# ---------------------------------------------------------------- tries


def test_every_further_try_is_told_and_pauses_are_said() -> None:
    clock = HandClock()
    course = Course(Candidates().make(crashed(), Story(launch=QUOTA), Story()), run_id="run", clock=clock)
    report = course.run()
    assert report.blessed
    again = [one for one in course.told if isinstance(one, TriedAgain)]
    assert again == [
        TriedAgain(Try("told", 1, "run"), "SERVER_KILLED", 0.0),
        TriedAgain(Try("told", 2, "run"), "QUOTA_EXCEEDED", 1.0),
    ]
    assert [line for line in course.said if "again" in line] == ["told: QUOTA_EXCEEDED; tried again in 1 s"]
    assert clock.now == pytest.approx(101.0)


def test_an_interruption_ends_the_tries() -> None:
    interruption = Interruption()

    def interrupt(told: Progress) -> None:
        if isinstance(told, TriedAgain):
            interruption.set("SIGTERM")

    candidate = Candidates().make(Story(launch=QUOTA), Story())
    report = Course(candidate, interruption=interruption, tell=interrupt).run()
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, ReasonCode.INTERRUPTED)


def test_notes_and_flakiness_are_warnings() -> None:
    turns = iter(["of the first", "of the second"])
    candidate = with_runner(
        Candidates().make(crashed(), Story(), label="b"), lambda runner: runner.notes.append(next(turns))
    )
    report = Course(candidate).run()
    assert report.flaky
    sentence = Finding(ReasonCode.SERVER_KILLED, "signal SIGSEGV").sentence
    assert report.warnings == (
        "b: of the second",
        f"b is flaky: attempt 1 failed with SERVER_KILLED ({sentence}), attempt 2 succeeded.",
    )


@pytest.mark.parametrize(("on_flaky", "verdict"), [("bless", Verdict.BLESSED), ("reject", Verdict.NOT_BLESSED)])
def test_only_a_success_can_be_flaky(on_flaky: str, verdict: Verdict) -> None:
    spec = {"on_flaky": on_flaky, "num_tries": 3}
    aborted = Story(seen=Observation.gone(ReasonCode.JOB_ABORTED, "evicted"))
    report = Course(Candidates().make(aborted, Story(seen=exited(3)), Story()), spec=spec).run()
    assert report.verdict is verdict
    assert report.flaky
    assert report.finding.reason is (ReasonCode.BLESSED if verdict is Verdict.BLESSED else ReasonCode.SERVER_EXITED)
    assert "attempt 2 failed with SERVER_EXITED" in report.warnings[0]
    assert report.warnings[0].endswith(", attempt 3 succeeded.")
    report = Course(Candidates().make(Story(seen=exited(3)), aborted, aborted), spec=spec).run()
    assert not report.flaky
    assert report.finding.reason is ReasonCode.JOB_ABORTED


# ---------------------------------------------------------------- restrictions


def restricted(made: Candidates, *stories: Story, then: Iterable[Story] = (), **more: Any) -> Candidate:
    """A candidate with restrictions, and the same without."""
    relaxed = made.make(*then)
    return dataclasses.replace(made.make(*stories), restrictions=("no capabilities",), relaxed=relaxed, **more)


def test_a_server_that_ends_under_restrictions_is_tried_without_them_whatever_tries_are_left() -> None:
    course = Course(restricted(Candidates(), Story(seen=exited(1)), then=[Story()]), spec={"num_tries": 1})
    report = course.run()
    assert report.blessed
    assert not report.flaky
    first, second = report.serving_binaries[0].attempts
    assert (first.restrictions, first.notes, second.restrictions) == (("no capabilities",), (), ())
    assert second.notes[0].startswith("The image does not bear no capabilities. It was validated as its image's author")
    assert report.warnings == (f"told: {second.notes[0]}",)
    assert [line for line in course.said if "again" in line] == [
        "told: SERVER_EXITED; tried again as its image's author made it"
    ]
    assert not [one for one in course.told if isinstance(one, TriedAgain)]


def test_a_server_that_is_flaky_without_restrictions_is_flaky() -> None:
    report = Course(restricted(Candidates(), Story(seen=exited(1)), then=[crashed(), Story()])).run()
    assert report.blessed
    assert report.flaky
    assert "attempt 2 failed with SERVER_KILLED" in report.warnings[1]


def test_what_was_seen_under_restrictions_counts_where_the_platform_refuses_it_without() -> None:
    refused = Story(launch=InfrastructureError(ReasonCode.POD_REFUSED, "no", heals=True))
    report = Course(restricted(Candidates(), Story(seen=exited(1)), then=[refused, Story()])).run()
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, ReasonCode.SERVER_EXITED)
    assert [attempt.finding.reason for attempt in report.serving_binaries[0].attempts] == [
        ReasonCode.SERVER_EXITED,
        ReasonCode.POD_REFUSED,
    ]


def test_a_server_that_was_not_held_to_them_is_not_tried_without_them() -> None:
    def unheld(runner: Runner) -> None:
        runner.restricted = False

    candidate = restricted(Candidates(), Story(seen=exited(1)), then=[Story()])
    report = Course(with_runner(candidate, unheld), spec={"num_tries": 1}).run()
    assert report.finding.reason is ReasonCode.SERVER_EXITED
    assert len(report.serving_binaries[0].attempts) == 1


def test_what_giving_up_restrictions_means_is_the_platforms() -> None:
    slow = Story(status=ModelStatusReport(ModelStatus.NOT_READY, "LOADING"))
    report = Course(restricted(Candidates(), slow, then=[Story()], relaxing=OF_A_SANDBOX), spec={"num_tries": 1}).run()
    assert report.blessed
    report = Course(restricted(Candidates(), slow, then=[Story()]), spec={"num_tries": 1}).run()
    assert report.finding.reason is ReasonCode.LOAD_TIMEOUT


# ---------------------------------------------------------------- slots


@pytest.fixture
def full() -> Iterable[Slots]:
    """One slot, which somebody has."""
    slots = Slots(1, f"test.{os.urandom(6).hex()}")
    with slots.enter():
        yield slots


def test_a_slot_that_does_not_come_free_is_waited_for_and_no_limit_counts_it(full: Slots) -> None:
    candidate = dataclasses.replace(Candidates().make(Story(launch=QUOTA), Story()), takes_a_slot=True)
    course = Course(candidate, slots=full, spec={"total_time_seconds": 100, "max_loading_time_seconds": 20})
    report = course.run()
    assert report.blessed
    note = "It was not waited for a slot among the model servers of this machine: none came free in time."
    for attempt in report.serving_binaries[0].attempts:
        assert attempt.phases[0].name == "wait"
        assert attempt.phases[0].seconds == pytest.approx(100.0)
        assert attempt.notes == (note,)
    assert course.said[0] == (
        "told: waiting for a slot: 1 model servers are at work on this machine (INFRA_VALIDATOR_SERVERS_AT_ONCE)"
    )
    # What remains is all but the pause between the two attempts.
    assert course.validation.total.remaining() == pytest.approx(99.0)


def test_a_server_elsewhere_waits_for_no_slot(full: Slots) -> None:
    for slots in (full, None):
        course = Course(Candidates().make(Story()), slots=slots)
        report = course.run()
        assert "wait" not in [phase.name for phase in report.serving_binaries[0].attempts[0].phases]
        assert report.serving_binaries[0].attempts[0].notes == ()


@pytest.mark.parametrize("takes_a_slot", [True, False])
def test_without_a_bound_none_waits_for_another(takes_a_slot: bool) -> None:
    together = threading.Barrier(2)

    def meet(runner: Runner) -> None:
        together.wait(PATIENCE)

    made = Candidates()
    two = [dataclasses.replace(with_runner(made.make(Story()), meet), takes_a_slot=takes_a_slot) for _ in range(2)]
    for binary in Course(*two).run().serving_binaries:
        assert binary.attempts[0].notes == ()
        assert binary.attempts[0].phases[0].name == "prepare"


def test_the_total_limit_is_put_off_by_the_longest_wait_of_all(full: Slots) -> None:
    made = Candidates()
    waits = dataclasses.replace(made.make(Story()), takes_a_slot=True)
    course = Course(
        waits, made.make(Story()), slots=full, spec={"total_time_seconds": 100, "max_loading_time_seconds": 20}
    )
    assert course.validation.total.remaining() == pytest.approx(100.0)
    assert course.run().blessed
    assert course.validation.total.remaining() == pytest.approx(100.0)


# ---------------------------------------------------------------- what an attempt failed of


@pytest.mark.parametrize(
    ("reason", "late"),
    [
        (ReasonCode.LOAD_TIMEOUT, ReasonCode.TOTAL_TIMEOUT),
        (ReasonCode.QUERY_TIMEOUT, ReasonCode.TOTAL_TIMEOUT),
        (ReasonCode.REQUESTS_TOO_SLOW, ReasonCode.TOTAL_TIMEOUT),
        (ReasonCode.REQUEST_FAILED, ReasonCode.REQUEST_FAILED),
    ],
)
def test_a_limit_that_the_total_one_cut_short_blames_nobody(reason: ReasonCode, late: ReasonCode) -> None:
    for seconds in (1.0, 1e6):
        failure = AttemptFailed(reason, "so it was")
        clock = HandClock()

        def requests(clock: HandClock = clock, seconds: float = seconds) -> list[SampleRequest]:
            clock.now += seconds
            return [REQUEST]

        candidate = Candidates().make(Story(answer=failure))
        report = Course(candidate, spec={"num_tries": 1}, requests=requests, clock=clock).run()
        assert report.finding.reason is (late if seconds > 1 else reason)
        assert report.finding.detail == (failure.sentence if late is not reason and seconds > 1 else "so it was")


def test_a_wait_for_the_model_that_the_total_limit_ended_is_inconclusive() -> None:
    waiting = Story(status=ModelStatusReport(ModelStatus.NOT_READY, "LOADING"))
    spec = {"total_time_seconds": 11, "max_loading_time_seconds": 10, "num_tries": 2}
    report = Course(Candidates().make(waiting, waiting), spec=spec).run()
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, ReasonCode.TOTAL_TIMEOUT)
    assert [attempt.finding.reason for attempt in report.serving_binaries[0].attempts] == [
        ReasonCode.LOAD_TIMEOUT,
        ReasonCode.TOTAL_TIMEOUT,
    ]


class Broken(Binary):
    """A serving binary whose log always says that the server is broken, or that the model cannot be read."""

    def __init__(self, reason: ReasonCode) -> None:
        super().__init__()
        self.reason, self.asked = reason, 0

    def Explain(self, log: str) -> tuple[ReasonCode, str] | None:
        self.asked += 1
        return self.reason, f"The log says: {log}"


@pytest.mark.parametrize(
    ("named", "seen", "counts"),
    [
        (ReasonCode.SERVER_BROKEN, exited(1), ReasonCode.SERVER_BROKEN),
        (ReasonCode.MODEL_LOAD_FAILED, exited(1), ReasonCode.MODEL_LOAD_FAILED),
        (ReasonCode.PORT_NOT_AVAILABLE, exited(1), ReasonCode.PORT_NOT_AVAILABLE),
        (ReasonCode.PORT_NOT_AVAILABLE, Observation.gone(ReasonCode.SERVER_KILLED, "x"), ReasonCode.SERVER_KILLED),
        (ReasonCode.MODEL_LOAD_FAILED, Observation.gone(ReasonCode.JOB_ABORTED, "x"), ReasonCode.JOB_ABORTED),
    ],
)
def test_a_log_that_names_a_cause_of_what_was_seen(named: ReasonCode, seen: Observation, counts: ReasonCode) -> None:
    binary = Broken(named)
    candidate = dataclasses.replace(Candidates().make(*[Story(seen=seen, log="words")] * 9), binary=binary)
    report = Course(candidate, spec={"num_tries": 1}).run()
    first = report.serving_binaries[0].attempts[0]
    assert first.finding.reason is counts
    assert (first.finding.detail == "The log says: words") is (counts is named)
    assert (binary.asked > 0) is (seen.reason is not ReasonCode.JOB_ABORTED)


def test_a_job_that_is_gone_while_it_is_asked_is_explained_as_any_end() -> None:
    story = Story(answer=JobGone(exited(1)), log="Op type not registered 'Foo'")
    report = Course(Candidates().make(story), requests=lambda: [REQUEST]).run()
    assert report.finding.reason is ReasonCode.OP_NOT_REGISTERED


@pytest.mark.parametrize(
    ("error", "reason", "detail"),
    [
        (ZeroDivisionError("x"), ReasonCode.INTERNAL_ERROR, "ZeroDivisionError: x"),
        (OSError(errno.EMFILE, "no more"), ReasonCode.RESOURCES_EXHAUSTED, "[Errno 24] no more."),
        (MemoryError(), ReasonCode.RESOURCES_EXHAUSTED, "MemoryError."),
    ],
)
def test_a_fault_of_our_own_is_told_with_its_trace(
    error: Exception, reason: ReasonCode, detail: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        report = Course(Candidates().make(Story(answer=error)), requests=lambda: [REQUEST], spec={"num_tries": 1}).run()
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, reason)
    assert report.finding.detail == detail
    told = [record.getMessage() for record in caplog.records if "inside the validator" in record.getMessage()]
    assert len(told) == (reason is ReasonCode.INTERNAL_ERROR)
    assert all(line.rstrip().endswith("ZeroDivisionError: x") for line in told)


# ---------------------------------------------------------------- what is handed on


def secret_request() -> SampleRequest:
    message = pb.PredictRequest()
    message.inputs["x"].CopyFrom(tensor(tf.DT_STRING, (1,), [b"a-very-secret-value"]))
    return dataclasses.replace(REQUEST, payload=message.SerializeToString())


@pytest.mark.parametrize("show", [False, True])
def test_what_was_sent_is_taken_out_of_all_that_a_server_says(show: bool, caplog: pytest.LogCaptureFixture) -> None:
    quoting = "It was sent a-very-secret-value today"
    story = Story(log=quoting, answer=AttemptFailed(ReasonCode.REQUEST_FAILED, quoting))
    spec = {"num_tries": 1, "show_requests": show}
    report = Course(Candidates().make(story), requests=lambda: [secret_request()], spec=spec).run()
    assert ("secret" in report.serving_binaries[0].server_log) is show
    assert ("secret" in report.finding.detail) is show
    with caplog.at_level(logging.ERROR):
        story = Story(answer=ZeroDivisionError(quoting))
        report = Course(Candidates().make(story), requests=lambda: [secret_request()], spec=spec).run()
    assert ("secret" in report.finding.detail) is show
    assert ("secret" in caplog.text.partition("inside the validator")[2]) is show


def test_a_redaction_may_know_what_was_sent_before() -> None:
    redaction = Redaction()
    list(redaction.noting(RequestSource(lambda: [secret_request()]))())
    course = Course(Candidates().make(Story(log="a-very-secret-value")), redaction=redaction)
    assert course.validation.redaction is redaction
    assert "secret" not in course.run().serving_binaries[0].server_log


def test_what_puts_servers_under_load_is_made_for_each_candidate() -> None:
    made: list[str] = []

    def under_load(candidate: Candidate) -> UnderLoad:
        made.append(candidate.binary.label)
        return alone

    course = Course(Candidates().make(crashed(), Story()), under_load=under_load, model_size_bytes=7)
    attempts = course.run().serving_binaries[0].attempts
    assert made == ["told", "told"]
    assert [attempt.measurements.model_size_bytes for attempt in attempts if attempt.measurements] == [7, 7]


@pytest.mark.parametrize(("given", "concurrency"), [({}, 8), ({"concurrency": 3}, 3)])
def test_how_many_requests_are_under_way_at_once(given: dict[str, Any], concurrency: int) -> None:
    candidate = Candidates().make(Story())
    seen = []

    def make_client(endpoint: str) -> Any:
        client: Any = candidate.make_client(endpoint)
        send = client.SendRequests

        def noted(requests: Any, deadline: Deadline, job: Any, concurrency: int) -> int:
            seen.append(concurrency)
            return int(send(requests, deadline, job, concurrency))

        client.SendRequests = noted
        return client

    Course(dataclasses.replace(candidate, make_client=make_client), requests=lambda: [REQUEST], **given).run()
    assert seen == [concurrency]


def test_a_runner_bears_the_validations_name() -> None:
    made = Candidates()
    Course(made.make(Story()), run_id="run").run()
    assert made.runners[0].run_id == "run"


# ---------------------------------------------------------------- the verdict over all


def binary(label: str, verdict: Verdict, detail: str = "", advisory: bool = False) -> BinaryReport:
    reason = {
        Verdict.BLESSED: ReasonCode.BLESSED,
        Verdict.NOT_BLESSED: ReasonCode.SERVER_EXITED,
        Verdict.INCONCLUSIVE: ReasonCode.IMAGE_NOT_FOUND,
    }[verdict]
    return BinaryReport("b", label, "p", advisory, verdict, Finding(reason, detail), ())


YES, NO, UNKNOWN = Verdict.BLESSED, Verdict.NOT_BLESSED, Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("reports", "verdict", "reason", "detail"),
    [
        ([binary("a", YES)], YES, ReasonCode.BLESSED, ""),
        ([binary("a", NO, "x")], NO, ReasonCode.SERVER_EXITED, "x"),
        ([binary("a", YES), binary("b", NO, "x")], NO, ReasonCode.SERVER_EXITED, "(b) x"),
        ([binary("a", UNKNOWN, "x"), binary("b", NO)], NO, ReasonCode.SERVER_EXITED, "(b)"),
        ([binary("a", NO, "x"), binary("b", NO, "y")], NO, ReasonCode.SERVER_EXITED, "(a) x"),
        ([binary("a", UNKNOWN, "x"), binary("b", YES)], UNKNOWN, ReasonCode.IMAGE_NOT_FOUND, "(a) x"),
        ([binary("a", NO, "x", advisory=True), binary("b", YES)], YES, ReasonCode.BLESSED, ""),
        ([binary("a", UNKNOWN, "x"), binary("b", NO, advisory=True)], UNKNOWN, ReasonCode.IMAGE_NOT_FOUND, "(a) x"),
    ],
)
def test_the_verdict_over_all(reports: list[BinaryReport], verdict: Verdict, reason: ReasonCode, detail: str) -> None:
    found, finding = decide(reports)
    assert (found, finding.reason, finding.detail) == (verdict, reason, detail)


def test_advisory_serving_binaries_alone_decide_nothing() -> None:
    for reports in ([], [binary("a", YES, advisory=True)]):
        with pytest.raises(UsageError, match="Every serving binary is advisory"):
            decide(reports)
