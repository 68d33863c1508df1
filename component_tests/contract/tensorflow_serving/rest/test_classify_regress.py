"""Contract 6.6: classify and regress."""

from __future__ import annotations

import json
from typing import Any

import pytest

from component_tests.contract.tensorflow_serving.rest.http_client import post
from component_tests.fakes.servers.embedded_server_process import EmbeddedServerProcess


def test_6_6_classify_and_regress(server: EmbeddedServerProcess) -> None:
    body: dict[str, Any] = {"signature_name": "classify_labels", "examples": [{"x": 2.0}, {"x": [4.0]}]}
    reply = post(server, "half_plus_two:classify", json.dumps(body))
    assert reply.json == {"results": [[["2.000000", 3.0], ["other", 4.0]], [["4.000000", 4.0], ["other", 5.0]]]}
    body = {"signature_name": "regress_x_to_y", "context": {"x": 8.0}, "examples": [{"x": 2.0}, {"y": "text"}]}
    assert post(server, "half_plus_two:regress", json.dumps(body)).json == {"results": [3.0, 6.0]}


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({}, "JSON Value: {} When method is classify, key 'examples' is expected and was not found"),
        ({"examples": 1}, "JSON Value: {\n    \"examples\": 1\n} Expecting 'examples' value to be an list/array"),
        ({"examples": []}, "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array"),
        ({"examples": [1]}, "Example must be JSON object but got JSON Number"),
        ({"examples": [{}], "context": []}, "Example must be JSON object but got JSON Array"),
        ({"examples": [{"x": None}]}, "Feature: x has element with unexpected JSON type: Null"),
        ({"examples": [{"x": [[1]]}]}, "Feature: x has element with unexpected JSON type: Array"),
        ({"examples": [{"x": {"a": 1}}]}, "Feature: x has element with unexpected JSON type: Object"),
        ({"examples": [{"x": [1, 2.5]}]}, "Unexpected element type in feature: x expecting type: int64"),
        ({"examples": [{"x": ["a", 2]}]}, "Unexpected element type in feature: x expecting type: bytes"),
        ({"examples": [{"x": 2**63}]}, "Feature: x has uint64_t element. Only int64_t is supported."),
    ],
)
def test_6_6_refused(server: EmbeddedServerProcess, document: Any, text: str) -> None:
    # An unknown model: the document is looked at first.
    for target in ("nobody:classify", "nobody:regress"):
        reply = post(server, target, json.dumps(document))
        assert (reply.status, reply.error) == (400, text)


def test_6_6_integers_are_int64_features(server: EmbeddedServerProcess) -> None:
    body = '{"signature_name": "regress_x_to_y", "examples": [{"x": 2}]}'
    reply = post(server, "half_plus_two:regress", body)
    assert reply.status == 400
    assert "Data types don't match. Data type: int64 but expected type: float" in reply.error


def test_6_6_unknown_signature(server: EmbeddedServerProcess) -> None:
    reply = post(server, "half_plus_two:classify", '{"signature_name": "no", "examples": [{"x": 2.0}]}')
    assert (reply.status, reply.error) == (400, "No signature was found with the name: no")
