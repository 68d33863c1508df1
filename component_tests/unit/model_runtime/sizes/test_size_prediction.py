"""Predictions from files alone: what counts, and that time is kept."""

from __future__ import annotations

import pathlib
import time

import pytest

from infra_validator.core.deadline import Deadline
from infra_validator.core.wire import length_field
from infra_validator.model_runtime.model_source import find_model
from infra_validator.model_runtime.sizes.size_prediction import predicted_bytes

MIB = 2**20


def _saved_model(nodes: list[bytes], functions: list[bytes] = ()) -> bytes:  # type: ignore[assignment]
    library = b"".join(length_field(1, length_field(3, node)) for node in functions)
    graph = b"".join(length_field(1, node) for node in nodes) + (length_field(2, library) if functions else b"")
    return length_field(2, length_field(2, graph))


@pytest.fixture
def model(tmp_path: pathlib.Path) -> pathlib.Path:
    directory = tmp_path / "root" / "m"
    (directory / "variables").mkdir(parents=True)
    (directory / "assets").mkdir()
    (directory / "saved_model.pb").write_bytes(_saved_model([bytes(100)] * 10))
    return directory


def predict(model: pathlib.Path, seconds: float = 5.0) -> int:
    source = find_model(str(model), str(model.parent))
    return predicted_bytes(source, Deadline.after(seconds))


def test_variables_count_once_and_some(model: pathlib.Path) -> None:
    before = predict(model)
    (model / "variables" / "variables.data-00000-of-00001").write_bytes(bytes(8 * MIB))
    assert 8 * MIB < predict(model) - before < 12 * MIB


def test_a_constant_counts_less_than_as_many_bytes_of_nodes(model: pathlib.Path) -> None:
    (model / "saved_model.pb").write_bytes(_saved_model([bytes(2 * MIB)]))
    one_constant = predict(model)
    (model / "saved_model.pb").write_bytes(_saved_model([bytes(100)] * 20_000))
    assert 8 * MIB < one_constant < 12 * MIB
    assert predict(model) > 10 * one_constant


def test_constants_in_functions_are_seen(model: pathlib.Path) -> None:
    (model / "saved_model.pb").write_bytes(_saved_model([], [bytes(2 * MIB)]))
    assert predict(model) < 12 * MIB


def test_lines_of_a_vocabulary_count(model: pathlib.Path) -> None:
    before = predict(model)
    (model / "assets" / "words").write_bytes(b"a\n" * 100_000)
    assert predict(model) - before > 9 * MIB


def test_what_cannot_be_read_as_a_graph_counts_as_nodes(model: pathlib.Path) -> None:
    (model / "saved_model.pb").write_bytes(b"\xff" * MIB)
    assert predict(model) > 90 * MIB


def test_when_time_is_up_the_rest_counts_as_nodes(model: pathlib.Path) -> None:
    (model / "saved_model.pb").write_bytes(_saved_model([bytes(100)] * 300_000))
    began = time.monotonic()
    assert predict(model, 0.0) >= predict(model, 0.01)
    assert (
        time.monotonic() - began < 5
    )  # reading all of it with a deadline of nothing would be a bug, not a slow machine
