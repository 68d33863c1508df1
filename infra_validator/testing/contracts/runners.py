"""What every model server runner must do, whatever its platform: tests with real servers that misbehave."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.errors import AttemptFailed, DeadlineExceeded, IllegalStateError, InfrastructureError
from infra_validator.core.launch_plan import LaunchPlan, ModelMount
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.signals.interruption import Interruption
from infra_validator.core.states import JobState, Life, Observation
from infra_validator.model_server_runners.base_runner import BaseModelServerRunner, failure_of
from infra_validator.model_server_runners.cleanup.watchdog import kill_marked, marked_processes
from infra_validator.testing import misbehaving_server

_VARIABLE = "INFRA_VALIDATOR_CONTRACT"

Start = Callable[[str], BaseModelServerRunner]


@dataclasses.dataclass(frozen=True)
class MisbehavingServer:
    """The serving binary of the contract: ``misbehaving_server.py`` in one of its modes.

    Attributes:
      mode: which.
      chooses_its_port: whether the server writes its port to ``${port_file}``; else it is given ``${grpc_port}``.
      env: its environment, by which its processes are found again.
      image: for platforms with images: one in which the command runs.
      command: the command before the mode.
    """

    mode: str
    chooses_its_port: bool = True
    env: tuple[tuple[str, str], ...] = ()
    image: str = ""
    command: tuple[str, ...] = (sys.executable, misbehaving_server.__file__)

    def MakeLaunchPlan(self, model_path: str, platform: str) -> LaunchPlan:
        port = "--port_file=${port_file}" if self.chooses_its_port else "--port=${grpc_port}"
        return LaunchPlan(
            binary="tensorflow_serving",
            label=f"misbehaving server, {self.mode}",
            model=ModelMount(model_path, "/models", "m", 1),
            image=self.image,
            command=(*self.command, self.mode),
            args=(port, "--bind_address=${bind_address}"),
            env=dict(self.env),
        )


class RunnerHooks:
    """What a platform's tests say of it.

    Attributes:
      seconds: how long a start, or a stop, may take at most.
      chooses_its_port: whether the server is to tell its port (``${port_file}``); else the runner chooses it (``${grpc_port}``).
      directory: of the test, empty but for ``model`` and ``temporary``, which is TMPDIR.
      model: the path of a model that no server of the contract reads.
    """

    seconds: float = 30.0
    chooses_its_port: bool = True
    directory: pathlib.Path
    model: str

    def make_runner(self, server: MisbehavingServer, model: str) -> BaseModelServerRunner:
        """A new runner that is to start this server. Not started."""
        raise NotImplementedError

    def left_behind(self) -> list[str]:
        """What is still there of what this test's runners made, beside processes of this machine and files in TMPDIR, which are seen."""
        return []

    def kill(self, runner: BaseModelServerRunner) -> None:
        """End the running server by SIGKILL, behind the runner's back."""
        kill_marked(self._mark)

    def open(self) -> None:
        """Called at the beginning of each test."""

    def close(self) -> None:
        """Called at the end of each test, after ``left_behind``."""

    def begin(self, directory: pathlib.Path) -> None:
        """Called at the beginning of each test, before ``open``."""
        self.directory = directory
        self.model = str(directory / "model")
        os.makedirs(self.model, exist_ok=True)
        (directory / "model" / "saved_model.pb").touch()  # an empty directory is no model

    @property
    def _mark(self) -> str:
        return f"{_VARIABLE}={self.directory}"

    def runner(self, mode: str) -> BaseModelServerRunner:
        """A runner whose server is in ``mode``."""
        env = ((_VARIABLE, str(self.directory)),)
        return self.make_runner(MisbehavingServer(mode, self.chooses_its_port, env), self.model)

    def left(self) -> list[str]:
        """All that is still there, processes and temporary files of this machine included."""
        temporary = self.directory / "temporary"
        files = [f"file {path}" for path in temporary.iterdir()] if temporary.exists() else []
        return [*(f"process {pid}" for pid in marked_processes(self._mark)), *files, *self.left_behind()]

    def gone(self) -> list[str]:
        """What is left once there was time for it to go, where that goes on beside; empty: nothing."""
        try:
            wait_until(lambda: None if self.left() else True, Deadline.after(self.seconds))
        except DeadlineExceeded:
            return self.left()
        return []

    @pytest.fixture(autouse=True)
    def _around(self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        (tmp_path / "temporary").mkdir()
        monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
        monkeypatch.setattr(tempfile, "tempdir", None)
        self.begin(tmp_path)
        self.open()
        try:
            yield
            assert self.left() == [], "it has left something behind"
        finally:
            kill_marked(self._mark)
            self.close()


class ModelServerRunnerContract(RunnerHooks):
    """What the base runner promises, whatever the platform."""

    @pytest.fixture
    def start(self) -> Iterator[Start]:
        """Makes and starts runners; stops them at the end, whatever the test did."""
        runners: list[BaseModelServerRunner] = []

        def start(mode: str) -> BaseModelServerRunner:
            runner = self.runner(mode)
            runner.stop_grace_seconds = 0.3
            runners.append(runner)
            runner.Start()
            return runner

        yield start
        for runner in runners:
            self.stop(runner)
            assert runner.stop_problems == []

    def stop(self, runner: BaseModelServerRunner) -> None:
        """Stop it; a Stop that hangs fails the test, and one that raises."""
        raised: list[BaseException] = []

        def stopping() -> None:
            try:
                runner.Stop(Deadline.after(self.seconds))
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=stopping, daemon=True)
        thread.start()
        thread.join(2 * self.seconds)
        assert not thread.is_alive(), "Stop hangs: it is still at work long after its deadline"
        assert raised == [], "Stop raises"

    def running(self, runner: BaseModelServerRunner) -> BaseModelServerRunner:
        """The runner, once its server runs."""
        assert runner.WaitUntilRunning(Deadline.after(self.seconds)) is True
        return runner

    def answering(self, runner: BaseModelServerRunner) -> BaseModelServerRunner:
        """The runner, once its server says that it has got as far as to answer."""

        def says() -> bool | None:
            assert runner.Observe().life is not Life.GONE, "it is said to be gone"
            return True if misbehaving_server.ANSWERS in runner.GetLogs() else None

        self.running(runner)
        wait_until(says, Deadline.after(self.seconds), news=runner.news)
        return runner

    def end_of(self, runner: BaseModelServerRunner) -> Observation:
        """What is seen of the job once it is gone, as a validation waits for it."""

        def gone() -> Observation | None:
            seen = runner.Observe()
            return seen if seen.life is Life.GONE else None

        return wait_until(gone, Deadline.after(self.seconds), news=runner.news)

    # ------------------------------------------------------------------------------------------------------- tests

    def test_the_way_of_a_job(self, start: Start) -> None:
        runner = start("good")
        states = [runner.state]
        self.answering(runner)
        states.append(runner.state)
        host, _, port = runner.GetEndpoint().rpartition(":")
        assert host
        assert port.isdigit()
        self.stop(runner)
        states.append(runner.state)
        assert states == [JobState.SCHEDULED, JobState.RUNNING, JobState.END]
        assert misbehaving_server.ANSWERS in runner.GetLogs()
        assert self.left() == []

    def test_a_runner_that_is_made_has_done_nothing(self) -> None:
        self.runner("good")
        assert self.left() == []

    def test_nothing_is_possible_before_start(self) -> None:
        runner = self.runner("good")
        with pytest.raises(AssertionError):
            runner.GetEndpoint()
        with pytest.raises(IllegalStateError):
            runner.WaitUntilRunning(Deadline.after(1))
        assert runner.GetLogs() == ""
        self.stop(runner)
        self.stop(runner)
        with pytest.raises(IllegalStateError):
            runner.Start()

    def test_a_runner_is_used_once(self, start: Start) -> None:
        runner = start("good")
        with pytest.raises(IllegalStateError):
            runner.Start()
        self.stop(runner)
        with pytest.raises(IllegalStateError):
            runner.Start()
        with pytest.raises(IllegalStateError):
            runner.GetEndpoint()
        with pytest.raises(IllegalStateError):
            runner.WaitUntilRunning(Deadline.after(1))

    def test_no_endpoint_before_running(self, start: Start) -> None:
        runner = start("good")
        with pytest.raises(AssertionError, match="WaitUntilRunning"):
            runner.GetEndpoint()

    def test_a_timestamp_is_a_deadline(self, start: Start) -> None:
        assert start("good").WaitUntilRunning(time.time() + self.seconds) is True

    def test_stop_right_after_start(self, start: Start) -> None:
        self.stop(start("good"))
        assert self.left() == []

    @pytest.mark.parametrize(
        ("mode", "reason", "detail", "log"),
        [
            ("exits_0", ReasonCode.SERVER_EXITED, "exit code 0", ""),
            ("exits_1", ReasonCode.SERVER_EXITED, "exit code 1", misbehaving_server.COMPLAINS),
            ("segfault", ReasonCode.SERVER_KILLED, "signal SIGSEGV", misbehaving_server.CRASHES),
        ],
    )
    def test_an_end_has_its_cause(self, start: Start, mode: str, reason: ReasonCode, detail: str, log: str) -> None:
        runner = start(mode)
        seen = self.end_of(runner)
        assert (seen.reason, seen.detail) == (reason, detail)
        assert runner.state is JobState.ABORTED
        with pytest.raises(AttemptFailed, match=detail):
            runner.WaitUntilRunning(Deadline.after(1))
        assert log in runner.GetLogs()
        self.stop(runner)
        assert log in runner.GetLogs()
        assert runner.state.value == JobState.END.value

    def test_the_same_end_has_the_same_fingerprint(self, start: Start) -> None:
        first, second, other = (failure_of(self.end_of(start(mode))) for mode in ("exits_1", "exits_1", "segfault"))
        assert first.fingerprint == second.fingerprint != other.fingerprint

    def test_an_end_is_news(self, start: Start) -> None:
        runner = self.answering(start("good"))
        seen = runner.news.count
        self.kill(runner)
        runner.news.wait(seen, self.seconds)
        assert runner.news.count > seen, "nothing announces runner.news when the server ends"
        assert self.end_of(runner).reason in (ReasonCode.SERVER_KILLED, ReasonCode.JOB_ABORTED)

    def test_a_server_that_ignores_sigterm_is_killed(self, start: Start) -> None:
        self.stop(self.answering(start("ignores_sigterm")))
        assert self.left() == []

    def test_children_are_ended_too(self, start: Start) -> None:
        self.stop(self.answering(start("forks")))
        assert self.left() == []

    def test_children_that_outlive_their_server_are_ended(self, start: Start) -> None:
        runner = start("leaves_children")
        assert self.end_of(runner).detail == "exit code 0"
        self.stop(runner)
        assert self.left() == []

    def test_a_server_that_says_nothing_stays_and_is_stopped(self, start: Start) -> None:
        runner = start("mute")
        try:
            outcome = runner.WaitUntilRunning(Deadline.after(0.3))
        except AttemptFailed as failure:  # where the server tells its ports, and has not
            outcome = failure.reason is ReasonCode.LOAD_TIMEOUT
        assert outcome is True
        assert runner.Observe().life is not Life.GONE

    def test_an_interruption_ends_a_wait_and_stop_still_stops(self, start: Start) -> None:
        runner = self.running(start("good"))
        runner.interruption = Interruption()
        runner.interruption.wakes(runner.news)
        runner.interruption.set("SIGTERM")
        with pytest.raises(InfrastructureError) as caught:
            self.end_of(runner)
        assert caught.value.reason is ReasonCode.INTERRUPTED
        self.stop(runner)
        assert self.left() == []

    def test_everything_works_off_the_main_thread(self) -> None:
        problems: list[BaseException] = []

        def work() -> None:
            runner = self.runner("good")
            try:
                runner.Start()
                self.running(runner)
            except BaseException as error:
                problems.append(error)
            finally:
                self.stop(runner)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert problems == []

    def test_any_thread_may_stop(self, start: Start) -> None:
        runner = self.running(start("good"))
        stoppers = [threading.Thread(target=runner.Stop) for _ in range(3)]
        for stopper in stoppers:
            stopper.start()
        for stopper in stoppers:
            stopper.join()
        assert runner.state is JobState.END
        assert self.left() == []


class KilledValidatorContract(RunnerHooks):
    """What is left when the validator itself is killed: for platforms whose jobs can be undone from outside (a watchdog)."""

    @pytest.mark.parametrize("mode", ["good", "forks"])
    def test_a_validator_that_is_killed_leaves_nothing(self, mode: str) -> None:
        test = type(self)
        command = [sys.executable, "-m", "infra_validator.testing.contracts.holder", test.__module__, test.__name__]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with subprocess.Popen(
            [*command, str(self.directory), mode], stdout=subprocess.PIPE, text=True, env=environment
        ) as held:
            try:
                assert held.stdout is not None
                assert held.stdout.readline() == "running\n"
                assert self.left() != []
            finally:
                held.send_signal(signal.SIGKILL)
        assert self.gone() == [], "a killed validator has left something behind"
