"""Answers against the limits of the spec, check by check: what passes, what does not, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from component_tests.unit.validation.answers.made_answers import PREDICT, read_tensor
from infra_validator.core.answer import Answer, Tensor
from infra_validator.core.errors import AttemptFailed
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.validation.answers.against_limits import AllowedValues, NotConstant, Ranges, SumsToOne
from infra_validator.validation.answers.check import Check

ASKED = "record 1 of f, signature 'serving_default'"


def floats(*values: float, shape: Sequence[int] | None = None, dtype: int = tf.DT_FLOAT) -> Tensor:
    return read_tensor(dtype, (len(values),) if shape is None else shape, values)


def texts(*values: bytes, shape: Sequence[int] | None = None) -> Tensor:
    return read_tensor(tf.DT_STRING, (len(values),) if shape is None else shape, values)


def look(check: Check, outputs: dict[str, Tensor], payload: bytes = b"", rows: int | None = None) -> None:
    request = SampleRequest(PREDICT, "serving_default", payload, "record 1 of f", rows=rows)
    check.look(request, Answer(outputs), {})


def refused(check: Check, outputs: dict[str, Tensor]) -> str:
    """What is said of an answer that does not pass."""
    with pytest.raises(AttemptFailed) as caught:
        look(check, outputs)
    assert caught.value.reason is ReasonCode.ANSWER_OUT_OF_RANGE
    assert caught.value.detail.startswith(f"{ASKED}: ")
    return caught.value.detail.removeprefix(f"{ASKED}: ")


@pytest.mark.parametrize(
    "check",
    [
        Ranges({"gone": (0.0, 1.0), "text": (0.0, 1.0), "y": (0.0, 1.0)}),
        SumsToOne(("gone", "text", "y")),
        AllowedValues({"gone": [1], "y": [1]}),
    ],
    ids=lambda check: check.name,
)
def test_every_output_that_the_spec_names_and_the_answer_has_is_looked_at(check: Check) -> None:
    look(check, {"text": texts(b"a")})
    assert check.applied == 0
    look(check, {"text": texts(b"a"), "y": floats(1.0)})
    assert check.applied == 1
    look(check, {"y": floats(1.0)})
    assert check.applied == 2
    assert "output 'y'" in refused(check, {"text": texts(b"a"), "y": floats(3.0)})
    assert check.applied == 3


def test_a_number_outside_its_range_is_named() -> None:
    check = Ranges({"y": (0.5, 1.5), "z": (0.0, 1.0)})
    look(check, {"y": floats(0.5, 1.5), "z": floats(0.0)})
    assert refused(check, {"y": floats(1.0, 1.75)}) == "output 'y'[1] is 1.75, allowed is 0.5 to 1.5."
    assert refused(check, {"y": floats(1.0), "z": floats(-2.0, shape=())}) == "output 'z' is -2, allowed is 0 to 1."


@pytest.mark.parametrize(
    ("tensor", "told"),
    [
        (floats(0.25, 0.75, 0.5, 0.5, shape=(2, 2)), ""),
        (floats(0.25, 0.25, 0.5, shape=(3,)), ""),
        (floats(0.25, 0.25, 0.25, shape=(3,)), "output 'y' sums to 0.75, not to 1."),
        (floats(1.0, shape=()), ""),
        (floats(0.5, shape=()), "output 'y' sums to 0.5, not to 1."),
        (floats(0.2, 0.3, 0.5, 0.2, 0.2, 0.2, shape=(2, 3)), "output 'y'[1] sums to 0.6, not to 1."),
        (floats(*[0.5, 0.5] * 3, 0.5, 0.25, *[0.5, 0.5] * 2, shape=(3, 2, 2)), "output 'y'[1, 1] sums to 0.75, not to 1."),
        (floats(*[0.5, 0.5] * 2, 0.5, 0.75, shape=(3, 1, 2)), "output 'y'[2, 0] sums to 1.25, not to 1."),
        (floats(1.0, 0.5, 1.0, shape=(3, 1)), "output 'y'[1] sums to 0.5, not to 1."),
        (floats(shape=(2, 0)), ""),
        (floats(float("nan"), 1.0), "output 'y' sums to nan, not to 1."),
        (floats(0.5, 0.515, dtype=tf.DT_HALF), ""),
        (floats(0.5, 0.525, dtype=tf.DT_HALF), "output 'y' sums to 1.024902, not to 1."),
        (floats(0.5, 0.5, dtype=tf.DT_BFLOAT16), ""),
        (floats(0.5, 0.5009), ""),
        (floats(0.5, 0.5011), "output 'y' sums to 1.0011, not to 1."),
        (floats(0.5, 0.5000009, dtype=tf.DT_DOUBLE), ""),
        (floats(0.5, 0.500002, dtype=tf.DT_DOUBLE), "output 'y' sums to 1.000002, not to 1."),
        (read_tensor(tf.DT_UINT8, (2,), [0, 1]), ""),
        (read_tensor(tf.DT_UINT8, (2,), [1, 1]), "output 'y' sums to 2, not to 1."),
    ],
)  # fmt: skip
def test_the_last_dimension_sums_to_one_within_what_the_type_rounds(tensor: Tensor, told: str) -> None:
    if told:
        assert refused(SumsToOne(["y"]), {"y": tensor}) == told
    else:
        look(SumsToOne(["y"]), {"y": tensor})


@pytest.mark.parametrize(
    ("allowed", "tensor", "told"),
    [
        ([1, "a", 2], read_tensor(tf.DT_INT64, (2,), [2, 1]), ""),
        ([1, 2], read_tensor(tf.DT_INT64, (2, 1), [2, 3]), "output 'y'[1, 0] is 3, which is not listed."),
        (["a", 1], texts(b"a", b"a"), ""),
        (["a", 1], texts(b"a", b"secret"), "output 'y'[1] is a text that is not listed."),
        ([0.1, 0.7], floats(0.1, 0.7), ""),
        ([0.1, 0.7], floats(0.1, 0.75), "output 'y'[1] is 0.75, which is not listed."),
        ([0.1], floats(0.1, shape=(), dtype=tf.DT_DOUBLE), ""),
        ([0.1], floats(0.1000001, shape=(), dtype=tf.DT_DOUBLE), "output 'y' is 0.1, which is not listed."),
        ([0.1, 65504], floats(0.1, 65504.0, dtype=tf.DT_HALF), ""),
        ([0.1], floats(0.1001, dtype=tf.DT_HALF), "output 'y'[0] is 0.100098, which is not listed."),
        ([1e39, 1.0], floats(1.0), ""),
        ([1e39, 1.0], floats(float("inf")), "output 'y'[0] is inf, which is not listed."),
    ],
)
def test_only_what_is_listed_is_allowed(allowed: list[Any], tensor: Tensor, told: str) -> None:
    if told:
        assert refused(AllowedValues({"y": allowed}), {"y": tensor}) == told
    else:
        look(AllowedValues({"y": allowed}), {"y": tensor})


@pytest.mark.parametrize(
    ("listed", "bits"),
    [
        (0.1, 0x3DCD),
        (-0.3, 0xBE9A),
        (1.0 + 2**-8, 0x3F80),  # halfway between two: the even one
        (1.0 + 3 * 2**-8, 0x3F82),
        (1.0 + 2**-8 + 2**-20, 0x3F81),
        (1.0 + 2**-8 - 2**-20, 0x3F80),
        (1e39, 0x7F7F),
    ],
)
def test_a_number_is_allowed_as_bfloat16_holds_it(listed: float, bits: int) -> None:
    output = Tensor(tf.DT_BFLOAT16, (1,), memoryview(bits.to_bytes(2, "little")))
    neighbour = Tensor(tf.DT_BFLOAT16, (1,), memoryview((bits + 1).to_bytes(2, "little")))
    check = AllowedValues({"y": [listed]})
    if listed == 1e39:  # beyond every bfloat16
        assert "which is not listed" in refused(check, {"y": output})
    else:
        look(check, {"y": output})
    assert "which is not listed" in refused(check, {"y": neighbour})


# Each answer of an output "y": the request's payload, the request's rows, the output.
ONE, TWO = floats(1.0), floats(2.0)
AB = texts(b"a", b"b")


@pytest.mark.parametrize(
    ("answers", "applied", "different"),
    [
        ([], 0, 0),
        ([(b"a", None, ONE)], 0, 0),
        ([(b"a", None, ONE), (b"a", None, ONE)], 0, 0),
        ([(b"a", None, ONE), (b"a", None, TWO)], 0, 0),
        ([(b"a", None, ONE), (b"b", None, ONE)], 1, 2),
        ([(b"a", None, ONE), (b"b", None, ONE), (b"c", None, ONE)], 2, 3),
        ([(b"a", None, ONE), (b"b", None, TWO)], 1, 0),
        ([(b"a", None, ONE), (b"b", None, ONE), (b"c", None, TWO)], 2, 0),
        ([(b"a", None, ONE), (b"b", None, TWO), (b"c", None, ONE)], 1, 0),
        ([(b"a", None, AB), (b"b", None, texts(b"ab", b""))], 1, 0),
        ([(b"a", None, AB), (b"b", None, AB)], 1, 2),
        # Rows that differ within one answer, and those that do not.
        ([(b"a", 2, floats(1.0, 2.0))], 1, 0),
        ([(b"a", 1, ONE), (b"b", 1, ONE), (b"c", 2, floats(1.0, 2.0))], 2, 0),
        ([(b"a", 2, floats(1.0, 2.0)), (b"b", 1, ONE), (b"c", 1, ONE)], 1, 0),
        ([(b"a", 2, floats(1.0, 1.0)), (b"b", 3, floats(1.0, 1.0, 1.0)), (b"c", 1, ONE)], 2, 3),
        ([(b"a", 2, floats(1, 2, 3, 1, 2, 4, shape=(2, 3)))], 1, 0),
        ([(b"a", 2, floats(1, 2, 1, 2, shape=(2, 2))), (b"b", 1, floats(1, 2, shape=(1, 2)))], 1, 2),
        ([(b"a", 2, floats(1, 1, 1, 2, 2, 2, shape=(3, 2))), (b"b", 2, floats(1, 1, 1, 2, 2, 2, shape=(3, 2)))], 1, 2),
        ([(b"a", 2, floats(1.0, shape=())), (b"b", 2, floats(1.0, shape=()))], 1, 2),
        ([(b"a", 0, ONE), (b"b", 0, ONE)], 1, 2),
        ([(b"a", 2, texts(b"a", b"b"))], 1, 0),
        ([(b"a", 2, texts(b"a", b"b", b"a", b"b", shape=(2, 2))), (b"b", 1, texts(b"a", b"b", shape=(1, 2)))], 1, 2),
        ([(b"a", 2, texts(b"a", b"b", b"a", b"c", shape=(2, 2)))], 1, 0),
        ([(b"a", 3, texts(b"a", b"a", b"a")), (b"b", 2, texts(b"b", b"b"))], 1, 0),
    ],
)  # fmt: skip
def test_a_constant_is_the_same_for_all_different_requests(
    answers: list[tuple[bytes, int | None, Tensor]], applied: int, different: int
) -> None:
    check = NotConstant(("y",))
    for payload, rows, output in answers:
        look(check, {"y": output}, payload, rows)
    assert check.applied == applied
    if not different:
        check.finish()
        return
    with pytest.raises(AttemptFailed) as caught:
        check.finish()
    assert (caught.value.reason, caught.value.fingerprint) == (ReasonCode.ANSWER_CONSTANT, "ANSWER_CONSTANT")
    assert caught.value.detail == (
        f"Output 'y' was the same for {different} different requests, the last of them record 1 of f, signature 'serving_default'."
    )


def test_every_output_that_must_not_be_constant_is_looked_at() -> None:
    """Whatever comes of those before it: not there, differing already, asked the same, rows that differ."""
    for first in ([], [ONE, TWO, ONE], [floats(1.0, 2.0)] * 3):
        check = NotConstant(("x", "y"))
        for number in range(3):
            mine = {"x": first[number]} if first else {}
            look(check, {**mine, "y": ONE}, b"%d" % number, rows=2 if first and first[number].size == 2 else 1)
        with pytest.raises(AttemptFailed, match="Output 'y' was the same for 3 different requests"):
            check.finish()
    check = NotConstant(("x", "y"))
    for payload, y in ((b"a", ONE), (b"a", ONE), (b"b", ONE)):
        look(check, {"x": ONE, "y": y} if payload == b"a" else {"y": y}, payload)
    with pytest.raises(AttemptFailed, match="Output 'y' was the same for 2 different requests"):
        check.finish()


def test_what_two_signatures_answer_is_not_compared() -> None:
    check = NotConstant(("y",))
    for signature in ("one", "two"):
        check.look(SampleRequest(PREDICT, signature, signature.encode(), "record"), Answer({"y": ONE}), {})
    check.finish()
    assert check.applied == 0
