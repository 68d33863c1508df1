"""The TFX component. In a pipeline that uses TFX's own InfraValidator, the import is the one line that changes:

from infra_validator.component import InfraValidator
"""

from __future__ import annotations

from typing import Any, TypeVar

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.dsl.placeholder.placeholder import Placeholder
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from infra_validator.driver import Driver
from infra_validator.executor import Executor
from infra_validator.notebook.blessing_visualization import register
from infra_validator.specs import RequestSpec, ServingSpec, ValidationSpec
from infra_validator.specs.agreement import check_agreement, check_examples
from infra_validator.specs.reader import to_json

register()

_Spec = TypeVar("_Spec", ServingSpec, ValidationSpec, RequestSpec)


class InfraValidatorSpec(ComponentSpec):  # type: ignore[misc]
    """Inputs, outputs and execution properties, under the names that TFX's component gives them.

    The three specs are JSON texts: every orchestrator carries strings unchanged.
    """

    PARAMETERS = {
        "serving_spec": ExecutionParameter(type=str),
        "validation_spec": ExecutionParameter(type=str, optional=True),
        "request_spec": ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "examples": ChannelParameter(type=standard_artifacts.Examples, optional=True),
        "baseline_model": ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {"blessing": ChannelParameter(type=standard_artifacts.InfraBlessing)}


class _BesidePushedModel(InfraValidatorSpec):
    """The same with what a Pusher pushed as the baseline: an input has one type."""

    INPUTS = {
        **InfraValidatorSpec.INPUTS,
        "baseline_model": ChannelParameter(type=standard_artifacts.PushedModel, optional=True),
    }


class InfraValidator(base_component.BaseComponent):  # type: ignore[misc]
    """Starts a throw-away model server on the model and blesses the model if it really serves.

    The component succeeds whether the model is blessed or not (the Pusher reads the blessing), unless
    ``validation_spec.on_rejected`` is ``raise``. It fails, and is never cached, when the model could not be tested.

    Args:
      model: a channel of ``Model``, usually ``trainer.outputs['model']``.
      serving_spec: what to run and where: TFX's ``ServingSpec`` proto, our :class:`ServingSpec`, a dict, JSON or YAML text, or
        the path of a file.
      examples: a channel of ``Examples`` to make sample requests of. Without it, or without ``request_spec``, the model is
        loaded and not asked, as with TFX's component.
      request_spec: which examples become requests; the same forms.
      validation_spec: limits and tries; the same forms.
      baseline_model: a channel of ``Model`` or ``PushedModel`` to compare the model with (docs/baseline.md), usually from a resolver.
        An empty one, as in the first run, is no baseline: limits that are multiples of its figures are then not applied.

    Outputs:
      blessing: a channel of ``InfraBlessing``, as the Pusher's ``infra_blessing`` wants it.

    Raises:
      SpecError: a spec is wrong, contradicts another, or needs examples that are not given. Runtime parameters and placeholders
        have no value yet; the driver checks them.
    """

    SPEC_CLASS = InfraValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
    DRIVER_CLASS = Driver

    def __init__(
        self,
        model: types.BaseChannel,
        serving_spec: Any,
        examples: types.BaseChannel | None = None,
        request_spec: Any = None,
        validation_spec: Any = None,
        baseline_model: types.BaseChannel | None = None,
    ) -> None:
        serving = _known(ServingSpec, serving_spec)
        validation = _known(ValidationSpec, validation_spec)
        request = _known(RequestSpec, request_spec)
        check_agreement(serving, validation, request)
        if not _is_late(request_spec):
            check_examples(validation, request, given=examples is not None, baseline=baseline_model is not None)
        pushed = baseline_model is not None and baseline_model.type is standard_artifacts.PushedModel
        spec = (_BesidePushedModel if pushed else InfraValidatorSpec)(
            model=model,
            examples=examples,
            baseline_model=baseline_model,
            blessing=types.Channel(type=standard_artifacts.InfraBlessing),
            serving_spec=serving_spec if serving is None else to_json(serving),
            validation_spec=validation_spec if validation is None else to_json(validation),
            request_spec=request_spec if request is None else to_json(request),
        )
        super().__init__(spec=spec)


def _is_late(value: Any) -> bool:
    """Whether the value is known only when the pipeline runs."""
    return isinstance(value, (RuntimeParameter, Placeholder))


def _known(kind: type[_Spec], given: Any) -> _Spec | None:
    """The spec, checked; None where there is none, or where it is known only when the pipeline runs."""
    if given is None and kind is not ServingSpec:
        return None
    return None if _is_late(given) else kind.of(given)
