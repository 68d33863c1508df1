"""Slots: a bound on the model servers that are at work at once, over real sockets, threads, processes and forks."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from component_tests.fakes.hand_clock import HandClock
from component_tests.unit.validation.test_validation import Candidates, Story
from infra_validator.api import run_validation
from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import UsageError
from infra_validator.core.progress import PhaseBegan, Progress
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.signals.interruption import Interruption
from infra_validator.report.verdict import Verdict
from infra_validator.specs import ValidationSpec
from infra_validator.validation.slots import Slots, default_bound
from infra_validator.validation.validation import Validation

PATIENCE = 60.0  # seconds that anything may take which must happen

HOLDER = """
import os, sys, time
from infra_validator.validation.slots import Slots
slot = Slots(int(sys.argv[2]), sys.argv[1]).enter()
assert slot.is_free() and not slot.problem
if len(sys.argv) > 3 and os.fork() == 0:
    os.write(1, f"{os.getpid()}\\n".encode())
    time.sleep(3600)
os.write(1, b"held\\n")
time.sleep(3600)
"""


@pytest.fixture
def prefix() -> str:
    """What the names of this test's slots begin with: nobody else's."""
    return f"test.{os.urandom(6).hex()}"


@contextlib.contextmanager
def holder(prefix: str, *more: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Another process that has a slot, and what it says."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, prefix, "1", *more], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process, sorted(process.stdout.readline().strip() for _ in range(1 + len(more)))
        finally:
            process.kill()


def free(slots: Slots) -> bool:
    """Whether who comes now would not wait."""
    with slots.enter() as slot:
        return slot.is_free()


def test_first_come_first_served(prefix: str) -> None:
    slots = Slots(2, prefix)
    first, second, third, fourth = (slots.enter() for _ in range(4))
    assert [slot.is_free() for slot in (first, second, third, fourth)] == [True, True, False, False]
    second.release()
    assert [slot.is_free() for slot in (first, third, fourth)] == [True, True, False]
    with slots.enter() as fifth:
        assert not fifth.is_free()
    first.release()
    third.release()
    assert fourth.is_free()
    fourth.release()
    fourth.release()
    assert free(slots)


def test_without_a_bound_nobody_waits_and_nobody_waits_for_them(prefix: str) -> None:
    with Slots(0, prefix).enter() as unbounded:
        assert unbounded.is_free()
        assert free(Slots(1, prefix))
        with Slots(1, prefix).enter():
            assert not free(Slots(1, prefix))
            assert free(Slots(0, prefix))
            assert free(Slots(2, prefix))


def test_the_bound_holds_among_threads_that_all_get_their_turn(prefix: str) -> None:
    slots, lock, at_work, most, order = Slots(3, prefix), threading.Lock(), 0, 0, []

    def work(number: int) -> None:
        nonlocal at_work, most
        with slots.enter() as slot:
            slot.wait(Deadline.after(PATIENCE), Interruption())
            with lock:
                at_work += 1
                most = max(most, at_work)
                order.append(number)
            time.sleep(0.005)
            with lock:
                at_work -= 1

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        list(pool.map(work, range(50)))
    assert sorted(order) == list(range(50))
    assert 1 <= most <= 3


def test_a_killed_holder_frees_its_slot(prefix: str) -> None:
    with holder(prefix) as (process, _), Slots(1, prefix).enter() as slot:
        assert not slot.is_free()
        process.kill()
        slot.wait(Deadline.after(PATIENCE), Interruption())
        assert not slot.problem


def test_a_stopped_holder_keeps_its_slot(prefix: str) -> None:
    with holder(prefix) as (process, _), Slots(1, prefix).enter() as slot:
        process.send_signal(signal.SIGSTOP)
        assert not slot.is_free()


def test_what_a_fork_inherited_holds_no_slot(prefix: str) -> None:
    with holder(prefix, "and fork") as (process, said), Slots(1, prefix).enter() as slot:
        child = int(said[0])
        try:
            assert not slot.is_free()
            process.kill()
            slot.wait(Deadline.after(PATIENCE), Interruption())
            assert not slot.problem
            os.kill(child, 0)  # it lives, and has the socket
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_fork_that_lets_go_leaves_its_parents_slot(prefix: str) -> None:
    mine, next_one = Slots(1, prefix).enter(), Slots(1, prefix).enter()
    pid = os.fork()
    if pid == 0:
        mine.release()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert not next_one.is_free()
    mine.release()
    assert next_one.is_free()
    next_one.release()


@pytest.mark.parametrize("who", ["1.0", "OWN.0", "999999999.3", "x.y", "", "OWN.99999"])
def test_a_name_that_nobody_of_ours_holds_keeps_nobody_waiting(prefix: str, who: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as foreign:
        foreign.bind(f"\0{prefix}.{os.geteuid()}.{0:020d}.{who.replace('OWN', str(os.getpid()))}")
        assert free(Slots(1, prefix))


def test_a_name_that_cannot_be_had_is_a_problem_and_no_wait() -> None:
    slot = Slots(1, "x" * 200).enter()
    assert slot.is_free()
    assert "too long" in slot.problem


def test_an_interruption_ends_the_wait(prefix: str) -> None:
    interruption = Interruption()
    held = Slots(1, prefix).enter()
    with Slots(1, prefix).enter() as slot:
        waiting = threading.Thread(target=slot.wait, args=(Deadline.after(3600), interruption))
        waiting.start()
        interruption.set("SIGTERM")
        waiting.join(PATIENCE)
        assert not waiting.is_alive()
        assert not slot.problem
    held.release()


def test_the_wait_has_an_end(prefix: str) -> None:
    held = Slots(1, prefix).enter()
    with Slots(1, prefix).enter() as slot:
        slot.wait(Deadline.after(0.3), Interruption())
        assert slot.problem == "none came free in time"
    held.release()


@pytest.mark.parametrize("text", ["-1", "two", "1.5", "²", "99999999"])
def test_a_bound_that_is_no_number_is_refused_before_anything_is_started(
    text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setenv("INFRA_VALIDATOR_SERVERS_AT_ONCE", text)
    with pytest.raises(UsageError, match=r"INFRA_VALIDATOR_SERVERS_AT_ONCE=.*must be a number"):
        run_validation(tmp_path, {"tensorflow_serving": {}, "local_process": {}})


def test_the_bound_of_the_environment() -> None:
    assert Slots.of_environment({"INFRA_VALIDATOR_SERVERS_AT_ONCE": " 7 "}).at_once == 7
    assert Slots.of_environment({"INFRA_VALIDATOR_SERVERS_AT_ONCE": "0"}).at_once == 0
    assert Slots.of_environment({"INFRA_VALIDATOR_SERVERS_AT_ONCE": ""}).at_once == default_bound()


@pytest.mark.parametrize(
    ("quota", "bound"),
    [("100000 100000\n", 2), ("150000 100000", 3), ("10000 100000", 2), ("max 100000", None), ("", None)],
)
def test_the_default_is_two_for_each_processor(tmp_path: pathlib.Path, quota: str, bound: int | None) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    every = max(2, 2 * len(os.sched_getaffinity(0)))
    assert default_bound(str(file)) == (every if bound is None else min(bound, every))
    assert default_bound(str(tmp_path / "absent")) == every


# ---------------------------------------------------------------- in a validation


def test_limits_count_from_when_the_slot_is_had(prefix: str) -> None:
    clock = HandClock()
    lines: list[str] = []
    held = [Slots(2, prefix).enter(), Slots(2, prefix).enter()]
    events: list[Progress] = []

    def tell(event: Progress) -> None:
        events.append(event)
        if isinstance(event, PhaseBegan) and event.phase == "wait":
            clock.now += 1000.0
            held[1].release()

    validation = Validation(
        [dataclasses.replace(Candidates().make(Story()), takes_a_slot=True)],
        ValidationSpec.of({"total_time_seconds": 600, "max_loading_time_seconds": 10}),
        on_progress=lines.append,
        tell=tell,
        slots=Slots(2, prefix),
        clock=clock,
    )
    report = validation.run("/model", "m")
    assert report.verdict is Verdict.BLESSED
    phases = report.serving_binaries[0].phases
    assert [phase.name for phase in phases] == ["wait", "prepare", "start", "schedule", "load", "stop"]
    assert phases[0].seconds >= 1000.0
    assert lines[0].startswith("told: waiting for a slot: 2 model servers are at work on this machine")
    assert validation.total.remaining() == pytest.approx(600.0, abs=10.0)
    assert report.warnings == ()
    assert free(Slots(2, prefix))  # one of the two is free again
    held[0].release()


def test_who_need_not_wait_has_no_such_phase_and_the_slot_is_free_afterwards(prefix: str) -> None:
    candidate = dataclasses.replace(Candidates().make(Story()), takes_a_slot=True)
    for _ in range(3):
        report = Validation([candidate], ValidationSpec(num_tries=1), slots=Slots(1, prefix), clock=HandClock()).run(
            "", "m"
        )
        assert report.serving_binaries[0].phases[0].name == "prepare"
        candidate = dataclasses.replace(Candidates().make(Story()), takes_a_slot=True)


def test_servers_elsewhere_need_none(prefix: str) -> None:
    with Slots(1, prefix).enter():
        report = Validation([Candidates().make(Story())], ValidationSpec(), slots=Slots(1, prefix)).run("/model", "m")
    assert report.serving_binaries[0].phases[0].name == "prepare"


def test_where_no_slot_can_be_had_it_goes_on_with_a_warning() -> None:
    candidate = dataclasses.replace(Candidates().make(Story()), takes_a_slot=True)
    report = Validation([candidate], ValidationSpec(), slots=Slots(1, "x" * 200), clock=HandClock()).run("/model", "m")
    assert report.verdict is Verdict.BLESSED
    assert [w for w in report.warnings if "not waited for a slot" in w and "too long" in w]


def test_interrupted_while_it_waits(prefix: str) -> None:
    interruption = Interruption()

    def tell(event: Progress) -> None:
        if isinstance(event, PhaseBegan) and event.phase == "wait":
            interruption.set("SIGTERM")

    made = Candidates()
    with Slots(1, prefix).enter():
        report = Validation(
            [dataclasses.replace(made.make(Story()), takes_a_slot=True)],
            ValidationSpec(),
            tell=tell,
            interruption=interruption,
            slots=Slots(1, prefix),
        ).run("/model", "m")
    assert report.finding.reason is ReasonCode.INTERRUPTED
    assert made.runners == []
    assert free(Slots(1, prefix))
