"""Contract 6 and 10: REST and metrics."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import math
import socket
from typing import Any

import pytest

from component_tests.fakes.saved_models import SavedModels
from component_tests.fakes.servers.embedded_server_process import EmbeddedServerProcess, embedded_server


class Reply:
    """An HTTP response, read whole."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.reason = response.reason
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        text: str = self.json["error"]
        return text


def ask(
    server: EmbeddedServerProcess, verb: str, target: str, body: bytes | str | None = None, **headers: str
) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", server.ports()["rest"], timeout=60)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(verb, target, body.encode() if isinstance(body, str) else body, named)
        return Reply(connection.getresponse())
    finally:
        connection.close()


def post(server: EmbeddedServerProcess, target: str, body: bytes | str) -> Reply:
    return ask(server, "POST", f"/v1/models/{target}", body)


def predictions(server: EmbeddedServerProcess, target: str, body: Any) -> Any:
    reply = post(server, target, body if isinstance(body, (bytes, str)) else json.dumps(body))
    assert reply.status == 200, reply.body
    return reply.json.get("predictions", reply.json.get("outputs"))


# ------------------------------------------------------------------------------------------------------- 6.1 paths

NOT_FOUND_PAGE = b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"


@pytest.mark.parametrize("target", ["/", "/healthz", "/v2/models/m", "/v1", "/monitoring/other", "/v1models"])
def test_6_1_outside_of_v1_is_an_html_page(server: EmbeddedServerProcess, target: str) -> None:
    reply = ask(server, "GET", target)
    assert (reply.status, reply.reason, reply.body) == (404, "Not Found", NOT_FOUND_PAGE)
    assert (reply.headers["content-type"], reply.headers["connection"]) == ("text/html", "close")


@pytest.mark.parametrize(
    ("verb", "target"),
    [
        ("GET", "/v1/models/half_plus_two/"),
        ("GET", "/v1/models/half_plus_two/foo"),
        ("GET", "/v1/foo"),
        ("GET", "/v1/models/half_plus_two:predict"),
        ("GET", "/v1/models/m/versions/abc"),
        ("GET", "/v1/models/m/versions/-1"),
        ("GET", "/v1/models/m/versions/3/labels/x"),
        ("POST", "/v1/models/half_plus_two"),
        ("POST", "/v1/models/half_plus_two:predict?x=1"),
        ("POST", "/v1/models/half_plus_two:PREDICT"),
        ("PUT", "/v1/models/half_plus_two:predict"),
        ("DELETE", "/v1/models/half_plus_two"),
        ("PATCH", "/v1/models/half_plus_two"),
    ],
)
def test_6_1_malformed_requests(server: EmbeddedServerProcess, verb: str, target: str) -> None:
    reply = ask(server, verb, target, b"" if verb != "GET" else None)
    assert (reply.status, reply.error) == (400, f"Malformed request: {verb} {target}")
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.parametrize("target", ["/v1/models", "/v1/models/versions/3", "/v1/models/labels/x"])
def test_6_1_no_list_of_models(server: EmbeddedServerProcess, target: str) -> None:
    reply = ask(server, "GET", target)
    assert (reply.status, reply.error) == (400, "Missing model name in request.")


@pytest.mark.parametrize(
    "target",
    [
        "half_plus_two:predict",
        "half_plus_two/versions/1:predict",
        "half_plus_two/versions/0001:predict",
        "half%5Fplus%5ftwo:predict",
    ],
)
def test_6_1_ways_to_name_a_version(server: EmbeddedServerProcess, target: str) -> None:
    assert predictions(server, target, {"instances": [1.0]}) == [2.5]


def test_6_1_paths_ignore_case_but_names_do_not(server: EmbeddedServerProcess) -> None:
    assert ask(server, "POST", "/V1/Models/half_plus_two:predict", '{"instances": [1.0]}').status == 200
    reply = ask(server, "GET", "/v1/MODELS/Half_plus_two")
    assert (reply.status, reply.error) == (404, "Could not find any versions of model Half_plus_two")
    assert "model_version_status" in ask(server, "GET", "/v1/models/half_plus_two/METADATA").json


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/v1/models/metadata", "Could not find any versions of model metadata"),
        ("/v1/models/m?x=1", "Could not find any versions of model m?x=1"),
        ("/v1/models/a%2Fb%20c+d", "Could not find any versions of model a/b c+d"),
        ("/v1/models/half_plus_two/versions/9", "Could not find version 9 of model half_plus_two"),
        ("/v1/models/nobody/metadata", "Servable not found for request: Latest(nobody)"),
        ("/v1/models/half_plus_two/versions/9/metadata", "Servable not found for request: Specific(half_plus_two, 9)"),
    ],
)
def test_6_1_not_found(server: EmbeddedServerProcess, target: str, text: str) -> None:
    reply = ask(server, "GET", target)
    assert (reply.status, reply.error) == (404, text)


