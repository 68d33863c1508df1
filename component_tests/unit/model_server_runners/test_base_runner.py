"""The verbs of the base class, over a platform that does as it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from component_tests.fakes.hand_clock import HandClock
from component_tests.fakes.planners import Planner
from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed, IllegalStateError, InfrastructureError, JobAborted
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.states import JobState, Observation
from infra_validator.model_server_runners.base_runner import BaseModelServerRunner, failure_of
from infra_validator.specs import ServingSpec

SPEC = ServingSpec.of({"tensorflow_serving": {}, "local_process": {}})
EXITED = Observation.gone(ReasonCode.SERVER_EXITED, "exit code 1")


class Platform(BaseModelServerRunner):
    """Attributes: seen: what _look answers; on_launch: what _launch does; undone: cleanups that ran, in order."""

    platform = "local_process"

    def __init__(self) -> None:
        super().__init__("/model", Planner(("server",)), SPEC)
        self.seen = Observation.running()
        self.on_launch: Callable[[], None] = lambda: None
        self.prepared: list[Deadline] = []
        self.undone: list[str] = []
        self.log = "log"

    def undo(self, name: str) -> None:
        self.register_cleanup(f"remove {name}", lambda deadline: self.undone.append(name))

    def _prepare(self, deadline: Deadline) -> None:
        self.prepared.append(deadline)

    def _launch(self) -> None:
        self.on_launch()

    def _look(self) -> Observation:
        return self.seen

    def _find_endpoint(self) -> str:
        return "host:8500"

    def _tail_logs(self) -> str:
        return self.log


def soon() -> Deadline:
    return Deadline.after(1, HandClock())


def test_the_way_of_a_job() -> None:
    runner = Platform()
    states = [runner.state]
    runner.Start()
    states.append(runner.state)
    assert runner.WaitUntilRunning(soon()) is True
    states.append(runner.state)
    assert runner.GetEndpoint() == "host:8500"
    runner.Stop()
    states.append(runner.state)
    assert states == [JobState.INITIAL, JobState.SCHEDULED, JobState.RUNNING, JobState.END]


def test_start_prepares_unless_somebody_did() -> None:
    runner = Platform()
    mine = soon()
    runner.Prepare(mine)
    runner.Start()
    assert runner.prepared == [mine]
    other = Platform()
    other.Start()
    assert len(other.prepared) == 1


def test_start_twice_is_an_error() -> None:
    runner = Platform()
    runner.Start()
    with pytest.raises(IllegalStateError, match="make a new runner"):
        runner.Start()


def test_a_platform_that_refuses_is_not_asked_again() -> None:
    def refuse() -> None:
        raise InfrastructureError(ReasonCode.BINARY_NOT_FOUND)

    runner = Platform()
    runner.on_launch = refuse
    with pytest.raises(InfrastructureError):
        runner.Start()
    with pytest.raises(IllegalStateError):
        runner.Start()
    runner.Stop()
    assert runner.state is JobState.END


@pytest.mark.parametrize("deadline", [soon(), 0.0, 1_000_000_000.0])
def test_a_job_that_never_ran_is_not_the_model_s_fault(deadline: Deadline | float) -> None:
    runner = Platform()
    runner.seen = Observation.pending("waiting for a node")
    runner.Start()
    with pytest.raises(InfrastructureError) as caught:
        runner.WaitUntilRunning(deadline)
    assert caught.value.reason is ReasonCode.SERVER_NOT_STARTED
    assert "waiting for a node" in str(caught.value)


def test_a_pending_job_may_say_what_it_means_if_it_stays_so() -> None:
    runner = Platform()
    runner.seen = Observation.pending("it has told no port", ReasonCode.LOAD_TIMEOUT)
    runner.Start()
    with pytest.raises(AttemptFailed) as caught:
        runner.WaitUntilRunning(soon())
    assert caught.value.reason is ReasonCode.LOAD_TIMEOUT


def test_a_job_that_ended_before_anybody_saw_it_running_is_the_model_s_fault() -> None:
    runner = Platform()
    runner.seen = EXITED
    runner.Start()
    with pytest.raises(AttemptFailed, match="exit code 1"):
        runner.WaitUntilRunning(soon())
    assert runner.state is JobState.ABORTED


def test_an_aborted_job_is_never_recovered() -> None:
    runner = Platform()
    runner.Start()
    runner.WaitUntilRunning(soon())
    runner.seen = EXITED
    assert runner.Observe() == EXITED
    runner.seen = Observation.running()  # a platform that restarts things
    assert runner.Observe() == Observation.running()
    assert runner.state is JobState.ABORTED
    with pytest.raises(IllegalStateError):
        runner.GetEndpoint()
    with pytest.raises(IllegalStateError):
        runner.Start()


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (ReasonCode.SERVER_EXITED, AttemptFailed),
        (ReasonCode.JOB_ABORTED, JobAborted),
        (ReasonCode.SERVER_NOT_OURS, InfrastructureError),
        (ReasonCode.PORT_NOT_AVAILABLE, InfrastructureError),
    ],
)
def test_who_is_to_blame_for_an_end(reason: ReasonCode, kind: type[Exception]) -> None:
    failure = failure_of(Observation.gone(reason, "so it was", "same"))
    assert type(failure) is kind
    assert failure.fingerprint == "same"


def test_cleanups_run_last_first_and_once() -> None:
    def launch() -> None:
        for name in ("directory", "port", "process"):
            runner.undo(name)

    runner = Platform()
    runner.on_launch = launch
    runner.Start()
    runner.Stop()
    runner.Stop()
    assert runner.undone == ["process", "port", "directory"]


def test_what_was_registered_before_a_launch_broke_is_undone() -> None:
    def break_half_way() -> None:
        runner.undo("directory")
        raise InfrastructureError(ReasonCode.NO_SPACE)

    runner = Platform()
    runner.on_launch = break_half_way
    with pytest.raises(InfrastructureError):
        runner.Start()
    runner.Stop()
    assert runner.undone == ["directory"]


def test_stop_never_raises_and_tries_again_what_failed() -> None:
    broken = [True]

    def fail(deadline: Deadline) -> None:
        if broken[0]:
            raise OSError("the daemon is away")
        runner.undone.append("container")

    def launch() -> None:
        runner.undo("directory")
        runner.register_cleanup("remove container abc", fail)
        runner.undo("process")

    runner = Platform()
    runner.on_launch = launch
    runner.Start()
    runner.Stop()
    assert runner.undone == ["process", "directory"]
    assert runner.stop_problems == ["Could not remove container abc: the daemon is away"]
    broken[0] = False
    runner.Stop()
    assert runner.undone == ["process", "directory", "container"]
    assert runner.stop_problems == []


def test_stop_hands_its_deadline_down() -> None:
    given: list[Deadline] = []
    runner = Platform()
    runner.on_launch = lambda: runner.register_cleanup("stop it", given.append)
    runner.Start()
    mine = soon()
    runner.Stop(mine)
    assert given == [mine]


def test_logs_outlive_stop() -> None:
    runner = Platform()
    assert runner.GetLogs() == ""
    runner.Start()
    runner.log = "last words"
    runner.Stop()
    runner.log = "gone"
    assert runner.GetLogs() == "last words"


def test_logs_that_cannot_be_read_are_no_error() -> None:
    class NoLogs(Platform):
        def _tail_logs(self) -> str:
            raise OSError("no such file")

    runner = NoLogs()
    runner.Start()
    assert "no such file" in runner.GetLogs()
    runner.Stop()
    assert "no such file" in runner.GetLogs()


def test_looking_may_fail_without_keeping_stop_from_stopping() -> None:
    class Blind(Platform):
        def _look(self) -> Observation:
            raise OSError("no answer")

    runner = Blind()
    runner.on_launch = lambda: runner.undo("process")
    runner.Start()
    runner.Stop()
    assert runner.undone == ["process"]


def test_a_stop_while_start_prepares_keeps_it_from_launching() -> None:
    class Slow(Platform):
        def _prepare(self, deadline: Deadline) -> None:
            stopper = threading.Thread(target=self.Stop)
            stopper.start()
            stopper.join()

    runner = Slow()
    runner.on_launch = lambda: pytest.fail("launched")
    with pytest.raises(IllegalStateError, match="stopped"):
        runner.Start()
    assert runner.state is JobState.END


def test_a_stop_while_start_launches_undoes_the_launch() -> None:
    stopper = threading.Thread()

    def launch() -> None:
        nonlocal stopper
        stopper = threading.Thread(target=runner.Stop)
        stopper.start()
        stopper.join(0.05)  # it waits for us
        runner.undo("process")

    runner = Platform()
    runner.on_launch = launch
    runner.Start()
    stopper.join()
    assert runner.undone == ["process"]
    assert runner.state is JobState.END


def test_an_interruption_ends_the_wait() -> None:
    runner = Platform()
    runner.seen = Observation.pending()
    runner.Start()
    runner.interruption.set("SIGTERM")
    with pytest.raises(InfrastructureError) as caught:
        runner.WaitUntilRunning(Deadline.after(3600))
    assert caught.value.reason is ReasonCode.INTERRUPTED
    runner.Stop()
    assert runner.state is JobState.END


@given(st.lists(st.sampled_from(["Start", "Wait", "Endpoint", "Observe", "Logs", "Stop", "dies"]), max_size=12))
def test_no_order_of_calls_leaves_anything_or_raises_a_stranger(calls: list[str]) -> None:
    runner = Platform()
    runner.on_launch = lambda: runner.undo("process")
    verbs: dict[str, Callable[[], object]] = {
        "Start": runner.Start,
        "Wait": lambda: runner.WaitUntilRunning(soon()),
        "Endpoint": runner.GetEndpoint,
        "Observe": runner.Observe,
        "Logs": runner.GetLogs,
        "Stop": runner.Stop,
        "dies": lambda: setattr(runner, "seen", EXITED),
    }
    launched = 0
    for call in calls:
        try:
            verbs[call]()
            launched += call == "Start"
        except (IllegalStateError, AttemptFailed):
            pass
    runner.Stop()
    assert launched <= 1
    assert runner.undone == ["process"] * launched
    assert runner.state is JobState.END
