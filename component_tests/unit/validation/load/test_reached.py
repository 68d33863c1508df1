"""Who is to blame where a schedule was not kept: the validator by these figures, the server by all others."""

from __future__ import annotations

import pytest

from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.validation.load.block import Block
from infra_validator.validation.load.histogram import Latencies
from infra_validator.validation.load.reached import raise_if_not_reached
from infra_validator.validation.load.windows import Window


def all_of(ms: float, count: int = 100) -> Latencies:
    made = Latencies()
    for _ in range(count):
        made.add(ms / 1000)
    return made


def block(latency: float, own: float, share: float = 0.3, count: int = 100) -> Block:
    windows = [Window(0.0, 1.0, all_of(latency, count))]
    return Block(windows, 1.0, delays=all_of(own, count), processor_seconds=share, share_seconds=1.0)


@pytest.mark.parametrize(
    ("measured", "kept", "looks_late"),
    [
        (block(latency=5.0, own=0.1), 1.0, 0.1),
        (block(latency=5.0, own=0.9), 1.0, 0.1),  # noise of the machine; the report tells it
        (block(latency=50.0, own=4.0), 1.0, 0.1),
        (block(latency=900.0, own=0.1), 0.4, 0.1),  # the server is too slow, and all callers wait for it
        (block(latency=900.0, own=0.1, share=0.95), 0.99, 0.1),
        (block(latency=5.0, own=50.0, count=19), 0.4, 50.0),  # too few to tell
    ],
)
def test_the_server_is_judged(measured: Block, kept: float, looks_late: float) -> None:
    raise_if_not_reached(100.0, measured, kept, all_of(looks_late))


@pytest.mark.parametrize(
    ("measured", "kept", "looks_late", "says"),
    [
        (block(latency=5.0, own=1.5), 1.0, 0.1, "half of them were sent more than 1.5 ms after they were due"),
        (
            block(latency=900.0, own=0.1, share=0.95),
            0.4,
            0.1,
            "40% of them were in time: its process took 95% of a processor",
        ),
        (block(latency=900.0, own=0.1), 0.4, 8.0, "its threads got to run 8 ms late"),
    ],
)
def test_the_validator_was_too_slow(measured: Block, kept: float, looks_late: float, says: str) -> None:
    with pytest.raises(InfrastructureError) as caught:
        raise_if_not_reached(100.0, measured, kept, all_of(looks_late))
    assert caught.value.reason is ReasonCode.LOAD_NOT_REACHED
    assert says in caught.value.detail
