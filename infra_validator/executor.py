"""The TFX executor: from artifacts and execution properties to a blessing."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import path_utils

from infra_validator import api, blessing
from infra_validator.core.errors import InfrastructureError, SpecError
from infra_validator.core.progress import tell_nobody
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import RequestOrigin, RequestSource
from infra_validator.core.signals.interruption import Interruption
from infra_validator.core.signals.shutdown_signals import shutdown_signals
from infra_validator.model_server_runners.cleanup.temporary_directory import temporary_directory
from infra_validator.report.verdict import Verdict
from infra_validator.saved_model.digest import FILE_DIGESTS, file_digests
from infra_validator.specs import RequestSpec, ServingSpec, ValidationSpec
from infra_validator.specs.agreement import check_agreement, check_examples, only_tags
from infra_validator.specs.named_files import named_files
from infra_validator.telemetry.json_log import LOG_FORMAT, JsonLog
from infra_validator.validation.warmup.warmed_copy import WarmedCopy

_LOG = logging.getLogger(__name__)

_NOTHING_TO_ASK_WITH = (
    "The request spec says what to ask, but there are no examples to ask it with: the model is only loaded."
)


class Executor(base_executor.BaseExecutor):  # type: ignore[misc]
    """Validates a ``Model`` artifact and writes an ``InfraBlessing`` artifact."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Run one validation.

        Args:
          input_dict: ``model``: one Model artifact; ``examples``: one Examples artifact, optional; ``baseline_model``: one Model or
            PushedModel artifact, or none yet, optional.
          output_dict: ``blessing``: one InfraBlessing artifact.
          exec_properties: ``serving_spec``, and optionally ``validation_spec`` and ``request_spec``, as JSON texts.

        Raises:
          SpecError: a spec is wrong, or an input is not one artifact.
          InfrastructureError: the model could not be tested. The execution fails, so nothing is cached.
          ModelRejected: the model is not blessed and ``validation_spec.on_rejected`` is ``raise``.
        """
        output = artifact_utils.get_single_instance(output_dict["blessing"])
        blessing.clear(output)
        self._log_startup(input_dict, output_dict, exec_properties)
        serving_spec = ServingSpec.of(exec_properties["serving_spec"])
        validation_spec = ValidationSpec.of(exec_properties.get("validation_spec"))
        asked = exec_properties.get("request_spec")
        request_spec = RequestSpec.of(asked) if asked else None
        files = named_files(serving_spec=serving_spec, validation_spec=validation_spec, request_spec=request_spec)
        _check_files(files, exec_properties.get(FILE_DIGESTS))
        model = _single("model", input_dict["model"])
        examples = _single("examples", input_dict["examples"]) if input_dict.get("examples") else None
        check_agreement(serving_spec, validation_spec, request_spec)
        check_examples(validation_spec, request_spec, given=examples is not None, baseline=True)
        compares = "baseline_model" in input_dict or bool(validation_spec.limits.relative())
        interruption = Interruption()
        with shutdown_signals(interruption), temporary_directory() as scratch:
            _validate(
                _Task(
                    model_uri=_serving_uri(model, serving_spec),
                    baseline_uri=_baseline_uri(input_dict.get("baseline_model") or [], serving_spec)
                    if compares
                    else None,
                    examples=examples,
                    output=output,
                    serving_spec=serving_spec,
                    validation_spec=validation_spec,
                    request_spec=request_spec,
                    scratch=scratch,
                    interruption=interruption,
                )
            )


def _check_files(files: dict[str, str], seen_by_driver: str | None) -> None:
    """That the files of the specs are those that the driver saw: their digests are in the cache's key.

    Raises:
      InfrastructureError: one is another (MODEL_CHANGED).
    """
    seen = json.loads(seen_by_driver or "{}")
    for field, digest in file_digests({field: path for field, path in files.items() if field in seen}).items():
        if digest != seen[field]:
            raise InfrastructureError(
                ReasonCode.MODEL_CHANGED,
                f"{field} ({files[field]}) is not the file that the driver saw.",
                next_step="Run the pipeline again; have its nodes see the same file.",
            )


def _single(name: str, artifacts: list[types.Artifact]) -> types.Artifact:
    """The only artifact of an input. A union of channels, or a resolver, may bring none or several."""
    if len(artifacts) != 1:
        raise SpecError(
            name,
            f"must be one artifact, but the pipeline brought {len(artifacts)}",
            next_step="Give the component the channel of one node, or a resolver that picks one artifact.",
        )
    return artifacts[0]


def _serving_uri(model: types.Artifact, spec: ServingSpec) -> str:
    """Where a model is: in a PushedModel at its root, as the Pusher copies it; so may a model be that is no SavedModel."""
    if model.type_name == standard_artifacts.PushedModel.TYPE_NAME:
        return str(model.uri)
    inside = str(path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model)))
    return str(model.uri) if spec.open_inference is not None and not fileio.exists(inside) else inside


def _baseline_uri(artifacts: list[types.Artifact], spec: ServingSpec) -> str:
    """The model to compare with; empty: there is none yet. A Pusher that pushed nothing leaves an artifact without a model."""
    if not artifacts:
        return ""
    artifact = _single("baseline_model", artifacts)
    if artifact.has_custom_property("pushed") and not artifact.get_int_custom_property("pushed"):
        return ""
    return _serving_uri(artifact, spec)


@dataclasses.dataclass(frozen=True)
class _Task:
    """One call of the executor, with everything read."""

    model_uri: str
    baseline_uri: str | None
    examples: types.Artifact | None
    output: types.Artifact
    serving_spec: ServingSpec
    validation_spec: ValidationSpec
    request_spec: RequestSpec | None
    scratch: str
    interruption: Interruption


def _validate(task: _Task) -> None:
    model = _local_model(task, task.model_uri, "model")
    baseline = _local_baseline(task)
    asked = task.request_spec or RequestSpec()
    examples = task.examples if task.request_spec is not None else None  # as in TFX: no request spec, no requests
    loads_only = examples is None and not asked.makes_requests
    warnings = (_NOTHING_TO_ASK_WITH,) if loads_only and asked != only_tags(asked) else ()
    for warning in warnings:
        _LOG.warning(warning)
    compares = bool(baseline or task.validation_spec.expected_signature)
    without_graph = loads_only and not asked.named_signatures and not compares
    without_graph |= task.serving_spec.open_inference is not None  # the spec describes what there is to ask
    graph_path = model if without_graph else _local_graph(task, model, "graph")
    log = JsonLog(_LOG.info) if os.environ.get(LOG_FORMAT) == "json" else None
    with contextlib.ExitStack() as closing:
        warmed: WarmedCopy | None = None
        if asked.make_warmup:
            warmed = closing.enter_context(blessing.warmed_copy(task.output, model, task.scratch))
        report = api.run_validation(
            model,
            task.serving_spec,
            task.validation_spec,
            asked,
            requests=RequestSource(tuple, RequestOrigin.NONE) if loads_only else None,
            examples=examples,
            graph_path=graph_path,
            on_progress=log.say if log is not None else _LOG.info,
            tell=log.tell if log is not None else tell_nobody,
            interruption=task.interruption,
            warmed=warmed,
            baseline_model=baseline,
            baseline_graph_path=_baseline_graph(task, baseline) if baseline else "",
        )
        report = dataclasses.replace(
            report,
            model=task.model_uri,
            baseline=task.baseline_uri or "",
            warnings=(*warnings, *report.warnings),
            warmed_model=path_utils.stamped_model_path(task.output.uri) if report.warmed_model else "",
        )
        blessing.write_report(task.output, report)
        task.interruption.check()
        if warmed is not None and report.blessed:
            blessing.keep_warmed_model(task.output, warmed)
        if report.verdict is not Verdict.INCONCLUSIVE:
            blessing.mark(task.output, report.blessed)
    api.raise_for(report, task.validation_spec)
    if log is not None:
        log.end(report)
        return
    level = logging.INFO if report.blessed else logging.WARNING
    _LOG.log(level, "%s: %s", report.verdict.value, report.sentence)


def _local_baseline(task: _Task) -> str | None:
    """The baseline where a server can see it. One that cannot be copied is told by its address, once the model was judged."""
    if not task.baseline_uri:
        return task.baseline_uri
    try:
        local = _local_model(task, task.baseline_uri, "baseline")
        return local if os.path.exists(local) else task.baseline_uri  # of what is not there nothing is copied
    except InfrastructureError as error:
        if error.reason is ReasonCode.INTERRUPTED:
            raise
        _LOG.warning("The baseline: %s", error)
        return task.baseline_uri


def _baseline_graph(task: _Task, baseline: str) -> str:
    """A local directory with a remote baseline's graph; empty where it cannot be had: then its signatures are not compared."""
    if "://" not in baseline:
        return ""
    try:
        return _local_graph(task, baseline, "baseline_graph")
    except InfrastructureError as error:
        _LOG.warning("The baseline: %s", error)
        return ""


