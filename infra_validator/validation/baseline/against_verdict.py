"""The model's server under load, held against what an earlier verdict measured of the baseline's."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterator, Sequence

from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.measurements import BaselineComparison, LimitResult, LoadRun, MemoryUse
from infra_validator.specs import LimitsSpec, ValidationSpec
from infra_validator.validation.baseline.earlier_verdict import EarlierRun, EarlierVerdict
from infra_validator.validation.baseline.ratio import Ratio, ThroughputFigure
from infra_validator.validation.baseline.relative_limits import latency_limits, result_of, undecided
from infra_validator.validation.limits.alone import alone
from infra_validator.validation.limits.under_load import LoadJob, LoadOutcome, UnderLoad
from infra_validator.validation.load.histogram import decode
from infra_validator.validation.load.percentiles import percentile

_CONFIDENCE = 0.9  # of the ratio's interval: both ends of two intervals of 95 %
_ANOTHER_TIME = (
    "The baseline was measured at another time: what differs between then and now, the machine included, counts as the "
    "model's. With baseline_model both are measured now, in turns."
)


class AgainstVerdict:
    """An ``UnderLoad``.

    Args:
      earlier: the verdict.
      spec: the validation spec.
      under_load: loads the model's server.
    """

    def __init__(self, earlier: EarlierVerdict, spec: ValidationSpec, under_load: UnderLoad = alone) -> None:
        self._earlier = earlier
        self._limits = spec.limits
        self._under_load = under_load

    def __call__(self, job: LoadJob) -> LoadOutcome:
        """See UnderLoad; what the verdict lacks is a ``problem`` of the outcome (BASELINE_FAILED)."""
        outcome = self._under_load(job)
        label = self._earlier.label_for(job.label)
        problem: InfrastructureError | None = None
        ratios: tuple[LimitResult, ...] = ()
        try:
            ratios = tuple(self._ratios(outcome.runs, label, job.label))
            problem = undecided(ratios)
        except InfrastructureError as error:
            problem = None if self._limits.advisory else error
        memory = self._earlier.memory.get(label)
        comparison = BaselineComparison(
            baseline=self._earlier.path,
            interleaved=False,
            blocks=0,
            memory=MemoryUse("an earlier verdict", under_load_peak_bytes=memory) if memory else None,
            ratios=ratios,
        )
        notes = (*outcome.notes, _ANOTHER_TIME)
        return dataclasses.replace(outcome, baseline=comparison, notes=notes, problem=outcome.problem or problem)

    def _ratios(self, runs: Sequence[LoadRun], label: str, asked: str) -> Iterator[LimitResult]:
        if not label:
            raise self._lacks(f"no load of {asked}; it has: {', '.join(self._earlier.runs)}")
        before = {(run.signature, run.batch_size): run for run in self._earlier.runs[label]}
        for run in runs:
            was = before.get((run.signature, run.batch_size))
            if was is None:
                rows = "" if run.batch_size is None else f", batch size {run.batch_size}"
                raise self._lacks(f"no load with {run.signature or 'no signature'}{rows}")
            yield from _against(self._limits, run, was)

    def _lacks(self, what: str) -> InfrastructureError:
        return InfrastructureError(
            ReasonCode.BASELINE_FAILED,
            f"The verdict {self._earlier.path} has {what}.",
            next_step="Measure the baseline with the same serving spec and requests.",
        )


def _against(limits: LimitsSpec, run: LoadRun, was: EarlierRun) -> Iterator[LimitResult]:
    rows = "" if run.batch_size is None else f", batch size {run.batch_size}"
    kind = f"{run.signature or 'no signature'}{rows}"
    decides = not limits.advisory
    for limit in latency_limits(limits, run.signature, run.batch_size):
        name = f"latency.{limit.percentile} against the baseline ({kind})"
        found = latency_ratio(run, was, limit.percentile)
        yield result_of(name, found, limit.at_most_times or 0.0, at_most=True, decides=decides)
    if limits.throughput_at_least_times is not None:
        name = f"throughput against the baseline ({kind})"
        found = throughput_ratio(run, was)
        yield result_of(name, found, limits.throughput_at_least_times, at_most=False, decides=decides)


def latency_ratio(run: LoadRun, was: EarlierRun, name: str) -> Ratio:
    """The ratio of a percentile; its interval from the ends of both percentiles' own, which assumes the worst of both."""
    now, then = percentile(decode(run.histogram), name), percentile(was.latencies, name)
    times = now.ms / then.ms if now.ms > 0 and then.ms > 0 else math.nan
    if not (now.low_ms and now.high_ms and then.low_ms and then.high_ms):
        few = min(run.requests, was.latencies.total)
        return Ratio(times, too_few=f"There were {few} requests, too few for {name}.")
    return Ratio(times, now.low_ms / then.high_ms, now.high_ms / then.low_ms, confidence=_CONFIDENCE)


def throughput_ratio(run: LoadRun, was: EarlierRun) -> Ratio:
    """The ratio of the requests answered per second; its interval from drawing windows of both again and again."""
    now = [(window.requests, window.seconds) for window in run.windows if not window.warm_up and window.seconds > 0]
    then = [(window.requests, window.seconds) for window in was.windows if not window.warm_up and window.seconds > 0]
    times = run.throughput_rps / (was.requests / was.seconds)
    if min(len(now), len(then)) < 3:
        return Ratio(times, too_few=f"There were {min(len(now), len(then))} windows; it takes 3.")
    chance = random.Random(len(now))
    drawn = sorted(
        found
        for found in (_drawn(now, chance) / _drawn(then, chance) for _ in range(1000))
        if not math.isnan(found)
    )  # fmt: skip
    if not drawn:
        return Ratio(times, too_few="No request was answered.")
    tail = int(len(drawn) * (1 - _CONFIDENCE) / 2)
    return Ratio(times, min(drawn[tail], times), max(drawn[-1 - tail], times), confidence=_CONFIDENCE)


def _drawn(windows: Sequence[tuple[int, float]], chance: random.Random) -> float:
    weights = [0] * len(windows)
    for place in chance.choices(range(len(windows)), k=len(windows)):
        weights[place] += 1
    return ThroughputFigure(windows).of(weights)
