"""What REST answers mean as outputs, by the types that the answer over gRPC tells."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from infra_validator.core.answer import STRING, Answer, Tensor, UnreadableAnswer
from infra_validator.model_server_clients.tensorflow_serving_rest import read_rest_answer


def floats(*shape: int) -> Tensor:
    count = 1
    for size in shape:
        count *= size
    return Tensor(1, shape, memoryview(struct.pack(f"<{count}f", *[0.0] * count)))


def read(body: Any, **outputs: Tensor) -> dict[str, Any]:
    found = read_rest_answer(json.dumps(body).encode(), Answer(outputs))
    return {
        name: (tensor.shape, list(tensor.strings()) if tensor.dtype == STRING else tensor.content.cast("f").tolist())
        for name, tensor in found.items()
    }


TEXT = Tensor(STRING, (1,))


@pytest.mark.parametrize(
    ("body", "outputs", "read_as"),
    [
        ({"predictions": [1.0, 2.0]}, {"y": floats(2)}, {"y": ((2,), [1.0, 2.0])}),
        ({"outputs": [[1.0, 2.0]]}, {"y": floats(1, 2)}, {"y": ((1, 2), [1.0, 2.0])}),
        ({"outputs": 1.0}, {"y": floats()}, {"y": ((), [1.0])}),
        (
            {"predictions": [{"a": 1.0, "b": ["t"]}]},
            {"a": floats(1), "b": TEXT},
            {"a": ((1,), [1.0]), "b": ((1, 1), [b"t"])},
        ),
        ({"outputs": {"a": [1.0], "b": [{"b64": "dA=="}]}}, {"a": floats(1), "b": TEXT}, None),
        ({"predictions": []}, {"y": floats(0, 3)}, {"y": ((0, 3), [])}),
        ({"predictions": [{"a": 1.0}]}, {"a": floats(1), "b": TEXT}, {"a": ((1,), [1.0])}),
    ],
)
def test_outputs(body: Any, outputs: dict[str, Tensor], read_as: dict[str, Any] | None) -> None:
    assert read(body, **outputs) == (read_as or {"a": ((1,), [1.0]), "b": ((1,), [b"t"])})


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"predictions": [[1.0], [1.0, 2.0]]},
        {"predictions": [[1.0, 2.0], [3.0, 4.0, 5.0], [6.0]]},
        {"predictions": [1.0, [2.0]]},
        {"predictions": ["x"]},
        {"predictions": ["1.0", "2.0"]},
        {"predictions": [True, False]},
        {"outputs": {"b64": "x"}},
        {"predictions": None},
    ],
)
def test_what_is_no_answer(body: Any) -> None:
    with pytest.raises(UnreadableAnswer):
        read(body, y=floats(2))


@pytest.mark.parametrize(
    "body", [{"predictions": [{"a": 1, "b": 2}, {"a": 1}]}, {"predictions": [{"a": 1}, {"a": 1, "b": 2}]}]
)
def test_rows_with_different_outputs(body: Any) -> None:
    with pytest.raises(UnreadableAnswer):
        read(body, a=floats(2), b=floats(2))


@pytest.mark.parametrize("results", [[[["a"]]], [[[]]], [["a"]], [[3]], {"a": 1}])
def test_classes_without_scores(results: Any) -> None:
    like = Answer({"classes": Tensor(STRING, (1, 1)), "scores": floats(1)}, "classify")
    with pytest.raises(UnreadableAnswer):
        read_rest_answer(json.dumps({"results": results}).encode(), like)


@pytest.mark.parametrize(("dtype", "good", "bad"), [(3, 2, 2.0), (3, 2, True), (10, True, 1), (1, 2, "2")])
def test_a_value_of_another_json_type_than_the_output_has(dtype: int, good: Any, bad: Any) -> None:
    like = Tensor(dtype, (1,))
    read_rest_answer(json.dumps({"predictions": [good]}).encode(), Answer({"y": like}))
    with pytest.raises(UnreadableAnswer):
        read_rest_answer(json.dumps({"predictions": [bad]}).encode(), Answer({"y": like}))


def test_numbers_that_json_does_not_have_are_read_as_the_server_writes_them() -> None:
    found = read_rest_answer(b'{"predictions": [NaN, Infinity]}', Answer({"y": floats(2)}))
    assert str(found["y"].content.cast("f").tolist()) == "[nan, inf]"
