"""Twelve kinds of signature, each a real SavedModel's, asked by examples or made-up requests with no configuration beyond names."""

from __future__ import annotations

import io
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from PIL import Image

from component_tests.fakes.saved_models import SavedModels
from component_tests.unit.sample_requests.examples_on_disk import tfrecord
from infra_validator.api import run_validation
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.report.verdict import ValidationReport, Verdict

LOCAL = {"tensorflow_serving": {}, "local_process": {}, "model_name": "m"}


def record(features: Mapping[str, Sequence[Any]]) -> bytes:
    """A serialized tf.Example."""
    made = tf.Example()
    for name, values in features.items():
        feature = made.features.feature[name]
        kind: Any = {bytes: feature.bytes_list, float: feature.float_list, int: feature.int64_list}[type(values[0])]
        kind.value.extend(values)
    return made.SerializeToString()


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (3, 2), (10, 20, 30)).save(file, "PNG")
    return file.getvalue()


EXAMPLES: dict[tuple[str, str], list[dict[str, Sequence[Any]]]] = {
    ("signatures", "text"): [{"text": [b"a text"]}, {"text": [b"another"]}],
    ("signatures", "image_bytes"): [{"image": [png()]}],
    ("signatures", "image"): [{"image": list(range(18))}],
    ("signatures", "tokens"): [{"tokens": [b"a", b"ragged", b"text"]}, {"tokens": [b"one"]}],
    ("signatures", "ids"): [{"ids": [1, 2, 9]}],
    ("signatures", "flags"): [{"flag": [1]}, {"flag": [0]}],
    ("signatures", "halves"): [{"half": [0.5, 1.5], "brain": [2.0, 3.0]}],
    ("signatures", "scalar"): [{"number": [1.5]}],
    ("keras_features", "serving_default"): [{"age": [31.0], "income": [1000], "embedding": [0.1, 0.2, 0.3, 0.4]}],
    ("half_plus_two", "classify_x_to_y"): [{"x": [1.0]}],
    ("half_plus_two", "regress_x_to_y"): [{"x": [1.0]}],
    ("two_inputs", "serving_default"): [{"a": [1.0, 2.0], "b": [3.0, 4.0]}],
}

#: What is needed beyond names to make a request up: strings, and ids that the model has.
GENERATED: dict[tuple[str, str], dict[str, Any]] = {
    ("signatures", "text"): {"texts": {"text": ["a text"]}},
    ("signatures", "image"): {"ranges": {"image": [0, 255]}},
    ("signatures", "tokens"): {"texts": {"tokens": ["one", "two"]}, "shapes": {"tokens": [1, 2]}},
    ("signatures", "ids"): {"ranges": {"ids": [0, 9]}},
    ("signatures", "flags"): {},
    ("signatures", "halves"): {},
    ("signatures", "scalar"): {},
    ("keras_features", "serving_default"): {},
    ("two_inputs", "serving_default"): {},
}


def asked(name: str, **fields: Any) -> dict[str, Any]:
    return {"tensorflow_serving": {"signature_names": [name]}, **fields}


def blessed(report: ValidationReport, signatures: list[str], requests: int) -> None:
    assert (report.verdict, report.finding.reason) == (Verdict.BLESSED, ReasonCode.BLESSED), report.finding
    evidence: Any = report.to_dict()["evidence"]
    assert (evidence["signatures_asked"], evidence["requests"]) == (signatures, requests)


@pytest.mark.parametrize(("model", "name"), EXAMPLES, ids="-".join)
def test_examples(saved_models: SavedModels, tmp_path: pathlib.Path, model: str, name: str) -> None:
    records = EXAMPLES[model, name]
    (tmp_path / "f.tfrecord").write_bytes(tfrecord([record(features) for features in records]))
    report = run_validation(
        saved_models.path(model), LOCAL, None, asked(name), requests=tmp_path / "f.tfrecord", on_progress=lambda _: None
    )
    blessed(report, [name], len(records))


@pytest.mark.parametrize(("model", "name"), GENERATED, ids="-".join)
def test_made_up(saved_models: SavedModels, model: str, name: str) -> None:
    spec = asked(name, generate=GENERATED[model, name], num_examples=3)
    report = run_validation(saved_models.path(model), LOCAL, None, spec, on_progress=lambda _: None)
    blessed(report, [name], 3)


def test_two_signatures_of_one_model_by_one_file(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "f.json"
    file.write_text(json.dumps([{"a": [1, 2], "b": [3, 4]}, {"a": [5, 6], "b": [7, 8]}]))
    spec = {"tensorflow_serving": {"signature_names": ["serving_default", "scalar"]}, "batch_sizes": [1, 2, 32]}
    report = run_validation(
        saved_models.path("two_inputs"), LOCAL, None, spec, requests=file, on_progress=lambda _: None
    )
    blessed(report, ["serving_default", "scalar"], 8)


def test_the_first_batch_size_that_fails_is_in_the_reason(saved_models: SavedModels) -> None:
    """The signature multiplies two matrices of [rows, 2]: only two rows go."""
    spec = asked("matmul", generate={}, num_examples=6, batch_sizes=[2, 3, 1, 6])
    report = run_validation(saved_models.path("two_inputs"), LOCAL, None, spec, on_progress=lambda _: None)
    assert report.verdict is not Verdict.BLESSED
    assert "a batch of 3 from made-up request" in report.finding.detail
