"""The work: the models of a fleet validated side by side in one process, a bounded number at once."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import logging
import os
import threading
import traceback
from collections.abc import Callable, Sequence

from infra_validator import api
from infra_validator.core.deadline import SYSTEM_CLOCK
from infra_validator.core.errors import AttemptFailed, InfrastructureError, UsageError
from infra_validator.core.progress import FleetWentOn, Progress, Tell, Try, tell_nobody
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.signals.interruption import Interruption
from infra_validator.fleet.fleet_report import KEPT, NOT_STARTED, VALIDATED, FleetReport, ModelLine
from infra_validator.fleet.kept import KeptFleet, fingerprint_of
from infra_validator.fleet.model_list import FleetModel, Shared, read_models, shard_numbers, shard_of
from infra_validator.report.output_directory import OutputDirectory
from infra_validator.report.verdict import ValidationReport, Verdict, now, report_of_error
from infra_validator.specs import RequestSpec, ServingSpec, ValidationSpec

_LOG = logging.getLogger(__name__)


def validate_fleet(
    models: str | os.PathLike[str],
    serving_spec: object,
    validation_spec: object = None,
    request_spec: object = None,
    *,
    requests: str | None = None,
    at_once: int = 0,
    output: str | os.PathLike[str] | None = None,
    resume: bool = False,
    fail_fast: bool = False,
    shard: str = "",
    on_progress: Callable[[str], None] = _LOG.info,
    tell: Tell = tell_nobody,
    interruption: Interruption | None = None,
) -> FleetReport:
    """Validate many models; every outcome is a line of the report.

    Args:
      models: a pattern, a directory of models, or a file that lists them (docs/fleet.md).
      serving_spec, validation_spec, request_spec: as :func:`infra_validator.validate`'s; for every model whose entry has none of its own.
      requests: the path of a file of sample requests, likewise.
      at_once: how many models are validated at once; 0: as many as there are processors.
      output: a directory that gets a directory with the verdict and reports of each model, and the report of all; None: nothing is kept.
      resume: whether verdicts that ``output`` has of the same models, specs and requests are kept.
      fail_fast: whether no further model is begun once one is not blessed.
      shard: ``I/N``: every Nth model of the list, from the Ith; empty: all.
      on_progress: called with one line for each model that is done.
      tell: gets what goes on as data (core/progress.py).
      interruption: ends the validations early, cleaned up; what was not begun is INCONCLUSIVE.

    Raises:
      UsageError: a spec, or something in the list, is wrong; nothing was started.
      InfrastructureError: ``output`` cannot be written to.
    """
    if at_once < 0:
        raise UsageError(f"--at-once {at_once}: must be 0 or more.")
    if resume and output is None:
        raise UsageError("--resume needs --output: the directory that has the verdicts of the earlier run.")
    shared = Shared(
        ServingSpec.of(serving_spec), ValidationSpec.of(validation_spec), RequestSpec.of(request_spec), requests
    )
    whole = read_models(models, shared)
    mine = shard_of(whole, shard)
    for model in mine:
        try:
            own = model.shared
            api.check_source(own.requests, own.validation_spec, own.request_spec)
        except UsageError as error:
            raise UsageError(
                f"{model.where}: {error.detail}", reason=error.reason, next_step=error.next_step
            ) from error
    kept = KeptFleet(output) if output is not None else None
    workers = at_once or len(
        os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else [0] * (os.cpu_count() or 1)
    )
    work = _Fleet(mine, kept, resume, fail_fast, on_progress, tell, interruption or Interruption())
    began, started_at = SYSTEM_CLOCK.monotonic(), now()
    lines = work.run(workers)
    took = SYSTEM_CLOCK.monotonic() - began
    report = FleetReport(lines, started_at, took, workers, shard_numbers(shard))
    if kept is not None:
        kept.write(report)
    return report


class _Fleet:
    """The models that are to be validated, and how far it is."""

    def __init__(
        self,
        models: Sequence[FleetModel],
        kept: KeptFleet | None,
        resume: bool,
        fail_fast: bool,
        say: Callable[[str], None],
        tell: Tell,
        interruption: Interruption,
    ) -> None:
        self._models = models
        self._kept = kept
        self._resume = resume
        self._fail_fast = fail_fast
        self._say = say
        self._tell = tell
        self._interruption = interruption
        self._lock = threading.Lock()
        self._done: dict[Verdict, int] = dict.fromkeys(Verdict, 0)
        self._ends = ""  # why no further model is begun

    def run(self, workers: int) -> tuple[ModelLine, ...]:
        with concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="fleet") as pool:
            try:
                return tuple(pool.map(self._line, self._models))
            except BaseException as error:  # a KeyboardInterrupt: the threads stop what they started, then it goes on
                self._interruption.set(type(error).__name__)
                raise

    def _line(self, model: FleetModel) -> ModelLine:
        why = self._interruption.why or self._ends
        line = self._not_started(model, why) if why else self._validated_or_kept(model)
        with self._lock:
            self._done[line.verdict] += 1
            done = sum(self._done.values())
            if self._fail_fast and line.verdict is Verdict.NOT_BLESSED and not self._ends:
                self._ends = f"--fail-fast: {model.name} is not blessed"
            counts = {verdict.value: number for verdict, number in self._done.items()}
        self._tell(FleetWentOn(Try("fleet"), done, len(self._models), counts, f"{model.name}: "))
        if line.state != NOT_STARTED:
            code = "" if line.verdict is Verdict.BLESSED else f" {line.reason_code}: {line.reason}"
            took = "kept" if line.state == KEPT else f"{line.seconds:.1f} s"
            self._say(f"[{done}/{len(self._models)}] {model.name}: {line.verdict.value} ({took}){code}")
        return line

    def _not_started(self, model: FleetModel, why: str) -> ModelLine:
        error = InfrastructureError(ReasonCode.INTERRUPTED, f"The fleet ended before its turn ({why}).")
        return ModelLine.of(model.name, NOT_STARTED, report_of_error(model.model, error).to_dict())

    def _validated_or_kept(self, model: FleetModel) -> ModelLine:
        fingerprint = fingerprint_of(model) if self._kept is not None else ""
        if self._kept is not None and self._resume:
            earlier = self._kept.verdict_of(model, fingerprint)
            if earlier is not None:
                return ModelLine.of(model.name, KEPT, earlier, self._kept.report_of(model))
        report = self._validated(model, fingerprint)
        told = {**report.to_dict(), "model": model.model}
        return ModelLine.of(model.name, VALIDATED, told, self._kept.report_of(model) if self._kept is not None else "")

    def _validated(self, model: FleetModel, fingerprint: str) -> ValidationReport:
        """Whatever happens to one model is its own report; the others do not notice."""
        directory: OutputDirectory | None = None
        try:
            directory = self._kept.begin(model) if self._kept is not None else None
            own = model.shared
            report = api.run_validation(
                model.model,
                own.serving_spec,
                own.validation_spec,
                own.request_spec,
                requests=own.requests,
                on_progress=_LOG.info,
                tell=self._telling(model.name),
                interruption=self._interruption,
            )
        except (UsageError, InfrastructureError, AttemptFailed) as error:
            report = report_of_error(model.model, error)
        except Exception as error:
            _LOG.error("The validation of %s failed inside the validator.\n%s", model.name, traceback.format_exc())
            problem = InfrastructureError(ReasonCode.INTERNAL_ERROR, f"{type(error).__name__}: {error}")
            report = report_of_error(model.model, problem)
        if directory is not None and self._kept is not None:
            try:
                directory.write(report)
                self._kept.seal(model, report, fingerprint)
            except InfrastructureError as error:
                report = report_of_error(model.model, error)
        return report

    def _telling(self, name: str) -> Tell:
        """Has what goes on bear the model's name."""

        def tell(event: Progress) -> None:
            of = dataclasses.replace(event.of, binary=f"{name}: {event.of.binary}")
            self._tell(dataclasses.replace(event, of=of))

        return tell
