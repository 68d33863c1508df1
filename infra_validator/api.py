"""The Python API: one call from a model, a serving binary and a serving spec to a verdict."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from infra_validator import wiring
from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import (
    AttemptFailed,
    InfrastructureError,
    ModelRejected,
    SpecError,
    UsageError,
    of_exhaustion,
)
from infra_validator.core.launch_plan import LaunchPlan
from infra_validator.core.progress import Tell, tell_nobody
from infra_validator.core.sample_request import RequestOrigin, RequestSource
from infra_validator.core.signals.interruption import Interruption
from infra_validator.model_server_clients.base_client import BaseModelServerClient
from infra_validator.model_server_runners.local_process import spares
from infra_validator.plan import Plan, graph_of, make_plan, name_of
from infra_validator.report.verdict import BinaryReport, Finding, ValidationReport, Verdict, report_of_error, verdict_of
from infra_validator.sample_requests.request_source import GivenRequests, chosen_source
from infra_validator.saved_model.graph import SavedModelGraph
from infra_validator.saved_model.unchanged import Unchanged
from infra_validator.specs import AnswersSpec, OnRejected, RequestSpec, ServingSpec, ValidationSpec, extensions
from infra_validator.specs.agreement import check_measurable, only_tags, with_warm_up
from infra_validator.specs.named_files import named_files
from infra_validator.specs.tag_set import with_one_tag_set
from infra_validator.telemetry.observing import observed
from infra_validator.validation.attempt import Candidate
from infra_validator.validation.baseline.outcome import with_baseline
from infra_validator.validation.described_model import needed_graph, no_graph
from infra_validator.validation.hardening import OF_A_SANDBOX, Relaxing
from infra_validator.validation.limits.alone import alone
from infra_validator.validation.limits.asked import check_asked
from infra_validator.validation.limits.under_load import UnderLoad
from infra_validator.validation.read_within import check_first_request
from infra_validator.validation.retry import Retries, until_it_heals
from infra_validator.validation.seal import sealed
from infra_validator.validation.served_model import served_graph
from infra_validator.validation.slots import Slots
from infra_validator.validation.validation import Validation

if TYPE_CHECKING:  # few have need of them
    from infra_validator.validation.answers.compared.golden_file import Recording
    from infra_validator.validation.warmup.selection import CountedRequests
    from infra_validator.validation.warmup.warmed_copy import WarmedCopy

_LOG = logging.getLogger(__name__)


@observed
def run_validation(
    model: str | os.PathLike[str],
    serving_spec: object,
    validation_spec: object = None,
    request_spec: object = None,
    *,
    requests: GivenRequests | None = None,
    examples: Any = None,
    graph_path: str = "",
    on_progress: Callable[[str], None] = _LOG.info,
    interruption: Interruption | None = None,
    recording: Recording | None = None,
    tell: Tell = tell_nobody,
    warmed: WarmedCopy | None = None,
    baseline_model: str | os.PathLike[str] | None = None,
    baseline_graph_path: str = "",
    run_id: str = "",
) -> ValidationReport:
    """Validate and report every outcome, INCONCLUSIVE included.

    Args:
      model: the SavedModel directory; empty with ``serving_spec.address`` where only the server has it.
      serving_spec: a ServingSpec, a TFX proto, a dict, JSON or YAML text, or the path of a file.
      validation_spec, request_spec: the same; None means all defaults.
      requests: the path of a file of sample requests, or what makes them anew for each attempt. None: those of ``examples``, or
        those that ``request_spec.generate`` makes up, or none, and the model is only loaded.
      examples: a TFX Examples artifact to make sample requests of.
      graph_path: a local copy of a remote model's graph.
      on_progress: called with one line for people at the end of each phase.
      interruption: ends the validation early, cleaned up.
      recording: where the requests and answers are kept, for a golden file.
      tell: gets what goes on as data (core/progress.py): phases, bytes, requests.
      warmed: where the model with a warm-up file of these requests is to lie; None: none is made. The caller keeps it, or not.
      baseline_model: the model to compare with (docs/baseline.md); empty: there is none yet, which is said; None: nothing is compared.
      baseline_graph_path: a local copy of the graph of a remote one.
      run_id: names the validation in its report and logs and on what it starts; empty: one is made up.

    Raises:
      SpecError: a spec is wrong; nothing was started.
    """
    spec = ServingSpec.of(serving_spec)
    limits = ValidationSpec.of(validation_spec)
    if limits.limits.needs_a_start_from_nothing():
        spares.end()
    spec, asked = with_one_tag_set(spec, RequestSpec.of(request_spec))
    asked = with_warm_up(asked, directory=warmed is not None)
    interruption = interruption or Interruption()
    slots = Slots.of_environment()
    check_source(requests if requests is not None else examples, limits, asked, baseline=baseline_model is not None)
    plan: Plan | None = None
    try:
        only_there = spec.address is not None and not os.fspath(model)
        served = _served_graph(spec, limits, interruption) if only_there else None
        plan = make_plan(
            model,
            spec,
            limits,
            asked,
            graph_path=graph_path if "://" not in graph_path else "",
            served=served,
            baseline_model=baseline_model,
            baseline_graph_path=baseline_graph_path,
        )
        plan.check()
        for note in (*filter(None, (plan.note,)), *plan.warnings):
            on_progress(note)
        graph = functools.partial(graph_of, graph_path or plan.model, asked, served)
        if spec.open_inference is not None and served is None:
            graph = functools.partial(needed_graph, spec.open_inference, plan.model)
        has_graph = bool(spec.open_inference and spec.open_inference.inputs)
        has_graph |= served is not None
        has_graph |= wiring.serves_saved_models(spec) and (plan.is_local or bool(graph_path))
        if not has_graph and spec.other_binaries:
            graph = functools.partial(no_graph, spec.binary)
        offered = wiring.offered_requests(asked)
        source = chosen_source(requests, examples, asked, graph, spec.model_name, has_graph, offered)
        source = plan.standards.with_golden_requests(source)
        if source is not None:
            deadline = Deadline.after(limits.max_query_time_seconds)
            check_first_request(source, deadline, interruption)
            check_asked(limits.limits, source, deadline, interruption)
        # All attempts run one image, even if its tag moves meanwhile.
        spec = _pinned(spec, limits, interruption, on_progress)
        files = named_files(serving_spec=spec, validation_spec=limits, request_spec=asked)
        baseline = plan.baseline.path if plan.baseline is not None and plan.baseline.is_local else ""
        unchanged = Unchanged(plan.model if plan.is_local else "", files, baseline)
    except SpecError:
        raise
    except Exception as error:
        known = (
            error
            if isinstance(error, (AttemptFailed, InfrastructureError, UsageError))
            else extensions.failure_of(error)
        )
        if known is None:
            raise
        report = _report_without_a_server(name_of(model, spec), spec, known)
        return _with_plan(report, plan) if plan is not None else report
    counted: CountedRequests | None = None
    if warmed is not None and source is not None:
        from infra_validator.validation.warmup.selection import CountedRequests

        counted = CountedRequests(source)
    with unchanged:
        validation = Validation(
            _candidates(spec, plan.model),
            limits,
            requests=counted.source if counted is not None else source,
            standards=dataclasses.replace(plan.standards, recording=recording, over_rest=asked.over_rest),
            concurrency=asked.concurrency,
            model_size_bytes=plan.model_size_bytes,
            under_load=_under_load(spec, plan),
            on_progress=on_progress,
            tell=tell,
            interruption=interruption,
            slots=slots,
            run_id=run_id,
        )
        try:
            report = _with_plan(validation.run(name_of(model, spec), spec.model_name), plan)
        except (OSError, RuntimeError, MemoryError) as error:
            exhausted = of_exhaustion(error)
            if exhausted is None:
                raise
            return _with_plan(_report_without_a_server(name_of(model, spec), spec, exhausted), plan)
        if counted is not None and warmed is not None:
            from infra_validator.validation.warmup.proof import WarmUp

            warm_up = WarmUp(
                plan.model,
                warmed,
                counted,
                functools.partial(_candidates, spec),
                plan.standards,
                limits,
                on_progress,
                tell,
                interruption,
                validation.redaction,
                slots,
                run_id,
            )
            report = warm_up.proven(report, validation.total)
        report = with_baseline(report, plan.baseline, limits)
        return sealed(
            dataclasses.replace(report, warnings=(*plan.warnings, *report.warnings)),
            unchanged,
            model_is_local=plan.is_local,
            served_named_files=spec.serves_named_files,
            interruption=interruption,
            deadline=validation.total,
        )


def _with_plan(report: ValidationReport, plan: Plan) -> ValidationReport:
    """The report with what was told of the model's files."""
    return dataclasses.replace(
        report,
        signatures=plan.signatures,
        signature_changes=plan.contract.changes,
        model_limits=plan.model_limits,
    )


