"""The states and their legal moves: every pair, as the base runner seed draws them."""

from __future__ import annotations

import itertools

import pytest

from infra_validator.core.errors import IllegalStateError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.states import (
    JobState,
    Life,
    MemoryReading,
    ModelStatus,
    ModelStatusReport,
    Observation,
    Verb,
    check_move,
)

LEGAL = {
    (Verb.START, JobState.INITIAL),
    (Verb.WAIT_UNTIL_RUNNING, JobState.SCHEDULED),
    (Verb.WAIT_UNTIL_RUNNING, JobState.RUNNING),
    (Verb.WAIT_UNTIL_RUNNING, JobState.ABORTED),  # it tells why
    (Verb.GET_ENDPOINT, JobState.RUNNING),
}


def test_the_five_states_of_the_seed() -> None:
    assert [state.value for state in JobState] == ["Initial", "Scheduled", "Running", "Aborted", "End"]


@pytest.mark.parametrize(("verb", "state"), list(itertools.product(Verb, JobState)))
def test_every_pair_is_legal_or_says_what_to_do(verb: Verb, state: JobState) -> None:
    if (verb, state) in LEGAL:
        check_move(verb, state)
        return
    with pytest.raises(IllegalStateError) as caught:
        check_move(verb, state)
    assert isinstance(caught.value, AssertionError)  # as the seed has it
    message = str(caught.value)
    assert f"{verb.value}() is not possible in state {state.value}." in message
    assert any(advice in message for advice in ("Call ", "make a new runner", "read GetLogs()", "no endpoint any more"))


def test_an_end_is_the_same_end_if_its_words_are() -> None:
    first = Observation.gone(ReasonCode.SERVER_EXITED, "exit code 1")
    assert first == Observation.gone(ReasonCode.SERVER_EXITED, "exit code 1")
    assert first.fingerprint != Observation.gone(ReasonCode.SERVER_EXITED, "exit code 2").fingerprint
    assert first.life is Life.GONE


def test_what_is_seen_of_a_job() -> None:
    waiting = Observation.pending("0/3 nodes have room", ReasonCode.POD_UNSCHEDULABLE)
    assert (waiting.life, waiting.reason) == (Life.PENDING, ReasonCode.POD_UNSCHEDULABLE)
    assert Observation.running("pid 7") == Observation(Life.RUNNING, detail="pid 7")
    gone = Observation.gone(ReasonCode.SERVER_EXITED, "exit code 1", "exit 1", heals=False)
    assert (gone.fingerprint, gone.heals) == ("exit 1", False)


def test_a_server_is_taken_to_have_answered_as_a_model_server_unless_it_is_said() -> None:
    report = ModelStatusReport(ModelStatus.READY)
    assert report.answered
    assert not report.foreign
    assert report == ModelStatusReport(ModelStatus.READY)


def test_a_reading_that_could_not_be_had_says_why() -> None:
    reading = MemoryReading.none("cgroup", "there is none")
    assert reading == MemoryReading(None, "cgroup", problem="there is none")
