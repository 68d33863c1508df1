from __future__ import annotations

import os
import pathlib
import threading
from collections.abc import Iterator

import pytest

from infra_validator.model_server_runners.local_process import server_log
from infra_validator.model_server_runners.local_process.server_log import ServerLog

MIB = 2**20


@pytest.fixture
def log(tmp_path: pathlib.Path) -> Iterator[ServerLog]:
    log = ServerLog(str(tmp_path / "server.log"))
    yield log
    log.close()
    log.close()


def on_disk(log: ServerLog) -> int:
    return os.stat(log.path).st_blocks * 512


def test_a_short_log_is_left_alone(log: ServerLog) -> None:
    os.write(log.fileno(), b"one\ntwo\n")
    assert log.trim() is False
    assert log.tail(50) == "one\ntwo"
    assert log.tail(1) == "two"
    assert log.tail(0) == ""


@pytest.mark.parametrize("holes", [True, False])
def test_a_long_log_gives_its_space_back_and_keeps_its_end(
    log: ServerLog, holes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not holes:
        monkeypatch.setattr(server_log, "_give_back", lambda file, length: False)
    os.write(log.fileno(), b"x" * 20 * MIB + b"\nlast\n")
    assert log.trim() is True
    assert on_disk(log) < MIB
    os.write(log.fileno(), b"after\n")
    assert log.tail(2) == "last\nafter"


def test_nothing_of_the_end_is_lost_while_the_server_writes(log: ServerLog) -> None:
    done = threading.Event()

    def write() -> None:
        for number in range(200_000):
            os.write(log.fileno(), b"%060d %d\n" % (0, number))
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        log.trim()
    writer.join()
    numbers = [int(line.split()[1]) for line in log.tail(500).splitlines()]
    assert numbers == list(range(199_500, 200_000))


def test_endless_lines_are_cut(log: ServerLog) -> None:
    os.write(log.fileno(), b"y" * MIB)
    assert len(log.tail(10)) < 3000