def _pinned(
    spec: ServingSpec, limits: ValidationSpec, interruption: Interruption, say: Callable[[str], None]
) -> ServingSpec:
    """The spec with its tags pinned; a platform that does not answer now may do so a little later."""
    retries = Retries(limits.num_tries, Deadline.after(limits.total_time_seconds))
    return until_it_heals(lambda: wiring.runner_class(spec.platform).Pin(spec), retries, interruption, say)


def _candidates(spec: ServingSpec, model: str) -> list[Candidate]:
    """What to validate: the serving binaries of a spec whose images are pinned, with a model."""
    relaxed = _candidates(spec.as_authored(), model) if spec.hardening == "auto" else None
    runner = wiring.runner_class(spec.platform)
    candidates = []
    for index, binary in enumerate(wiring.serving_binaries_function(spec.binary)(spec)):
        launch_plan = binary.MakeLaunchPlan(model, spec.platform)
        own_args = launch_plan.own_args if spec.as_authored().hardening == "image" else ()
        held_to = [*spec.restrictions, *(f"the argument {own}" for own in own_args)]
        candidates.append(
            Candidate(
                binary,
                spec.platform,
                functools.partial(runner, model, binary, spec),
                functools.partial(_make_client, binary.client, launch_plan),
                functools.partial(wiring.import_meanwhile, binary.client),
                tuple(held_to) if spec.restrictions else (),
                runner.takes_a_slot(spec),
                relaxed[index] if relaxed is not None else None,
                OF_A_SANDBOX if spec.local_process is not None else Relaxing(),
            )
        )
    return candidates


