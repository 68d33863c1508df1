"""Each limit held against what was measured, without any server."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from infra_validator.core.errors import AttemptFailed, InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.measurements import (
    ClientShare,
    LimitOutcome,
    LimitResult,
    LoadRun,
    Measurements,
    MemoryUse,
    Percentile,
)
from infra_validator.report.verdict import Phase
from infra_validator.specs import LimitsSpec, ValidationSpec
from infra_validator.validation.limits.deciding import raise_for, raise_for_errors, warnings
from infra_validator.validation.limits.judging import judged, model_size_judged

PHASES = (Phase("prepare", 1.0), Phase("start", 0.5), Phase("schedule", 1.5), Phase("load", 3.0), Phase("query", 9.0))
RUN = LoadRun(
    signature="serving_default",
    batch_size=1,
    mode="closed",
    concurrency=1,
    rate_rps=None,
    seconds=10.0,
    requests=1000,
    errors=0,
    error="",
    throughput_rps=100.0,
    steady=True,
    why_not_steady="",
    percentiles=(Percentile("p50", 9.0, 8.9, 9.1), Percentile("p99", 40.0, 35.0, 48.0), Percentile("max", 55.0)),
    histogram="",
    windows=(),
    client=ClientShare(0.0, 0.0, 0.0, 0.0),
)


def _limits(given: dict[str, Any]) -> LimitsSpec:
    return ValidationSpec.of({"limits": given}).limits


def _judged(given: dict[str, Any], *runs: LoadRun, **measured: Any) -> list[LimitResult]:
    results = judged(_limits(given), Measurements(load=runs, **measured), PHASES)
    return [result for result in results if not result.name.startswith("error_rate")]


def test_a_latency_that_is_too_long_is_told_with_by_how_much() -> None:
    [result] = _judged({"latency": [{"percentile": "p99", "at_most_ms": 25}]}, RUN)
    assert result.outcome is LimitOutcome.EXCEEDED
    assert (result.limit, result.measured, result.low, result.high) == (25, 40.0, 35.0, 48.0)
    assert not result.within_noise
    assert result.detail == (
        "latency.p99 (serving_default, batch size 1): 40 ms, at most 25 ms allowed: 15 ms (60 %) too much."
    )


@pytest.mark.parametrize(("limit", "outcome"), [(36, LimitOutcome.EXCEEDED), (44, LimitOutcome.KEPT)])
def test_a_limit_inside_the_confidence_interval_decides_by_the_point_and_says_so(
    limit: float, outcome: LimitOutcome
) -> None:
    [result] = _judged({"latency": [{"percentile": "p99", "at_most_ms": limit}]}, RUN)
    assert result.outcome is outcome
    assert result.within_noise
    assert "from 35 ms to 48 ms" in result.detail
    told = warnings([result])
    assert bool(told) == (outcome is LimitOutcome.KEPT)  # an exceeded one is the reason anyway


def test_the_limits_that_name_most_of_a_request_take_the_place_of_the_others() -> None:
    general = {"percentile": "p99", "at_most_ms": 30}
    of_batch = {"percentile": "p99", "at_most_ms": 300, "batch_size": 64}
    big = dataclasses.replace(RUN, batch_size=64)
    small, large = _judged({"latency": [general, of_batch]}, RUN, big)
    assert (small.limit, small.outcome) == (30, LimitOutcome.EXCEEDED)
    assert (large.limit, large.outcome) == (300, LimitOutcome.KEPT)
    assert "batch size 64" in large.name


def test_a_limit_of_what_nobody_asked_is_not_measured() -> None:
    [result] = _judged({"latency": [{"signature": "other", "percentile": "p50", "at_most_ms": 30}]}, RUN)
    assert result.outcome is LimitOutcome.NOT_MEASURED
    assert "nothing asked it" in result.detail


def test_too_few_requests_for_a_percentile_are_not_measured_with_how_many_it_takes() -> None:
    few = dataclasses.replace(RUN, requests=120, percentiles=(Percentile("p99", 40.0, 20.0, None),))
    [result] = _judged({"latency": [{"percentile": "p99", "at_most_ms": 50}]}, few)
    assert result.outcome is LimitOutcome.NOT_MEASURED
    assert "120 requests were answered, and it takes 368" in result.detail
    with pytest.raises(InfrastructureError) as raised:
        raise_for([result])
    assert raised.value.reason is ReasonCode.LIMIT_NOT_MEASURED


def test_few_requests_are_enough_to_say_that_a_server_is_much_too_slow() -> None:
    few = dataclasses.replace(RUN, requests=120, percentiles=(Percentile("p99", 40.0, 20.0, None),))
    [result] = _judged({"latency": [{"percentile": "p99", "at_most_ms": 5}]}, few)
    assert result.outcome is LimitOutcome.EXCEEDED


def test_throughput_is_each_kinds_own() -> None:
    slow = dataclasses.replace(RUN, batch_size=8, throughput_rps=20.0)
    first, second = _judged({"throughput_at_least_rps": 50}, RUN, slow)
    assert (first.outcome, second.outcome) == (LimitOutcome.KEPT, LimitOutcome.EXCEEDED)
    assert "20 requests/s, at least 50 requests/s wanted: 30 requests/s (60 %) too little" in second.detail


def test_a_failed_request_under_load_is_one_too_many_unless_a_rate_is_allowed() -> None:
    failing = dataclasses.replace(RUN, requests=990, errors=10, error="INTERNAL: it broke.")
    with pytest.raises(AttemptFailed) as raised:
        raise_for_errors(LimitsSpec(), [RUN, failing])
    assert raised.value.reason is ReasonCode.REQUEST_FAILED
    assert "10 of 1000 requests" in raised.value.detail
    assert "INTERNAL: it broke." in raised.value.detail
    assert "error_rate_at_most" in raised.value.next_step
    for allowed, outcome in ((0.02, LimitOutcome.KEPT), (0.005, LimitOutcome.EXCEEDED)):
        limits = _limits({"error_rate_at_most": allowed})
        raise_for_errors(limits, [failing])
        [result] = judged(limits, Measurements(load=(failing,)), PHASES)
        assert result.outcome is outcome
        assert result.measured == pytest.approx(0.01)
    raise_for_errors(_limits({"advisory": True}), [failing])


def test_cold_start_is_held_against_its_phases() -> None:
    limits = {"prepare_seconds": 2, "schedule_seconds": 1, "load_seconds": 2.5, "first_answer_ms": 100}
    results = _judged({"cold_start": limits}, first_answer_ms=120.0)
    assert [(result.name, result.measured, result.outcome) for result in results] == [
        ("cold_start.prepare_seconds", 1.0, LimitOutcome.KEPT),
        ("cold_start.schedule_seconds", 2.0, LimitOutcome.EXCEEDED),
        ("cold_start.load_seconds", 3.0, LimitOutcome.EXCEEDED),
        ("cold_start.first_answer_ms", 120.0, LimitOutcome.EXCEEDED),
    ]
    [_, _, _, missing] = _judged({"cold_start": limits})
    assert missing.outcome is LimitOutcome.NOT_MEASURED


def test_memory_after_load_and_under_load() -> None:
    use = MemoryUse("the cgroup", 600 << 20, 3 << 30, 2 << 30)
    after, under = _judged({"memory": {"after_load": "1g", "under_load": "1536m"}}, memory=use)
    assert after.outcome is LimitOutcome.KEPT
    assert under.outcome is LimitOutcome.EXCEEDED
    assert under.detail == ("memory.under_load: 2 GiB, at most 1.5 GiB allowed: 512 MiB (33.3 %) too much.")


def test_memory_that_cannot_be_read_is_not_measured_in_the_platforms_words() -> None:
    limits = _limits({"memory": {"after_load": "1g"}})
    [result] = judged(limits, Measurements(), PHASES, "The pod may not be looked into.")
    assert result.outcome is LimitOutcome.NOT_MEASURED
    assert "The pod may not be looked into." in result.detail


def test_the_size_of_the_models_files() -> None:
    limits = _limits({"model_size": "500m"})
    assert model_size_judged(LimitsSpec(), 1) == ()
    assert model_size_judged(limits, 500 << 20)[0].outcome is LimitOutcome.KEPT
    assert model_size_judged(limits, (500 << 20) + 1)[0].outcome is LimitOutcome.EXCEEDED
    assert model_size_judged(limits, None)[0].outcome is LimitOutcome.NOT_MEASURED


def test_of_several_the_first_is_named_and_how_many_more() -> None:
    limits = {"latency": [{"percentile": "p50", "at_most_ms": 5}, {"percentile": "p99", "at_most_ms": 5}]}
    results = _judged({**limits, "throughput_at_least_rps": 500}, RUN)
    with pytest.raises(AttemptFailed) as raised:
        raise_for(results)
    assert raised.value.reason is ReasonCode.LIMIT_EXCEEDED
    assert not raised.value.heals
    assert raised.value.detail.startswith("latency.p50 (serving_default, batch size 1): 9 ms")
    assert raised.value.detail.endswith("2 more limits are exceeded: the report has all.")


def test_an_exceeded_limit_outweighs_one_that_was_not_measured() -> None:
    limits = {"memory": {"after_load": "1g"}, "latency": [{"percentile": "p50", "at_most_ms": 5}]}
    results = _judged(limits, RUN)
    noise = InfrastructureError(ReasonCode.TOO_NOISY)
    with pytest.raises(AttemptFailed):
        raise_for(results, noise)
    with pytest.raises(InfrastructureError) as raised:
        raise_for([result for result in results if result.outcome is not LimitOutcome.EXCEEDED], noise)
    assert raised.value is noise


def test_advisory_limits_warn_and_do_not_decide() -> None:
    results = _judged(
        {"advisory": True, "latency": [{"percentile": "p50", "at_most_ms": 5}], "memory": {"after_load": "1g"}}, RUN
    )
    raise_for(results)
    assert len(warnings(results)) == 2
    assert all("advisory" in told for told in warnings(results))
