"""One server under load, with none beside it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from infra_validator.specs import LimitsSpec
from infra_validator.specs.limits.sample_size import requests_needed
from infra_validator.validation.limits.under_load import LoadJob, LoadOutcome

if TYPE_CHECKING:  # most validations put nothing under load
    from infra_validator.report.measurements import LoadRun
    from infra_validator.validation.load.kinds import RequestKind


def alone(job: LoadJob) -> LoadOutcome:
    """An ``UnderLoad``: every kind of request of the source in turn."""
    from infra_validator.validation.load.kinds import kinds_of

    return LoadOutcome(runs_of(job, kinds_of(job.requests, job.deadline, job.runner.Observe)))


def runs_of(job: LoadJob, kinds: Iterable[RequestKind]) -> tuple[LoadRun, ...]:
    """A load run of each kind of request.

    Raises: as UnderLoad.
    """
    from infra_validator.validation.limits.lines import told_load
    from infra_validator.validation.load.load_generator import LoadGenerator

    runs = []
    for kind in kinds:
        with LoadGenerator(
            job.client, job.runner.Observe, kind, job.spec, job.deadline, on_progress=job.on_load
        ) as generator:
            runs.append(generator.run(requests_for(job.limits, kind)))
        job.say(f"{job.label}: load of {told_load(runs[-1])}")
    return tuple(runs)


def requests_for(limits: LimitsSpec, kind: RequestKind) -> int:
    """How many requests of a kind the percentiles that are limited need."""
    matching = [
        limit.percentile
        for limit in limits.latency
        if limit.signature in ("", kind.signature) and limit.batch_size in (None, kind.batch_size)
    ]
    return max(map(requests_needed, matching), default=0)
