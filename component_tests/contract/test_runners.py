"""One body over every runner, with real servers: what the base runner promises, whatever the platform."""

from __future__ import annotations

import pathlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from component_tests.contract.runners import RUNNERS, Platform
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.errors import AttemptFailed, IllegalStateError, InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.signals.interruption import Interruption
from infra_validator.core.states import JobState, Life, Observation
from infra_validator.model_server_clients.tensorflow_serving import TensorFlowServingClient
from infra_validator.model_server_runners.base_runner import BaseModelServerRunner, failure_of

Start = Callable[[str], BaseModelServerRunner]


@pytest.fixture(params=RUNNERS)
def platform(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Platform]:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    platform: Platform = request.param(tmp_path)
    try:
        yield platform
        assert platform.left() == []
    finally:
        platform.close()


@pytest.fixture
def start(platform: Platform) -> Iterator[Start]:
    """Makes and starts runners; stops them at the end, whatever the test did."""
    runners: list[BaseModelServerRunner] = []

    def start(mode: str) -> BaseModelServerRunner:
        runner = platform.runner(mode)
        runner.stop_grace_seconds = 0.3
        runners.append(runner)
        runner.Start()
        return runner

    yield start
    for runner in runners:
        runner.Stop()
        assert runner.stop_problems == []


def running(platform: Platform, runner: BaseModelServerRunner) -> BaseModelServerRunner:
    assert runner.WaitUntilRunning(Deadline.after(platform.seconds)) is True
    return runner


def answering(platform: Platform, runner: BaseModelServerRunner) -> BaseModelServerRunner:
    """Wait until the server has got as far as to answer."""
    with TensorFlowServingClient(running(platform, runner).GetEndpoint(), "m", 1) as client:
        client.WaitUntilModelLoaded(Deadline.after(platform.seconds), runner.Observe, runner.news)
    return runner


def state_of(runner: BaseModelServerRunner) -> JobState:
    return runner.state  # a function, so that the type checker does not take it for unchanging


def end_of(platform: Platform, runner: BaseModelServerRunner) -> Observation:
    """Wait for the job to be gone, as a validation does: in every wait."""

    def gone() -> Observation | None:
        seen = runner.Observe()
        return seen if seen.life is Life.GONE else None

    return wait_until(gone, Deadline.after(platform.seconds), news=runner.news)


def test_the_way_of_a_job(platform: Platform, start: Start) -> None:
    runner = start("good")
    states = [runner.state]
    answering(platform, runner)
    states.append(runner.state)
    runner.Stop()
    states.append(runner.state)
    assert states == [JobState.SCHEDULED, JobState.RUNNING, JobState.END]
    assert "Running gRPC ModelServer" in runner.GetLogs()
    assert platform.left() == []


def test_nothing_is_possible_before_start(platform: Platform) -> None:
    runner = platform.runner("good")
    with pytest.raises(AssertionError):
        runner.GetEndpoint()
    with pytest.raises(IllegalStateError):
        runner.WaitUntilRunning(Deadline.after(1))
    assert runner.GetLogs() == ""
    runner.Stop()
    runner.Stop()
    with pytest.raises(IllegalStateError):
        runner.Start()


def test_a_runner_is_used_once(platform: Platform, start: Start) -> None:
    runner = start("good")
    with pytest.raises(IllegalStateError):
        runner.Start()
    runner.Stop()
    with pytest.raises(IllegalStateError):
        runner.Start()
    with pytest.raises(IllegalStateError):
        runner.GetEndpoint()
    with pytest.raises(IllegalStateError):
        runner.WaitUntilRunning(Deadline.after(1))


def test_no_endpoint_before_running(start: Start) -> None:
    runner = start("good")
    with pytest.raises(AssertionError, match="WaitUntilRunning"):
        runner.GetEndpoint()


def test_a_timestamp_is_a_deadline(platform: Platform, start: Start) -> None:
    assert start("good").WaitUntilRunning(time.time() + platform.seconds) is True


def test_stop_right_after_start(platform: Platform, start: Start) -> None:
    start("good").Stop()
    assert platform.left() == []


