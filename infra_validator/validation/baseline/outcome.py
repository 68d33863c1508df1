"""What a baseline that cannot be compared with does to the verdict on a model that is good by itself."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from infra_validator.report.verdict import Finding, ValidationReport, Verdict
from infra_validator.specs import ValidationSpec

if TYPE_CHECKING:
    from infra_validator.validation.baseline.baseline import Baseline


def with_baseline(report: ValidationReport, baseline: Baseline | None, spec: ValidationSpec) -> ValidationReport:
    """The report with the baseline's name; INCONCLUSIVE where the model would be blessed and what it was to be compared with is no model.

    Args:
      report: the verdict on the model itself.
      baseline: what it is compared with; None where nothing is.
      spec: says what is compared.
    """
    if baseline is None:
        return report
    report = dataclasses.replace(report, baseline=baseline.name)
    compared = (bool(spec.limits.relative()) and not spec.limits.advisory) or not spec.expected_signature
    if baseline.problem is None or not report.blessed:
        return report
    if not compared:
        return dataclasses.replace(report, warnings=(*report.warnings, baseline.problem.sentence))
    return dataclasses.replace(report, verdict=Verdict.INCONCLUSIVE, finding=Finding.of(baseline.problem))
