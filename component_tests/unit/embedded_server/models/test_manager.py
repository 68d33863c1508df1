"""The embedded server's manager (contract 2.3): what is loaded and unloaded, in which order, and what waits for what."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.embedded_server.engine.session import Session
from infra_validator.embedded_server.models.manager import Manager, RetryPolicy
from infra_validator.embedded_server.models.servable import Servable
from infra_validator.embedded_server.models.state_monitor import State, StateMonitor, describe_failures
from infra_validator.embedded_server.status import Code, StatusError, not_found


class FakeSession:
    """A session without a graph."""

    meta_graph = b""
    closed = False

    def close(self) -> None:
        self.closed = True


class Loads:
    """A loader that does what a test says, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.failing: set[int] = set()
        self.blocked: dict[int, threading.Event] = {}
        self.sessions: dict[int, FakeSession] = {}

    def __call__(self, name: str, version: int, directory: str) -> Servable:
        self.asked.append(version)
        if version in self.blocked:
            assert self.blocked[version].wait(30)
        if version in self.failing:
            raise not_found(f"no {directory}")
        self.sessions[version] = FakeSession()
        return Servable(name, version, cast(Session, self.sessions[version]))


NO_RETRIES = RetryPolicy(0)


class World:
    def __init__(self, retries: RetryPolicy = NO_RETRIES) -> None:
        self.loads = Loads()
        self.monitor = StateMonitor()
        self.manager = Manager(self.loads, self.monitor, retries, lambda *_: None)

    def aspire(self, *versions: int) -> None:
        self.manager.aspire("m", {version: f"/m/{version}" for version in versions})

    def state(self, version: int) -> State | None:
        seen = self.monitor.state("m", version)
        return seen.state if seen else None

    def until(self, question: Callable[[], Any]) -> None:
        wait_until(lambda: question() or None, Deadline.after(30))

    def until_state(self, version: int, state: State) -> None:
        self.until(lambda: self.state(version) is state)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    made.manager.end_initial_load()
    yield made
    made.manager.close()


def test_the_highest_version_is_loaded_first(world: World) -> None:
    world.aspire(1, 3, 2)
    for version in (1, 2, 3):
        world.until_state(version, State.AVAILABLE)
    assert world.loads.asked == [3, 2, 1]
    held = world.manager.find("m")
    assert held.version == 3
    held.release()


def test_a_new_version_is_loaded_before_the_old_one_is_unloaded(world: World) -> None:
    world.aspire(1)
    world.until_state(1, State.AVAILABLE)
    world.loads.blocked[2] = threading.Event()
    world.aspire(2)
    world.until(lambda: 2 in world.loads.asked)
    assert world.state(1) is State.AVAILABLE
    world.loads.blocked[2].set()
    world.until_state(1, State.END)
    assert world.state(2) is State.AVAILABLE
    assert world.loads.sessions[1].closed


def test_a_failed_new_version_keeps_the_old_one_and_is_not_tried_again(world: World) -> None:
    world.aspire(1)
    world.until_state(1, State.AVAILABLE)
    world.loads.failing.add(2)
    world.aspire(2)
    world.until_state(2, State.END)
    world.loads.failing.clear()
    world.aspire(2)
    world.aspire(2, 3)
    world.until_state(3, State.AVAILABLE)
    assert world.loads.asked == [1, 2, 3]


def test_a_failed_version_that_was_away_is_tried_again_where_nothing_else_serves(world: World) -> None:
    world.loads.failing.add(2)
    world.aspire(2)
    world.until_state(2, State.END)
    world.loads.failing.clear()
    world.aspire()
    world.until(lambda: not world.manager._requested)
    world.aspire(2)
    world.until_state(2, State.AVAILABLE)


def test_what_serves_stays_whatever_becomes_of_the_version_that_failed(world: World) -> None:
    """2.3 items 5 and 8, trap 11: its directory goes, comes back mended, and the policy changes."""
    world.aspire(1)
    world.until_state(1, State.AVAILABLE)
    world.loads.failing.add(2)
    world.aspire(2)
    world.until_state(2, State.END)
    world.loads.failing.clear()
    for wanted in ((1,), (2,), (1,), (1, 2)):
        world.aspire(*wanted)
        world.manager.aspire(
            "other", {5: "/other/5"}
        )  # once this one is there, the manager has looked at the other, too
        world.until(lambda: world.manager.is_available("other", 5))
        world.manager.aspire("other", {})
        world.until(lambda: not world.manager.is_available("other", 5))
        assert (world.state(1), world.state(2)) == (State.AVAILABLE, State.END)
    assert [version for version in world.loads.asked if version != 5] == [1, 2]
    world.aspire(3)
    world.until_state(1, State.END)
    assert world.state(3) is State.AVAILABLE


