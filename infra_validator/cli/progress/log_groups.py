"""Progress in the logs of GitHub Actions and GitLab CI: folded, and what failed as an annotation.

Sources: GitHub, "Workflow commands"; GitLab, "Custom collapsible sections".
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from infra_validator.cli.progress.display import Lines
from infra_validator.cli.progress.printable import one_line, printable
from infra_validator.core.deadline import SYSTEM_CLOCK
from infra_validator.report.verdict import BinaryReport, ValidationReport, Verdict

_TITLE = "infra-validator: progress"


class _Groups(Lines):
    """Lines in one group; at the end a group with each server's log that has something to explain."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._is_open = False

    def open(self, title: str) -> None:
        """Begin a group."""
        raise NotImplementedError

    def close(self) -> None:
        """End the group."""
        raise NotImplementedError

    def say(self, line: str) -> None:
        for part in line.splitlines() or [""]:
            self.put(self.words(part))

    def end(self, report: ValidationReport, path: str) -> None:
        self._close()
        for binary in report.serving_binaries:
            if binary.verdict is not Verdict.BLESSED and binary.server_log:
                self.open(f"infra-validator: the server's log, {one_line(binary.label)}")
                self.say(binary.server_log)
                self.close()
        if path:
            self.put(f"the report: {printable(path)}")

    def __enter__(self) -> _Groups:
        self.open(_TITLE)
        self._is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._is_open:
            self._is_open = False
            self.close()


class GitHubGroups(_Groups):
    """For GitHub Actions: ``::group::``, and ``::error``, ``::warning`` annotations at the end."""

    def words(self, text: str) -> str:
        # Both forms of commands, the old one anywhere in a line, must not be had by what a server says.
        safe = printable(text).replace("##[", "#\u200b#[")
        return "\n".join(f"\u200b{line}" if line.lstrip().startswith("::") else line for line in safe.split("\n"))

    def json(self, text: str) -> str:
        return text.replace("##[", "\\u0023#[")

    def open(self, title: str) -> None:
        self.put(f"::group::{_data(title)}")

    def close(self) -> None:
        self.put("::endgroup::")

    def end(self, report: ValidationReport, path: str) -> None:
        super().end(report, path)
        if not report.blessed:
            self._annotate("error", report.verdict.value, report.finding.reason.name, _why(report))
        for warning in report.warnings:
            self._annotate("warning", "infra-validator", "", warning)
        for binary in report.serving_binaries:
            if binary.advisory and binary.verdict is not Verdict.BLESSED:
                self._annotate("warning", "advisory", binary.finding.reason.name, _of(binary))

    def _annotate(self, kind: str, title: str, more: str, message: str) -> None:
        self.put(f"::{kind} title={_property(f'{title} {more}'.strip())}::{_data(message)}")


class GitLabSections(_Groups):
    """For GitLab CI: sections of the job's log.

    Args:
      stream: where to.
      now: seconds since 1970.
    """

    def __init__(self, stream: TextIO, now: Callable[[], float] = SYSTEM_CLOCK.utc) -> None:
        super().__init__(stream)
        self._now = now
        self._name = ""

    def open(self, title: str) -> None:
        self._name = f"infra_validator_{secrets.token_hex(4)}"
        self.put(f"\x1b[0Ksection_start:{self._now():.0f}:{self._name}[collapsed=true]\r\x1b[0K{printable(title)}")

    def close(self) -> None:
        self.put(f"\x1b[0Ksection_end:{self._now():.0f}:{self._name}\r\x1b[0K")


def _why(report: ValidationReport) -> str:
    finding = report.finding
    return f"{finding.sentence}\nNext step: {finding.next_step or finding.reason.next_step}"


def _of(binary: BinaryReport) -> str:
    return f"{binary.label}: {binary.finding.sentence}"


def _data(text: str) -> str:
    return printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
