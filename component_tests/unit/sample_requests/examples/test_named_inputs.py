"""From features to named inputs: by name, dtype and shape; and every way in which they do not fit."""

from __future__ import annotations

import io
import pathlib
from typing import Any

import pytest

from component_tests.unit.sample_requests.examples_on_disk import signature, write_split
from infra_validator.core.errors import UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.wire import length_field
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2
from infra_validator.sample_requests.examples.example_files import requests_from_examples_dir
from infra_validator.sample_requests.examples.features import FeatureValues
from infra_validator.sample_requests.examples.named_inputs import NamedInputs
from infra_validator.sample_requests.questions.tensor_values import shape_of, values_of
from infra_validator.specs.request_spec import RequestSpec


def feature(*values: Any) -> FeatureValues:
    kinds = {bytes: "bytes", float: "float", int: "int64"}
    return FeatureValues(kinds[type(values[0])] if values else "", values)


def steps(*values: list[Any]) -> FeatureValues:
    flat = [value for step in values for value in step]
    return FeatureValues(feature(*flat).kind, flat, tuple(map(len, values)))


def made(info: tuple[int, list[int]], found: FeatureValues, **asked: Any) -> tuple[list[int], list[Any]]:
    """(shape, values) of the input x."""
    spec = RequestSpec.of(asked)
    inputs, _ = NamedInputs("s", signature("predict", x=info), spec).inputs_of({"x": found}, "record 1")  # type: ignore[arg-type]
    return shape_of(inputs["x"]), values_of(inputs["x"])


@pytest.mark.parametrize(
    ("info", "found", "shape"),
    [
        ((tf.DT_FLOAT, [-1]), feature(1.0), [1]),
        ((tf.DT_FLOAT, [-1, 1]), feature(1.0), [1, 1]),
        ((tf.DT_FLOAT, [-1, 4]), feature(1.0, 2.0, 3.0, 4.0), [1, 4]),
        ((tf.DT_FLOAT, [-1, 2, 2]), feature(1.0, 2.0, 3.0, 4.0), [1, 2, 2]),
        ((tf.DT_FLOAT, [-1, -1]), feature(1.0, 2.0, 3.0), [1, 3]),
        ((tf.DT_FLOAT, [-1, -1, 2]), feature(1.0, 2.0, 3.0, 4.0), [1, 2, 2]),
        ((tf.DT_FLOAT, []), feature(1.0), []),
        ((tf.DT_FLOAT, [3]), feature(1.0, 2.0, 3.0), [3]),
        ((tf.DT_FLOAT, [-1]), feature(2), [1]),
        ((tf.DT_HALF, [-1]), feature(0.5), [1]),
        ((tf.DT_BFLOAT16, [-1]), feature(0.5), [1]),
        ((tf.DT_INT64, [-1]), feature(-7), [1]),
        ((tf.DT_UINT8, [-1, 2]), feature(0, 255), [1, 2]),
        ((tf.DT_BOOL, [-1, 2]), feature(0, 1), [1, 2]),
        ((tf.DT_STRING, [-1, 1]), feature(b"a"), [1, 1]),
        ((tf.DT_STRING, [-1, -1]), feature(b"a", b"b"), [1, 2]),
        ((tf.DT_STRING, []), feature(b"a"), []),
        ((tf.DT_FLOAT, [-1, -1]), feature(), [1, 0]),
        ((tf.DT_FLOAT, [-1, -1, 2]), steps([1.0, 2.0], [3.0, 4.0], [5.0, 6.0]), [1, 3, 2]),
        ((tf.DT_INT64, [-1, -1, -1]), steps([1], [2]), [1, 2, 1]),
    ],
)
def test_features_take_the_declared_shape(info: tuple[int, list[int]], found: FeatureValues, shape: list[int]) -> None:
    assert made(info, found) == (shape, [*found.values])


