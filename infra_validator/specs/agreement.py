"""What must hold between the three specs, and between them and the examples: all that can be told before anything is spent."""

from __future__ import annotations

import dataclasses

from infra_validator.core.errors import SpecError
from infra_validator.specs.request_spec import RequestSpec
from infra_validator.specs.serving_spec import ServingSpec
from infra_validator.specs.tag_set import with_one_tag_set
from infra_validator.specs.validation_spec import ValidationSpec


def check_agreement(
    serving: ServingSpec | None, validation: ValidationSpec | None, request: RequestSpec | None = None
) -> None:
    """Check the specs against each other.

    Args:
      serving, validation, request: the specs; None for one that is not known yet.

    Raises:
      SpecError: names the field of one that contradicts another.
    """
    if serving is None:
        return
    if serving.kubernetes is not None and validation is not None:
        serving.kubernetes.check_loading_limit("serving_spec.kubernetes", validation.max_loading_time_seconds)
    if request is not None:
        with_one_tag_set(serving, request)
    if serving.model_runtime is not None and request is not None and request.over_rest:
        raise SpecError("request_spec.protocols", "names rest, which a ModelRuntime does not speak; take it out")
    if serving.open_inference is not None and request is not None and request.over_rest:
        raise SpecError(
            "request_spec.protocols", "names rest; open_inference.protocol says what this one is asked over"
        )
    if request is not None and request.make_warmup:
        _check_warm_up(serving)


def _check_warm_up(serving: ServingSpec) -> None:
    """That the server can be seen to load a model with a warm-up file that is made for it."""
    field = "request_spec.make_warmup"
    if serving.open_inference is not None:
        raise SpecError(field, "has no effect: only TensorFlow Serving reads such a file")
    if serving.turns_warmup_off.startswith("--enable_model_warmup"):
        raise SpecError(field, f"has no effect: the server is started with {serving.turns_warmup_off}")
    way = serving.kubernetes.model if serving.kubernetes is not None else None
    runtime = serving.model_runtime
    there = serving.address is not None
    if there or (way and (way.pvc or way.image or way.host_path)) or (runtime and runtime.inference_address):
        raise SpecError(
            field,
            "the server has its model from elsewhere, so the model with the warm-up file would not be the one that it loads",
            next_step="Have the model brought to the server (docs/warmup.md), or take the field out.",
        )


def with_warm_up(request: RequestSpec, *, directory: bool) -> RequestSpec:
    """The request spec, which makes a warm-up file where there is a directory for the model with it.

    Args:
      directory: whether there is one.

    Raises:
      SpecError: the spec asks for a warm-up file, and there is none.
    """
    if request.make_warmup and not directory:
        raise SpecError(
            "request_spec.make_warmup",
            "is true, but no directory for the model with its warm-up file is named",
            next_step="Name a new directory: --make-warmup DIR; warmup_directory= in Python.",
        )
    return dataclasses.replace(request, make_warmup=directory)


def check_measurable(validation: ValidationSpec | None, *, asks: bool, baseline: bool) -> None:
    """Check that there is what the limits are measured with.

    Args:
      validation: the validation spec; None where it is not known yet.
      asks: whether the model is asked something.
      baseline: whether there is a baseline to compare it with.

    Raises:
      SpecError: a limit, or the load, needs requests, or a baseline, and there is none.
    """
    if validation is None:
        return
    limits = validation.limits
    if not asks and (validation.loads or limits.needs_requests()):
        field = "load" if validation.load is not None else "limits"
        raise SpecError(
            f"validation_spec.{field}",
            "can only be measured where the model is asked something, but there is nothing to ask it with",
            next_step="Give sample requests (--requests FILE; requests= in Python; examples and a request_spec in a pipeline), or have "
            "some made up (--generate; request_spec.generate).",
        )
    if limits.relative() and not baseline and not validation.baseline_verdict:
        raise SpecError(
            f"validation_spec.limits.{limits.relative()[0]}",
            "is a multiple of a baseline's, and there is no baseline",
            next_step="Name it (--baseline-model DIR; baseline_model= in Python and pipelines; or validation_spec.baseline_verdict), or "
            "give a limit that stands by itself.",
        )


def check_examples(
    validation: ValidationSpec | None, request: RequestSpec | None, *, given: bool, baseline: bool = False
) -> None:
    """Check what a pipeline's specs need examples for.

    Args:
      validation: the validation spec; None where it is not known yet.
      request: the request spec; None where there is none.
      given: whether the component has examples.
      baseline: whether it has a baseline.

    Raises:
      SpecError: there are no examples, or nothing says to send them, and a spec asks for what takes them.
    """
    asks = request is not None and (given or request.makes_requests)
    if validation is not None and validation.require_requests and not asks:
        raise SpecError(
            "validation_spec.require_requests",
            "is true, but nothing would be asked",
            next_step="Give the component an Examples channel and a request_spec, or request_spec.generate.",
        )
    check_measurable(validation, asks=asks, baseline=baseline)
    if request is not None and request.make_warmup and not asks:
        raise SpecError(
            "request_spec.make_warmup",
            "needs sample requests",
            next_step="Give the component an Examples channel, or request_spec.generate.",
        )


def only_tags(asked: RequestSpec) -> RequestSpec:
    """What is left of a request spec for a validation that only loads the model: which graph is meant."""
    if asked.tensorflow_serving is None:
        return RequestSpec()
    return RequestSpec(dataclasses.replace(asked.tensorflow_serving, signature_names=()))
