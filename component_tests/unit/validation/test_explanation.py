"""A line of a server's log explains only an end that it can have caused: every pair."""

from __future__ import annotations

import itertools

import pytest

from infra_validator.core.reason_codes import ReasonCode as R
from infra_validator.validation.explanation import MAY_HAVE_A_DEEPER_CAUSE, can_have_caused

CRASHES = {R.SERVER_EXITED, R.SERVER_KILLED}
WAITS = {R.LOAD_TIMEOUT, R.MODEL_UNAVAILABLE, R.SERVER_UNHEALTHY}

#: What the log names -> the ends that it explains before the server had the model, and afterwards.
EXPLAINED: dict[R, tuple[set[R], set[R]]] = {
    R.PORT_NOT_AVAILABLE: ({R.SERVER_EXITED}, set()),
    R.BAD_SPEC: ({R.SERVER_EXITED}, set()),
    R.SERVER_BROKEN: ({R.SERVER_EXITED} | WAITS, set()),
    R.MODEL_NOT_READABLE: ({R.SERVER_EXITED} | WAITS, set()),
    R.MODEL_LOAD_FAILED: (CRASHES | WAITS, set()),
    R.WARMUP_FAILED: (CRASHES | WAITS, set()),
    R.OP_NOT_REGISTERED: (CRASHES | WAITS, CRASHES),
    R.OP_NOT_IN_STAND_IN: (CRASHES | WAITS, CRASHES),
    R.SERVER_OUT_OF_MEMORY: (CRASHES | WAITS, CRASHES),
}


@pytest.mark.parametrize("loaded", [False, True])
def test_every_pair_of_a_line_and_an_end(loaded: bool) -> None:
    explained = {(named, end) for named, ends in EXPLAINED.items() for end in ends[loaded]}
    assert {pair for pair in itertools.product(R, R) if can_have_caused(*pair, loaded)} == explained


def test_the_log_is_asked_about_no_other_end() -> None:
    assert MAY_HAVE_A_DEEPER_CAUSE == CRASHES | WAITS
