"""From questions to the sample requests that ask them, in batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping

from infra_validator.core.errors import UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.sample_requests.questions.batches import batched
from infra_validator.sample_requests.questions.question import Question, question_of, request_of
from infra_validator.sample_requests.questions.signature_inputs import SignatureInputs, Signatures
from infra_validator.sample_requests.questions.values import ValueMisfit
from infra_validator.specs.request_spec import RequestSpec


def described_request(
    request: SampleRequest, signatures: Mapping[str, SignatureInputs], over_rest: bool
) -> SampleRequest:
    """A request that somebody else made, with what its message tells of it: rows, outputs, contradictions, a body for REST.

    What is no message of Predict, Classify or Regress, or asks an unknown signature, is left as it is.

    Raises:
      UsageError: a body is wanted, and a value cannot be written for REST (BAD_REQUESTS).
    """
    question = question_of(request)
    inputs = signatures.get(request.signature)
    if question is None or inputs is None:
        return request
    told = request_asking(question, inputs, "", over_rest)
    return dataclasses.replace(
        request,
        rows=request.rows if request.rows is not None else told.rows,
        output_filter=request.output_filter or told.output_filter,
        contradicts=request.contradicts or told.contradicts,
        rest_body=told.rest_body,
    )


def requests_of(
    make: Callable[[], Iterable[Question]], signatures: Signatures, model_name: str, asked: RequestSpec
) -> Iterator[SampleRequest]:
    """The requests that ask what ``make`` makes, in the batch sizes and for the protocols of ``asked``, made as they are sent.

    Raises:
      UsageError: rows cannot be joined, or a value cannot be written for REST (BAD_REQUESTS); and what ``make`` raises.
    """
    known = {name: SignatureInputs(signature) for name, signature in signatures.items()}
    nothing = SignatureInputs(tf.SignatureDef())
    for question in batched(make, asked.batch_sizes, known, asked.padding):
        yield request_asking(question, known.get(question.signature, nothing), model_name, asked.over_rest)


def request_asking(question: Question, inputs: SignatureInputs, model_name: str, over_rest: bool) -> SampleRequest:
    """The request that asks a question of a signature with these inputs. Raises as requests_of."""
    try:
        return request_of(question, inputs, model_name, over_rest)
    except ValueMisfit as error:
        told = f"{question.label}, signature {question.signature!r}: {error}."
        raise UsageError(told, reason=ReasonCode.BAD_REQUESTS) from error
