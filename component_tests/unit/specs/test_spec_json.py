"""Specs as execution properties: one line of JSON that comes back equal and that template engines leave alone."""

from __future__ import annotations

import json

import pytest

from infra_validator.specs import RequestSpec, ServingSpec, ValidationSpec
from infra_validator.specs.reader import to_json

BRACES = ["{{ dag_run.conf }}", "{% if x %}", "{# note #}", "{{{", "{{%{{#", "\\{{", "}}{{", "{", "plain", 'quote " {{']


@pytest.mark.parametrize("argument", BRACES)
def test_no_opening_of_a_template_is_left_and_the_spec_comes_back_equal(argument: str) -> None:
    spec = ServingSpec.of({"local_process": {"extra_args": [argument]}, "tensorflow_serving": {}})
    text = to_json(spec)
    for opening in ("{{", "{%", "{#"):
        assert opening not in text
    assert ServingSpec.of(text) == spec


def test_equal_specs_give_equal_texts() -> None:
    one = ServingSpec.of('{"tensorflow_serving": {}, "local_process": {"env": {"A": "1", "B": "2"}}}')
    other = ServingSpec.of({"localProcess": {"env": {"B": "2", "A": "1"}}, "tensorflowServing": {}})
    assert to_json(one) == to_json(other)


def test_defaults_are_left_out() -> None:
    assert json.loads(to_json(ValidationSpec.of({"num_tries": 5}))) == {}
    assert json.loads(to_json(RequestSpec.of({"num_examples": 3}))) == {"num_examples": 3}
