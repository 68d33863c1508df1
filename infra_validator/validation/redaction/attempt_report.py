"""The report of an attempt without what was sent: its own sentences are left alone, a server's are cleaned."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed, InfrastructureError, UsageError
from infra_validator.core.interruption import Interruption
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.verdict import AttemptReport
from infra_validator.validation.redaction.redaction import Redaction

#: Reasons whose details are our own words and figures, of which a server has none to say.
_OUR_OWN = frozenset(
    {
        ReasonCode.ANOTHER_MODEL_SERVED,
        ReasonCode.LIMIT_EXCEEDED,
        ReasonCode.LIMIT_NOT_MEASURED,
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
    quotes = _quotes(failure, [report.finding.detail, *(check.detail for check in checks)])
    texts = [report.server_log, *report.left_behind, *quotes]
    log, *others = redaction.cleaned(texts, deadline, interruption)
    left_behind, clean = others[: len(report.left_behind)], others[len(report.left_behind) :]
    said = dict(zip(quotes, clean, strict=True))

    def without(detail: str) -> str:
        for words in sorted(said, key=len, reverse=True):
            if words in detail:
                return detail.replace(words, said[words])
        return detail

    return dataclasses.replace(
        report,
        finding=dataclasses.replace(report.finding, detail=without(report.finding.detail)),
        server_log=log,
        left_behind=tuple(left_behind),
        evidence=dataclasses.replace(
            report.evidence,
            checks=tuple(dataclasses.replace(check, detail=without(check.detail)) for check in checks),
        ),
    )


def _quotes(failure: AttemptFailed | InfrastructureError | UsageError | None, details: Sequence[str]) -> list[str]:
    """What of the details are a server's words."""
    if failure is None or failure.reason in _OUR_OWN:
        return []
    return [words for words in dict.fromkeys(failure.quotes if failure.quotes is not None else details) if words]
