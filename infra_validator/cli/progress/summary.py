"""The short table of the end, as data: one line for each serving binary."""

from __future__ import annotations

import collections
import dataclasses

from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.measurements import LimitOutcome, Measurements
from infra_validator.report.verdict import BinaryReport, ValidationReport


@dataclasses.dataclass(frozen=True)
class Line:
    """One serving binary in the table; what was not measured is empty.

    Attributes:
      binary: its label.
      verdict: its own.
      reason: the reason code's name.
      load: seconds of the last attempt's load.
      requests: how many were answered.
      p99: of the latency under load, the slowest signature's, in milliseconds.
      limits: how many were held, exceeded, not measured.
    """

    binary: str
    verdict: str
    reason: str
    load: str
    requests: str
    p99: str
    limits: str


@dataclasses.dataclass(frozen=True)
class Summary:
    """The table.

    Attributes:
      columns: (title, field of Line), of the fields that any line has.
      rows: the lines.
    """

    columns: tuple[tuple[str, str], ...]
    rows: tuple[Line, ...]


_COLUMNS = (
    ("binary", "binary"),
    ("verdict", "verdict"),
    ("reason", "reason"),
    ("load s", "load"),
    ("requests", "requests"),
    ("p99 ms", "p99"),
    ("limits", "limits"),
)


def summary(report: ValidationReport) -> Summary:
    """The table of a report."""
    rows = tuple(_line(binary) for binary in report.serving_binaries)
    return Summary(tuple(c for c in _COLUMNS if any(getattr(row, c[1]) for row in rows)), rows)


def _line(binary: BinaryReport) -> Line:
    load = next((phase.seconds for phase in binary.phases if phase.name == "load"), None)
    measured = binary.measurements or Measurements()
    p99 = [found.ms for run in measured.load for found in run.percentiles if found.name == "p99"]
    return Line(
        f"{binary.label} (advisory)" if binary.advisory else binary.label,
        binary.verdict.value,
        "" if binary.finding.reason is ReasonCode.BLESSED else binary.finding.reason.name,
        "" if load is None else f"{load:.2f}",
        str(binary.evidence.requests or ""),
        f"{max(p99):.2f}" if p99 else "",
        _limits(measured),
    )


def _limits(measured: Measurements) -> str:
    count = collections.Counter(result.outcome for result in measured.limits)
    return ", ".join(
        f"{count[outcome]} {outcome.value.replace('_', ' ')}" for outcome in LimitOutcome if count[outcome]
    )
