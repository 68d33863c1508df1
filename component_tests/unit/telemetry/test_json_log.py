"""The progress as JSON lines: which there are, and what stands in them."""

from __future__ import annotations

import json
import logging
from typing import Any

from component_tests.fakes.hand_clock import HandClock
from component_tests.fakes.rich_reports import every_kind
from infra_validator.core.progress import (
    BytesMoved,
    FleetWentOn,
    LoadWentOn,
    PhaseBegan,
    PhaseEnded,
    RequestAnswered,
    TriedAgain,
    Try,
)
from infra_validator.telemetry.json_log import JsonLog, JsonLogHandler

OF = Try("tensorflow/serving:2.19.0", 2, "0123456789abcdef")
WHO = {"run_id": "0123456789abcdef", "binary": "tensorflow/serving:2.19.0", "attempt": 2}


class Written:
    def __init__(self, run_id: str = "") -> None:
        self.lines: list[str] = []
        self.clock = HandClock()
        self.log = JsonLog(self.lines.append, run_id, self.clock)

    def take(self) -> list[dict[str, Any]]:
        told = [json.loads(line) for line in self.lines]
        self.lines.clear()
        return told


def test_phases() -> None:
    written = Written()
    written.log.tell(PhaseBegan(OF, "query"))
    written.log.tell(RequestAnswered(OF, 1, 0.1, 3.0))
    written.log.tell(RequestAnswered(OF, 2, 0.2, 3.0))
    ended = PhaseEnded(OF, "query", "failed", 1.23456)
    written.log.tell(ended)
    written.log.say(str(ended))
    written.log.say("something else\nin two lines")
    common = {"time": "2001-09-09T01:46:40.000+00:00", "level": "info"}
    more = {"phase": "query", "outcome": "failed", "seconds": 1.2346, "requests": 2}
    assert written.take() == [
        {**common, "event": "phase_began", **WHO, "phase": "query"},
        {**common, "level": "warning", "event": "phase_ended", **WHO, **more},
        {**common, "event": "message", "run_id": "", "message": "something else\nin two lines"},
    ]


def test_what_goes_on_all_the_time_is_written_once_in_a_second() -> None:
    written = Written("of the log")
    for number in range(30):
        written.log.tell(BytesMoved(OF, "pull", number, 30))
        written.log.tell(LoadWentOn(OF, number < 20, number, 10.0, 1.0))
        written.log.tell(BytesMoved(Try("another"), "pull", number, 30))
        written.clock.now += 0.125
    told = written.take()
    assert [line["done"] for line in told if line["event"] == "bytes_moved" and line["attempt"] == 2] == [0, 8, 16, 24]
    assert [line["warm_up"] for line in told if line["event"] == "load_went_on"] == [True, True, True, False]
    assert {line["run_id"] for line in told if line.get("binary") == "another"} == {"of the log"}


def test_what_is_tried_again_and_fleets() -> None:
    written = Written()
    written.log.tell(TriedAgain(OF, "LOAD_TIMEOUT", 1.0))
    written.log.tell(FleetWentOn(Try("fleet"), 1, 2, {"BLESSED": 1}, "m: "))
    again, fleet = written.take()
    assert (again["level"], again["reason_code"], again["pause_seconds"]) == ("warning", "LOAD_TIMEOUT", 1.0)
    assert (fleet["done"], fleet["total"], fleet["counts"]) == (1, 2, {"BLESSED": 1})


def test_verdicts() -> None:
    written = Written("abc")
    for report in every_kind().values():
        written.log.end(report)
    told = written.take()
    assert {line["verdict"] for line in told} == {"BLESSED", "NOT_BLESSED", "INCONCLUSIVE"}
    assert all(line["event"] == "verdict" and line["run_id"] == "abc" and line["message"] for line in told)
    assert all((line["level"] == "info") == (line["verdict"] == "BLESSED") for line in told)


def test_what_others_log_has_the_same_form() -> None:
    written = Written("abc")
    logger = logging.getLogger("component_tests.of_others")
    handler = JsonLogHandler(written.log)
    logger.addHandler(handler)
    logger.propagate = False
    try:
        logger.info("not this")
        logger.warning("a %s", "warning\x1b[31m")
        try:
            raise ValueError("an error")
        except ValueError:
            logger.exception("it failed")
    finally:
        logger.removeHandler(handler)
        logger.propagate = True
    first, second = written.take()
    assert (first["event"], first["level"], first["message"]) == ("log", "warning", "a warning\x1b[31m")
    assert second["level"] == "error"
    assert second["traceback"].endswith("ValueError: an error\n")
