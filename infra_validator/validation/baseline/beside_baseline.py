"""The model's server under load with the baseline's beside it: both are asked in turns, a block each, until the limits are decided."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Sequence

from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.measurements import BaselineComparison, LimitOutcome, LimitResult, LoadRun
from infra_validator.report.signatures import Signatures
from infra_validator.specs import LoadSpec, ValidationSpec
from infra_validator.validation.baseline.ratio import FEWEST_PAIRS, LOOKS
from infra_validator.validation.baseline.relative_limits import (
    Compared,
    is_open,
    limits_of,
    missing_signatures,
    undecided,
)
from infra_validator.validation.baseline.second_server import (
    RunningBaseline,
    SecondServer,
    blaming_the_baseline,
    running_baseline,
)
from infra_validator.validation.limits.alone import alone, runs_of
from infra_validator.validation.limits.under_load import LoadJob, LoadOutcome, UnderLoad
from infra_validator.validation.load.block import Block, load_run_of
from infra_validator.validation.load.kinds import RequestKind, kinds_of
from infra_validator.validation.load.load_generator import LoadGenerator, WarmUp

_SHORTEST_BLOCK_SECONDS = 0.5  # where the spec does not say how long is measured


@dataclasses.dataclass(frozen=True)
class _KindOutcome:
    """Of one kind of request: both servers' runs, how many pairs of blocks there were, and what came of the limits."""

    model: LoadRun
    baseline: LoadRun
    pairs: int
    results: tuple[LimitResult, ...]


class BesideBaseline:
    """An ``UnderLoad``.

    Args:
      server: how a server with the baseline is had.
      signatures: the baseline's; empty where they are not known.
      spec: the validation spec.
      without: loads the model's server alone, where the baseline does not serve.
    """

    def __init__(
        self, server: SecondServer, signatures: Signatures, spec: ValidationSpec, without: UnderLoad = alone
    ) -> None:
        self._server = server
        self._signatures = signatures
        self._spec = spec
        self._without = without

    def __call__(self, job: LoadJob) -> LoadOutcome:
        """See UnderLoad. A baseline that fails is told after the model was measured alone: a bad model is a bad model all the same.

        Raises:
          AttemptFailed, InfrastructureError, JobGone: as UnderLoad; never for what the baseline does.
        """
        try:
            return self._side_by_side(job)
        except InfrastructureError as error:
            if error.reason is not ReasonCode.BASELINE_FAILED:
                raise
            job.say_with_quotes(f"{job.label}: {error.sentence} The model is measured alone.")
            outcome = self._without(job)
            advisory = self._spec.limits.advisory
            if advisory:
                return dataclasses.replace(outcome, with_quotes=(*outcome.with_quotes, error.sentence))
            return dataclasses.replace(outcome, problem=error)

    def _side_by_side(self, job: LoadJob) -> LoadOutcome:
        kinds = kinds_of(job.requests, job.deadline, job.runner.Observe)
        missing = missing_signatures(self._spec.limits, kinds, self._signatures, self._server.path)
        with running_baseline(self._server, self._spec, job) as baseline:
            baseline.memory.asked()
            outcomes = [self._measure(kind, job, baseline) for kind in kinds if kind.signature not in missing]
            baseline.memory.answered()
            comparison = BaselineComparison(
                baseline=self._server.path,
                interleaved=True,
                blocks=max((one.pairs for one in outcomes), default=0),
                load=tuple(one.baseline for one in outcomes),
                memory=baseline.memory_use,
                ratios=tuple(result for one in outcomes for result in one.results),
            )
        left = tuple(f"The baseline's server: {problem}" for problem in baseline.runner.stop_problems)
        rest = runs_of(job, [kind for kind in kinds if kind.signature in missing])
        notes = tuple(
            f"The baseline has no signature {name!r}: its limits that are multiples of the baseline's are not applied."
            for name in missing
        )
        return LoadOutcome(
            runs=(*(one.model for one in outcomes), *rest),
            baseline=comparison,
            notes=(*notes, *left),
            problem=undecided(comparison.ratios),
        )

    def _measure(self, kind: RequestKind, job: LoadJob, baseline: RunningBaseline) -> _KindOutcome:
        path = self._server.path
        with contextlib.ExitStack() as closing:
            of_model = closing.enter_context(
                LoadGenerator(job.client, job.runner.Observe, kind, job.spec, job.deadline, on_progress=job.on_load)
            )
            with blaming_the_baseline(path, baseline.runner):
                of_baseline = closing.enter_context(
                    LoadGenerator(baseline.client, baseline.runner.Observe, kind, job.spec, job.deadline)
                )
            pairs = _Pairs(of_model, of_baseline, path, baseline, job)
            warm_ups = pairs.warm_up()
            results: tuple[LimitResult, ...] = ()
            for look in LOOKS:
                pairs.measure_up_to(look)
                job.interruption.check()
                compared = Compared(kind, pairs.model, pairs.baseline)
                results = limits_of(self._spec.limits, compared)
                for result in results:
                    job.say(f"{job.label}: {result.detail}")
                rejected = any(result.decides and result.outcome is LimitOutcome.EXCEEDED for result in results)
                if rejected or pairs.no_more or not any(map(is_open, results)):
                    break
        return _KindOutcome(
            _run(kind, job.spec, pairs.model, warm_ups[0]),
            _run(kind, job.spec, pairs.baseline, warm_ups[1]),
            len(pairs.model),
            results,
        )


