"""Which failures are tried again, and after which pauses. The clock moves by hand."""

from __future__ import annotations

import threading

import pytest

from component_tests.fakes.hand_clock import HandClock
from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed, InfrastructureError, JobAborted, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.signals.interruption import Interruption
from infra_validator.validation.retry import PAUSES, Failure, Retries, until_it_heals

QUOTA = InfrastructureError(ReasonCode.QUOTA_EXCEEDED, "pods")


def pauses(*failures: Failure, tries: int = 5, total: float = 7200.0) -> list[float | None]:
    retries = Retries(tries, Deadline.after(total, HandClock()))
    return [retries.pause_after(failure) for failure in failures]


def test_the_pauses_are_those_of_the_docs() -> None:
    assert PAUSES == (1.0, 4.0, 15.0, 60.0)


def test_what_lies_with_the_platform_is_tried_with_growing_pauses() -> None:
    assert pauses(*[QUOTA] * 8, tries=8) == [*PAUSES, 60.0, 60.0, 60.0, None]
    assert list(PAUSES) == sorted(PAUSES)


@pytest.mark.parametrize(
    "failure",
    [
        InfrastructureError(ReasonCode.POD_REFUSED, "no"),
        InfrastructureError(ReasonCode.MODEL_NOT_DELIVERED, "larger than max_size", heals=False),
        UsageError("no"),
        AttemptFailed(ReasonCode.REQUEST_FAILED, "no"),
    ],
    ids=lambda failure: failure.reason.name,
)
def test_what_cannot_heal_is_final(failure: Failure) -> None:
    assert pauses(failure) == [None]


def test_a_failure_may_be_known_to_heal_where_its_code_does_not_say_so() -> None:
    assert pauses(InfrastructureError(ReasonCode.POD_REFUSED, "no", heals=True)) == [PAUSES[0]]


def test_the_models_own_failures_are_tried_again_at_once_but_not_twice_the_same() -> None:
    crash = AttemptFailed(ReasonCode.SERVER_KILLED, "signal SIGSEGV")
    assert pauses(crash, crash) == [0.0, None]
    assert pauses(*[AttemptFailed(ReasonCode.LOAD_TIMEOUT, "slow")] * 3, tries=3) == [0.0, 0.0, None]


@pytest.mark.parametrize("code", [ReasonCode.SERVER_EXITED, ReasonCode.SERVER_KILLED, ReasonCode.SERVER_UNHEALTHY])
def test_an_end_of_the_server_that_comes_again_later_comes_again(code: ReasonCode) -> None:
    first, other = AttemptFailed(code, "one way"), AttemptFailed(code, "another way")
    assert pauses(first, other, first, tries=9) == [0.0, 0.0, None]
    assert pauses(first, other, tries=2) == [0.0, None]
    assert pauses(first, tries=1) == [None]


def test_pauses_grow_only_with_what_lies_with_the_platform() -> None:
    slow = AttemptFailed(ReasonCode.LOAD_TIMEOUT, "slow")
    assert pauses(QUOTA, slow, QUOTA, slow, tries=9) == [1.0, 0.0, 4.0, 0.0]


def test_an_abort_waits_for_the_platform() -> None:
    assert pauses(JobAborted(ReasonCode.JOB_ABORTED, "evicted")) == [PAUSES[0]]


def test_an_attempt_that_could_only_begin_after_the_total_limit_is_not_made() -> None:
    assert pauses(QUOTA, QUOTA, QUOTA, total=10.0) == [1.0, 4.0, None]
    assert pauses(QUOTA, QUOTA, total=4.0) == [1.0, None]
    assert pauses(AttemptFailed(ReasonCode.LOAD_TIMEOUT, "slow"), total=0.0) == [None]