@pytest.mark.parametrize(
    ("mode", "reason", "detail", "log"),
    [
        ("exits_0", ReasonCode.SERVER_EXITED, "exit code 0", ""),
        ("exits_1", ReasonCode.SERVER_EXITED, "exit code 1", "cannot go on: the moon is full"),
        ("load_failed", ReasonCode.SERVER_EXITED, "exit code 255", "Op type not registered 'OpThatNobodyHas'"),
        ("segfault", ReasonCode.SERVER_KILLED, "signal SIGSEGV", "about to crash"),
    ],
)
def test_an_end_has_its_cause(
    platform: Platform, start: Start, mode: str, reason: ReasonCode, detail: str, log: str
) -> None:
    runner = start(mode)
    seen = end_of(platform, runner)
    assert (seen.reason, seen.detail) == (reason, detail)
    assert state_of(runner) is JobState.ABORTED
    with pytest.raises(AttemptFailed, match=detail):
        runner.WaitUntilRunning(Deadline.after(1))
    assert log in runner.GetLogs()
    runner.Stop()
    assert log in runner.GetLogs()
    assert state_of(runner) is JobState.END


def test_the_same_end_has_the_same_fingerprint(platform: Platform, start: Start) -> None:
    first, second, other = (failure_of(end_of(platform, start(mode))) for mode in ("exits_1", "exits_1", "segfault"))
    assert first.fingerprint == second.fingerprint != other.fingerprint


def test_an_end_is_news(platform: Platform, start: Start) -> None:
    runner = answering(platform, start("good"))
    seen = runner.news.count
    platform.kill(runner)
    runner.news.wait(seen, platform.seconds)
    assert runner.news.count > seen
    assert end_of(platform, runner).reason in (ReasonCode.SERVER_KILLED, ReasonCode.JOB_ABORTED)


def test_a_server_that_ignores_sigterm_is_killed(platform: Platform, start: Start) -> None:
    answering(platform, start("ignores_sigterm")).Stop()
    assert platform.left() == []


def test_children_are_ended_too(platform: Platform, start: Start) -> None:
    answering(platform, start("forks")).Stop()
    assert platform.left() == []


def test_children_that_outlive_their_server_are_ended(platform: Platform, start: Start) -> None:
    runner = start("leaves_children")
    assert end_of(platform, runner).detail == "exit code 0"
    runner.Stop()
    assert platform.left() == []


def test_a_server_that_says_nothing_stays_and_is_stopped(platform: Platform, start: Start) -> None:
    runner = start("mute")
    try:
        outcome = runner.WaitUntilRunning(Deadline.after(0.3))
    except AttemptFailed as failure:  # where the server tells its ports, and has not
        outcome = failure.reason is ReasonCode.LOAD_TIMEOUT
    assert outcome is True
    assert runner.Observe().life is not Life.GONE


def test_an_interruption_ends_a_wait_and_stop_still_stops(platform: Platform, start: Start) -> None:
    runner = running(platform, start("good"))
    runner.interruption = Interruption()
    runner.interruption.wakes(runner.news)
    runner.interruption.set("SIGTERM")
    with pytest.raises(InfrastructureError) as caught:
        end_of(platform, runner)
    assert caught.value.reason is ReasonCode.INTERRUPTED
    runner.Stop()
    assert platform.left() == []


def test_everything_works_off_the_main_thread(platform: Platform) -> None:
    problems: list[BaseException] = []

    def work() -> None:
        runner = platform.runner("good")
        try:
            runner.Start()
            running(platform, runner)
        except BaseException as error:
            problems.append(error)
        finally:
            runner.Stop()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_any_thread_may_stop(platform: Platform, start: Start) -> None:
    runner = running(platform, start("good"))
    stoppers = [threading.Thread(target=runner.Stop) for _ in range(3)]
    for stopper in stoppers:
        stopper.start()
    for stopper in stoppers:
        stopper.join()
    assert state_of(runner) is JobState.END
    assert platform.left() == []
