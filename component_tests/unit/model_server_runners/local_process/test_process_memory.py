"""The memory of a process, read many times a second: pages are counted now and then, what was taken since is added."""

from __future__ import annotations

import os

from infra_validator.model_server_runners.local_process.process_memory import ProcessMemory

MIB = 2**20


def test_what_was_taken_since_the_pages_were_counted_is_seen_at_once() -> None:
    memory = ProcessMemory()
    before = memory.read(lambda: [os.getpid()]).octets
    assert before is not None
    taken = bytearray(os.urandom(64 * MIB))
    after = memory.read(lambda: [os.getpid()]).octets
    assert after is not None
    assert 60 * MIB < after - before < 140 * MIB  # os.urandom's own copy may not be given back yet
    assert len(taken) == 64 * MIB


def test_a_process_that_is_gone_is_not_read() -> None:
    reading = ProcessMemory().read(lambda: [2**22 + 1])
    assert reading.octets is None
    assert reading.problem