def _under_load(spec: ServingSpec, plan: Plan) -> Callable[[Candidate], UnderLoad]:
    """What puts a serving binary's servers under load: alone, beside one with the baseline, or against an earlier verdict."""
    baseline, limits = plan.baseline, plan.validation_spec
    if baseline is not None and baseline.verdict is not None and limits.limits.relative():
        from infra_validator.validation.baseline.against_verdict import AgainstVerdict

        against = AgainstVerdict(baseline.verdict, limits)
        return lambda candidate: against
    if baseline is None or not baseline.path or not limits.limits.relative():
        return lambda candidate: alone
    from infra_validator.validation.baseline.beside_baseline import BesideBaseline
    from infra_validator.validation.baseline.second_server import SecondServer

    if spec.local_process is not None:  # two servers cannot have one port
        spec = dataclasses.replace(spec, local_process=dataclasses.replace(spec.local_process, grpc_port=0))
    others = {other.binary.label: other for other in _candidates(spec, baseline.path)}

    def beside(candidate: Candidate) -> UnderLoad:
        other = others[candidate.binary.label]
        if candidate.relaxed is None and other.relaxed is not None:  # both servers are held to the same
            other = other.relaxed
        server = SecondServer(baseline.path, other.make_runner, other.make_client)
        return BesideBaseline(server, baseline.signatures, limits)

    return beside


