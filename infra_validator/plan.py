"""The plan of a validation: everything is read and checked, nothing is started."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

from infra_validator import wiring
from infra_validator.core.errors import InfrastructureError, SpecError
from infra_validator.core.launch_plan import LaunchPlan
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.signatures import Signatures, signatures_of
from infra_validator.saved_model.digest import model_files, model_size
from infra_validator.saved_model.find import GRAPH_FILES, TFLITE_FILE, WARMUP_FILE, FoundModel, find_saved_model
from infra_validator.saved_model.graph import SavedModelGraph, read_graph
from infra_validator.saved_model.model_files import check_model_files, notes_on
from infra_validator.specs import RequestSpec, ServingSpec, ValidationSpec
from infra_validator.specs.agreement import check_agreement
from infra_validator.specs.tag_set import with_one_tag_set
from infra_validator.validation.answers.standards import AnswerStandards
from infra_validator.validation.baseline.signature_contract import SignatureContract, contract_of
from infra_validator.validation.described_model import described_graph, find_directory
from infra_validator.validation.limits.asked import check_signatures

if TYPE_CHECKING:  # what few models or specs need is imported when it is needed: a verdict waits for all that is imported before the start
    from infra_validator.report.measurements import LimitResult
    from infra_validator.validation.baseline.baseline import Baseline


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a validation would do: everything is read and checked, nothing is started.

    Attributes:
      model: the SavedModel directory that will be served.
      note: how it was found, when it is not the path given.
      serving_spec, validation_spec, request_spec: as read.
      launch_plans: what would be started, one for each serving binary.
      standards: what the answers will be held against: the model's signatures, as far as its files can be read here, and more.
      model_warnings: what to know of the model's files, one sentence each.
      signatures: the model's, as far as its files can be read here.
      contract: what the signatures are held against, and what differs.
      model_size_bytes: of the model's files together; None where they are not on this machine.
      baseline: what the model is compared with; None where nothing is.
    """

    model: str
    note: str
    serving_spec: ServingSpec
    validation_spec: ValidationSpec
    request_spec: RequestSpec
    launch_plans: tuple[LaunchPlan, ...]
    standards: AnswerStandards = AnswerStandards()
    model_warnings: tuple[str, ...] = ()
    signatures: Signatures = dataclasses.field(default_factory=dict)
    contract: SignatureContract = SignatureContract()
    model_size_bytes: int | None = None
    baseline: Baseline | None = None

    @property
    def is_local(self) -> bool:
        """Whether the model's files are on this machine."""
        return "://" not in self.model

    @property
    def model_limits(self) -> tuple[LimitResult, ...]:
        """The limits of the model's files, held against them."""
        if not self.validation_spec.limits.model_size:
            return ()
        from infra_validator.validation.limits.judging import model_size_judged

        return model_size_judged(self.validation_spec.limits, self.model_size_bytes)

    def check(self) -> None:
        """Raise for what can be told of the model's files without a server.

        Raises:
          AttemptFailed: its callers would break (SIGNATURE_BROKE), or it is too large (LIMIT_EXCEEDED).
          InfrastructureError: its size cannot be told here (LIMIT_NOT_MEASURED); what measures load is not installed.
        """
        if self.validation_spec.loads:
            from infra_validator.validation.load.histogram import require_package

            require_package()
        self.contract.check()
        if self.model_limits:
            from infra_validator.validation.limits.deciding import raise_for

            raise_for(self.model_limits)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know of the model, and what cannot be as the specs have it: one sentence each."""
        notes = [note for launch_plan in self.launch_plans for note in launch_plan.notes]
        baseline = self.baseline.warnings(self.validation_spec.limits) if self.baseline is not None else ()
        of_limits: tuple[str, ...] = ()
        if self.model_limits:
            from infra_validator.validation.limits.deciding import warnings

            of_limits = warnings(self.model_limits)
        return tuple(dict.fromkeys([*self.model_warnings, *self.contract.warnings, *baseline, *of_limits, *notes]))

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "note": self.note,
            "model_name": self.serving_spec.model_name,
            "platform": self.serving_spec.platform,
            "serving_spec": self.serving_spec.to_dict(),
            "validation_spec": self.validation_spec.every_field(),
            "request_spec": self.request_spec.to_dict(),
            "baseline": self.baseline.name if self.baseline is not None else "",
            "serving_binaries": [
                {
                    "binary": plan.binary,
                    "label": plan.label,
                    "image": plan.image,
                    "command": list(plan.command),
                    "args": list(plan.args),
                    "env": sorted(plan.env),
                    "model_target": plan.model.target,
                }
                for plan in self.launch_plans
            ],
        }


def make_plan(
    model: str | os.PathLike[str],
    serving_spec: object,
    validation_spec: object = None,
    request_spec: object = None,
    *,
    graph_path: str = "",
    served: SavedModelGraph | None = None,
    baseline_model: str | os.PathLike[str] | None = None,
    baseline_graph_path: str = "",
) -> Plan:
    """Read and check everything, start nothing. What is told of the model's files is in the plan; ``plan.check`` raises for it.

    Args:
      graph_path: a local copy of a remote model's graph.
      served: what a running server tells of a model that is named by its address only.
      baseline_model: the model to compare with; empty: there is none yet; None: nothing is compared.
      baseline_graph_path: a local copy of the graph of a remote one.

    Raises:
      SpecError: a spec is wrong.
      AttemptFailed: the model is no model that could be served (blames the model).
      InfrastructureError: something that is needed is missing.
    """
    spec = ServingSpec.of(serving_spec)
    limits = ValidationSpec.of(validation_spec)
    spec, asked = with_one_tag_set(spec, RequestSpec.of(request_spec))
    check_agreement(spec, limits, asked)
    at_address = spec.address is not None and not os.fspath(model)
    found, graph = (
        (FoundModel(name_of(model, spec)), served) if at_address else _check_model(os.fspath(model), spec, asked)
    )
    binaries = wiring.serving_binaries_function(spec.binary)(spec)
    wiring.runner_class(spec.platform)
    plans = tuple(binary.MakeLaunchPlan(found.path, spec.platform) for binary in binaries)
    known = graph.signatures if graph is not None else {}
    signatures = {name: known[name] for name in sorted(known) if not name.startswith("__")}
    standards = AnswerStandards.of(limits.answers, signatures, spec.model_name, len(plans))
    standards = dataclasses.replace(standards, offered=wiring.offered_checks(limits.answers))
    warnings = [*filter(None, [found.warning]), *(notes_on(graph) if graph is not None and not at_address else ())]
    if graph is None and graph_path and wiring.serves_saved_models(spec) and not spec.prefers_tflite:
        known = graph_of(graph_path, asked).signatures
    check_signatures(limits.limits, known)
    read = signatures_of(known)
    size = model_size(found.path) if not at_address and "://" not in found.path else None
    baseline = _baseline(baseline_model, spec, limits, asked, baseline_graph_path)
    contract = contract_of(read, limits, asked, baseline)
    return Plan(
        found.path, found.note, spec, limits, asked, plans, standards, tuple(warnings), read, contract, size, baseline
    )


_ONE = "Compare with one of the two."


def _baseline(
    given: str | os.PathLike[str] | None,
    spec: ServingSpec,
    limits: ValidationSpec,
    asked: RequestSpec,
    graph_path: str,
) -> Baseline | None:
    """What the model is compared with.

    Raises:
      SpecError: the serving spec says itself which model is served, so a second server cannot have another; or the verdict that is
        to be compared with cannot be.
    """
    if limits.baseline_verdict:
        from infra_validator.specs import LoadSpec
        from infra_validator.validation.baseline.baseline import Baseline
        from infra_validator.validation.baseline.earlier_verdict import read_verdict

        if given is not None:
            raise SpecError("validation_spec.baseline_verdict", "is given beside a baseline model", next_step=_ONE)
        verdict = read_verdict(limits.baseline_verdict, limits.load or LoadSpec())
        return Baseline(limits.baseline_verdict, signatures=verdict.signatures, verdict=verdict)
    if given is None:
        return None
    from infra_validator.validation.baseline.baseline import read_baseline

    if limits.limits.relative() and os.fspath(given) and not spec.serves_named_files:
        raise SpecError(
            f"validation_spec.limits.{limits.limits.relative()[0]}",
            "needs a second server with the baseline, but the serving spec says itself what is served",
            next_step="Let the validator bring the model to the server, or compare with an earlier verdict.",
        )
    tensorflow = wiring.serves_saved_models(spec) and not spec.prefers_tflite
    remote = spec.platform == "kubernetes"
    graph = described_graph(spec.open_inference, os.fspath(given)) if spec.open_inference is not None else None
    return read_baseline(
        os.fspath(given),
        asked.tag_set,
        tensorflow=tensorflow,
        remote=remote,
        graph_path=graph_path,
        find=find_directory if _is_any_directory(spec) else find_saved_model,
        described=signatures_of(graph.signatures) if graph is not None else None,
    )


_TFLITE = f"The server is told to load {TFLITE_FILE}, which cannot be looked into here: it is passed on unchecked."


def _check_model(model: str, spec: ServingSpec, asked: RequestSpec) -> tuple[FoundModel, SavedModelGraph | None]:
    """The SavedModel that is meant, and its graph where it is one and can be read here; or what the spec describes of another model."""
    if "://" not in model and _is_any_directory(spec):
        model_files(find_directory(model).path)  # before anything in it is opened
    described = described_graph(spec.open_inference, model) if spec.open_inference is not None else None
    if "://" in model:
        if spec.platform != "kubernetes":
            raise InfrastructureError(
                ReasonCode.MODEL_NOT_FOUND,
                f"{model} is not a local path.",
                next_step="Copy the model to a local directory first; only the kubernetes platform reads remote stores.",
            )
        return FoundModel(model), described
    if _is_any_directory(spec):
        return find_directory(model), described
    if spec.prefers_tflite:
        found = find_saved_model(model, _asked_versions(spec), (TFLITE_FILE, *GRAPH_FILES))
        if os.path.exists(os.path.join(found.path, TFLITE_FILE)):
            return dataclasses.replace(found, warning=_TFLITE), None
    found = find_saved_model(model, _asked_versions(spec))
    if not wiring.serves_saved_models(spec):
        return found, None
    graph = check_model_files(found.path, asked.tag_set)
    checks_warmup = spec.tensorflow_serving is not None and not spec.turns_warmup_off
    if checks_warmup and os.path.exists(os.path.join(found.path, WARMUP_FILE)):
        from infra_validator.validation.warmup.model_warmup_file import check_warmup_file

        check_warmup_file(found.path)
    return found, graph


def _is_any_directory(spec: ServingSpec) -> bool:
    """Whether the models are directories of whatever the server takes, rather than SavedModels."""
    return spec.open_inference is not None or (bool(spec.other_binaries) and not wiring.serves_saved_models(spec))


def _asked_versions(spec: ServingSpec) -> tuple[int, ...]:
    """The only versions of a base path that production's configuration serves, where it names them."""
    file = spec.tensorflow_serving.model_config_file if spec.tensorflow_serving is not None else ""
    if not file:
        return ()
    from infra_validator.serving_binaries.model_config_file import read_model_config

    return read_model_config(file, spec.model_name).asked_versions


def graph_of(path: str, asked: RequestSpec, served: SavedModelGraph | None = None) -> SavedModelGraph:
    return served or read_graph(path, asked.tag_set)


def name_of(model: str | os.PathLike[str], spec: ServingSpec) -> str:
    """The model's path as it was given; where only a running server has it, that server's address and the model's name."""
    if os.fspath(model) or spec.address is None:
        return os.fspath(model)
    return f"{'grpc' if spec.address.grpc else 'http'}://{spec.address.asked}/{spec.model_name}"
