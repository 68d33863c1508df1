"""What a report gets at the end: a digest only for what was served, and nothing where files changed."""

from __future__ import annotations

import dataclasses
import pathlib

import pytest

from infra_validator.core.deadline import Deadline
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.signals.interruption import Interruption
from infra_validator.report.evidence import Evidence, EvidenceLevel
from infra_validator.report.verdict import AttemptReport, BinaryReport, Finding, ValidationReport, Verdict
from infra_validator.saved_model.digest import model_digest
from infra_validator.saved_model.unchanged import Unchanged
from infra_validator.validation.seal import sealed

BLESSED = Finding(ReasonCode.BLESSED)
SERVED = AttemptReport(1, BLESSED, (), True, evidence=Evidence(EvidenceLevel.LOADED))
REQUIRED = BinaryReport("b", "served", "p", False, Verdict.BLESSED, BLESSED, (SERVED,))
NEVER_RAN = BinaryReport("b", "never ran", "p", True, Verdict.INCONCLUSIVE, Finding(ReasonCode.IMAGE_NOT_FOUND), ())
REPORT = ValidationReport(Verdict.BLESSED, BLESSED, "/m", "m", (REQUIRED, NEVER_RAN), "", 0.0)


@pytest.fixture
def model(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "saved_model.pb").write_bytes(b"graph")
    return tmp_path


def seal(report: ValidationReport, unchanged: Unchanged, *, served: bool = True) -> ValidationReport:
    return sealed(
        report,
        unchanged,
        model_is_local=True,
        served_named_files=served,
        interruption=Interruption(),
        deadline=Deadline.after(30),
    )


@pytest.mark.parametrize("served", [True, False])
def test_a_digest_is_verified_only_where_the_models_own_files_were_served(model: pathlib.Path, served: bool) -> None:
    report = seal(REPORT, Unchanged(str(model), {}), served=served)
    assert report.model_digest == model_digest(str(model))
    assert [binary.digest_verified for binary in report.serving_binaries] == [served, False]
    assert report.evidence.digest_verified is served


def test_a_rejection_gets_no_digest_and_an_inconclusive_report_stays_as_it_is(model: pathlib.Path) -> None:
    for verdict in (Verdict.NOT_BLESSED, Verdict.INCONCLUSIVE):
        report = dataclasses.replace(REPORT, verdict=verdict, finding=Finding(ReasonCode.JOB_ABORTED))
        assert seal(report, Unchanged(str(model), {})) == report


def test_an_interruption_ends_the_reading_of_the_model(model: pathlib.Path) -> None:
    interruption = Interruption()
    interruption.set("SIGTERM")
    report = sealed(
        REPORT,
        Unchanged(str(model), {}),
        model_is_local=True,
        served_named_files=True,
        interruption=interruption,
        deadline=Deadline.after(30),
    )
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, ReasonCode.INTERRUPTED)
