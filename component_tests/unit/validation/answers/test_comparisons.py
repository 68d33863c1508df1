"""Comparing answers: tolerances by type, the worst difference, other serving binaries, rows alone."""

from __future__ import annotations

import pytest

from component_tests.unit.validation.answers.made_answers import PREDICT, request, response, signature, tensor
from infra_validator.core.errors import AttemptFailed
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.model_server_clients.tensorflow_serving_answers import read_answers
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.protos import tensorflow_serving_pb2 as pb
from infra_validator.specs import AnswersSpec
from infra_validator.validation.answers.compared.comparison import Comparison
from infra_validator.validation.answers.inspection import AnswerInspection
from infra_validator.validation.answers.standards import AnswerStandards


def outputs(dtype: int, values: list[float | bytes]):  # type: ignore[no-untyped-def]
    answers = read_answers(PREDICT, response({"y": tensor(dtype, (len(values),), values)}).SerializeToString())
    assert answers is not None
    return answers[0].outputs


@pytest.mark.parametrize("many", [1, 4000], ids=["few numbers", "with numpy"])
@pytest.mark.parametrize(
    ("dtype", "expected", "got", "told"),
    [
        (tf.DT_FLOAT, 1.0, 1.00005, ""),
        (tf.DT_FLOAT, 1.0, 1.001, "is 1.00100005, but 1 in"),
        (tf.DT_FLOAT, float("nan"), float("nan"), ""),
        (tf.DT_FLOAT, float("inf"), float("inf"), ""),
        (tf.DT_FLOAT, float("inf"), 1.0, "is 1, but inf in"),
        (tf.DT_FLOAT, 1.0, float("nan"), "is nan, but 1 in"),
        (tf.DT_DOUBLE, 1.0, 1.00005, "is 1.00005, but 1 in"),
        (tf.DT_INT64, 2**53, 2**53 + 1, "is 9007199254740993, but 9007199254740992 in"),
        (tf.DT_HALF, 0x3C00, 0x3C01, ""),
        (tf.DT_BFLOAT16, 0x3F80, 0x3FC0, "is 1.5, but 1 in"),
        (tf.DT_STRING, b"a", b"a", ""),
        (tf.DT_STRING, b"a", b"secret", "is another text than in"),
    ],
)
def test_tolerances_by_type(dtype: int, expected: float | bytes, got: float | bytes, told: str, many: int) -> None:
    ours, theirs = outputs(dtype, [expected] * many), outputs(dtype, [expected] * (many - 1) + [got])
    comparison = Comparison(AnswersSpec())
    if not told:
        comparison.check(request(), ours, theirs, "the golden file")
        return
    with pytest.raises(AttemptFailed) as caught:
        comparison.check(request(), ours, theirs, "the golden file")
    assert caught.value.reason is ReasonCode.ANSWER_DIFFERS
    assert f"[{many - 1}] {told}" in caught.value.detail
    assert "secret" not in caught.value.detail


def test_tolerances_of_the_spec() -> None:
    ours, theirs = outputs(tf.DT_FLOAT, [10.0]), outputs(tf.DT_FLOAT, [11.0])
    Comparison(AnswersSpec(absolute_tolerance={"y": 1.0})).check(request(), ours, theirs, "x")
    Comparison(AnswersSpec(relative_tolerance={"y": 0.1})).check(request(), ours, theirs, "x")
    with pytest.raises(AttemptFailed):
        Comparison(AnswersSpec(relative_tolerance={"y": 0.05})).check(request(), ours, theirs, "x")


def test_another_serving_binary_that_answers_otherwise() -> None:
    made = {"serving_default": signature({"y": (tf.DT_FLOAT, (-1,))})}
    standards = AnswerStandards(AnswersSpec(binaries_agree=True), made)

    def read(asked: SampleRequest, payload: bytes):  # type: ignore[no-untyped-def]
        return read_answers(asked.method, payload)

    first, second = (AnswerInspection(read, standards, "m", 1, label) for label in ("serving:1", "serving:2"))
    one = response({"y": tensor(tf.DT_FLOAT, (1,), [1.0])}).SerializeToString()
    other = response({"y": tensor(tf.DT_FLOAT, (1,), [2.0])}).SerializeToString()
    first.look(request(b"a"), one)
    first.look(request(b"a"), other)  # its own answers are not compared with each other
    second.look(request(b"a"), one)
    second.look(request(b"b"), other)
    with pytest.raises(AttemptFailed, match=r"is 2, but 1 in the answer of serving:1"):
        second.look(request(b"a"), other)


@pytest.mark.parametrize("as_content", [False, True])
def test_a_batch_is_asked_again_row_by_row(as_content: bool) -> None:
    made = signature({"y": (tf.DT_FLOAT, (-1, 2)), "all": (tf.DT_FLOAT, ())})
    predict = pb.PredictRequest()
    predict.inputs["x"].CopyFrom(tensor(tf.DT_FLOAT, (3, 2), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], as_content=as_content))
    predict.inputs["text"].CopyFrom(tensor(tf.DT_STRING, (3,), [b"a", b"b", b"c"]))
    predict.inputs["fixed"].CopyFrom(tensor(tf.DT_INT32, (2,), [7, 8]))
    for name, shape in (("x", (-1, 2)), ("text", (-1,)), ("fixed", (2,))):
        info = made.inputs[name]
        info.name = name
        for size in shape:
            info.tensor_shape.dim.add().size = size

    def read(asked: SampleRequest, payload: bytes):  # type: ignore[no-untyped-def]
        return read_answers(asked.method, payload)

    standards = AnswerStandards(AnswersSpec(batch_agreement=True), {"serving_default": made})
    looking = AnswerInspection(read, standards, "m", 1)
    whole = {"y": tensor(tf.DT_FLOAT, (3, 2), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]), "all": tensor(tf.DT_FLOAT, (), [15.0])}
    looking.look(request(predict.SerializeToString(), rows=3), response(whole).SerializeToString())
    more = looking.more_requests()
    assert more is not None
    rows = list(more)
    assert [row.rows for row in rows] == [1, 1, 1]
    second = pb.PredictRequest.FromString(rows[1].payload)
    content = tensor(tf.DT_FLOAT, (1, 2), [2.0, 3.0], as_content=as_content)
    assert second.inputs["x"] == content
    assert list(second.inputs["text"].string_val) == [b"b"]
    assert list(second.inputs["fixed"].int_val) == [7, 8]
    alone = {"y": tensor(tf.DT_FLOAT, (1, 2), [2.0, 3.0]), "all": tensor(tf.DT_FLOAT, (), [5.0])}
    looking.look(rows[1], response(alone).SerializeToString())
    alone["y"] = tensor(tf.DT_FLOAT, (1, 2), [2.0, 3.5])
    with pytest.raises(AttemptFailed, match=r"row 2 of record 1 of f, alone.*'y'\[0, 1\] is 3.5, but 3 in its batch"):
        looking.look(rows[1], response(alone).SerializeToString())
