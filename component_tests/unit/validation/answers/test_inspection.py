"""Every honest answer passes, and every single corruption of one is found: random signatures, all types, ranks 0 to 4."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from component_tests.unit.validation.answers.made_answers import KINDS, NAN, request, response, signature, tensor
from infra_validator.core.errors import AttemptFailed, InfrastructureError, UsageError
from infra_validator.core.reason_codes import ReasonCode as R
from infra_validator.core.sample_request import SampleRequest
from infra_validator.model_server_clients.tensorflow_serving_answers import read_answers
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.protos import tensorflow_serving_pb2 as pb
from infra_validator.specs import AnswersSpec
from infra_validator.validation.answers.inspection import AnswerInspection
from infra_validator.validation.answers.standards import AnswerStandards

Outputs = dict[str, tuple[int, tuple[int, ...]]]

SHAPES = st.lists(st.sampled_from([-1, 1, 2, 3]), max_size=4).map(tuple)
SIGNATURES = st.dictionaries(
    st.sampled_from(["a", "b", "logits", "è"]), st.tuples(st.sampled_from(sorted(KINDS)), SHAPES), min_size=1
)


def inspection(made: tf.SignatureDef, spec: AnswersSpec | None = None) -> AnswerInspection:
    def read(asked: SampleRequest, payload: bytes):  # type: ignore[no-untyped-def]
        return read_answers(asked.method, payload)

    standards = AnswerStandards(spec or AnswersSpec(), {"serving_default": made})
    return AnswerInspection(read, standards, "m", 1)


def honest(outputs: Outputs, rows: int, as_content: bool) -> pb.PredictResponse:
    """An answer as the signature has it: unknown dimensions behind the first are 2."""
    made = {}
    for name, (dtype, shape) in outputs.items():
        sizes = [(rows if at == 0 else 2) if size == -1 else size for at, size in enumerate(shape)]
        made[name] = tensor(dtype, sizes, [KINDS[dtype][2]] * math.prod(sizes), as_content=as_content)
    return response(made)


@settings(deadline=None)
@given(SIGNATURES, st.integers(1, 5), st.booleans())
def test_an_honest_answer_passes(outputs: Outputs, rows: int, as_content: bool) -> None:
    looking = inspection(signature(outputs))
    looking.look(request(rows=rows), honest(outputs, rows, as_content).SerializeToString())
    looking.finish()


def _missing(answer: pb.PredictResponse, name: str) -> R | None:
    del answer.outputs[name]
    return R.ANSWER_OUTPUTS_DIFFER


def _extra(answer: pb.PredictResponse, name: str) -> R | None:
    answer.outputs["nobody asked for"].CopyFrom(answer.outputs[name])
    return R.ANSWER_OUTPUTS_DIFFER


def _other_type(answer: pb.PredictResponse, name: str) -> R | None:
    shape = [dim.size for dim in answer.outputs[name].tensor_shape.dim]
    dtype = tf.DT_INT64 if answer.outputs[name].dtype != tf.DT_INT64 else tf.DT_INT32
    answer.outputs[name].CopyFrom(tensor(dtype, shape, [1] * math.prod(shape)))
    return R.ANSWER_TYPE_DIFFERS


def _other_rank(answer: pb.PredictResponse, name: str) -> R | None:
    answer.outputs[name].tensor_shape.dim.add().size = 1
    return R.ANSWER_TYPE_DIFFERS


def _one_row_more(answer: pb.PredictResponse, name: str) -> R | None:
    old = answer.outputs[name]
    shape = [dim.size for dim in old.tensor_shape.dim]
    if not shape:
        return None
    shape[0] += 1
    answer.outputs[name].CopyFrom(tensor(old.dtype, shape, [KINDS[old.dtype][2]] * math.prod(shape)))
    return R.ANSWER_TYPE_DIFFERS


def _cut_short(answer: pb.PredictResponse, name: str) -> R | None:
    output = answer.outputs[name]
    if output.tensor_content:
        output.tensor_content = output.tensor_content[:-1]
    else:
        del getattr(output, KINDS[output.dtype][0])[:]
    return R.ANSWER_UNREADABLE


def _one_value_more(answer: pb.PredictResponse, name: str) -> R | None:
    output = answer.outputs[name]
    if output.tensor_content:
        output.tensor_content = output.tensor_content + b"\0"
    else:
        getattr(output, KINDS[output.dtype][0]).append(KINDS[output.dtype][2])
    return R.ANSWER_UNREADABLE


def _nan(answer: pb.PredictResponse, name: str) -> R | None:
    output = answer.outputs[name]
    if output.dtype not in NAN:
        return None
    shape = [dim.size for dim in output.tensor_shape.dim]
    values = [KINDS[output.dtype][2]] * (math.prod(shape) - 1) + [NAN[output.dtype]]
    answer.outputs[name].CopyFrom(tensor(output.dtype, shape, values, as_content=bool(output.tensor_content)))
    return R.ANSWER_NOT_FINITE


def _negative(answer: pb.PredictResponse, name: str) -> R | None:
    if not answer.outputs[name].tensor_shape.dim:
        return None
    answer.outputs[name].tensor_shape.dim[-1].size = -4
    return R.ANSWER_UNREADABLE


def _unknown_rank(answer: pb.PredictResponse, name: str) -> R | None:
    answer.outputs[name].tensor_shape.unknown_rank = True
    return R.ANSWER_UNREADABLE


def _another_model(answer: pb.PredictResponse, name: str) -> R | None:
    answer.model_spec.name = "another"
    return R.ANSWER_FROM_ANOTHER_MODEL


def _another_version(answer: pb.PredictResponse, name: str) -> R | None:
    answer.model_spec.version.value = 2
    return R.ANSWER_FROM_ANOTHER_MODEL


CORRUPTIONS: list[Callable[[pb.PredictResponse, str], R | None]] = [
    _missing,
    _extra,
    _other_type,
    _other_rank,
    _one_row_more,
    _cut_short,
    _one_value_more,
    _nan,
    _negative,
    _unknown_rank,
    _another_model,
    _another_version,
]


@pytest.mark.parametrize("corrupt", CORRUPTIONS, ids=lambda corrupt: corrupt.__name__)
@settings(deadline=None)
@given(SIGNATURES, st.integers(1, 5), st.booleans(), st.data())
def test_any_single_corruption_is_found(
    corrupt: Callable[[pb.PredictResponse, str], R | None],
    outputs: Outputs,
    rows: int,
    as_content: bool,
    data: st.DataObject,
) -> None:
    answer = honest(outputs, rows, as_content)
    expected = corrupt(answer, data.draw(st.sampled_from(sorted(outputs))))
    if expected is None:
        return
    with pytest.raises((AttemptFailed, InfrastructureError)) as caught:
        inspection(signature(outputs)).look(request(rows=rows), answer.SerializeToString())
    assert caught.value.reason is expected
    assert "record 1 of f" in caught.value.detail


@settings(deadline=None)
@given(SIGNATURES, st.binary(max_size=200), st.integers(0, 400))
def test_octets_that_are_no_answer_are_unreadable_or_lack_outputs(outputs: Outputs, noise: bytes, at: int) -> None:
    answer = honest(outputs, 2, True).SerializeToString()
    spoilt = answer[:at] + noise + answer[at + len(noise) :]
    try:
        inspection(signature(outputs)).look(request(rows=2), spoilt)
    except (AttemptFailed, InfrastructureError) as error:
        assert error.reason.name.startswith("ANSWER_")  # noqa: PT017


def test_a_shape_that_differs_because_the_request_contradicts_is_the_requests_fault() -> None:
    made = signature({"y": (tf.DT_FLOAT, (-1, 1))})
    asked = SampleRequest(request().method, "serving_default", b"", "record 1 of f", contradicts="input 'x' ...")
    answer = response({"y": tensor(tf.DT_FLOAT, (2, 2), [1.0] * 4)})
    with pytest.raises(UsageError) as caught:
        inspection(made).look(asked, answer.SerializeToString())
    assert caught.value.reason is R.BAD_REQUESTS
    inspection(made).look(asked, response({"y": tensor(tf.DT_FLOAT, (2, 1), [1.0] * 2)}).SerializeToString())


def test_only_the_outputs_of_the_filter_are_wanted() -> None:
    made = signature({"y": (tf.DT_FLOAT, (-1,)), "z": (tf.DT_FLOAT, (-1,))})
    asked = SampleRequest(request().method, "serving_default", b"", "record 1 of f", output_filter=("z",))
    one = tensor(tf.DT_FLOAT, (1,), [1.0])
    inspection(made).look(asked, response({"z": one}).SerializeToString())
    with pytest.raises(AttemptFailed, match="the answer has 'y'"):
        inspection(made).look(asked, response({"y": one, "z": one}).SerializeToString())


def test_a_value_that_stands_for_many_is_read_as_tensorflow_reads_it() -> None:
    made = signature({"y": (tf.DT_FLOAT, (-1,))})
    spec = AnswersSpec(ranges={"y": (0.0, 1.0)})
    looking = inspection(made, spec)
    looking.look(request(rows=5), response({"y": tensor(tf.DT_FLOAT, (5,), [0.5])}).SerializeToString())
    with pytest.raises(AttemptFailed, match=r"output 'y'\[1\] is 3"):
        looking.look(request(rows=5), response({"y": tensor(tf.DT_FLOAT, (5,), [0.5, 3.0])}).SerializeToString())


@pytest.mark.parametrize("rows", [3, 5000], ids=["few numbers", "with numpy"])
@pytest.mark.parametrize(
    ("spec", "values", "told"),
    [
        ({"ranges": {"y": (0.0, 1.0)}}, [0.0, 1.0], ""),
        ({"ranges": {"y": (0.0, 1.0)}}, [0.5, 1.5], r"'y'\[2, 1\] is 1.5, allowed is 0 to 1"),
        ({"ranges": {"y": (0.0, 1.0)}}, [0.5, -1.5], r"'y'\[2, 1\] is -1.5, allowed is 0 to 1"),
        ({"sums_to_one": ("y",)}, [0.25, 0.75], ""),
        ({"sums_to_one": ("y",)}, [0.25, 0.5], r"'y'\[2\] sums to 0.75, not to 1"),
        ({"allowed": {"y": [0.1, 0.9]}}, [0.1, 0.9], ""),
        ({"allowed": {"y": [0.1, 0.9]}}, [0.1, 0.8], r"'y'\[2, 1\] is 0.8, which is not listed"),
    ],
)
def test_limits(rows: int, spec: dict[str, object], values: list[float], told: str) -> None:
    made = signature({"y": (tf.DT_FLOAT, (-1, 2))})
    good = {"ranges": [0.5, 0.5], "sums_to_one": [0.5, 0.5], "allowed": [0.1, 0.9]}[next(iter(spec))]
    every = good * 2 + values + good * (rows - 3)
    answer = response({"y": tensor(tf.DT_FLOAT, (rows, 2), every)}).SerializeToString()
    looking = inspection(made, AnswersSpec(**spec))  # type: ignore[arg-type]
    if not told:
        looking.look(request(rows=rows), answer)
        return
    with pytest.raises(AttemptFailed, match=told) as caught:
        looking.look(request(rows=rows), answer)
    assert caught.value.reason is R.ANSWER_OUT_OF_RANGE


def test_texts_that_are_not_allowed_are_not_shown() -> None:
    made = signature({"y": (tf.DT_STRING, (-1,))})
    looking = inspection(made, AnswersSpec(allowed={"y": ["yes", "no"]}))
    looking.look(request(), response({"y": tensor(tf.DT_STRING, (2,), [b"yes", b"no"])}).SerializeToString())
    with pytest.raises(AttemptFailed) as caught:
        looking.look(request(), response({"y": tensor(tf.DT_STRING, (1,), [b"a secret"])}).SerializeToString())
    assert "secret" not in caught.value.detail


def test_a_constant_is_one_over_different_requests_only() -> None:
    made = signature({"y": (tf.DT_FLOAT, (-1,))})
    same = response({"y": tensor(tf.DT_FLOAT, (1,), [2.0])}).SerializeToString()
    other = response({"y": tensor(tf.DT_FLOAT, (1,), [3.0])}).SerializeToString()
    spec = AnswersSpec(not_constant=("y",))
    looking = inspection(made, spec)
    for payload in (b"a", b"a"):
        looking.look(request(payload, rows=1), same)
    looking.finish()
    assert {check.name: check.outcome.value for check in looking.results}["answer_not_constant"] == "not_applicable"
    looking.look(request(b"b", rows=1), same)
    with pytest.raises(AttemptFailed, match="2 different requests"):
        looking.finish()
    looking.look(request(b"c", rows=1), other)
    looking.finish()