def test_6_1_version_over_int64_has_an_empty_answer(server: EmbeddedServerProcess) -> None:
    reply = ask(server, "GET", "/v1/models/m/versions/9223372036854775808")
    assert (reply.status, reply.body, reply.headers["content-type"]) == (400, b"", "application/json")


def test_6_1_unknown_verbs(server: EmbeddedServerProcess) -> None:
    for verb in ("TRACE", "BREW"):
        reply = ask(server, verb, "/v1/models/m")
        assert (reply.status, reply.headers["connection"]) == (501, "close")


def test_6_1_head_has_the_status_and_no_body(server: EmbeddedServerProcess) -> None:
    reply = ask(server, "HEAD", "/v1/models/m")
    assert (reply.status, reply.body, reply.headers["connection"]) == (400, b"", "close")


# ------------------------------------------------------------------------------------------------- 6.2 the transport


def raw(server: EmbeddedServerProcess, *pieces: bytes) -> bytes:
    """Everything that comes back for these bytes until the server closes."""
    with socket.create_connection(("127.0.0.1", server.ports()["rest"]), timeout=60) as connection:
        for piece in pieces:
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


def test_6_2_headers_and_the_error_body(server: EmbeddedServerProcess) -> None:
    reply = ask(server, "GET", "/v1/foo")
    assert reply.body == b'{\n    "error": "Malformed request: GET /v1/foo"\n}'
    assert set(reply.headers) == {"content-type", "date", "content-length"}


def test_6_2_connections_stay_open_also_after_errors(server: EmbeddedServerProcess) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.ports()["rest"], timeout=60)
    for _ in range(3):
        connection.request("GET", "/v1/foo")
        assert Reply(connection.getresponse()).status == 400
        connection.request("POST", "/v1/models/half_plus_two:predict", b'{"instances": [1.0]}')
        assert Reply(connection.getresponse()).json == {"predictions": [2.5]}
    connection.close()


