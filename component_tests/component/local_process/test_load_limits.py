"""Limits that need load, on the embedded server and on servers whose answers take a known time: far inside the limit, or far outside."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import pytest

from component_tests.component.baseline.compared import Models
from component_tests.fakes.saved_models import ROOT, SavedModels
from infra_validator import api
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.signals.interruption import Interruption
from infra_validator.report.measurements import LimitOutcome, Measurements
from infra_validator.report.verdict import ValidationReport, Verdict
from infra_validator.specs import LoadSpec, ValidationSpec

SERVING: dict[str, Any] = {"tensorflow_serving": {}, "local_process": {}, "model_name": "m"}
ASKED = {"generate": {}, "num_examples": 3}
SHORT = {"requests": 80, "warm_up_seconds": 0}


def run(model: pathlib.Path, validation: dict[str, Any], request: Any = ASKED, **more: Any) -> ValidationReport:
    return api.run_validation(model, SERVING, {"num_tries": 3, **validation}, request, **more)


def measured(report: ValidationReport) -> Measurements:
    found = report.serving_binaries[0].measurements
    assert found is not None
    return found


def outcomes(report: ValidationReport) -> dict[str, LimitOutcome]:
    return {limit.name: limit.outcome for _, limit in report.limits}


def test_every_kind_of_request_is_loaded_and_held_against_its_limits(saved_models: SavedModels) -> None:
    validation = {
        "load": SHORT,
        "limits": {
            "latency": [
                {"percentile": "p50", "at_most_ms": 60000},
                {"percentile": "p90", "at_most_ms": 60000, "batch_size": 3},
            ],
            "throughput_at_least_rps": 0.001,
            "error_rate_at_most": 0.5,
            "memory": {"under_load": "50g"},
        },
    }
    request = {**ASKED, "num_examples": 6, "batch_sizes": [2, 3]}
    report = run(saved_models.path("half_plus_two"), validation, request)
    assert report.blessed, report.sentence
    found = measured(report)
    assert [(one.signature, one.batch_size, one.requests, one.errors) for one in found.load] == [
        ("serving_default", 2, 80, 0),
        ("serving_default", 3, 80, 0),
    ]
    assert found.memory is not None
    assert found.memory.under_load_peak_bytes is not None
    assert found.memory.peak_bytes is not None
    assert found.memory.peak_bytes >= found.memory.under_load_peak_bytes
    assert set(outcomes(report).values()) == {LimitOutcome.KEPT}
    assert [name for name in outcomes(report) if name.startswith("latency")] == [
        "latency.p50 (serving_default, batch size 2)",
        "latency.p50 (serving_default, batch size 3)",
        "latency.p90 (serving_default, batch size 3)",
    ]
    phases = [phase.name for phase in report.serving_binaries[0].phases]
    assert phases == ["prepare", "start", "schedule", "load", "query", "measure", "stop"]


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        ({"latency": [{"percentile": "p50", "at_most_ms": 0.000001}]}, "latency.p50 (serving_default, batch size 3)"),
        ({"throughput_at_least_rps": 1e9}, "throughput (serving_default, batch size 3)"),
        ({"memory": {"under_load": "1m"}}, "memory.under_load"),
    ],
)
def test_a_limit_that_is_exceeded_under_load_rejects_in_one_try(
    saved_models: SavedModels, limits: Any, name: str
) -> None:
    report = run(saved_models.path("half_plus_two"), {"load": SHORT, "limits": limits}, {**ASKED, "batch_sizes": [3]})
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, ReasonCode.LIMIT_EXCEEDED)
    assert report.finding.detail.startswith(name)
    assert outcomes(report)[name] is LimitOutcome.EXCEEDED
    assert len(report.serving_binaries[0].attempts) == 1
    assert measured(report).load


def test_load_without_limits_is_measured_and_reported(saved_models: SavedModels) -> None:
    report = run(saved_models.path("half_plus_two"), {"load": SHORT})
    assert report.blessed
    [one] = measured(report).load
    assert one.requests == 80
    assert {percentile.name for percentile in one.percentiles} >= {"p50", "p99", "max"}
    assert outcomes(report) == {
        "error_rate (serving_default)"
        if one.batch_size is None
        else f"error_rate (serving_default, batch size {one.batch_size})": LimitOutcome.KEPT
    }


def test_a_percentile_that_too_few_requests_came_for_is_not_measured(saved_models: SavedModels) -> None:
    """In closed mode only the end tells how many came."""
    load = {"seconds": 0.001, "warm_up_seconds": 0}
    limits = {"latency": [{"percentile": "p99", "at_most_ms": 60000}]}
    report = run(saved_models.path("half_plus_two"), {"load": load, "limits": limits})
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, ReasonCode.LIMIT_NOT_MEASURED)
    assert "it takes 368" in report.finding.detail
    assert run(saved_models.path("half_plus_two"), {"load": load, "limits": {**limits, "advisory": True}}).blessed


def test_the_total_limit_ends_a_load(saved_models: SavedModels) -> None:
    validation = {
        "load": {"seconds": 500, "at_most_seconds": 600},
        "total_time_seconds": 8,
        "max_loading_time_seconds": 60,
    }
    report = run(saved_models.path("half_plus_two"), validation)
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, ReasonCode.TOTAL_TIMEOUT)


def test_an_interruption_ends_a_load(saved_models: SavedModels) -> None:
    interruption = Interruption()

    def interrupt(line: str) -> None:
        if "query ok" in line:
            interruption.set("a test")

    validation = {"load": {"seconds": 500, "at_most_seconds": 600}}
    report = run(saved_models.path("half_plus_two"), validation, interruption=interruption, on_progress=interrupt)
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, ReasonCode.INTERRUPTED)


def test_the_ready_spec_is_one_that_can_be_run(saved_models: SavedModels) -> None:
    """Its figures are for some model of some machine, so only reported here; its load is cut short."""
    spec = ValidationSpec.of(ROOT / "configs" / "validation" / "limits.yaml")
    load = dataclasses.replace(spec.load or LoadSpec(), seconds=8.0, warm_up_seconds=0.0)
    spec = dataclasses.replace(spec, limits=dataclasses.replace(spec.limits, advisory=True), load=load)
    report = api.run_validation(saved_models.path("half_plus_two"), SERVING, spec, ASKED)
    assert report.blessed, report.sentence
    assert {name.partition(" ")[0] for name in outcomes(report)} == {
        "model_size",
        "latency.p50",
        "latency.p99",
        "throughput",
        "error_rate",
        "cold_start.load_seconds",
        "cold_start.first_answer_ms",
        "memory.after_load",
        "memory.under_load",
    }


# ---------------------------------------------------------------- servers whose answers take a known time


@pytest.fixture
def models(saved_models: SavedModels, tmp_path: pathlib.Path) -> Models:
    return Models(saved_models, tmp_path)


def on_slow_server(models: Models, limits: Any, load: Any = SHORT, **behaviour: Any) -> ValidationReport:
    """Validate a model whose server behaves so; two requests of one kind."""
    (models.folder / "requests.json").write_text('{"instances": [1.0, 2.0]}')
    return api.run_validation(
        models.model("model", **behaviour),
        models.serving_spec,
        {"limits": limits, "load": load, "num_tries": 3, "stop_grace_seconds": 0.3},
        requests=str(models.folder / "requests.json"),
    )


@pytest.mark.parametrize(("at_most_ms", "reason"), [(5, ReasonCode.LIMIT_EXCEEDED), (60000, ReasonCode.BLESSED)])
@pytest.mark.parametrize("load", [SHORT, {**SHORT, "rate_rps": 15}])
def test_answers_of_50_ms_against_a_limit(models: Models, at_most_ms: float, reason: ReasonCode, load: Any) -> None:
    limits = {"latency": [{"percentile": "p90", "at_most_ms": at_most_ms}]}
    report = on_slow_server(models, limits, load, delays_ms=[50])
    assert report.finding.reason is reason, report.sentence
    [run] = measured(report).load
    seen = next(percentile for percentile in run.percentiles if percentile.name == "p90")
    assert seen.ms >= 50
    if reason is ReasonCode.LIMIT_EXCEEDED:
        assert "p90 (serving_default, batch size 2)" in report.finding.detail
        assert "at most 5 ms allowed" in report.finding.detail
        assert len(report.serving_binaries[0].attempts) == 1


def test_a_few_slow_answers_are_in_the_high_percentile_only(models: Models) -> None:
    limits = {
        "latency": [{"percentile": "p50", "at_most_ms": 200}, {"percentile": "p95", "at_most_ms": 200}],
    }
    report = on_slow_server(models, limits, delays_ms=[0, 0, 0, 0, 400])
    assert report.finding.reason is ReasonCode.LIMIT_EXCEEDED
    assert report.finding.detail.startswith("latency.p95")
    assert outcomes(report)["latency.p50 (serving_default, batch size 2)"] is LimitOutcome.KEPT


def test_the_first_answer_is_of_the_first_request_alone(models: Models) -> None:
    """The delays are the requests' in turn, from the second on: the first request of all takes 300 ms, the others none."""
    limits = {"cold_start": {"first_answer_ms": 100}}
    report = on_slow_server(models, limits, delays_ms=[0, 300, *[0] * 200])
    assert report.finding.reason is ReasonCode.LIMIT_EXCEEDED
    assert report.finding.detail.startswith("cold_start.first_answer_ms")


def test_a_server_that_dies_under_load_is_rejected_for_that(models: Models) -> None:
    limits = {"latency": [{"percentile": "p50", "at_most_ms": 60000}]}
    report = on_slow_server(models, limits, dies_at=40)
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, ReasonCode.SERVER_KILLED)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({}, ReasonCode.REQUEST_FAILED),
        ({"error_rate_at_most": 0.5}, ReasonCode.BLESSED),
        ({"error_rate_at_most": 0.01}, ReasonCode.LIMIT_EXCEEDED),
        ({"advisory": True, "throughput_at_least_rps": 0.001}, ReasonCode.BLESSED),
    ],
)
def test_requests_that_fail_under_load(models: Models, limits: Any, reason: ReasonCode) -> None:
    """Every fifth answer takes longer than a request may."""
    load = {"requests": 20, "warm_up_seconds": 0, "timeout_seconds": 0.5}
    report = on_slow_server(models, limits, load, delays_ms=[0, 0, 0, 0, 1500])
    assert report.finding.reason is reason, report.sentence
    [run] = measured(report).load
    assert 0 < run.errors < 20
