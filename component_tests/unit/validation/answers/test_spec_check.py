"""What is wrong with validation_spec.answers is told before anything is started, with the field and the outputs there are."""

from __future__ import annotations

from typing import Any

import pytest

from component_tests.unit.validation.answers.made_answers import signature
from infra_validator.core.errors import SpecError
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.specs import ValidationSpec
from infra_validator.validation.answers.spec_check import check_answers_spec

SIGNATURES = {
    "serving_default": signature({"score": (tf.DT_FLOAT, (-1, 3)), "label": (tf.DT_STRING, (-1,))}),
    "other": signature({"y": (tf.DT_FLOAT, (-1,))}),
}


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (
            {"ranges": {"scores": [0, 1]}},
            r"answers.ranges: the model has no output 'scores'; it has: 'label', 'score', 'y'",
        ),
        ({"not_constant": ["z"]}, "answers.not_constant: the model has no output 'z'"),
        ({"infinite": ["label"]}, "answers.infinite: output 'label' holds strings"),
        ({"sums_to_one": ["y"]}, "nothing to sum but the rows of a batch"),
        ({"allowed": {"score": ["a"]}}, "'score' holds numbers, and only strings are allowed"),
        ({"allowed": {"label": [1]}}, "'label' holds strings, and only numbers are allowed"),
        ({"ranges": {"score": [1, 0]}}, r"answers.ranges.score: must be \[low, high\]"),
        ({"ranges": {"score": [1]}}, r"answers.ranges.score: must be \[low, high\]"),
        ({"allowed": {"score": []}}, "answers.allowed.score: must be a list with something in it"),
        ({"allowed": {"score": [[1]]}}, "answers.allowed.score: holds something"),
        ({"allowed": {"score": [2]}, "ranges": {"score": [0, 1]}}, "no value lies in the range"),
        ({"allowed": {"y": [2]}, "not_constant": ["y"]}, "allows one value only"),
        ({"absolute_tolerance": {"y": -1}, "batch_agreement": True}, "must be 0 or more"),
        ({"absolute_tolerance": {"y": 1}}, "has no effect"),
        ({"range": {"y": [0, 1]}}, "Did you mean 'ranges'"),
    ],
)
def test_what_is_wrong_is_a_spec_error(answers: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        check_answers_spec(ValidationSpec.of({"answers": answers}).answers, SIGNATURES, "validation_spec.answers")


def test_what_fits_passes_and_an_unknown_model_decides_nothing() -> None:
    spec = ValidationSpec.of({"answers": {"ranges": {"score": [0, 1]}, "sums_to_one": ["score"], "infinite": ["y"]}})
    check_answers_spec(spec.answers, SIGNATURES, "validation_spec.answers")
    check_answers_spec(spec.answers, {}, "validation_spec.answers")
