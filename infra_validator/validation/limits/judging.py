"""Each limit held against what was measured: one result for each limit and what it applies to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from infra_validator.report.measurements import LimitResult, LoadRun, Measurements, MemoryUse, Percentile
from infra_validator.report.verdict import Phase
from infra_validator.specs import LatencyLimit, LimitsSpec
from infra_validator.specs.limits.limits_spec import PERCENTILES
from infra_validator.specs.limits.sample_size import requests_needed
from infra_validator.specs.local_process import parse_size
from infra_validator.validation.limits.result import held, not_measured

#: The limits of the cold start by seconds, and the phases of an attempt that each of them spans.
_COLD_START = {"prepare_seconds": ("prepare",), "schedule_seconds": ("start", "schedule"), "load_seconds": ("load",)}


def judged(
    limits: LimitsSpec, measured: Measurements, phases: Sequence[Phase], memory_problem: str = ""
) -> tuple[LimitResult, ...]:
    """One result for each limit and what it applies to; those of the model's files and those relative to a baseline apart.

    Args:
      limits: the limits; where requests were sent under load and no error rate is limited, none of them may fail.
      measured: of one attempt.
      phases: of that attempt, as far as it got.
      memory_problem: why the server's memory could not be read, one sentence; empty where it could.
    """
    decides = not limits.advisory
    return (
        *_latency(limits.latency, measured.load, decides),
        *_throughput(limits.throughput_at_least_rps, measured.load, decides),
        *_errors(limits.error_rate_at_most or 0.0, measured.load, decides),
        *_cold_start(limits, measured.first_answer_ms, {phase.name: phase.seconds for phase in phases}),
        *_memory(limits, measured.memory, memory_problem),
        *_memory_against_baseline(limits, measured),
    )


def model_size_judged(limits: LimitsSpec, octets: int | None) -> tuple[LimitResult, ...]:
    """The limit on the size of the model's files, if there is one.

    Args:
      octets: of the files together; None where they cannot be read here.
    """
    limit = parse_size(limits.model_size)
    if limit is None:
        return ()
    if octets is None:
        why = "the model's files are not on this machine."
        return (not_measured("model_size", limit, "bytes", why, decides=not limits.advisory),)
    return (held("model_size", limit, octets, "bytes", decides=not limits.advisory),)


def kind_of(run: LoadRun) -> str:
    """For people, e.g. ``serving_default, batch size 4``."""
    rows = "" if run.batch_size is None else f", batch size {run.batch_size}"
    return f"{run.signature or 'no signature'}{rows}"


# ---------------------------------------------------------------- latency


def _latency(limits: Sequence[LatencyLimit], runs: Sequence[LoadRun], decides: bool) -> Iterator[LimitResult]:
    absolute = [limit for limit in limits if limit.at_most_ms is not None]
    for limit in absolute:
        if not any(_matches(limit, run) for run in runs):
            title = f"latency.{limit.percentile} ({_meant(limit)})"
            yield not_measured(title, limit.at_most_ms or 0.0, "ms", "nothing asked it.", decides=decides)
    for run in runs:
        for percentile in PERCENTILES:
            for limit in _that_count([one for one in absolute if one.percentile == percentile], run):
                yield _percentile(limit.at_most_ms or 0.0, percentile, run, decides)


def _that_count(limits: Sequence[LatencyLimit], run: LoadRun) -> list[LatencyLimit]:
    """Those that match the run, and of these those that name most of it."""
    matching = [limit for limit in limits if _matches(limit, run)]
    most = max(map(_named, matching), default=0)
    return [limit for limit in matching if _named(limit) == most]


def _matches(limit: LatencyLimit, run: LoadRun) -> bool:
    return limit.signature in ("", run.signature) and limit.batch_size in (None, run.batch_size)


def _meant(limit: LatencyLimit) -> str:
    """For people: the requests that the limit is of."""
    rows = "" if limit.batch_size is None else f", batch size {limit.batch_size}"
    return f"{limit.signature or 'every signature'}{rows}"


def _named(limit: LatencyLimit) -> int:
    return bool(limit.signature) + (limit.batch_size is not None)


def _percentile(limit: float, name: str, run: LoadRun, decides: bool) -> LimitResult:
    title = f"latency.{name} ({kind_of(run)})"
    seen = next((one for one in run.percentiles if one.name == name), None)
    needed = requests_needed(name)
    if seen is None or (run.requests < needed and not _surely_above(seen, limit)):
        how_many = "1 request was" if run.requests == 1 else f"{run.requests} requests were"
        why = f"{how_many} answered, and it takes {needed}. Measure for longer, or limit a lower percentile."
        return not_measured(title, limit, "ms", why, decides=decides)
    return held(title, limit, seen.ms, "ms", decides=decides, low=seen.low_ms, high=seen.high_ms)


def _surely_above(seen: Percentile, limit: float) -> bool:
    """Whether even the lower end of the confidence interval is above the limit: then the few requests are enough to say so."""
    return seen.low_ms is not None and seen.low_ms > limit


# ---------------------------------------------------------------- throughput and errors


def _throughput(limit: float | None, runs: Sequence[LoadRun], decides: bool) -> Iterator[LimitResult]:
    if limit is None:
        return
    if not runs:
        why = "nothing was asked under load."
        yield not_measured("throughput", limit, "requests per second", why, decides=decides, at_most=False)
    for run in runs:
        title = f"throughput ({kind_of(run)})"
        yield held(title, limit, run.throughput_rps, "requests per second", decides=decides, at_most=False)


def _errors(limit: float, runs: Sequence[LoadRun], decides: bool) -> Iterator[LimitResult]:
    for run in runs:
        yield held(f"error_rate ({kind_of(run)})", limit, run.error_rate, "share", decides=decides)


# ---------------------------------------------------------------- cold start and memory


def _cold_start(
    limits: LimitsSpec, first_answer_ms: float | None, seconds: Mapping[str, float]
) -> Iterator[LimitResult]:
    decides = not limits.advisory
    for field, phases in _COLD_START.items():
        limit = getattr(limits.cold_start, field)
        if limit is not None:
            took = sum(seconds.get(phase, 0.0) for phase in phases)
            yield held(f"cold_start.{field}", limit, took, "seconds", decides=decides)
    limit = limits.cold_start.first_answer_ms
    if limit is not None:
        title = "cold_start.first_answer_ms"
        if first_answer_ms is None:
            yield not_measured(title, limit, "ms", "no answer was seen.", decides=decides)
        else:
            yield held(title, limit, first_answer_ms, "ms", decides=decides)


def _memory_against_baseline(limits: LimitsSpec, measured: Measurements) -> Iterator[LimitResult]:
    """The limit of the memory as a multiple of the baseline's. Memory is read at its peak and has no interval: the point decides."""
    limit, baseline = limits.memory.at_most_times, measured.baseline
    if limit is None or baseline is None:
        return
    title, unit, decides = "memory against the baseline", "times the baseline", not limits.advisory
    now, then = (memory.under_load_peak_bytes if memory else None for memory in (measured.memory, baseline.memory))
    if now is None or not then:
        whose = "the server's" if now is None else "the baseline's"
        yield not_measured(title, limit, unit, f"{whose} memory under load was not read.", decides=decides)
    else:
        yield held(title, limit, now / then, unit, decides=decides)


def _memory(limits: LimitsSpec, memory: MemoryUse | None, problem: str) -> Iterator[LimitResult]:
    seen = {
        "after_load": memory.after_load_bytes if memory else None,
        "under_load": memory.under_load_peak_bytes if memory else None,
    }
    for field, octets in seen.items():
        limit = parse_size(getattr(limits.memory, field))
        if limit is None:
            continue
        title, decides = f"memory.{field}", not limits.advisory
        if octets is None:
            why = problem or "the server's memory was not read."
            yield not_measured(title, limit, "bytes", why, decides=decides)
        else:
            yield held(title, limit, octets, "bytes", decides=decides)
