"""Limits and load: what is refused before anything is started, and what the refusal says."""

from __future__ import annotations

from typing import Any

import pytest

from infra_validator.core.errors import SpecError
from infra_validator.specs import LoadSpec, RequestSpec, ValidationSpec
from infra_validator.specs.agreement import check_examples, check_measurable
from infra_validator.specs.limits.sample_size import requests_needed

_P99 = {"percentile": "p99", "at_most_ms": 50}


def _refused(given: Any) -> SpecError:
    with pytest.raises(SpecError) as refused:
        ValidationSpec.of(given)
    return refused.value


@pytest.mark.parametrize(("percentile", "needed"), [("p50", 6), ("p90", 36), ("p95", 72), ("p99", 368), ("max", 1)])
def test_how_many_requests_a_percentile_needs(percentile: str, needed: int) -> None:
    assert requests_needed(percentile) == needed


@pytest.mark.parametrize(
    ("limits", "field", "words"),
    [
        ({"latency": [{"percentile": "p999", "at_most_ms": 5}]}, "latency[0].percentile", "p50, p90, p95, p99, max"),
        ({"latency": [{"percentile": "p99.9", "at_most_ms": 5}]}, "latency[0].percentile", "'p99.9'"),
        ({"latency": [{"percentile": "p99"}]}, "latency[0]", "at_most_ms"),
        ({"latency": [{"at_most_ms": 0}]}, "latency[0].at_most_ms", "above 0"),
        ({"latency": [{"at_most_ms": -5}]}, "latency[0].at_most_ms", "above 0"),
        ({"latency": [{"at_most_ms": float("nan")}]}, "latency[0].at_most_ms", "finite"),
        ({"latency": [{"at_most_ms": float("inf")}]}, "latency[0].at_most_ms", "finite"),
        ({"latency": [{"at_most_ms": "50ms"}]}, "latency[0].at_most_ms", "a number"),
        ({"latency": [{"at_most_seconds": 1}]}, "latency[0].at_most_seconds", "no such field"),
        ({"latency": [{"at_most_ms": 5, "batch_size": 0}]}, "latency[0].batch_size", "above 0"),
        ({"latency": {"at_most_ms": 5}}, "latency", "a list"),
        ({"latency": [_P99, {"percentile": "p99", "at_most_ms": 60}]}, "latency[1]", "say it once"),
        ({"latency": [_P99, {"percentile": "p50", "at_most_ms": 60}]}, "latency[1]", "never smaller"),
        ({"throughput_at_least_rps": 0}, "throughput_at_least_rps", "above 0"),
        ({"error_rate_at_most": 1.5}, "error_rate_at_most", "a share from 0 to 1"),
        ({"error_rate_at_most": -0.1}, "error_rate_at_most", "0 or more"),
        ({"error_rate_at_most": "5%"}, "error_rate_at_most", "a number"),
        ({"cold_start": {"load_seconds": 0}}, "cold_start.load_seconds", "above 0"),
        ({"cold_start": {"load_seconds": 900}}, "cold_start.load_seconds", "max_loading_time_seconds, 300 s"),
        ({"memory": {"after_load": "0"}}, "memory.after_load", "a size above 0"),
        ({"memory": {"after_load": "-2g"}}, "memory.after_load", "a size above 0"),
        ({"memory": {"after_load": "2 apples"}}, "memory.after_load", "512m"),
        ({"memory": {"after_load": 2}}, "memory.after_load", "a string"),
        ({"memory": {"after_load": "9" * 500 + "g"}}, "memory.after_load", "a size above 0"),
        ({"memory": {"after_load": "2g", "under_load": "1g"}}, "memory.under_load", "below after_load"),
        ({"model_size": "2q"}, "model_size", "a size above 0"),
        ({"model_size": "NaN"}, "model_size", "a size above 0"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(limits: Any, field: str, words: str) -> None:
    error = _refused({"limits": limits})
    assert error.field == f"validation_spec.limits.{field}"
    assert words in error.detail


@pytest.mark.parametrize(
    ("load", "words"),
    [
        ({"requests": 100}, "p99 needs at least 368 requests of each signature and batch size"),
        ({"mode": "open", "rate_rps": 10, "seconds": 5}, "measures 50"),
        ({"mode": "open", "rate_rps": 4}, "measures 240"),  # at_most_seconds bounds it
    ],
)
def test_a_percentile_that_the_sample_is_too_small_for_is_refused_with_what_it_needs(load: Any, words: str) -> None:
    error = _refused({"limits": {"latency": [_P99]}, "load": load})
    assert error.field == "validation_spec.limits.latency[0].percentile"
    assert words in error.detail
    assert "368" in error.next_step or "s; or limit" in error.next_step
    # The same load is enough for the median.
    ValidationSpec.of({"limits": {"latency": [{**_P99, "percentile": "p50"}]}, "load": load})


def test_a_sample_that_is_just_large_enough_is_taken() -> None:
    ValidationSpec.of({"limits": {"latency": [_P99]}, "load": {"requests": 368}})
    ValidationSpec.of({"limits": {"latency": [_P99]}, "load": {"mode": "open", "rate_rps": 92, "seconds": 4}})
    assert "368" in _refused({"limits": {"latency": [_P99]}, "load": {"requests": 367}}).detail


def test_a_throughput_that_is_never_asked_for_is_refused() -> None:
    error = _refused({"limits": {"throughput_at_least_rps": 50}, "load": {"mode": "open", "rate_rps": 20}})
    assert error.field == "validation_spec.limits.throughput_at_least_rps"


def test_limits_of_other_requests_do_not_contradict_each_other() -> None:
    spec = ValidationSpec.of(
        {
            "limits": {
                "latency": [
                    {"percentile": "p99", "at_most_ms": 50},
                    {"percentile": "p50", "at_most_ms": 60, "batch_size": 64},
                    {"percentile": "p99", "at_most_ms": 90, "signature": "slow"},
                    {"percentile": "p99", "at_most_times": 1.1},
                ]
            }
        }
    )
    assert spec.limits.relative() == ["latency[3].at_most_times"]
    assert ValidationSpec.of(spec.to_dict()) == spec


def test_a_load_is_asked_for_by_naming_it_or_by_a_limit_that_needs_it() -> None:
    assert not ValidationSpec.of({}).measures
    assert not ValidationSpec.of({"limits": {"model_size": "1g"}}).loads
    assert ValidationSpec.of({"limits": {"model_size": "1g"}}).measures
    given = ValidationSpec.of({"load": {}})
    assert given.loads
    assert given.load == LoadSpec()
    assert ValidationSpec.of(given.to_dict()) == given
    assert ValidationSpec.of({"limits": {"memory": {"under_load": "2g"}}}).loads
    assert not ValidationSpec.of({"limits": {"memory": {"after_load": "2g"}}}).loads


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"limits": {"latency": [_P99]}}, "limits"),
        ({"limits": {"cold_start": {"first_answer_ms": 100}}}, "limits"),
        ({"load": {}}, "load"),
    ],
)
def test_what_needs_requests_is_refused_where_nothing_is_asked(given: Any, field: str) -> None:
    spec = ValidationSpec.of(given)
    with pytest.raises(SpecError) as refused:
        check_measurable(spec, asks=False, baseline=False)
    assert refused.value.field == f"validation_spec.{field}"
    check_measurable(spec, asks=True, baseline=False)
    with pytest.raises(SpecError):  # the TFX component: examples alone ask nothing without a request spec
        check_examples(spec, None, given=True)
    check_examples(spec, RequestSpec(), given=True)


def test_a_relative_limit_needs_a_baseline() -> None:
    spec = ValidationSpec.of({"limits": {"throughput_at_least_times": 0.9}})
    with pytest.raises(SpecError) as refused:
        check_measurable(spec, asks=True, baseline=False)
    assert refused.value.field == "validation_spec.limits.throughput_at_least_times"
    check_measurable(spec, asks=True, baseline=True)


def test_what_needs_no_requests_is_measured_without_them() -> None:
    limits = {"model_size": "1g", "memory": {"after_load": "1g"}, "cold_start": {"load_seconds": 10}}
    check_measurable(ValidationSpec.of({"limits": limits}), asks=False, baseline=False)