@pytest.mark.parametrize(
    ("info", "found", "said"),
    [
        (
            (tf.DT_FLOAT, [-1]),
            feature(1.0, 2.0),
            r"'x' has 2 float values, which do not fit the input x \(float, shape",
        ),
        ((tf.DT_FLOAT, [-1, 4]), feature(1.0), r"make up the shape \[4\] \(request_spec\.padding: \{x: 0\}"),
        ((tf.DT_FLOAT, [-1, -1, 2]), feature(1.0, 2.0, 3.0), "make up"),
        ((tf.DT_INT64, [-1]), feature(1.0), "one float value, which do not fit the input x .int64"),
        ((tf.DT_FLOAT, [-1]), feature(b"1"), "numbers_in_strings"),
        ((tf.DT_UINT8, [-1, 2, 2, 3]), feature(b"png"), r"request_spec\.images"),
        ((tf.DT_STRING, [-1, 1]), feature(1), "one int64 value"),
        ((tf.DT_UINT8, [-1]), feature(256), "does not fit uint8"),
        ((tf.DT_BOOL, [-1]), feature(2), "0 or 1"),
        ((tf.DT_FLOAT, [-1]), feature(), "no value"),
        ((tf.DT_FLOAT, [-1, -1, 2]), steps([1.0, 2.0], [3.0]), "3 float values in 2 steps"),
    ],
)
def test_features_that_do_not_fit_are_told(info: tuple[int, list[int]], found: FeatureValues, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        made(info, found)
    assert caught.value.reason is ReasonCode.BAD_REQUESTS


def test_a_missing_feature_names_what_there_is() -> None:
    inputs = NamedInputs("s", signature("predict", age=(tf.DT_FLOAT, [-1])), RequestSpec())
    with pytest.raises(
        UsageError, match=r"record 1: the input age .* wants the feature 'age'; the record has: agee, b"
    ):
        inputs.inputs_of({"agee": feature(1.0), "b": feature(1)}, "record 1")


def test_an_input_with_a_default_may_have_no_feature() -> None:
    with_default = signature("predict", x=(tf.DT_FLOAT, [-1]), y=(tf.DT_FLOAT, []))
    with_default.defaults["y"].dtype = tf.DT_FLOAT
    made_inputs, _ = NamedInputs("s", with_default, RequestSpec()).inputs_of({"x": feature(1.0)}, "record 1")
    assert list(made_inputs) == ["x"]


def test_features_may_have_other_names() -> None:
    asked = RequestSpec.of({"features": {"x": "age"}})
    inputs = NamedInputs("s", signature("predict", x=(tf.DT_FLOAT, [-1])), asked)
    assert values_of(inputs.inputs_of({"age": feature(1.0)}, "record 1")[0]["x"]) == [1.0]


@pytest.mark.parametrize(
    ("info", "found", "filler", "expected"),
    [
        ((tf.DT_INT64, [-1, 4]), feature(1, 2), 0, ([1, 4], [1, 2, 0, 0])),
        ((tf.DT_STRING, [-1, 2]), feature(b"a"), "", ([1, 2], [b"a", b""])),
        ((tf.DT_FLOAT, [-1, 2]), feature(), -1.0, ([1, 2], [-1.0, -1.0])),
        ((tf.DT_INT64, [-1, -1, -1]), steps([1, 2], [3]), 0, ([1, 2, 2], [1, 2, 3, 0])),
        ((tf.DT_INT64, [-1, 3, 2]), steps([1, 2], [3]), 9, ([1, 3, 2], [1, 2, 3, 9, 9, 9])),
    ],
)
def test_short_rows_are_filled_up_where_the_spec_says_with_what(
    info: tuple[int, list[int]], found: FeatureValues, filler: Any, expected: tuple[list[int], list[Any]]
) -> None:
    assert made(info, found, padding={"x": filler}) == expected


def test_long_rows_and_fillers_of_another_type_are_told() -> None:
    with pytest.raises(UsageError, match="more of them than the shape"):
        made((tf.DT_INT64, [-1, 2]), feature(1, 2, 3), padding={"x": 0})
    with pytest.raises(UsageError, match="a string is no int64"):
        made((tf.DT_INT64, [-1, 2]), feature(1), padding={"x": ""})


def test_numbers_in_strings_are_read_where_the_spec_says_so() -> None:
    assert made((tf.DT_FLOAT, [-1, 2]), feature(b"1", b" 2.5"), numbers_in_strings=["x"]) == ([1, 2], [1.0, 2.5])
    assert made((tf.DT_INT64, [-1]), feature(b"-3"), numbers_in_strings=["x"]) == ([1], [-3])
    with pytest.raises(UsageError, match="a string in it is no number"):
        made((tf.DT_INT64, [-1]), feature(b"three"), numbers_in_strings=["x"])
    with pytest.raises(UsageError, match="is no int64"):
        made((tf.DT_INT64, [-1]), feature(b"2.5"), numbers_in_strings=["x"])


def test_images_are_decoded_where_the_spec_says_so() -> None:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (3, 2), (10, 20, 30)).save(file, "PNG")
    png = feature(file.getvalue())
    decode = {"images": {"x": "decode"}}
    assert made((tf.DT_UINT8, [-1, 2, 3, 3]), png, **decode) == ([1, 2, 3, 3], [10, 20, 30] * 6)
    assert made((tf.DT_FLOAT, [-1, -1, -1, 3]), png, **decode)[0] == [1, 2, 3, 3]
    assert made((tf.DT_UINT8, [-1, 2, 3, 1]), png, **decode)[0] == [1, 2, 3, 1]
    assert made((tf.DT_UINT8, [-1, 2, 3]), png, **decode)[0] == [1, 2, 3]
    with pytest.raises(UsageError, match=r"do not make up the shape \[28, 28, 3\]"):
        made((tf.DT_UINT8, [-1, 28, 28, 3]), png, **decode)
    with pytest.raises(UsageError, match="no image that can be decoded"):
        made((tf.DT_UINT8, [-1, 2, 3, 3]), feature(b"no image"), **decode)


def test_a_sequence_example_becomes_inputs_of_rank_two_and_more(tmp_path: pathlib.Path) -> None:
    context = tf.Example()
    context.features.feature["user"].int64_list.value.append(7)
    listed = b""
    for values in ([1.0, 2.0], [3.0, 4.0], [5.0, 6.0]):
        step = tf.Feature()
        step.float_list.value.extend(values)
        listed += length_field(1, step.SerializeToString())
    lists = length_field(1, length_field(1, b"clicks") + length_field(2, listed))
    record = context.SerializeToString() + length_field(2, lists)
    signatures = {"s": signature("predict", user=(tf.DT_INT64, [-1]), clicks=(tf.DT_FLOAT, [-1, -1, 2]))}
    split = write_split(tmp_path, [record])
    (request,) = requests_from_examples_dir(split, signatures, "m", payload_format="FORMAT_TF_SEQUENCE_EXAMPLE")
    inputs = serving_pb2.PredictRequest.FromString(request.payload).inputs
    assert (shape_of(inputs["user"]), values_of(inputs["user"])) == ([1], [7])
    assert (shape_of(inputs["clicks"]), values_of(inputs["clicks"])) == ([1, 3, 2], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
