"""From a request spec, a model and what is at hand to the source of the sample requests.

In this order: what the caller names (a file), an Examples artifact, what ``request_spec`` names: another package's source, or ``generate``:
requests made up from the signature.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from infra_validator.core.errors import SpecError, UsageError, did_you_mean
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import RequestOrigin, RequestSource, SampleRequest
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.sample_requests.base_source import AskedModel, BaseRequestSource
from infra_validator.sample_requests.files.json_requests import questions_of_value
from infra_validator.sample_requests.files.requests_file import holds_examples, requests_from_file
from infra_validator.sample_requests.questions import methods
from infra_validator.sample_requests.questions.batches import has_batch
from infra_validator.sample_requests.questions.question import Question
from infra_validator.sample_requests.questions.requests import described_request, request_asking, requests_of
from infra_validator.sample_requests.questions.signature_inputs import SignatureInputs
from infra_validator.sample_requests.questions.values import ValueMisfit
from infra_validator.saved_model.graph import SavedModelGraph
from infra_validator.specs.request_spec import ALL_SIGNATURES, RequestSpec

if TYPE_CHECKING:
    from infra_validator.sample_requests.examples.artifact import ExamplesArtifact

_FOR_ALL = {"tensorflow_serving", "concurrency", "batch_sizes", "protocols", "make_warmup"}
_OF_FEATURES = {"features", "padding", "numbers_in_strings", "images"}

#: The fields of a request spec that have an effect on requests of a source.
_EFFECTIVE = {
    "a file of requests": {*_FOR_ALL, "padding"},
    "a file of tf.Examples": _FOR_ALL | _OF_FEATURES,
    "requests of your own": {"tensorflow_serving", "concurrency", "protocols", "make_warmup"},
    "examples": {*_FOR_ALL, *_OF_FEATURES, "split_name", "num_examples"},
    "requests of another package": {"tensorflow_serving", "concurrency", "protocols", "make_warmup"},
    "generated requests": {*_FOR_ALL, "num_examples", "generate"},
}

_SERVED = (methods.PREDICT_METHOD_NAME, methods.CLASSIFY_METHOD_NAME, methods.REGRESS_METHOD_NAME)


#: What a caller may hand in as requests: the path of a file, or what makes them anew for each attempt.
GivenRequests = RequestSource | Callable[[], Iterable[SampleRequest]] | str | os.PathLike[str]


def chosen_source(
    requests: GivenRequests | None,
    examples: ExamplesArtifact | None,
    asked: RequestSpec,
    graph: Callable[[], SavedModelGraph],
    model_name: str,
    has_graph: bool = True,
    offered: Callable[[AskedModel], BaseRequestSource] | None = None,
) -> RequestSource | None:
    """The source of what is at hand; None where the model is only to be loaded.

    Args:
      requests: what the caller names, if anything.
      examples: an Examples artifact, or None.
      asked: the request spec.
      graph: reads the model's graph; called only where it is needed.
      model_name: the model's name on the server.
      has_graph: whether the graph can be read here; requests that a caller or another package makes do without it.
      offered: makes the source of another package that ``asked`` names, if it names one.

    Raises:
      SpecError: a field of ``asked`` has no effect on this source, or names an input that is none.
      AttemptFailed: the model lacks a signature that is named (SIGNATURE_NOT_FOUND).
    """
    if isinstance(requests, RequestSource):
        if requests.origin is not RequestOrigin.NONE:
            return requests
        if asked.named_signatures:
            signatures_asked(asked, graph())
        return None
    if isinstance(requests, (str, os.PathLike)):
        return requests_of_file(requests, asked, graph(), model_name)
    if requests is not None:
        known = graph() if has_graph else None
        if known is not None and asked.named_signatures:
            signatures_asked(asked, known)
        return requests_of_caller(requests, asked, known.signatures if known is not None else {})
    if examples is not None:
        return requests_of_examples(examples, asked, graph(), model_name)
    if offered is not None:
        known = graph() if has_graph else None
        return requests_offered(offered, asked, known, model_name)
    return None if asked.generate is None else requests_made_up(asked, graph(), model_name)


def requests_of_file(
    path: str | os.PathLike[str], asked: RequestSpec, graph: SavedModelGraph, model_name: str
) -> RequestSource:
    """The requests in a file; what names no signature there asks each of those that ``asked`` names.

    Raises:
      SpecError: a field of ``asked`` has no effect on the file, or names an input that is none.
      AttemptFailed: the model lacks a signature that is named (SIGNATURE_NOT_FOUND).
    """
    file = os.fspath(path)
    _check_effect(asked, "a file of tf.Examples" if holds_examples(file) else "a file of requests")
    # The default signature must exist only where a request leaves it to the default: who reads the file sees.
    named = signatures_asked(asked, graph) if asked.named_signatures else {}
    _check_against_model(asked, named or graph.signatures)
    names = tuple(named) or asked.signature_names
    make = functools.partial(requests_from_file, file, graph.signatures, model_name, names, asked)
    return RequestSource(_covering(make, asked, named, file), RequestOrigin.FILE, tuple(named))


def requests_of_examples(
    examples: ExamplesArtifact, asked: RequestSpec, graph: SavedModelGraph, model_name: str
) -> RequestSource:
    """The requests of an Examples artifact. Raises as requests_of_file."""
    _check_effect(asked, "examples")
    named = signatures_asked(asked, graph)
    _check_against_model(asked, named)
    from infra_validator.sample_requests.examples.artifact import requests_from_examples_artifact  # only TFX needs it

    make = functools.partial(requests_from_examples_artifact, examples, named, model_name, asked)
    return RequestSource(make, RequestOrigin.EXAMPLES, tuple(named))


def requests_made_up(asked: RequestSpec, graph: SavedModelGraph, model_name: str) -> RequestSource:
    """Requests made up from the signatures, as ``asked.generate`` says. Raises as requests_of_file."""
    generate = asked.generate
    if generate is None:
        raise SpecError("request_spec.generate", "is not given")
    _check_effect(asked, "generated requests")
    named = signatures_asked(asked, graph)
    _check_against_model(asked, named)
    from infra_validator.sample_requests.generated.made_up import questions_made_up

    make = functools.partial(questions_made_up, named, asked.num_examples, generate)
    return RequestSource(
        functools.partial(requests_of, make, named, model_name, asked), RequestOrigin.GENERATED, tuple(named)
    )


def requests_of_caller(
    make: Callable[[], Iterable[SampleRequest]], asked: RequestSpec, signatures: Mapping[str, tf.SignatureDef]
) -> RequestSource:
    """The requests that a function of the caller's makes anew for each attempt; they are sent as they are.

    Args:
      signatures: the model's, as far as they are known: held against the requests' shapes.

    Raises:
      SpecError: a field of ``asked`` has no effect on them.
      AttemptFailed: the model lacks a signature that is named (SIGNATURE_NOT_FOUND).
      UsageError: while they are asked for: a signature that ``asked`` names is asked by none of them, or they are not made anew.
    """
    _check_effect(asked, "requests of your own")

    known = {name: SignatureInputs(signature) for name, signature in signatures.items()}

    made_before: list[Iterable[SampleRequest]] = []  # the iterator of the call before, if it gave one

    def made() -> Iterator[SampleRequest]:
        requests = make()
        if any(requests is before for before in made_before):
            raise UsageError(
                "The function that makes the requests gave the same iterator twice, and what was taken from it is gone.",
                reason=ReasonCode.BAD_REQUESTS,
                next_step="Make the requests anew on every call: requests=lambda: make_them(), not lambda: made_before.",
            )
        made_before[:] = [requests] if isinstance(requests, Iterator) else []
        return (described_request(request, known, asked.over_rest) for request in requests)

    named = [name for name in asked.named_signatures if name != ALL_SIGNATURES]
    return RequestSource(_covering(made, asked, named, "requests"), RequestOrigin.FILE, tuple(named))


def requests_offered(
    offered: Callable[[AskedModel], BaseRequestSource],
    asked: RequestSpec,
    graph: SavedModelGraph | None,
    model_name: str,
) -> RequestSource:
    """The requests of another package's source. Raises as requests_of_caller."""
    _check_effect(asked, "requests of another package", *asked.other_sources)
    named = signatures_asked(asked, graph) if graph is not None and asked.named_signatures else {}
    signatures = graph.signatures if graph is not None else {}
    source = offered(AskedModel(model_name, signatures, asked))
    what = ", ".join(asked.other_sources)
    names = tuple(named) or asked.signature_names
    known = {name: SignatureInputs(signature) for name, signature in signatures.items()}

    def made() -> Iterator[SampleRequest]:
        for number, given in enumerate(source.MakeRequests(), 1):
            if isinstance(given, SampleRequest):
                yield described_request(given, known, asked.over_rest)
                continue
            for question in _questions_of_value(given, f"request {number} of {what}", signatures, names):
                yield request_asking(question, known[question.signature], model_name, asked.over_rest)

    return RequestSource(_covering(made, asked, named, what), RequestOrigin.OFFERED, tuple(named))


