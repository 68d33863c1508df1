"""The progress of a validation as one JSON object a line; docs/observability.md lists the fields, which are never renamed or removed."""

from __future__ import annotations

import datetime
import json
import logging
import threading
import traceback
from collections.abc import Callable, Mapping

from infra_validator.core.deadline import SYSTEM_CLOCK, Clock
from infra_validator.core.progress import (
    BytesMoved,
    FleetWentOn,
    LoadWentOn,
    PhaseBegan,
    PhaseEnded,
    Progress,
    RequestAnswered,
    TriedAgain,
)
from infra_validator.report.verdict import ValidationReport

#: The environment variable that has TFX's executor and the command line log as JSON: ``json``, else lines for people.
LOG_FORMAT = "INFRA_VALIDATOR_LOG_FORMAT"

_EVERY = 1.0  # seconds between two lines of what goes on all the time


class JsonLog:
    """Writes what it is told. ``say``, ``tell`` and ``end`` may be called from several threads.

    Args:
      write: takes a line, without a newline.
      run_id: the validation's; empty: events bring their own.
      clock: where time is read.
    """

    def __init__(self, write: Callable[[str], None], run_id: str = "", clock: Clock = SYSTEM_CLOCK) -> None:
        self._write = write
        self._run_id = run_id
        self._clock = clock
        self._lock = threading.Lock()
        self._told: list[str] = []  # lines for people that say what was told as data
        self._last: dict[tuple[str, str], float] = {}
        self._answered: dict[str, int] = {}

    def say(self, line: str) -> None:
        """Write a line for people."""
        with self._lock:
            if line in self._told:
                self._told.remove(line)
                return
        self.line("message", {"message": line})

    def tell(self, event: Progress) -> None:
        """Write an event; requests are only counted, and what is told many times a second is written once in one."""
        of = event.of
        who: dict[str, object] = {"run_id": of.run_id or self._run_id, "binary": of.binary, "attempt": of.number}
        if isinstance(event, PhaseBegan):
            self.line("phase_began", {**who, "phase": event.phase})
        elif isinstance(event, PhaseEnded):
            with self._lock:
                self._told.append(str(event))
                answered = self._answered.pop(str(of), None)
            ended = {"phase": event.phase, "outcome": event.outcome, "seconds": round(event.seconds, 4)}
            requests = {} if answered is None else {"requests": answered}
            self.line("phase_ended", {**who, **ended, **requests}, "warning" if event.outcome == "failed" else "info")
        elif isinstance(event, RequestAnswered):
            with self._lock:
                self._answered[str(of)] = event.done
        elif isinstance(event, TriedAgain):
            self.line("tried_again", {**who, "reason_code": event.reason, "pause_seconds": event.pause}, "warning")
        elif isinstance(event, FleetWentOn):
            self.line("fleet_went_on", {"done": event.done, "total": event.total, "counts": dict(event.counts)})
        elif isinstance(event, BytesMoved) and self._is_due("bytes", str(of)):
            self.line("bytes_moved", {**who, "what": event.what, "done": event.done, "total": event.total})
        elif isinstance(event, LoadWentOn) and self._is_due("load", str(of)):
            load = {"requests": event.done, "rate_rps": round(event.rate_rps, 1), "p50_ms": round(event.p50_ms, 3)}
            self.line("load_went_on", {**who, "warm_up": event.warm_up, **load})

    def end(self, report: ValidationReport) -> None:
        """Write the verdict."""
        told = {
            "run_id": report.run_id or self._run_id,
            "model_name": report.model_name,
            "verdict": report.verdict.value,
            "reason_code": report.finding.reason.name,
            "message": report.sentence,
            "seconds": round(report.seconds, 4),
        }
        self.line("verdict", told, "info" if report.blessed else "warning")

    def line(self, event: str, fields: Mapping[str, object], level: str = "info") -> None:
        """Write one line."""
        moment = datetime.datetime.fromtimestamp(self._clock.utc(), datetime.timezone.utc)
        told = {"time": moment.isoformat(timespec="milliseconds"), "level": level, "event": event}
        self._write(json.dumps({**told, "run_id": self._run_id, **fields}))

    def _is_due(self, kind: str, of: str) -> bool:
        with self._lock:
            now = self._clock.monotonic()
            due = now - self._last.get((kind, of), now - _EVERY) >= _EVERY
            if due:
                self._last[kind, of] = now
            return due


class JsonLogHandler(logging.Handler):
    """Has what others log stand in the same form, as the event ``log``.

    Args:
      log: writes it.
    """

    def __init__(self, log: JsonLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        try:
            more = {"traceback": "".join(traceback.format_exception(*record.exc_info))} if record.exc_info else {}
            told = {"logger": record.name, "message": record.getMessage(), **more}
            self._log.line("log", told, record.levelname.lower())
        except Exception:
            self.handleError(record)
