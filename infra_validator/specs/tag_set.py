"""One tag set for both: the graph that the server loads is the graph that the requests are made for."""

from __future__ import annotations

import dataclasses

from infra_validator.core.errors import SpecError
from infra_validator.specs.request_spec import RequestSpec, TensorFlowServingRequestSpec
from infra_validator.specs.serving_spec import ServingSpec

_FLAG = "--saved_model_tags="


def with_one_tag_set(serving: ServingSpec, asked: RequestSpec) -> tuple[ServingSpec, RequestSpec]:
    """The two specs, with the tag set of one in the other: TensorFlow Serving loads what ``--saved_model_tags`` says, else ``serve``.

    Raises:
      SpecError: each names another one.
    """
    config = serving.tensorflow_serving
    if config is None:
        return serving, asked
    given = [*config.extra_args, *getattr(serving.platform_config, "extra_args", ())]
    flags = [argument.removeprefix(_FLAG) for argument in given if argument.startswith(_FLAG)]
    named = asked.tensorflow_serving.tag_set if asked.tensorflow_serving else ()
    if not flags:
        if frozenset(named or ("serve",)) == {"serve"}:
            return serving, asked
        flag = _FLAG + ",".join(named)
        return dataclasses.replace(
            serving, tensorflow_serving=dataclasses.replace(config, extra_args=(*config.extra_args, flag))
        ), asked
    served = tuple(flags[-1].split(","))
    if not named:
        spec = asked.tensorflow_serving or TensorFlowServingRequestSpec()
        return serving, dataclasses.replace(asked, tensorflow_serving=dataclasses.replace(spec, tag_set=served))
    if frozenset(named) != frozenset(served):
        raise SpecError(
            "request_spec.tensorflow_serving.tag_set",
            f"is {', '.join(named)}, but {_FLAG}{flags[-1]} has the server load another graph",
            next_step="Name the tag set once.",
        )
    return serving, asked