@pytest.mark.parametrize("fails", [False, True])
def test_what_serves_stays_when_it_is_wanted_again_while_its_successor_is_loading(world: World, fails: bool) -> None:
    """As a reload to the policy ``specific {1}``; with a successor that loads after all, and one that fails."""
    world.aspire(1)
    world.until_state(1, State.AVAILABLE)
    world.loads.blocked[2] = threading.Event()
    world.loads.failing |= {2} if fails else set()
    world.aspire(2)
    world.until(lambda: 2 in world.loads.asked)
    world.aspire(1)
    world.loads.blocked[2].set()
    world.until_state(2, State.END)
    seen = world.monitor.state("m", 2)
    assert seen is not None
    assert seen.error is not None
    assert seen.error.code is (Code.NOT_FOUND if fails else Code.CANCELLED)
    if not fails:
        assert world.loads.sessions[2].closed
        world.until(lambda: not world.manager._requested)
    world.manager.aspire("other", {5: "/other/5"})
    world.until(lambda: world.manager.is_available("other", 5))
    assert world.state(1) is State.AVAILABLE
    assert world.loads.asked == [1, 2, 5]


def test_a_version_serves_until_the_one_before_it_is_back(world: World) -> None:
    """Its directory is deleted while a request still holds the one before it."""
    world.aspire(1)
    world.until_state(1, State.AVAILABLE)
    held = world.manager.find("m", 1)
    world.aspire(2)
    world.until_state(1, State.UNLOADING)
    world.aspire(1)
    world.manager.find("m", 2).release()
    held.release()
    world.until_state(2, State.END)
    assert world.state(1) is State.AVAILABLE
    assert world.loads.asked == [1, 2, 1]


def test_an_unload_waits_for_the_last_request(world: World) -> None:
    world.aspire(1)
    world.until_state(1, State.AVAILABLE)
    held = world.manager.find("m", 1)
    world.aspire()
    world.until_state(1, State.UNLOADING)
    with pytest.raises(StatusError, match="Servable not found for request: Latest"):
        world.manager.find("m")
    assert not world.loads.sessions[1].closed
    held.release()
    world.until_state(1, State.END)
    assert world.loads.sessions[1].closed


def test_a_version_that_comes_back_while_it_leaves_is_loaded_anew(world: World) -> None:
    world.aspire(1)
    world.until_state(1, State.AVAILABLE)
    held = world.manager.find("m", 1)
    world.aspire()
    world.until_state(1, State.UNLOADING)
    world.aspire(1)
    held.release()
    world.until(lambda: world.loads.asked == [1, 1] and world.state(1) is State.AVAILABLE)


def test_a_load_that_succeeds_too_late_is_unloaded_as_cancelled(world: World) -> None:
    world.loads.blocked[1] = threading.Event()
    world.aspire(1)
    world.until(lambda: world.loads.asked == [1])
    world.aspire()
    world.loads.blocked[1].set()
    world.until_state(1, State.END)
    seen = world.monitor.state("m", 1)
    assert seen is not None
    assert str(seen.error) == "CANCELLED: Loading of servable cancelled"
    assert world.loads.sessions[1].closed


def test_retries_stop_when_the_version_is_wanted_no_more() -> None:
    world = World(RetryPolicy(1000, 0.01))
    world.manager.end_initial_load()
    world.loads.failing.add(1)
    world.aspire(1)
    world.until(lambda: len(world.loads.asked) > 2)
    assert world.state(1) is State.LOADING
    world.aspire()
    world.until_state(1, State.END)
    world.manager.close()


def test_one_failing_version_holds_up_all_others_without_load_threads() -> None:
    world = World(RetryPolicy(1000, 0.01))
    world.manager.end_initial_load()
    world.loads.failing.add(1)
    world.aspire(1)
    world.until(lambda: len(world.loads.asked) > 1)
    world.manager.aspire("other", {5: "/other/5"})
    seen = len(world.loads.asked)
    world.until(lambda: len(world.loads.asked) > seen + 5)
    assert 5 not in world.loads.asked
    world.manager.close()


def test_waiting_looks_past_earlier_lives() -> None:
    monitor = StateMonitor()
    monitor.publish("m", 1, State.END)
    past = monitor.ended(["m"])
    threading.Timer(0.02, lambda: monitor.publish("m", 1, State.END, StatusError(Code.ABORTED, "x"))).start()
    failed = monitor.wait_until_settled(["m"], past)
    assert describe_failures(failed, "model(s)") == (
        "1 model(s) did not become available: {{{name: m version: 1} due to error: ABORTED: x}, }"
    )
