"""When a server is put under load, and what becomes of the verdict where that fails; over servers that do as they are told."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from component_tests.unit.validation.test_validation import REQUEST, Candidates, Story
from infra_validator.core.errors import AttemptFailed, InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.states import Observation
from infra_validator.model_server_clients.base_client import JobGone
from infra_validator.report.evidence import EvidenceLevel
from infra_validator.report.verdict import ValidationReport, Verdict
from infra_validator.specs import ValidationSpec
from infra_validator.validation.limits.under_load import LoadJob, LoadOutcome, UnderLoad
from infra_validator.validation.validation import Validation

LIMITED: dict[str, Any] = {"limits": {"throughput_at_least_rps": 1}}
ADVISORY: dict[str, Any] = {"limits": {"throughput_at_least_rps": 1, "advisory": True}}
LOADED: dict[str, Any] = {"load": {}}


def run(spec: dict[str, Any], under_load: UnderLoad, *labels: str) -> tuple[ValidationReport, list[str]]:
    candidates, lines = Candidates(), []  # type: tuple[Candidates, list[str]]
    report = Validation(
        [candidates.make(Story(), label=label) for label in labels or ("told",)],
        ValidationSpec.of({"num_tries": 1, **spec}),
        requests=lambda: [REQUEST],
        under_load=lambda candidate: under_load,
        on_progress=lines.append,
    ).run("/model", "m")
    return report, lines


class Failing:
    """Fails to put a server under load."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __call__(self, job: LoadJob) -> LoadOutcome:
        raise self.error


class Measuring:
    """Notes how many are measured at once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.alone: list[bool] = []

    def __call__(self, job: LoadJob) -> LoadOutcome:
        alone = self.lock.acquire(blocking=False)
        self.alone.append(alone)
        try:
            job.interruption.rest(0.05)  # long enough for another to come, if one could
        finally:
            if alone:
                self.lock.release()
        return LoadOutcome(notes=(f"{job.label} was measured.",))


def test_serving_binaries_are_measured_one_after_the_other_and_that_is_said() -> None:
    under_load = Measuring()
    report, lines = run({"load": {}}, under_load, "a", "b", "c")
    assert report.blessed
    assert under_load.alone == [True, True, True]
    assert any("one after the other" in line for line in lines)
    assert {"a: a was measured.", "b: b was measured.", "c: c was measured."} <= set(report.warnings)


def test_without_load_nothing_is_said_of_an_order() -> None:
    report, lines = run({}, Failing(AssertionError()), "a", "b")
    assert report.blessed
    assert not any("one after the other" in line for line in lines)


def test_a_server_that_does_not_stand_the_load_is_rejected_although_it_answered() -> None:
    report, _ = run({"load": {}}, Failing(AttemptFailed(ReasonCode.SERVER_UNHEALTHY, "It closed its port.")))
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, ReasonCode.SERVER_UNHEALTHY)
    assert report.evidence.level is EvidenceLevel.LOADED


def test_a_server_that_ends_under_load_is_told_by_its_end() -> None:
    gone = JobGone(Observation.gone(ReasonCode.SERVER_OUT_OF_MEMORY, "It held 3 GiB."))
    report, _ = run({"load": {}}, Failing(gone))
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, ReasonCode.SERVER_OUT_OF_MEMORY)


@pytest.mark.parametrize("reason", [ReasonCode.LOAD_NOT_REACHED, ReasonCode.LIMIT_NOT_MEASURED])
def test_a_load_that_cannot_be_sent_decides_only_where_a_limit_needs_it(reason: ReasonCode) -> None:
    under_load = Failing(InfrastructureError(reason, "It was too slow.", heals=False))
    report, _ = run(LIMITED, under_load)
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, reason)
    for spec in (LOADED, ADVISORY):
        report, _ = run(spec, under_load)
        assert report.blessed
        assert any("It was too slow." in warning for warning in report.warnings)


def test_an_interruption_is_never_only_a_warning() -> None:
    report, _ = run({"load": {}}, Failing(InfrastructureError(ReasonCode.INTERRUPTED)))
    assert report.finding.reason is ReasonCode.INTERRUPTED


def test_latency_that_was_measured_through_a_port_forward_is_said_to_be_so() -> None:
    def through_a_forward(job: LoadJob) -> LoadOutcome:
        job.runner.detour = "a port-forward"
        return LoadOutcome()

    report, _ = run(LOADED, through_a_forward)
    assert report.blessed
    assert any("measured through a port-forward" in warning for warning in report.warnings)
