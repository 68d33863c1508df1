"""Every example in docs/sample_requests.md is read as the guide says."""

from __future__ import annotations

import pathlib
import re

import pytest

from component_tests.unit.sample_requests.examples_on_disk import signature
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.sample_requests.files.requests_file import requests_from_file

GUIDE = (pathlib.Path(__file__).parents[3] / "docs" / "sample_requests.md").read_text()
EXAMPLES = re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)

SIGNATURES = {
    "serving_default": signature("predict", x=(tf.DT_FLOAT, [-1]), text=(tf.DT_STRING, [-1])),
    "classify": signature("classify", inputs=(tf.DT_STRING, [-1])),
}


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 5


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_is_read(text: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "requests.json").write_text(text)
    made = list(requests_from_file(str(tmp_path / "requests.json"), SIGNATURES, "m"))
    assert len(made) == (2 if text.count("\n") > 1 else 1)