def _questions_of_value(
    value: object, label: str, signatures: Mapping[str, tf.SignatureDef], names: Iterable[str]
) -> Iterator[Question]:
    try:
        yield from questions_of_value(value, label, signatures, tuple(names))
    except (ValueMisfit, RecursionError) as error:
        raise UsageError(f"{label}: {error}.", reason=ReasonCode.BAD_REQUESTS) from error


def signatures_asked(asked: RequestSpec, graph: SavedModelGraph) -> dict[str, tf.SignatureDef]:
    """The signatures that ``asked`` names, or means by its default or by ``*``.

    Raises:
      AttemptFailed: the model lacks one (SIGNATURE_NOT_FOUND); names those that it has.
    """
    if asked.named_signatures != (ALL_SIGNATURES,):
        return graph.signatures_named(asked.signature_names)
    served = [name for name in sorted(graph.signatures) if not name.startswith("__")]
    return graph.signatures_named([name for name in served if graph.signatures[name].method_name in _SERVED])


def _check_effect(asked: RequestSpec, source: str, *also: str) -> None:
    for field in asked.given:
        if field not in {*_EFFECTIVE[source], *also}:
            raise _no_effect(field, source)


def _no_effect(field: str, source: str) -> SpecError:
    return SpecError(f"request_spec.{field}", f"has no effect on {source}", next_step="Take the field out.")


