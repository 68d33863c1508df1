"""What must hold between the three specs, and between them and the examples: all that can be told before anything is spent."""

from __future__ import annotations

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


def check_examples(validation: ValidationSpec | None, request: RequestSpec | None, *, given: bool) -> None:
    """Check what a pipeline's specs need examples for.

    Args:
      validation: the validation spec; None where it is not known yet.
      request: the request spec; None where there is none.
      given: whether the component has examples.

    Raises:
      SpecError: there are no examples, or nothing says to send them, and a spec asks for what takes them.
    """
    asks = request is not None and (given or request.generate is not None)
    if validation is not None and validation.require_requests and not asks:
        raise SpecError(
            "validation_spec.require_requests",
            "is true, but nothing would be asked",
            next_step="Give the component an Examples channel and a request_spec, or request_spec.generate.",
        )
    if request is not None and request.make_warmup and not given:
        raise SpecError(
            "request_spec.make_warmup", "needs examples", next_step="Give the component an Examples channel."
        )