def test_the_limit_comes_later_by_what_was_waited_for_a_slot() -> None:
    clock = HandClock()
    retries = Retries(5, Deadline.after(10, clock))
    assert (retries.waited, retries.total.remaining()) == (0.0, 10.0)
    retries.put_off(2.0)
    retries.put_off(3.0)
    assert (retries.waited, retries.total.remaining()) == (5.0, 15.0)
    clock.now += 12
    assert retries.pause_after(QUOTA) == 1.0
    clock.now += 3
    assert retries.pause_after(InfrastructureError(ReasonCode.PORT_NOT_AVAILABLE, "8500")) is None


def test_two_lost_races_for_a_port_use_up_no_try() -> None:
    assert pauses(*[InfrastructureError(ReasonCode.PORT_NOT_AVAILABLE, "8500")] * 3, tries=1) == [0.0, 0.0, None]
    assert pauses(*[InfrastructureError(ReasonCode.PORT_NOT_AVAILABLE, "8500")] * 4) == [0.0, 0.0, 1.0, 4.0]
    assert pauses(QUOTA, tries=1) == [None]


def test_the_pause_lasts_as_long_as_was_said() -> None:
    clock = HandClock()
    Interruption().rest(15.0, clock)
    assert sum(clock.pauses) == pytest.approx(15.0)


@pytest.mark.timeout(60)
def test_an_interruption_ends_the_pause() -> None:
    interruption = Interruption()
    resting = threading.Thread(target=interruption.rest, args=(3600.0,))
    resting.start()
    interruption.set("SIGTERM")
    resting.join(30.0)
    assert not resting.is_alive()


def test_what_belongs_to_no_attempt_is_tried_again_in_the_same_way() -> None:
    clock = HandClock()
    down = InfrastructureError(ReasonCode.DOCKER_NOT_RUNNING, "down")
    answers: list[Failure | str] = [down, down, "sha256:1"]
    said: list[str] = []

    def ask() -> str:
        answer = answers.pop(0)
        if isinstance(answer, str):
            return answer
        raise answer

    began = clock.monotonic()
    retries = Retries(3, Deadline.after(3600, clock))
    assert until_it_heals(ask, retries, Interruption(), said.append, clock) == "sha256:1"
    assert clock.monotonic() - began == pytest.approx(PAUSES[0] + PAUSES[1])
    assert said == [f"DOCKER_NOT_RUNNING; tried again in {pause:g} s" for pause in PAUSES[:2]]


@pytest.mark.parametrize(
    "failure",
    [InfrastructureError(ReasonCode.IMAGE_NOT_FOUND, "no"), AttemptFailed(ReasonCode.REQUEST_FAILED, "no"), UsageError("no")],
    ids=lambda failure: type(failure).__name__,
)  # fmt: skip
def test_what_belongs_to_no_attempt_and_cannot_heal_is_raised(failure: Failure) -> None:
    def ask() -> str:
        raise failure

    said: list[str] = []
    with pytest.raises(type(failure)) as caught:
        until_it_heals(ask, Retries(3, Deadline.after(3600)), Interruption(), said.append)
    assert caught.value is failure
    assert said == []


def test_a_failure_of_the_model_that_may_heal_is_asked_again_too() -> None:
    failures: list[Failure] = [AttemptFailed(ReasonCode.LOAD_TIMEOUT, "slow"), UsageError("no")]
    failures[1].heals = True

    def ask() -> str:
        if failures:
            raise failures.pop()
        return "done"

    assert until_it_heals(ask, Retries(3, Deadline.after(3600)), Interruption(), lambda line: None) == "done"


def test_an_interruption_ends_what_belongs_to_no_attempt() -> None:
    interruption = Interruption()

    def ask() -> str:
        interruption.set("SIGTERM")
        raise InfrastructureError(ReasonCode.DOCKER_NOT_RUNNING, "down")

    with pytest.raises(InfrastructureError) as caught:
        until_it_heals(ask, Retries(3, Deadline.after(3600)), interruption, lambda line: None)
    assert caught.value.reason is ReasonCode.INTERRUPTED
