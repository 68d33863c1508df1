"""What is held against the beginning when a validation ends: the model and the files that the specs name are what they were."""

from __future__ import annotations

import dataclasses

from infra_validator.core.deadline import Deadline, News, wait_until
from infra_validator.core.errors import AttemptFailed, DeadlineExceeded, InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.signals.interruption import Interruption
from infra_validator.report.evidence import EvidenceLevel
from infra_validator.report.verdict import Finding, ValidationReport, Verdict
from infra_validator.saved_model.unchanged import Unchanged


def sealed(
    report: ValidationReport,
    unchanged: Unchanged,
    *,
    model_is_local: bool,
    served_named_files: bool,
    interruption: Interruption,
    deadline: Deadline,
) -> ValidationReport:
    """The report with the digest of the model that it blesses; INCONCLUSIVE where files changed while it was made.

    Args:
      report: what the validation found.
      unchanged: the files, as they were before anything was started.
      model_is_local: whether the model's files are on this machine.
      served_named_files: whether the server is known to have been given the files of the model.
      interruption: ends the reading of a large model.
      deadline: when all must be read.
    """
    try:
        if report.verdict is Verdict.INCONCLUSIVE:
            return report
        if report.blessed:
            _wait_until_read(unchanged, interruption, deadline)
        changed = unchanged.what_changed()
        if changed:
            return _inconclusive(report, Finding(ReasonCode.MODEL_CHANGED, f"{changed}."))
        if report.blessed:
            report = dataclasses.replace(report, baseline_digest=unchanged.baseline_digest())
        if not report.blessed or not model_is_local:
            return report
        digest = unchanged.digest()
    except (InfrastructureError, AttemptFailed) as error:
        return _inconclusive(report, Finding.of(error))
    binaries = tuple(
        dataclasses.replace(b, digest_verified=served_named_files and b.evidence.level is not EvidenceLevel.NONE)
        for b in report.serving_binaries
    )
    return dataclasses.replace(report, model_digest=digest, serving_binaries=binaries)


def _inconclusive(report: ValidationReport, finding: Finding) -> ValidationReport:
    return dataclasses.replace(
        report, verdict=Verdict.INCONCLUSIVE, finding=finding, warmed_model="", warmed_model_digest=""
    )


def _wait_until_read(unchanged: Unchanged, interruption: Interruption, deadline: Deadline) -> None:
    news = News()
    unchanged.when_read(news.announce)
    interruption.wakes(news)

    def read() -> bool | None:
        interruption.check()
        return True if unchanged.read else None

    try:
        wait_until(read, deadline, news=news)
    except DeadlineExceeded as error:
        raise InfrastructureError(ReasonCode.TOTAL_TIMEOUT, "The model was being read for its digest.") from error
    finally:
        interruption.forget(news)
