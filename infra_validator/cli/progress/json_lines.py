"""Progress for machines: one JSON object a line, and nothing else on that stream."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import TextIO

from infra_validator.cli.progress.display import Lines
from infra_validator.core.progress import Progress
from infra_validator.report.verdict import ValidationReport
from infra_validator.telemetry.json_log import JsonLog, JsonLogHandler


class JsonLines(Lines):
    """``--log-format json``.

    Args:
      stream: where to.
      run_id: the validation's; empty for a fleet, whose models have one each.
    """

    def __init__(self, stream: TextIO, run_id: str = "") -> None:
        super().__init__(stream)
        self._log = JsonLog(self.put, run_id)
        self._handler = JsonLogHandler(self._log)

    def say(self, line: str) -> None:
        self._log.say(line)

    def tell(self, event: Progress) -> None:
        self._log.tell(event)

    def end(self, report: ValidationReport, path: str) -> None:
        self._log.end(report)
        if path:
            self._log.say(f"the report: {path}")

    def __enter__(self) -> JsonLines:
        logging.getLogger().addHandler(self._handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logging.getLogger().removeHandler(self._handler)
