"""Limits that need no load, with real servers: each decides, each is refused where it makes no sense."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from component_tests.fakes.saved_models import SavedModels
from infra_validator import api
from infra_validator.core.errors import SpecError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.evidence import EvidenceLevel
from infra_validator.report.measurements import LimitOutcome
from infra_validator.report.verdict import ValidationReport, Verdict

SERVING: dict[str, Any] = {"tensorflow_serving": {}, "local_process": {}, "model_name": "m"}
ASKED = {"generate": {}, "num_examples": 3}


def run(model: pathlib.Path, validation: dict[str, Any], request: Any = ASKED) -> ValidationReport:
    return api.run_validation(model, SERVING, {"num_tries": 3, **validation}, request)


def test_generous_limits_are_kept_and_everything_is_in_the_report(saved_models: SavedModels) -> None:
    limits = {
        "cold_start": {"prepare_seconds": 200, "schedule_seconds": 200, "load_seconds": 200, "first_answer_ms": 60000},
        "memory": {"after_load": "50g"},
        "model_size": "1g",
    }
    report = run(saved_models.path("half_plus_two"), {"limits": limits})
    assert report.blessed, report.sentence
    told = report.to_dict()["limits"]
    assert isinstance(told, list)
    assert [(one["name"], one["outcome"]) for one in told] == [
        ("model_size", "kept"),
        ("cold_start.prepare_seconds", "kept"),
        ("cold_start.schedule_seconds", "kept"),
        ("cold_start.load_seconds", "kept"),
        ("cold_start.first_answer_ms", "kept"),
        ("memory.after_load", "kept"),
    ]
    measured = report.serving_binaries[0].measurements
    assert measured is not None
    assert measured.first_answer_ms is not None
    assert measured.first_answer_ms > 0
    assert measured.model_size_bytes == sum(
        path.stat().st_size for path in saved_models.path("half_plus_two").rglob("*") if path.is_file()
    )
    memory = measured.memory
    assert memory is not None
    assert memory.source == "proportional set size of the process tree"
    assert memory.after_load_bytes is not None
    assert memory.peak_bytes is not None
    assert memory.peak_bytes >= memory.after_load_bytes > 10 << 20  # a server with TensorFlow in it
    assert memory.curve[0][1] > 0


def test_what_costs_nothing_is_measured_always(saved_models: SavedModels) -> None:
    report = run(saved_models.path("half_plus_two"), {})
    measured = report.serving_binaries[0].measurements
    assert measured is not None
    assert measured.first_answer_ms is not None
    assert measured.model_size_bytes
    assert measured.memory is None
    assert report.limits == ()


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        ({"cold_start": {"load_seconds": 0.000001}}, "cold_start.load_seconds"),
        ({"cold_start": {"first_answer_ms": 0.000001}}, "cold_start.first_answer_ms"),
        ({"memory": {"after_load": "1m"}}, "memory.after_load"),
    ],
)
def test_a_limit_that_is_exceeded_rejects_in_one_try(saved_models: SavedModels, limits: Any, name: str) -> None:
    report = run(saved_models.path("half_plus_two"), {"limits": limits})
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, ReasonCode.LIMIT_EXCEEDED)
    assert report.finding.detail.startswith(f"{name}: ")
    assert "too much" in report.finding.detail
    assert len(report.serving_binaries[0].attempts) == 1
    assert report.evidence.level is EvidenceLevel.ANSWERED  # it was served; it is only not good enough
    [(_, result)] = report.limits
    assert (result.name, result.outcome) == (name, LimitOutcome.EXCEEDED)


def test_a_limit_that_is_advisory_only_warns(saved_models: SavedModels) -> None:
    limits = {"advisory": True, "memory": {"after_load": "1m"}, "model_size": "1k"}
    report = run(saved_models.path("half_plus_two"), {"limits": limits})
    assert report.blessed
    assert sum("advisory" in warning for warning in report.warnings) == 2
    assert [result.outcome for _, result in report.limits] == [LimitOutcome.EXCEEDED] * 2
    assert not any(result.decides for _, result in report.limits)


def test_a_model_that_is_too_large_is_rejected_before_anything_is_started(saved_models: SavedModels) -> None:
    report = run(saved_models.path("half_plus_two"), {"limits": {"model_size": "1k"}})
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, ReasonCode.LIMIT_EXCEEDED)
    assert report.serving_binaries[0].attempts == ()
    [(label, result)] = report.limits
    assert (label, result.name, result.outcome) == ("", "model_size", LimitOutcome.EXCEEDED)


def test_a_model_that_is_only_loaded_is_held_against_what_needs_no_request(saved_models: SavedModels) -> None:
    report = run(saved_models.path("half_plus_two"), {"limits": {"memory": {"after_load": "50g"}}}, None)
    assert report.blessed
    [(_, result)] = report.limits
    assert result.outcome is LimitOutcome.KEPT


@pytest.mark.parametrize(
    ("limit", "field", "words"),
    [
        ({"signature": "serving_defualt"}, "signature", "Did you mean 'serving_default'?"),
        ({"batch_size": 77}, "batch_size", "the batch sizes that are asked: 2, 3"),
        ({"signature": "serving_default", "batch_size": 1}, "batch_size", "of 'serving_default' of 1"),
    ],
)
def test_a_limit_of_what_nothing_asks_is_refused_with_what_is_asked(
    saved_models: SavedModels, limit: Any, field: str, words: str
) -> None:
    with pytest.raises(SpecError) as refused:
        run(
            saved_models.path("half_plus_two"),
            {"limits": {"latency": [{"percentile": "p50", "at_most_ms": 5, **limit}]}},
            {**ASKED, "num_examples": 6, "batch_sizes": [2, 3]},
        )
    assert refused.value.field == f"validation_spec.limits.latency[0].{field}"
    assert words in refused.value.detail


@pytest.mark.parametrize("validation", [{"load": {}}, {"limits": {"throughput_at_least_rps": 1}}])
def test_load_without_anything_to_ask_with_is_refused(saved_models: SavedModels, validation: Any) -> None:
    with pytest.raises(SpecError) as refused:
        run(saved_models.path("half_plus_two"), validation, None)
    assert "nothing to ask it with" in refused.value.detail
