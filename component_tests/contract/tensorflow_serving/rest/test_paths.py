"""Contract 6.1: paths and verbs."""

from __future__ import annotations

import pytest

from component_tests.contract.tensorflow_serving.rest.http_client import NOT_FOUND_PAGE, ask, predictions
from component_tests.fakes.servers.embedded_server_process import EmbeddedServerProcess


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