def _check_against_model(asked: RequestSpec, signatures: Mapping[str, tf.SignatureDef]) -> None:
    _check_input_names(asked, signatures)
    if asked.batch_sizes and signatures and not any(has_batch(signature) for signature in signatures.values()):
        raise SpecError(
            "request_spec.batch_sizes",
            f"has no effect: no batch dimension of {', '.join(map(repr, signatures))} takes other sizes than its own",
        )


def _covering(
    make: Callable[[], Iterable[SampleRequest]], asked: RequestSpec, named: Iterable[str], what: str
) -> Callable[[], Iterator[SampleRequest]]:
    """``make``, whose requests ask every signature that ``asked`` names, or the last of them is followed by an error."""

    def checked(requests: Iterable[SampleRequest]) -> Iterator[SampleRequest]:
        missing = set(named) if asked.named_signatures else set()
        for request in requests:
            missing.difference_update(request.signature.split(", "))
            yield request
        if missing:
            raise UsageError(
                f"No request in {what} asks the signature {sorted(missing)[0]!r}, which request_spec names.",
                reason=ReasonCode.BAD_REQUESTS,
                next_step="Add a request for it, or take the name out of request_spec.tensorflow_serving.signature_names.",
            )

    def made() -> Iterator[SampleRequest]:
        return checked(make())

    return made


def _check_input_names(asked: RequestSpec, signatures: Mapping[str, tf.SignatureDef]) -> None:
    """That the inputs named in ``asked`` are inputs of a signature that is asked. Raises SpecError."""
    known = sorted({key for signature in signatures.values() for key in signature.inputs})
    generate = asked.generate
    named: dict[str, Iterable[str]] = {
        "features": asked.features,
        "padding": asked.padding,
        "numbers_in_strings": asked.numbers_in_strings,
        "images": asked.images,
        "generate.ranges": generate.ranges if generate else (),
        "generate.shapes": generate.shapes if generate else (),
        "generate.texts": generate.texts if generate else (),
    }
    for field, keys in named.items():
        for key in keys:
            if key not in known:
                hint = did_you_mean(key, known)
                raise SpecError(
                    f"request_spec.{field}.{key}",
                    f"no signature that is asked has an input {key!r}; there are: {', '.join(known) or 'none'}.{hint}",
                )
