"""A daemon that is away for a while, as one that is restarted: what is waited for, and what is then known of the container."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from component_tests.fakes.hand_clock import HandClock
from infra_validator.core.deadline import Deadline, News, wait_until
from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.states import Life, Observation
from infra_validator.model_server_runners.local_docker.errors import once_it_is_back
from infra_validator.model_server_runners.local_docker.watcher import ContainerWatcher

RUNNING = {"State": {"Running": True, "Status": "running"}}
EXITED = {"State": {"Running": False, "Status": "exited", "ExitCode": 137}}
AWAY = InfrastructureError(ReasonCode.DOCKER_NOT_RUNNING, "nobody listens")
REFUSED = InfrastructureError(ReasonCode.DOCKER_PERMISSION_DENIED, "not you")


class Events:
    def __init__(self) -> None:
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()

    def tell(self, action: str) -> None:
        self._events.put({"Action": action})

    def close(self) -> None:
        self._events.put(None)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while (event := self._events.get()) is not None:
            yield event


class RestartedDaemon:
    """Raises ``problem`` for whatever is named in ``away``: connect, events, container.

    Attributes:
      state: of the container.
      streams: of events, those that were opened.
      asked: how often something was asked for that is away.
    """

    def __init__(self) -> None:
        self.away: set[str] = set()
        self.problem = AWAY
        self.state: dict[str, Any] | None = RUNNING
        self.streams: list[Events] = []
        self.asked = 0

    def connect(self) -> RestartedDaemon:
        self._check("connect")
        return self

    def events(self, filters: Mapping[str, list[str]], deadline: Deadline) -> Events:
        self._check("events")
        self.streams.append(Events())
        return self.streams[-1]

    def container(self, name: str, deadline: Deadline) -> dict[str, Any] | None:
        self._check("container")
        return self.state

    def logs(self, name: str, lines: int, deadline: Deadline) -> str:
        return ""

    def close(self) -> None:
        pass

    def _check(self, what: str) -> None:
        if what in self.away:
            self.asked += 1
            raise self.problem


@pytest.fixture
def daemon() -> RestartedDaemon:
    return RestartedDaemon()


@pytest.fixture
def news() -> News:
    return News()


@pytest.fixture
def watcher(daemon: RestartedDaemon, news: News) -> Iterator[ContainerWatcher]:
    watcher = ContainerWatcher("c", daemon.connect, news, daemon_may_be_away=60.0)
    watcher.start(Deadline.after(30))
    daemon.streams[0].tell("start")
    _until(lambda: watcher.observation().life is Life.RUNNING)
    try:
        yield watcher
    finally:
        watcher.close()


@pytest.mark.parametrize("problem", [AWAY, REFUSED], ids=["away", "its socket is not ours yet"])
@pytest.mark.parametrize("what", ["connect", "events", "container"])
def test_a_container_that_outlives_a_restart_is_running(
    daemon: RestartedDaemon, watcher: ContainerWatcher, what: str, problem: InfrastructureError
) -> None:
    daemon.away, daemon.problem = {what}, problem
    daemon.streams[-1].close()
    _until(lambda: daemon.asked >= 2)
    daemon.away = set()
    opened = len(daemon.streams)
    _until(lambda: len(daemon.streams) > opened or daemon.streams[-1] is not daemon.streams[0])
    assert watcher.observation() == Observation.running()


def test_a_container_that_ended_meanwhile_was_not_the_models_doing(
    daemon: RestartedDaemon, watcher: ContainerWatcher
) -> None:
    daemon.away = {"connect"}
    daemon.streams[-1].close()
    _until(lambda: daemon.asked >= 1)
    daemon.state = EXITED
    daemon.away = set()
    _until(lambda: watcher.observation().life is Life.GONE)
    assert watcher.observation().reason is ReasonCode.JOB_ABORTED
    assert "while the Docker daemon was away" in watcher.observation().detail


def test_a_last_event_of_a_daemon_that_answers_no_more_is_looked_into_later(
    daemon: RestartedDaemon, watcher: ContainerWatcher
) -> None:
    daemon.away = {"container", "connect"}
    daemon.state = EXITED
    daemon.streams[-1].tell("die")
    _until(lambda: daemon.asked >= 2)
    assert watcher.observation() == Observation.running()
    daemon.away = set()
    _until(lambda: watcher.observation().life is Life.GONE)
    assert watcher.observation().reason is ReasonCode.JOB_ABORTED


def test_a_daemon_that_does_not_come_back(daemon: RestartedDaemon, news: News) -> None:
    watcher = ContainerWatcher("c", daemon.connect, news, daemon_may_be_away=0.1)
    watcher.start(Deadline.after(30))
    daemon.away = {"connect"}
    daemon.streams[-1].close()
    _until(lambda: watcher.observation().life is Life.GONE)
    assert watcher.observation().reason is ReasonCode.JOB_ABORTED
    assert "did not come back" in watcher.observation().detail
    watcher.close()


class TestOnceItIsBack:
    def _failing(self, times: int, problem: InfrastructureError) -> Callable[[], str]:
        left = [problem] * times

        def action() -> str:
            if left:
                raise left.pop()
            return "done"

        return action

    def test_it_is_tried_again(self) -> None:
        assert once_it_is_back(self._failing(3, AWAY), Deadline.after(10, HandClock())) == "done"

    def test_until_the_deadline(self) -> None:
        clock = HandClock()
        with pytest.raises(InfrastructureError) as caught:
            once_it_is_back(self._failing(10**6, AWAY), Deadline.after(10, clock))
        assert caught.value.reason is ReasonCode.DOCKER_NOT_RUNNING
        assert clock.monotonic() >= 110

    def test_another_failure_is_final(self) -> None:
        with pytest.raises(InfrastructureError) as caught:
            once_it_is_back(self._failing(1, REFUSED), Deadline.after(10, HandClock()))
        assert caught.value.reason is ReasonCode.DOCKER_PERMISSION_DENIED


def _until(true: Callable[[], bool]) -> None:
    wait_until(lambda: true() or None, Deadline.after(60))