def _run(kind: RequestKind, spec: LoadSpec, blocks: Sequence[Block], warm_up: WarmUp) -> LoadRun:
    return load_run_of(kind, spec, blocks, warm_up=warm_up.windows, why_not_steady=warm_up.why_not_steady)


class _Pairs:
    """Blocks of both servers, in turns: model, baseline, baseline, model, and so on."""

    def __init__(
        self,
        of_model: LoadGenerator,
        of_baseline: LoadGenerator,
        path: str,
        baseline: RunningBaseline,
        job: LoadJob,
    ) -> None:
        self._of_model = of_model
        self._of_baseline = of_baseline
        self._path = path
        self._server = baseline
        self._job = job
        self._clock = job.deadline.clock
        self._spent = [0.0, 0.0]  # seconds of the model's server and of the baseline's
        self.model: list[Block] = []
        self.baseline: list[Block] = []
        self.no_more = False

    def warm_up(self) -> tuple[WarmUp, WarmUp]:
        """Warm both up: neither is measured before."""
        began = self._clock.monotonic()
        model = self._of_model.warm_up()
        between = self._clock.monotonic()
        with blaming_the_baseline(self._path, self._server.runner):
            baseline = self._of_baseline.warm_up()
        self._spent = [between - began, self._clock.monotonic() - between]
        return model, baseline

    def measure_up_to(self, pairs: int) -> None:
        """Measure until there are so many pairs, or the time of ``load.at_most_seconds`` is up; each server has it for itself.

        Raises:
          InfrastructureError: the whole validation's time is up (TOTAL_TIMEOUT), or the baseline failed; as LoadGenerator.block.
        """
        while len(self.model) < pairs and not self.no_more:
            before = list(self._spent)
            if len(self.model) % 2 == 0:
                model, baseline = self._block_of_model(), self._block_of_baseline()
            else:
                baseline, model = self._block_of_baseline(), self._block_of_model()
            self.model.append(model)
            self.baseline.append(baseline)
            # What is under way when the time is up would be cut off and count as failed: there must be room for another block, and more.
            took = max(now - then for now, then in zip(self._spent, before, strict=True))
            self.no_more = max(self._spent) + 2 * took > self._job.spec.at_most_seconds

    def _block_of_model(self) -> Block:
        return self._timed(0, self._of_model)

    def _block_of_baseline(self) -> Block:
        with blaming_the_baseline(self._path, self._server.runner):
            block = self._timed(1, self._of_baseline)
        if block.errors and not block.requests:
            raise InfrastructureError(
                ReasonCode.BASELINE_FAILED,
                f"Baseline {self._path} answers no request rightly; the first: {block.error}",
            )
        return block

    def _timed(self, side: int, generator: LoadGenerator) -> Block:
        began = self._clock.monotonic()
        block = self._block(generator)
        self._spent[side] += self._clock.monotonic() - began
        if self._job.deadline.expired():
            raise InfrastructureError(ReasonCode.TOTAL_TIMEOUT, "The model was being compared with its baseline.")
        return block

    def _block(self, generator: LoadGenerator) -> Block:
        spec = self._job.spec
        if spec.requests is not None:
            return generator.block(requests=math.ceil(spec.requests / FEWEST_PAIRS))
        seconds = _SHORTEST_BLOCK_SECONDS if spec.seconds is None else spec.seconds / FEWEST_PAIRS
        return generator.block(seconds=seconds)
