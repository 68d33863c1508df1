"""Answers made to hurt cost no more than their size: memory is measured as Python allocates it, beside the answer itself."""

from __future__ import annotations

import tracemalloc

import pytest

from component_tests.unit.validation.answers.made_answers import request, response, signature, tensor
from infra_validator.core.errors import AttemptFailed
from infra_validator.core.reason_codes import ReasonCode as R
from infra_validator.core.sample_request import SampleRequest
from infra_validator.core.wire import length_field, varint_field
from infra_validator.model_server_clients.tensorflow_serving_answers import read_answers
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.validation.answers.inspection import AnswerInspection
from infra_validator.validation.answers.standards import AnswerStandards

_MIB = 1 << 20


def look(payload: bytes) -> int:
    """Look at an answer whose signature is y: float [-1]; returns the most octets that were allocated meanwhile."""

    def read(asked: SampleRequest, answer: bytes):  # type: ignore[no-untyped-def]
        return read_answers(asked.method, answer)

    standards = AnswerStandards(signatures={"serving_default": signature({"y": (tf.DT_FLOAT, (-1,))})})
    looking = AnswerInspection(read, standards, "m", 1)
    tracemalloc.start()
    try:
        looking.look(request(), payload)
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 2 * len(payload) + 8 * _MIB
    return most


def entry(shape: bytes, dtype: int = tf.DT_FLOAT, rest: bytes = b"") -> bytes:
    """A response with the output y, of which only the shape's octets are as given."""
    made = varint_field(1, dtype) + length_field(2, shape) + rest
    return length_field(1, length_field(1, b"y") + length_field(2, made))


def dim(size: int) -> bytes:
    return length_field(2, varint_field(1, size))


def test_an_answer_of_64_mib_is_not_copied() -> None:
    payload = response({"y": tf.TensorProto()}).SerializeToString()
    content = bytes(64 * _MIB)
    payload = entry(dim(16 * _MIB), rest=length_field(4, content))
    del content
    assert look(payload) < 2 * len(payload)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (entry(dim(2**62)), R.ANSWER_UNREADABLE),
        (entry(dim(2**40) * 1000), R.ANSWER_UNREADABLE),
        (entry(dim(-1)), R.ANSWER_UNREADABLE),
        (entry(dim(2**40), rest=length_field(5, b"\0\0\0\0")), R.ANSWER_UNREADABLE),
        (entry(dim(2**30), rest=length_field(4, b"\0\0\0\0")), R.ANSWER_UNREADABLE),
        (entry(dim(2**40), tf.DT_STRING, length_field(8, b"")), R.ANSWER_UNREADABLE),
        (entry(dim(5), tf.DT_STRING, length_field(4, b"\xff\xff\xff\xff\x0f1234")), R.ANSWER_UNREADABLE),
        (entry(dim(1), 999), R.ANSWER_UNREADABLE),
        (entry(dim(1), tf.DT_STRING, length_field(8, b"") * 300_000), R.ANSWER_UNREADABLE),
        (b"".join(length_field(1, length_field(1, b"%d" % n)) for n in range(10_000)), R.ANSWER_UNREADABLE),
        (b"\x0a\xff\xff\xff\xff\x0f", R.ANSWER_UNREADABLE),
    ],
    ids=[
        "2^62 elements",
        "a thousand dimensions",
        "a negative dimension",
        "one value for 2^40",
        "2^30 elements, one brought",
        "2^40 strings",
        "a string of 4 GiB",
        "a type nobody has",
        "300,000 strings in one element",
        "10,000 outputs without a tensor",
        "a message of 4 GiB",
    ],
)
def test_what_says_more_than_it_brings_is_refused(payload: bytes, reason: R) -> None:
    with pytest.raises(AttemptFailed) as caught:
        look(payload)
    assert caught.value.reason is reason


def test_10_000_outputs_are_told_in_a_short_sentence() -> None:
    one = tensor(tf.DT_FLOAT, (1,), [1.0])
    with pytest.raises(AttemptFailed) as caught:
        look(response({f"output {n}": one for n in range(10_000)}).SerializeToString())
    assert caught.value.reason is R.ANSWER_OUTPUTS_DIFFER
    assert len(caught.value.detail) < 1000
