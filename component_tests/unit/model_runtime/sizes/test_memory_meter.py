"""Growth is attributed to the loads that run."""

from __future__ import annotations

from infra_validator.model_runtime.sizes.memory_meter import MemoryMeter, allocated_bytes


class _Memory:
    def __init__(self) -> None:
        self.bytes = 1000

    def __call__(self) -> int:
        return self.bytes


def test_a_load_that_is_alone_gets_all_growth() -> None:
    memory = _Memory()
    meter = MemoryMeter(memory)
    with meter.measuring(10) as reading:
        memory.bytes += 500
    memory.bytes += 70
    assert (reading.bytes, reading.alone) == (500, True)


def test_loads_at_once_share_by_what_they_are_expected_to_take() -> None:
    memory = _Memory()
    meter = MemoryMeter(memory)
    with meter.measuring(30) as large:
        memory.bytes += 100
        with meter.measuring(10) as small:
            memory.bytes += 400
        memory.bytes += 50
    assert (large.bytes, small.bytes) == (450, 100)
    assert not large.alone
    assert not small.alone


def test_what_is_freed_meanwhile_is_nobodys_size() -> None:
    memory = _Memory()
    meter = MemoryMeter(memory)
    with meter.measuring(10) as reading:
        with meter.freeing():
            memory.bytes -= 900
        memory.bytes += 500
    assert (reading.bytes, reading.alone) == (500, False)


def test_the_real_meter_sees_an_allocation() -> None:
    before = allocated_bytes()
    held = bytearray(32 * 2**20)
    assert allocated_bytes() - before > 30 * 2**20
    del held