def _local_graph(task: _Task, model: str, name: str) -> str:
    """A local directory with the model's graph: the model itself, or a copy of that one file of a remote model."""
    if "://" not in model:
        return model
    local = os.path.join(task.scratch, name)
    os.makedirs(local, exist_ok=True)
    target = os.path.join(local, "saved_model.pb")
    if not os.path.exists(target):
        _copy(f"{model}/saved_model.pb", target)
    return local


def _local_model(task: _Task, model_uri: str, name: str) -> str:
    """A model where a server can see it: as it is, or copied from a remote store (Kubernetes reads those itself)."""
    uri = model_uri.removeprefix("file://")
    if "://" not in uri or task.serving_spec.platform == "kubernetes":
        return uri
    _LOG.info("Copying the model from %s, since the serving platform reads local directories only.", uri)
    target = os.path.join(task.scratch, name)
    for directory, _, files in fileio.walk(uri):
        inside = os.path.join(target, os.path.relpath(directory, uri))
        os.makedirs(inside, exist_ok=True)
        for name in files:
            task.interruption.check()
            _copy(os.path.join(directory, name), os.path.join(inside, name))
    return target


def _copy(source: str, target: str) -> None:
    try:
        fileio.copy(source, target, overwrite=True)
    except Exception as error:  # every file system behind fileio has its own
        raise InfrastructureError(ReasonCode.MODEL_NOT_FOUND, f"{source} cannot be copied: {error}") from error
