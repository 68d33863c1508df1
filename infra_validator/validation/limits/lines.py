"""What was measured, as a few plain lines: the load of each kind of request, and each limit with what came of it."""

from __future__ import annotations

from collections.abc import Iterator

from infra_validator.report.measurements import LimitOutcome, LimitResult, LoadRun
from infra_validator.report.verdict import ValidationReport
from infra_validator.validation.limits.judging import kind_of
from infra_validator.validation.limits.result import told_as

_WORDS = {LimitOutcome.KEPT: "kept", LimitOutcome.EXCEEDED: "EXCEEDED", LimitOutcome.NOT_MEASURED: "not measured"}


def lines_of_measurements(report: ValidationReport) -> Iterator[str]:
    """The lines; none where nothing was measured."""
    several = len(report.serving_binaries) > 1
    for binary in report.serving_binaries:
        for run in binary.measurements.load if binary.measurements else ():
            yield f"load of {_of(binary.label, several)}{told_load(run)}"
    rows = [
        (_WORDS[limit.outcome], f"{_of(label, several)}{limit.name}", _measured(limit))
        for label, limit in report.limits
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(2)]
    for outcome, name, measured in rows:
        yield f"limit {outcome:<{widths[0]}}  {name:<{widths[1]}}  {measured}"


def _of(label: str, several: bool) -> str:
    return f"{label}: " if several and label else ""


def told_load(run: LoadRun) -> str:
    """A load in one line, for people."""
    percentiles = ", ".join(f"{one.name} {told_as(one.ms, 'ms')}" for one in run.percentiles)
    failed = f", {run.errors} failed" if run.errors else ""
    rate = told_as(run.throughput_rps, "requests per second")
    return (
        f"{kind_of(run)}: {run.requests} requests in {run.seconds:.3g} s{failed}, {rate}; {percentiles or 'no answer'}"
    )


def _measured(limit: LimitResult) -> str:
    seen = "" if limit.measured is None else f"{told_as(limit.measured, limit.unit)}, "
    notes: list[str] = []
    if limit.within_noise:
        notes.append("within the noise")
    if not limit.decides:
        notes.append("advisory")
    side = "at most" if limit.at_most else "at least"
    return f"{seen}{side} {told_as(limit.limit, limit.unit)}" + (f" ({', '.join(notes)})" if notes else "")