def test_6_2_pipelined_requests_are_answered_in_order(server: EmbeddedServerProcess) -> None:
    answer = raw(server, b"GET /v1/a HTTP/1.1\r\nHost: x\r\n\r\n" * 2 + b"GET /v1/b HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.count(b"HTTP/1.1 400 Bad Request") == 3
    assert answer.index(b"GET /v1/a") < answer.index(b"GET /v1/b")


def test_6_2_http_1_0_closes_without_length_and_date(server: EmbeddedServerProcess) -> None:
    head, _, body = raw(server, b"GET /v1/foo HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    assert b"Content-Length" not in head
    assert b"Date" not in head
    assert body == b'{\n    "error": "Malformed request: GET /v1/foo"\n}'


def test_6_2_chunks_and_continue(server: EmbeddedServerProcess) -> None:
    head = b"POST /v1/models/half_plus_two:predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    chunks = b'5;x=y\r\n{"ins\r\nf\r\ntances": [1.0]}\r\n0\r\nTrailer: 1\r\n\r\n'
    answer = raw(server, head + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n", chunks)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert json.loads(answer.rpartition(b"\r\n\r\n")[2]) == {"predictions": [2.5]}


def test_6_2_a_post_without_length_is_empty(server: EmbeddedServerProcess) -> None:
    answer = raw(server, b"POST /v1/models/half_plus_two:predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"JSON Parse error: The document is empty" in answer


def test_6_2_gzip(server: EmbeddedServerProcess) -> None:
    target = "/v1/models/half_plus_two:predict"
    packed = gzip.compress(b'{"instances": [1.0]}')
    assert ask(server, "POST", target, packed, Content_Encoding="gzip").json == {"predictions": [2.5]}
    for broken in (packed[:10], b"nonsense", gzip.compress(bytes(101 * 2**20))):
        reply = ask(server, "POST", target, broken, Content_Encoding="gzip")
        assert (reply.status, reply.error) == (400, "JSON Parse error: The document is empty")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET /v1/foo HTTP/9.9\r\n\r\n",
        b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: 1e3\r\n\r\n",
        b"POST /v1/models/m:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"POST /v1/models/m:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"x" * 70000 + b" HTTP/1.1\r\n\r\n",
        b"GET /v1/foo HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    ],
)
def test_6_2_bytes_that_are_no_request(server: EmbeddedServerProcess, request_bytes: bytes) -> None:
    answer = raw(server, request_bytes)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), answer[:200]
    assert predictions(server, "half_plus_two:predict", {"instances": [1.0]}) == [2.5]


def test_6_2_a_length_that_is_only_declared_costs_nothing(server: EmbeddedServerProcess) -> None:
    head = b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: 99999999999999\r\n\r\n"
    assert raw(server, head + b"ab") == b""
    assert predictions(server, "half_plus_two:predict", {"instances": [1.0]}) == [2.5]


# -------------------------------------------------------------------------------------------------------- 6.4 JSON


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
            "Expecting shape <[1,2]> but got: <[2,1]>",
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


# ------------------------------------------------------------------------------------------- 6.6 classify and regress


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


# --------------------------------------------------------------------------------------- 6.7, 6.8, 10: the other answers


def test_6_7_status(server: EmbeddedServerProcess) -> None:
    expected = b"""{
 "model_version_status": [
  {
   "version": "1",
   "state": "AVAILABLE",
   "status": {
    "error_code": "OK",
    "error_message": ""
   }
  }
 ]
}
"""
    for target in ("half_plus_two", "half_plus_two/versions/1", "half_plus_two/labels/any"):
        assert ask(server, "GET", f"/v1/models/{target}").body == expected


def test_6_7_metadata(server: EmbeddedServerProcess) -> None:
    reply = ask(server, "GET", "/v1/models/half_plus_two/versions/1/metadata").json
    assert reply["model_spec"] == {"name": "half_plus_two", "signature_name": "", "version": "1"}
    signature = reply["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature == {
        "inputs": {
            "x": {
                "dtype": "DT_FLOAT",
                "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
                "name": "x:0",
            }
        },
        "outputs": {
            "y": {
                "dtype": "DT_FLOAT",
                "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
                "name": "y:0",
            }
        },
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }


def test_6_8_cors(saved_models: SavedModels) -> None:
    flags = [f"--model_base_path={saved_models.base_path('half_plus_two')}", "--rest_api_enable_cors_support"]
    expected = {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": "POST, GET",
        "access-control-allow-headers": "Content-Type",
    }
    with embedded_server(*flags) as server:
        for target in ("/v1/models/default", "/v1/foo"):
            assert expected.items() <= ask(server, "GET", target).headers.items()
        assert expected.items().isdisjoint(ask(server, "GET", "/foo").headers.items())


def test_6_8_options_with_and_without_the_flag(server: EmbeddedServerProcess) -> None:
    good = ask(server, "OPTIONS", "/v1/models/m", Origin="https://example.org")
    assert (good.status, good.body, good.headers["content-length"]) == (200, b"", "0")
    assert good.headers["content-type"] == "text/html; charset=ISO-8859-1"
    bad = ask(server, "OPTIONS", "/v1/models/m")
    assert (bad.status, bad.body) == (400, b"")


def test_10_metrics(server: EmbeddedServerProcess) -> None:
    predictions(server, "half_plus_two:predict", {"instances": [1.0]})
    ask(server, "GET", '/v1/models/n"o')
    reply = ask(server, "GET", "/monitoring/prometheus/metrics")
    assert (reply.status, reply.headers["content-type"]) == (200, "text/plain")
    text = reply.body.decode()
    assert "# TYPE :tensorflow:serving:request_count counter\n" in text
    assert ':tensorflow:serving:request_count{model_name="half_plus_two",status="OK"} ' in text
    assert ':tensorflow:serving:request_count{model_name="n\\"o",status="NOT_FOUND"} ' in text
    assert "# TYPE :tensorflow:serving:request_latency histogram\n" in text
    labels = 'model_name="half_plus_two",API="predict",entrypoint="REST"'
    assert f':tensorflow:serving:request_latency_bucket{{{labels},le="+Inf"}} ' in text
    assert ':tensorflow:serving:runtime_latency_count{model_name="half_plus_two",API="Predict",runtime="TF1"} ' in text
    wrong = ask(server, "POST", "/monitoring/prometheus/metrics?x", b"")
    assert (wrong.status, wrong.headers["content-type"], wrong.body) == (
        400,
        "text/plain",
        b"Unexpected path: /monitoring/prometheus/metrics?x. Should be /monitoring/prometheus/metrics",
    )


def test_10_metrics_are_off_by_default(saved_models: SavedModels) -> None:
    with embedded_server(f"--model_base_path={saved_models.base_path('half_plus_two')}") as server:
        assert ask(server, "GET", "/monitoring/prometheus/metrics").body == NOT_FOUND_PAGE
