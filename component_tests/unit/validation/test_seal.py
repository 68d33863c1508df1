"""What a report gets at the end: a digest only for what was served, and nothing where files changed."""

from __future__ import annotations

import dataclasses
import pathlib
import threading
from collections.abc import Callable

import pytest

from component_tests.fakes.hand_clock import HandClock
from infra_validator.core.deadline import Deadline, News
from infra_validator.core.errors import InfrastructureError
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


def seal(
    report: ValidationReport,
    unchanged: Unchanged,
    *,
    served: bool = True,
    local: bool = True,
    interruption: Interruption | None = None,
    deadline: Deadline | None = None,
) -> ValidationReport:
    return sealed(
        report,
        unchanged,
        model_is_local=local,
        served_named_files=served,
        interruption=interruption or Interruption(),
        deadline=deadline or Deadline.after(60),
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
    report = seal(REPORT, Unchanged(str(model), {}), interruption=interruption)
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, ReasonCode.INTERRUPTED)


@pytest.mark.parametrize("verdict", [Verdict.BLESSED, Verdict.NOT_BLESSED])
def test_a_model_that_changed_meanwhile_has_no_verdict_of_its_own(model: pathlib.Path, verdict: Verdict) -> None:
    unchanged = Unchanged(str(model), {})
    (model / "new").write_bytes(b"")
    judged = dataclasses.replace(REPORT, verdict=verdict, warmed_model="/w", warmed_model_digest="sha256:0")
    assert seal(judged, unchanged) == dataclasses.replace(
        REPORT,
        verdict=Verdict.INCONCLUSIVE,
        finding=Finding(ReasonCode.MODEL_CHANGED, f"{model}/new is new."),
        warmed_model="",
        warmed_model_digest="",
    )


def test_a_baseline_is_named_by_its_digest_where_the_model_is_blessed(
    model: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    baseline = tmp_path_factory.mktemp("baseline")
    (baseline / "saved_model.pb").write_bytes(b"older")
    report = seal(REPORT, Unchanged(str(model), {}, str(baseline)))
    assert (report.model_digest, report.baseline_digest) == (model_digest(str(model)), model_digest(str(baseline)))
    rejected = dataclasses.replace(REPORT, verdict=Verdict.NOT_BLESSED)
    assert seal(rejected, Unchanged(str(model), {}, str(baseline))) == rejected


def test_a_model_elsewhere_gets_no_digest() -> None:
    assert seal(REPORT, Unchanged("", {}), local=False) == REPORT


class Reading(Unchanged):
    """A model that says that it is read only to those who want to be told; it is, as soon as it is made."""

    asked = False

    def __init__(self, model: str) -> None:
        super().__init__(model, {})
        done = threading.Event()
        super().when_read(done.set)
        assert done.wait(60)

    def when_read(self, call: Callable[[], None]) -> None:
        self.asked = True

    @property
    def read(self) -> bool:
        return self.asked


class NeverRead(Unchanged):
    """A model that takes for ever to read."""

    @property
    def read(self) -> bool:
        return False


class Unreadable(Unchanged):
    """A model that could not be read."""

    def digest(self) -> str:
        raise InfrastructureError(ReasonCode.MODEL_NOT_READABLE, "It cannot be read.")


class Listening(Interruption):
    """Keeps count of who waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def wakes(self, news: News) -> None:
        self.told.append("wakes")

    def forget(self, news: News) -> None:
        self.told.append("forget")


def test_the_reading_of_a_blessed_model_is_waited_for(model: pathlib.Path) -> None:
    interruption = Listening()
    report = seal(REPORT, Reading(str(model)), interruption=interruption, deadline=Deadline.after(9, HandClock()))
    assert report.verdict is Verdict.BLESSED
    assert interruption.told == ["wakes", "forget"]


def test_a_model_that_is_not_read_in_time_is_inconclusive(model: pathlib.Path) -> None:
    interruption = Listening()
    report = seal(REPORT, NeverRead(str(model), {}), interruption=interruption, deadline=Deadline.after(9, HandClock()))
    assert (report.verdict, report.model_digest) == (Verdict.INCONCLUSIVE, "")
    assert (report.finding.reason, report.finding.detail) == (
        ReasonCode.TOTAL_TIMEOUT,
        "The model was being read for its digest.",
    )
    assert interruption.told == ["wakes", "forget"]


def test_a_model_that_cannot_be_read_for_its_digest_is_inconclusive(model: pathlib.Path) -> None:
    report = seal(REPORT, Unreadable(str(model), {}))
    assert report.verdict is Verdict.INCONCLUSIVE
    assert (report.finding.reason, report.finding.detail) == (ReasonCode.MODEL_NOT_READABLE, "It cannot be read.")