def validate(
    model: str | os.PathLike[str],
    serving_spec: object,
    validation_spec: object = None,
    request_spec: object = None,
    *,
    requests: GivenRequests | None = None,
    on_progress: Callable[[str], None] = _LOG.info,
    interruption: Interruption | None = None,
    warmup_directory: str | os.PathLike[str] = "",
    baseline_model: str | os.PathLike[str] | None = None,
) -> ValidationReport:
    """Validate; see :func:`run_validation` for the other arguments.

    Args:
      warmup_directory: a new or empty directory, to which the model with a warm-up file of the requests is written and kept once it was
        seen to load; of a model that is not blessed nothing is left there.

    Returns:
      A report whose verdict is BLESSED or NOT_BLESSED.

    Raises:
      SpecError: a spec is wrong; nothing was started.
      InfrastructureError: the model could not be tested (INCONCLUSIVE). ``error.report`` is the report.
      ModelRejected: the verdict is NOT_BLESSED and ``validation_spec.on_rejected`` is ``raise``. ``error.report`` is the report.
    """
    with contextlib.ExitStack() as closing:
        warmed: WarmedCopy | None = None
        if warmup_directory:
            from infra_validator.validation.warmup.warmed_copy import LocalWarmedCopy

            warmed = closing.enter_context(LocalWarmedCopy(os.fspath(warmup_directory), os.fspath(model)))
        report = run_validation(
            model,
            serving_spec,
            validation_spec,
            request_spec,
            requests=requests,
            on_progress=on_progress,
            interruption=interruption,
            warmed=warmed,
            baseline_model=baseline_model,
        )
        if warmed is not None and report.blessed:
            warmed.keep()
    raise_for(report, ValidationSpec.of(validation_spec))
    return report


def raise_for(report: ValidationReport, spec: ValidationSpec) -> None:
    """Raise what ``validate`` raises for this report, if anything."""
    error: InfrastructureError | ModelRejected
    finding = report.finding
    if report.verdict is Verdict.INCONCLUSIVE:
        error = InfrastructureError(finding.reason, finding.detail, next_step=finding.next_step)
    elif report.verdict is Verdict.NOT_BLESSED and spec.on_rejected is OnRejected.RAISE:
        error = ModelRejected(finding.reason, finding.detail, next_step=finding.next_step)
    else:
        return
    error.report = report
    raise error


def _served_graph(spec: ServingSpec, limits: ValidationSpec, interruption: Interruption) -> SavedModelGraph:
    """What the running server at ``spec.address`` tells of its model, or what the spec describes of it."""
    name = name_of("", spec)
    if spec.open_inference is not None and spec.open_inference.inputs:
        return needed_graph(spec.open_inference, name)
    (binary,) = wiring.serving_binaries_function(spec.binary)(spec)
    plan = binary.MakeLaunchPlan(name, spec.platform)
    runner = wiring.runner_class(spec.platform)(name, binary, spec)
    client = functools.partial(_make_client, binary.client, plan)
    return served_graph(name, runner, client, Deadline.after(limits.max_loading_time_seconds), interruption)


def check_source(source: object, limits: ValidationSpec, asked: RequestSpec, *, baseline: bool = False) -> None:
    """That there is something to ask with where the specs say that something is to be asked, and to compare with.

    Raises:
      SpecError: there is not.
    """
    loads_only = isinstance(source, RequestSource) and source.origin is RequestOrigin.NONE
    given = source is not None and not loads_only
    asks = asked.makes_requests or bool(limits.answers.golden) or given
    check_measurable(limits, asks=asks, baseline=baseline)
    if asks:
        return
    how = "Give sample requests (--requests FILE; requests= in Python), or have some made up (--generate)."
    if limits.require_requests:
        raise SpecError(
            "validation_spec.require_requests", "is true, but there is nothing to ask the model with", next_step=how
        )
    if not loads_only and limits.answers != AnswersSpec():
        raise SpecError("validation_spec.answers", "says what answers must be, but nothing is asked", next_step=how)
    if asked.make_warmup:
        raise SpecError("request_spec.make_warmup", "there is nothing to warm up with", next_step=how)
    if not loads_only and asked != only_tags(asked):
        raise SpecError("request_spec", "says what to ask, but there is nothing to ask it with", next_step=how)


def _make_client(name: str, plan: LaunchPlan, endpoint: str) -> BaseModelServerClient:
    return wiring.client_class(name)(endpoint, plan.model.name, plan.model.version or None, **plan.client_arguments)


def _report_without_a_server(
    model: str, spec: ServingSpec, error: UsageError | InfrastructureError | AttemptFailed
) -> ValidationReport:
    """The report of a validation that ended before anything was started."""
    binary = BinaryReport(spec.binary, spec.binary, spec.platform, False, verdict_of(error), Finding.of(error))
    return report_of_error(model, error, spec.model_name, (binary,))
