"""Health and metadata, over gRPC and over REST; and the paths without the flag."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import grpc
import pytest

from component_tests.contract.open_inference.embedded_server.conftest import FLAG
from component_tests.contract.open_inference.embedded_server.requests import SERVICE, infer_request
from component_tests.contract.tensorflow_serving.requests import NOT_FOUND, UNIMPLEMENTED, fails
from component_tests.contract.tensorflow_serving.rest.http_client import NOT_FOUND_PAGE, ask
from component_tests.fakes.saved_models import SavedModels
from component_tests.fakes.servers.embedded_server_process import EmbeddedServerProcess, embedded_server
from infra_validator.conformance.open_inference.points import POINTS
from infra_validator.conformance.open_inference.subject import Subject
from infra_validator.conformance.points import Outcome, run_points
from infra_validator.embedded_server.open_inference.service import OpenInferenceService
from infra_validator.protos import open_inference_pb2 as pb


def ready(server: EmbeddedServerProcess, name: str, version: str = "") -> bool:
    asked = pb.ModelReadyRequest(name=name, version=version)
    return bool(server.call(SERVICE + "ModelReady", asked, pb.ModelReadyResponse).ready)


def get(server: EmbeddedServerProcess, path: str) -> tuple[int, Any]:
    reply = ask(server, "GET", path)
    assert reply.headers["content-type"] == "application/json"
    return reply.status, reply.json


@pytest.mark.parametrize("model", ["half_plus_two", "two_inputs", "datatypes", "vocabulary"])
def test_it_conforms(server: EmbeddedServerProcess, model: str) -> None:
    """Every point of ``infra-validator conformance open-inference``; only what a model has no use for is not judged."""
    subject = Subject(f"127.0.0.1:{server.ports()['grpc']}", model, "1")
    try:
        results = run_points(subject, list(POINTS), lambda _: None)
    finally:
        subject.close()
    allowed = {"half_plus_two": {"requested-output"}, "datatypes": {"infer-typed", "both-contents"}}.get(model, set())
    found = {result.point.name: result for result in results}
    assert {name for name, result in found.items() if result.outcome is Outcome.NOT_JUDGED} == allowed
    assert {name: r.detail for name, r in found.items() if r.outcome not in (Outcome.PASSED, Outcome.NOT_JUDGED)} == {}


def test_the_server_is_live_and_ready(server: EmbeddedServerProcess) -> None:
    assert server.call(SERVICE + "ServerLive", b"") == server.call(SERVICE + "ServerReady", b"") == b"\x08\x01"
    assert get(server, "/v2/health/live") == (200, {"live": True})
    assert get(server, "/v2/health/ready") == get(server, "/v2/health/ready/") == (200, {"live": True, "ready": True})


def test_ready_by_name_and_version(server: EmbeddedServerProcess) -> None:
    assert ready(server, "half_plus_two")
    assert ready(server, "half_plus_two", "1")
    for path in ("half_plus_two", "half_plus_two/versions/1", "half%5fplus_two"):
        assert get(server, f"/v2/models/{path}/ready") == (200, {"name": "half_plus_two", "ready": True})


@pytest.mark.parametrize(
    ("name", "version", "text"),
    [
        ("nobody", "", "Could not find any versions of model nobody"),
        ("nobody", "1", "Could not find version 1 of model nobody"),
        ("half_plus_two", "2", "Could not find version 2 of model half_plus_two"),
        ("half_plus_two", "v1", "the model 'half_plus_two' has no version 'v1': versions here are numbers"),
        ("half_plus_two", "9" * 30, "the model 'half_plus_two' has no version"),
    ],
)
def test_not_found(server: EmbeddedServerProcess, name: str, version: str, text: str) -> None:
    for asked in (
        pb.ModelReadyRequest(name=name, version=version),
        pb.ModelMetadataRequest(name=name, version=version),
    ):
        method = SERVICE + type(asked).__name__.removesuffix("Request")
        with pytest.raises(grpc.RpcError) as caught:
            server.call(method, asked)
        assert caught.value.code() is NOT_FOUND
    with fails(NOT_FOUND, text, starts=True):
        ready(server, name, version)
    path = f"/v2/models/{name}" + (f"/versions/{version}" if version else "")
    status, told = get(server, f"{path}/ready")
    assert (status, told["error"][: len(text)]) == (404, text)
    assert get(server, path)[0] == ask(server, "POST", f"{path}/infer", '{"inputs": []}').status == 404


def test_server_metadata(server: EmbeddedServerProcess) -> None:
    status, told = get(server, "/v2")
    expected = {
        "name": "infra-validator embedded server",
        "version": OpenInferenceService.version,
        "extensions": ["binary_tensor_data", "model_repository"],
    }
    assert (status, told) == (200, expected)
    answer = server.call(SERVICE + "ServerMetadata", b"")
    for text in (told["name"], told["version"], *told["extensions"]):
        assert text.encode() in answer


def test_model_metadata(server: EmbeddedServerProcess) -> None:
    told: pb.ModelMetadataResponse = server.call(
        SERVICE + "ModelMetadata", pb.ModelMetadataRequest(name="two_inputs"), pb.ModelMetadataResponse
    )
    assert (told.name, list(told.versions), told.platform) == ("two_inputs", ["1"], "tensorflow_savedmodel")
    assert [(each.name, each.datatype, list(each.shape)) for each in told.inputs] == [
        ("a", "FP32", [-1, 2]),
        ("b", "FP32", [-1, 2]),
    ]
    assert [(each.name, each.datatype, list(each.shape)) for each in told.outputs] == [
        ("names_bytes", "BYTES", [-1]),
        ("product", "FP32", [-1, 2]),
        ("sum", "FP32", [-1, 2]),
    ]
    status, over_rest = get(server, "/v2/models/two_inputs/versions/1")
    for key in ("inputs", "outputs"):
        assert over_rest[key] == [
            {"name": each.name, "datatype": each.datatype, "shape": list(each.shape)} for each in getattr(told, key)
        ]
    assert (status, over_rest["platform"], over_rest["versions"]) == (200, "tensorflow_savedmodel", ["1"])


def test_a_model_without_a_default_signature_tells_no_tensors(server: EmbeddedServerProcess) -> None:
    status, told = get(server, "/v2/models/signatures")
    assert (status, told["inputs"], told["outputs"]) == (200, [], [])


def test_a_shape_of_any_rank_is_one_dimension_of_any_size(server: EmbeddedServerProcess) -> None:
    assert get(server, "/v2/models/identity")[1]["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1]}]


@pytest.mark.parametrize(
    ("verb", "path", "status", "error"),
    [
        ("GET", "/v2/foo", 404, "the Open Inference Protocol has no /v2/foo"),
        ("GET", "/v2/models", 404, "the Open Inference Protocol has no /v2/models"),
        ("GET", "/v2/models/half_plus_two/config", 404, "the Open Inference Protocol has no /v2/models/half_plus_two/config"),
        ("POST", "/v2", 405, "/v2 takes GET, not POST"),
        ("GET", "/v2/models/half_plus_two/infer", 405, "/v2/models/half_plus_two/infer takes POST, not GET"),
        ("DELETE", "/v2/models/half_plus_two", 405, "/v2/models/half_plus_two takes GET, not DELETE"),
        ("GET", "/v2/models/%FF/ready", 400, "the path's %FF is no UTF-8"),
    ],
)  # fmt: skip
def test_other_paths_and_verbs(server: EmbeddedServerProcess, verb: str, path: str, status: int, error: str) -> None:
    reply = ask(server, verb, path)
    assert (reply.status, reply.error) == (status, error)


def test_without_the_flag_nothing_changes(saved_models: SavedModels) -> None:
    with embedded_server(f"--model_base_path={saved_models.base_path('half_plus_two')}") as server:
        for method in ("ServerLive", "ModelReady", "ModelInfer"):
            with fails(UNIMPLEMENTED, "Method not found!"):
                server.call(SERVICE + method, infer_request("default"))
        for path in ("/v2", "/v2/health/live", "/v2/models/default"):
            reply = ask(server, "GET", path)
            assert (reply.status, reply.body) == (404, NOT_FOUND_PAGE)


def test_cross_origin_requests(saved_models: SavedModels) -> None:
    flags = [f"--model_base_path={saved_models.base_path('half_plus_two')}", FLAG, "--rest_api_enable_cors_support"]
    with embedded_server(*flags) as server:
        assert ask(server, "OPTIONS", "/v2/models/default/infer", Origin="http://example.com").status == 200
        asked = {
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}],
            "parameters": {"binary_data_output": True},
        }
        reply = ask(server, "POST", "/v2/models/default/infer", json.dumps(asked))
        assert reply.headers["access-control-allow-origin"] == "*"
        assert int(reply.headers["inference-header-content-length"]) == len(reply.body) - 4


# --------------------------------------------------------------------------------------------------- model repository


def index(server: EmbeddedServerProcess, only_ready: bool = False) -> list[tuple[str, str, str, str]]:
    answer = server.call(
        SERVICE + "RepositoryIndex", pb.RepositoryIndexRequest(ready=only_ready), pb.RepositoryIndexResponse
    )
    found = [(each.name, each.version, each.state, each.reason) for each in answer.models]
    over_rest = ask(server, "POST", "/v2/repository/index", json.dumps({"ready": only_ready})).json
    assert [tuple(each[key] for key in ("name", "version", "state", "reason")) for each in over_rest] == found
    return found


def load(server: EmbeddedServerProcess, name: str, action: str = "Load") -> bytes:
    """RepositoryModelLoad and -Unload: the model's name is field 2."""
    answer: bytes = server.call(SERVICE + f"RepositoryModel{action}", b"\x12" + bytes([len(name)]) + name.encode())
    return answer


