"""Contract 6.3 to 6.5: JSON, predict requests, their errors."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import pytest

from component_tests.contract.tensorflow_serving.rest.http_client import Reply, post, predictions
from component_tests.fakes.saved_models import SavedModels
from component_tests.fakes.servers.embedded_server_process import EmbeddedServerProcess, embedded_server


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("", "The document is empty"),
        ("  ", "The document is empty. at offset: 2"),
        ("{", "Missing a name for object member. at offset: 1"),
        ("{'a': 1}", "Missing a name for object member. at offset: 1"),
        ('{"a" 1}', "Missing a colon after a name of object member. at offset: 5"),
        ('{"a": 1 "b": 2}', "Missing a comma or '}' after an object member. at offset: 8"),
        ('{"a": [1 2]}', "Missing a comma or ] after an array element. at offset: 9"),
        ('{"a": [1,]}', "Invalid value. at offset: 9"),
        ('{"a": nan}', "Invalid value. at offset: 7"),
        ('{"a": +1}', "Invalid value. at offset: 6"),
        ('{"a": .5}', "Invalid value. at offset: 6"),
        ('{"a": 1.}', "Miss fraction part in number. at offset: 8"),
        ('{"a": 01}', "Missing a comma or '}' after an object member. at offset: 7"),
        ('{"a": 1e400}', "Number too big to be stored in double. at offset: 6"),
        ('{"a": "\\ud800"}', "The surrogate pair in string is invalid. at offset: 7"),
        ('{"a": "\\x"}', "Invalid escape character in string. at offset: 7"),
        ('{"a": "b', "Missing a closing quotation mark in string. at offset: 8"),
        ('{"a": /* */ 1}', "Invalid value. at offset: 6"),
    ],
)
def test_6_4_syntax(server: EmbeddedServerProcess, body: str, text: str) -> None:
    # An unknown model: the syntax is looked at first.
    for target in ("nobody:predict", "nobody:classify", "nobody:regress"):
        reply = post(server, target, body)
        assert (reply.status, reply.error) == (400, f"JSON Parse error: {text}")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"instances": [1.0]} and more', [2.5]),
        ('{"instances": [1.0], "instances": [3.0], "other": {}}', [2.5]),
        (b'\xef\xbb\xbf{"instances": [1.0]}', [2.5]),
        ('{"instances": [1]}', [2.5]),
        ('{"instances": [1e39, -Infinity, NaN, Inf]}', [math.inf, -math.inf, math.nan, math.inf]),
    ],
)
def test_6_4_accepted(server: EmbeddedServerProcess, body: bytes | str, expected: list[float]) -> None:
    assert str(predictions(server, "half_plus_two:predict", body)) == str(expected)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("[1.0]", "JSON Value: [1.0] Is not object"),
        ("3", "JSON Value: 3 Is not object"),
        (
            '{"signature_name": 5}',
            'JSON Value: {\n    "signature_name": 5\n} not formatted correctly. '
            "'signature_name' key must be a string value.",
        ),
        ("{}", "Missing 'inputs' or 'instances' key"),
        (
            '{"inputs": 1, "instances": 2}',
            'JSON Value: {\n    "inputs": 1,\n    "instances": 2\n} '
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
        ),
        ('{"instances": 1}', "JSON Value: {\n    \"instances\": 1\n} Expecting 'instances' to be an list/array"),
        ('{"instances": []}', "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array"),
        (
            '{"signature_name": "no", "instances": 1}',
            'Serving signature name: "no" not found in signature def',
        ),
    ],
)
def test_6_5_refused_documents(server: EmbeddedServerProcess, body: str, text: str) -> None:
    reply = post(server, "half_plus_two:predict", body)
    assert (reply.status, reply.error) == (400, text)


def test_6_4_an_unknown_model_wins_over_missing_instances(server: EmbeddedServerProcess) -> None:
    reply = post(server, "nobody:predict", "{}")
    assert (reply.status, reply.error) == (404, "Servable not found for request: Latest(nobody)")


def test_6_5_signature_without_inputs(server: EmbeddedServerProcess) -> None:
    reply = post(server, "odd_signatures:predict", '{"signature_name": "no_inputs", "instances": [1]}')
    assert (reply.status, reply.error) == (400, "Failed to get input map for signature: no_inputs")


# ----------------------------------------------------------------------------------------------------- 6.5 predict

A, B = [[1.0, 2.0]], [[3.0, 4.0]]


def test_6_5_rows_of_one_input(server: EmbeddedServerProcess) -> None:
    assert predictions(server, "half_plus_two:predict", {"instances": [1.0, 2.0]}) == [2.5, 3.0]
    assert predictions(server, "half_plus_two:predict", {"instances": [{"x": 1.0}, {"x": 2.0}]}) == [2.5, 3.0]
    assert predictions(server, "half_plus_two:predict", {"instances": [[1.0, 2.0], [3.0, 4.0]]}) == [
        [2.5, 3.0],
        [3.5, 4.0],
    ]


def test_6_5_rows_of_several_inputs_and_outputs(server: EmbeddedServerProcess) -> None:
    rows = predictions(server, "two_inputs:predict", {"instances": [{"a": [1.0, 2.0], "b": [3.0, 4.0]}]})
    encoded = base64.b64encode(b"1.000000").decode()
    assert rows == [{"sum": [4.0, 6.0], "product": [3.0, 8.0], "names_bytes": {"b64": encoded}}]


def test_6_5_columns(server: EmbeddedServerProcess) -> None:
    assert predictions(server, "half_plus_two:predict", {"inputs": 1.0}) == 2.5
    assert predictions(server, "half_plus_two:predict", {"inputs": {"x": [1.0], "extra": "ignored"}}) == [2.5]
    columns = predictions(server, "two_inputs:predict", {"inputs": {"a": A, "b": B, "c": 1}})
    assert columns["sum"] == [[4.0, 6.0]]
    scalar = {"signature_name": "scalar", "inputs": {"a": A, "b": B}}
    assert predictions(server, "two_inputs:predict", scalar) == 10.0


def test_6_5_empty_batch(server: EmbeddedServerProcess) -> None:
    assert predictions(server, "half_plus_two:predict", {"inputs": []}) == []
    reply = post(server, "half_plus_two:predict", json.dumps({"instances": [[]]}))
    assert reply.json == {"predictions": [[]]}


@pytest.mark.parametrize(
    ("target", "body", "text"),
    [
        (
            "two_inputs",
            {"instances": [[1.0, 2.0]]},
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map",
        ),
        (
            "two_inputs",
            {"instances": [{"a": [1.0, 2.0], "b": [1.0, 2.0]}, 5]},
            "Expecting object but got list at item 1 of input list",
        ),
        (
            "half_plus_two",
            {"instances": [1.0, {"x": 1.0}]},
            "Expecting value/list but got object at item 1 of input list",
        ),
        (
            "half_plus_two",
            {"instances": [{"z": 1.0}]},
            "Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT: JSON object: "
            "does not have named input: z",
        ),
        (
            "two_inputs",
            {"instances": [{"a": 1}]},
            "Failed to process element: 0 of 'instances' list. JSON object: {\n    \"a\": 1\n} keys must be equal to: a,b",
        ),
        (
            "half_plus_two",
            {"instances": [{"x": "y"}]},
            "Failed to process element: 0 key: x of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: \"y\" "
            "Type: String is not of expected type: float",
        ),
        (
            "half_plus_two",
            {"instances": [1.0, True]},
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: true "
            "Type: True is not of expected type: float",
        ),
        (
            "half_plus_two",
            {"instances": [[1.0, 2.0], [3.0]]},
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
            "Expecting tensor size: 2 but got: 1",
        ),
        (
            "half_plus_two",
            {"instances": [[[1.0, 2.0]], [[1.0], [2.0]]]},
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
            "Expecting shape [1,2] but got: [2,1]",
        ),
        (
            "two_inputs",
            {"inputs": 5},
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            "tensorinfo_map",
        ),
        ("two_inputs", {"inputs": {"a": A}}, "Missing named input: b in 'inputs' object."),
        (
            "half_plus_two",
            {"inputs": [[1.0, 2.0], [3.0]]},
            "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
        ),
        ("half_plus_two", {"inputs": [1.0, [2.0]]}, "Encountered list at unexpected level: 1 expected < 1"),
        (
            "half_plus_two",
            {"inputs": [[1.0], 2.0]},
            "JSON Value: 2.0 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
        ),
        ("half_plus_two", {"inputs": [None]}, "JSON Value: null Type: Null is not of expected type: float"),
        (
            "half_plus_two",
            {"inputs": [{"b64": "eA=="}]},
            'JSON Value: {\n    "b64": "eA=="\n} Type: Object is not of expected type: float',
        ),
        (
            "two_inputs",
            {"signature_name": "scalar", "instances": [{"a": [1.0, 2.0], "b": [1.0, 2.0]}]},
            "Tensor name: total has no shape information ",
        ),
    ],
)
def test_6_5_refused_values(server: EmbeddedServerProcess, target: str, body: Any, text: str) -> None:
    reply = post(server, f"{target}:predict", json.dumps(body))
    assert (reply.status, reply.error) == (400, text)


def test_6_5_rows_whose_outputs_differ(server: EmbeddedServerProcess) -> None:
    body = {"signature_name": "uneven", "instances": [{"a": [1.0, 2.0], "b": [1.0, 2.0]}]}
    reply = post(server, "two_inputs:predict", json.dumps(body))
    assert reply.status == 400
    assert reply.error in (
        "Tensor name: long has inconsistent batch size: 2 expecting: 1",
        "Tensor name: short has inconsistent batch size: 1 expecting: 2",
    )


def identity(server: EmbeddedServerProcess, signature: str, inputs: str) -> Reply:
    return post(server, "identity:predict", f'{{"signature_name": "{signature}", "inputs": {inputs}}}')


@pytest.mark.parametrize(
    ("signature", "inputs", "outputs"),
    [
        ("int32", "[2147483647, -2147483648]", [2147483647, -2147483648]),
        ("uint8", "[300, -1]", [44, 255]),
        ("int8", "[300, -129]", [44, 127]),
        ("int16", "[70000]", [4464]),
        ("int64", "[9223372036854775807, -9223372036854775808]", [2**63 - 1, -(2**63)]),
        ("uint32", "[4294967295]", [2**32 - 1]),
        ("uint64", "[18446744073709551615]", [2**64 - 1]),
        ("bool", "[true, false]", [True, False]),
        ("double", "[0.1, 3, 1e300]", [0.1, 3.0, 1e300]),
        ("string", '["é", {"b64": "AP8"}, {"b64": ""}, "\\u0000"]', None),
    ],
)
def test_6_5_numbers_by_dtype(server: EmbeddedServerProcess, signature: str, inputs: str, outputs: Any) -> None:
    reply = identity(server, signature, inputs)
    assert reply.status == 200, reply.body
    if outputs is None:  # bytes come out as they went in
        assert b'"\xc3\xa9",\n' in reply.body
        assert b'"\\u0000\xff"' in reply.body
    else:
        assert reply.json == {"outputs": outputs}


@pytest.mark.parametrize(
    ("signature", "inputs", "text"),
    [
        ("int32", "[1.0]", "JSON Value: 1.0 Type: Number is not of expected type: int32"),
        ("int32", "[1e2]", "JSON Value: 100.0 Type: Number is not of expected type: int32"),
        ("int32", "[2147483648]", "JSON Value: 2147483648 Type: Number is not of expected type: int32"),
        ("uint32", "[-1]", "JSON Value: -1 Type: Number is not of expected type: uint32"),
        (
            "int64",
            "[9223372036854775808]",
            "JSON Value: 9223372036854775808 Type: Number is not of expected type: int64",
        ),
        ("bool", "[1]", "JSON Value: 1 Type: Number is not of expected type: bool"),
        ("float", '["NaN"]', 'JSON Value: "NaN" Type: String is not of expected type: float'),
        ("string", "[1]", "JSON Value: 1 Type: Number is not of expected type: string"),
        (
            "string",
            '[{"b65": "x"}]',
            'JSON Value: {\n    "b65": "x"\n} not formatted correctly for base64 data',
        ),
        ("string", '[{"b64": "a-_="}]', "Unable to base64 decode"),
        ("string", '[{"b64": "AP8=="}]', "Unable to base64 decode"),
        ("string", '[{"b64": "A"}]', "Unable to base64 decode"),
    ],
)
def test_6_5_type_errors(server: EmbeddedServerProcess, signature: str, inputs: str, text: str) -> None:
    reply = identity(server, signature, inputs)
    assert (reply.status, reply.error) == (400, text)


def test_6_5_dtypes_that_json_has_no_form_for(server: EmbeddedServerProcess) -> None:
    reply = identity(server, "half", "[1.0]")
    assert (reply.status, reply.error) == (501, "Conversion of JSON Value: 1.0 to type: half")
    in_rows = post(server, "identity:predict", '{"signature_name": "half", "instances": [1.0]}')
    assert (in_rows.status, in_rows.error) == (
        400,
        "Failed to process element: 0 of 'instances' list. Error: UNIMPLEMENTED: "
        "Conversion of JSON Value: 1.0 to type: half",
    )
    empty = identity(server, "half", "[]")
    assert (empty.status, empty.error) == (400, "Failed to write JSON value for tensor type: half")


@pytest.mark.parametrize(
    ("signature", "value", "text"),
    [
        ("float", "0.2", "0.2"),
        ("float", "3", "3.0"),
        ("float", "123456", "123456.0"),
        ("float", "1234567", "1234567.0"),
        ("float", "1000000", "1e+06"),
        ("float", "1e10", "1e+10"),
        ("float", "0.00001", "1e-05"),
        ("float", "3.14159274", "3.14159274"),
        ("float", "-0.0", "-0.0"),
        ("double", "0.1", "0.1"),
        ("double", "0.33333333333333331", "0.33333333333333331"),
        ("double", "1e15", "1e+15"),
        ("float", "NaN", "NaN"),
        ("double", "-Infinity", "-Infinity"),
    ],
)
def test_6_5_number_printing(server: EmbeddedServerProcess, signature: str, value: str, text: str) -> None:
    assert identity(server, signature, value).body == f'{{\n    "outputs": {text}\n}}'.encode()


def test_6_5_layout(server: EmbeddedServerProcess) -> None:
    assert post(server, "half_plus_two:predict", '{"instances": [1, 2, 5]}').body == (
        b'{\n    "predictions": [2.5, 3.0, 4.5\n    ]\n}'
    )
    assert post(server, "half_plus_two:predict", '{"instances": [[1, 1], [1, 1]]}').body == (
        b'{\n    "predictions": [[2.5, 2.5], [2.5, 2.5]\n    ]\n}'
    )


def test_6_3_errors_of_the_graph(server: EmbeddedServerProcess) -> None:
    reply = post(server, "missing_variables:predict", '{"instances": [1.0]}')
    assert reply.status == 400
    assert reply.error.startswith("Could not find variable")


def test_6_3_timeout(saved_models: SavedModels) -> None:
    flags = [f"--model_base_path={saved_models.base_path('slow')}", "--model_name=m", "--rest_api_timeout_in_ms=100"]
    with embedded_server(*flags) as server:
        reply = post(server, "m:predict", '{"inputs": 20.0}')
        assert (reply.status, reply.reason) == (504, "Gateway Time-out")
        assert reply.error.startswith("Timed out waiting for notification")
