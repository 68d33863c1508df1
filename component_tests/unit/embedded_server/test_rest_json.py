"""Large JSON bodies are read by quick ways; these agree with the slow ones, which know what to say of mistakes."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_validator.embedded_server.engine import tensors
from infra_validator.embedded_server.engine.c_api import STRING
from infra_validator.embedded_server.rest import json as rest_json
from infra_validator.embedded_server.rest.tensors import TensorBuilder
from infra_validator.embedded_server.status import StatusError

MANY = 2000  # rows: more objects than are read one by one


def rows_of(row: str) -> bytes:
    return ('{"instances": [' + ", ".join([row] * MANY) + "]}").encode()


def outcome(parse: Callable[[bytes], Any], body: bytes) -> str:
    try:
        return repr(parse(body))
    except StatusError as error:
        return str(error)


def strictly(body: bytes) -> Any:
    return rest_json._StrictParser(body).parse()


@pytest.mark.parametrize(
    "row",
    [
        '{"x": 1.5, "y": [2, 3]}',
        '{"x": 1, "x": 2}',
        '{"x": {"b64": "eA=="}, "n": 1}',
        '{"x": {"b64": "eA==", "b64": "eQ=="}}',
        '{"x": [{"b64": "eA=="}, {"b64": "eQ==", "b64": ""}]}',
        '{"x": "a:b", "x": "c"}',
        '{"x:y": "::"}',
        '{"x": "\\ud83d\\ude00"}',
        '{"x": 1e400}',
        '{"x": 1e-400}',
        '{"x": 1E+99}',
        '{"x": -1.5E+400}',
        '{"x": [0.5,12e310]}',
        '{"x": {"b64": "x4e123y4E99912"}, "y": "4e123", "z": "a 4e400"}',
        '{"x": ' + "9" * 320 + "}",
        '{"x": 0.' + "9" * 320 + "}",
        '{"x": 1}\u0000',
        "[1, 2.5, NaN, -Infinity]",
    ],
)
def test_documents_are_read_as_the_strict_parser_reads_them(row: str) -> None:
    body = rows_of(row)
    assert outcome(rest_json.parse, body) == outcome(strictly, body)


@given(st.integers(0, 700), st.integers(300, 340))
def test_a_long_number_is_found_wherever_it_stands(before: int, digits: int) -> None:
    body = b'{"' + b"x" * before + b'": ' + b"1" * digits + b"}"
    assert outcome(rest_json.parse, body) == outcome(strictly, body)


leaves = st.one_of(
    st.integers(-3, 300),
    st.floats(width=32),
    st.booleans(),
    st.sampled_from(["a", {"b64": "eA=="}, {"b64": "!"}, None]),
)
rows = st.lists(st.recursive(leaves, lambda inner: st.lists(inner, max_size=3), max_leaves=6), min_size=1, max_size=4)


def add_all(builder: TensorBuilder, values: list[Any]) -> None:
    for value in values:
        builder.add(value)


def contents(builder: TensorBuilder, dtype: int) -> Any:
    tensor = builder.tensor("x")
    if dtype == STRING:
        return tensor.shape, tensor.strings()
    return tensor.shape, tensor.memory().tobytes()


@settings(deadline=None)  # the first tensor loads TensorFlow
@given(rows, st.sampled_from([tensors.FLOAT, tensors.INT32, tensors.UINT8, tensors.BOOL, STRING, tensors.HALF]))
def test_rows_taken_at_once_are_the_rows_taken_one_by_one(values: list[Any], dtype: int) -> None:
    slow, quick = TensorBuilder(dtype, rows=True), TensorBuilder(dtype, rows=True)
    failure = None
    for value in values:
        try:
            slow.add(value)
        except StatusError as error:
            failure = error
            break
    if quick.add_rows(values):
        assert failure is None
        assert contents(quick, dtype) == contents(slow, dtype)
    else:
        assert failure is not None or dtype == tensors.HALF  # of a type that JSON has no form for, no values are fine


def test_what_looks_like_an_exponent_in_a_text_does_not_send_it_to_the_strict_parser() -> None:
    """That takes thirty times as long, and base64 is full of it."""
    assert not rest_json._has_large_exponent(rows_of('{"b64": "x4e123y4E999"}'))
    assert rest_json._has_large_exponent(rows_of('{"b64": "x4e123y4E999", "x": 1e300}'))


@settings(deadline=None)
@given(st.lists(st.text("Ag/+=\n 4", max_size=9).map(lambda text: {"b64": text}), min_size=1, max_size=3))
def test_base64_taken_at_once_is_the_base64_taken_one_by_one(values: list[Any]) -> None:
    quick, slow = TensorBuilder(STRING, rows=True), TensorBuilder(STRING, rows=True)
    if quick.add_rows(values):
        add_all(slow, values)
        assert contents(quick, STRING) == contents(slow, STRING)
    else:
        with pytest.raises(StatusError):
            add_all(slow, values)


def test_strings_without_an_element_are_read() -> None:
    """TensorFlow gives such a tensor no memory."""
    requests: list[list[Any]] = [[[]], [[], []], [[[]]]]
    for values in requests:
        builder = TensorBuilder(STRING, rows=True)
        assert builder.add_rows(values)
        assert contents(builder, STRING)[1] == []


def test_a_large_body_of_numbers_is_taken_at_once() -> None:
    document = rest_json.parse(json.dumps({"instances": [[i / 8, math.pi] for i in range(MANY)]}).encode())
    builder = TensorBuilder(tensors.FLOAT, rows=True)
    assert builder.add_rows(document["instances"])
    assert contents(builder, tensors.FLOAT)[0] == (MANY, 2)
    assert struct.unpack_from("<4f", contents(builder, tensors.FLOAT)[1])[:3:2] == (0.0, 0.125)