def test_models_are_unloaded_and_loaded(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    good, bad = saved_models.base_path("half_plus_two"), tmp_path / "bad"
    saved_models.copy("half_plus_two", bad)
    config = tmp_path / "models.config"
    entries = "".join(
        f'config {{ name: "{n}" base_path: "{p}" model_platform: "tensorflow" }}'
        for n, p in (("good", good), ("bad", bad))
    )
    config.write_text(f"model_config_list {{ {entries} }}")
    with embedded_server(f"--model_config_file={config}", FLAG, "--file_system_poll_wait_seconds=0") as server:
        both = [("bad", "1", "READY", ""), ("good", "1", "READY", "")]
        assert index(server) == index(server, only_ready=True) == both

        assert load(server, "bad", "Unload") == b""
        assert index(server) == [("bad", "1", "UNAVAILABLE", "unloaded"), both[1]]
        assert index(server, only_ready=True) == both[1:]
        assert not ready(server, "bad")
        assert get(server, "/v2/models/bad/ready") == (503, {"name": "bad", "ready": False})
        assert get(server, "/v2/health/ready")[0] == 200  # what was unloaded is not to be served
        assert ask(server, "POST", "/v2/models/bad/infer", '{"inputs": []}').status == 404
        load(server, "bad", "Unload")  # any number of times

        (bad / "1" / "saved_model.pb").rename(bad / "1" / "hidden")
        reply = ask(server, "POST", "/v2/repository/models/bad/load")
        assert (reply.status, "Version 1 of the model bad was not loaded" in reply.error) == (404, True)
        ((_, _, state, reason), _) = index(server)
        assert (state, "does not appear to contain a SavedModel" in reason) == ("UNAVAILABLE", True)
        assert get(server, "/v2/health/ready") == (503, {"live": True, "ready": False})

        (bad / "1" / "hidden").rename(bad / "1" / "saved_model.pb")
        assert load(server, "bad") == load(server, "good") == b""
        assert index(server) == both
        assert ready(server, "bad")

        assert ask(server, "POST", "/v2/repository/models/bad/unload", "{}").status == 200
        (bad / "1").rename(tmp_path / "away")
        with fails(NOT_FOUND, "The model bad has no versions to load under", starts=True):
            load(server, "bad")
        for action in ("Load", "Unload"):
            with fails(NOT_FOUND, "The model nobody is not in the server's configuration."):
                load(server, "nobody", action)
        assert ask(server, "POST", "/v2/repository/models/bad/load", '{"parameters": {"config": "{}"}}').status == 501
        with fails(UNIMPLEMENTED, "The model repository has no name here", starts=True):
            server.call(SERVICE + "RepositoryIndex", pb.RepositoryIndexRequest(repository_name="other"))
        assert "Traceback" not in server.stderr
