"""The report of an attempt without what was sent: its own sentences are left alone, a server's are cleaned."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed, InfrastructureError, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.signals.interruption import Interruption
from infra_validator.report.evidence import CheckOutcome
from infra_validator.report.verdict import AttemptReport
from infra_validator.validation.redaction.redaction import Redaction

if TYPE_CHECKING:
    from infra_validator.report.measurements import LoadRun, Measurements

#: Reasons whose details are our own words and figures, of which a server has none to say.
_OUR_OWN = frozenset(
    {
        ReasonCode.ANOTHER_MODEL_SERVED,
        ReasonCode.QUERY_TIMEOUT,
        ReasonCode.REQUESTS_TOO_SLOW,
        ReasonCode.SIGNATURE_BROKE,
        ReasonCode.TOO_NOISY,
    }
)


def cleaned_report(
    report: AttemptReport,
    failure: AttemptFailed | InfrastructureError | UsageError | None,
    redaction: Redaction,
    deadline: Deadline,
    interruption: Interruption,
) -> AttemptReport:
    """The report with what the server said cleaned.

    Args:
      report: of one attempt; its notes are cleaned already.
      failure: why it is no success.
      redaction: what was sent.
      deadline, interruption: see ``Redaction.cleaned``.
    """
    checks = report.evidence.checks
    failed = [check.detail for check in checks if check.outcome is CheckOutcome.FAILED]
    quotes = _quotes(failure, [report.finding.detail, *failed])
    errors = [run.error for run in _loads(report.measurements) if run.error]
    texts = list(dict.fromkeys([report.server_log, *report.left_behind, *quotes, *errors]))
    said = dict(zip(texts, redaction.cleaned(texts, deadline, interruption), strict=True))

    def without(detail: str) -> str:
        for words in sorted(quotes, key=len, reverse=True):
            detail = detail.replace(words, said[words])
        return detail

    return dataclasses.replace(
        report,
        finding=dataclasses.replace(report.finding, detail=without(report.finding.detail)),
        server_log=said[report.server_log],
        left_behind=tuple(said[problem] for problem in report.left_behind),
        measurements=_with_errors(report.measurements, said),
        evidence=dataclasses.replace(
            report.evidence,
            checks=tuple(dataclasses.replace(check, detail=without(check.detail)) for check in checks),
        ),
    )


def _loads(measured: Measurements | None) -> tuple[LoadRun, ...]:
    """The runs of load, those of the baseline too."""
    if measured is None:
        return ()
    return (*measured.load, *(measured.baseline.load if measured.baseline is not None else ()))


def _with_errors(measured: Measurements | None, said: Mapping[str, str]) -> Measurements | None:
    """The measurements with the first error of each run of load as ``said`` has it."""
    if measured is None or not any(run.error for run in _loads(measured)):
        return measured

    def clean(runs: tuple[LoadRun, ...]) -> tuple[LoadRun, ...]:
        return tuple(dataclasses.replace(run, error=said.get(run.error, run.error)) for run in runs)

    baseline = measured.baseline and dataclasses.replace(measured.baseline, load=clean(measured.baseline.load))
    return dataclasses.replace(measured, load=clean(measured.load), baseline=baseline)


def _quotes(failure: AttemptFailed | InfrastructureError | UsageError | None, details: Sequence[str]) -> list[str]:
    """What of the details are a server's words: what the failure says, or all of a detail that holds none of that (it may be cut)."""
    if failure is None or failure.reason in _OUR_OWN or (failure.quotes is not None and not any(failure.quotes)):
        return []
    told = [words for words in failure.quotes or () if words]
    return list(dict.fromkeys([*told, *(d for d in details if d and not any(words in d for words in told))]))
