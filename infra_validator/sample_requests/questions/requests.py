"""From questions to the sample requests that ask them, in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from infra_validator.core.errors import UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.sample_requests.questions.batches import batched
from infra_validator.sample_requests.questions.question import Question, request_of
from infra_validator.sample_requests.questions.signature_inputs import Signatures
from infra_validator.sample_requests.questions.values import ValueMisfit
from infra_validator.specs.request_spec import RequestSpec


def requests_of(
    make: Callable[[], Iterable[Question]], signatures: Signatures, model_name: str, asked: RequestSpec
) -> Iterator[SampleRequest]:
    """The requests that ask what ``make`` makes, in the batch sizes and for the protocols of ``asked``, made as they are sent.

    Raises:
      UsageError: rows cannot be joined, or a value cannot be written for REST (BAD_REQUESTS); and what ``make`` raises.
    """
    nothing = tf.SignatureDef()
    for question in batched(make, asked.batch_sizes, signatures, asked.padding):
        try:
            yield request_of(question, signatures.get(question.signature, nothing), model_name, asked.over_rest)
        except ValueMisfit as error:
            told = f"{question.label}, signature {question.signature!r}: {error}."
            raise UsageError(told, reason=ReasonCode.BAD_REQUESTS) from error
