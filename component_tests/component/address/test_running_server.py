"""A server that is already there: nothing is started or stopped, everything else holds."""

from __future__ import annotations

import json
import pathlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from component_tests.contract.tensorflow_serving.conftest import model_config
from component_tests.contract.tensorflow_serving.requests import PREDICTION, tensor
from component_tests.fakes.saved_models import SavedModels
from component_tests.fakes.servers.embedded_server_process import EmbeddedServerProcess, embedded_server
from infra_validator.api import run_validation
from infra_validator.cli.validate import main
from infra_validator.core.errors import SpecError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import RequestOrigin, SampleRequest
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2
from infra_validator.report.evidence import EvidenceLevel
from infra_validator.report.verdict import Verdict

FEW: dict[str, Any] = {"num_tries": 1, "max_loading_time_seconds": 30}
SHORT: dict[str, Any] = {"num_tries": 1, "max_loading_time_seconds": 0.5}


@pytest.fixture(scope="module")
def staging(saved_models: SavedModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServerProcess]:
    """A server that somebody runs, with two models."""
    config = tmp_path_factory.mktemp("staging") / "models.config"
    models = {name: saved_models.base_path(name) for name in ("half_plus_two", "two_inputs")}
    config.write_text(model_config(models))
    with embedded_server(f"--model_config_file={config}") as running:
        yield running


def grpc_address(server: EmbeddedServerProcess) -> str:
    return f"127.0.0.1:{server.ports()['grpc']}"


def rest_address(server: EmbeddedServerProcess) -> str:
    return f"127.0.0.1:{server.ports()['rest']}"


def at(server: EmbeddedServerProcess, name: str = "half_plus_two", **more: Any) -> dict[str, Any]:
    return {"tensorflow_serving": {}, "address": {"grpc": grpc_address(server), **more}, "model_name": name}


def test_its_model_is_asked_without_any_file_of_it(staging: EmbeddedServerProcess) -> None:
    report = run_validation("", at(staging), FEW, {"generate": {}, "num_examples": 3})
    assert report.verdict is Verdict.BLESSED, report.finding
    assert report.evidence.level is EvidenceLevel.ANSWERED
    assert (report.evidence.requests, report.evidence.source) == (3, RequestOrigin.GENERATED)
    assert report.model == f"grpc://{grpc_address(staging)}/half_plus_two"
    assert not report.model_digest
    assert not report.evidence.digest_verified
    assert staging.process.poll() is None


def test_answers_are_held_against_the_spec(staging: EmbeddedServerProcess) -> None:
    report = run_validation(
        "", at(staging), {**FEW, "answers": {"ranges": {"y": [100, 200]}}}, {"generate": {}, "num_examples": 1}
    )
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, ReasonCode.ANSWER_OUT_OF_RANGE)


def test_it_is_asked_over_rest_where_its_address_is_given(staging: EmbeddedServerProcess) -> None:
    report = run_validation(
        "", at(staging, rest=rest_address(staging)), FEW, {"generate": {}, "protocols": ["grpc", "rest"]}
    )
    assert report.blessed, report.finding
    assert any(check.name == "over_rest" or "rest" in check.name for check in report.evidence.checks)


def test_another_model_than_the_one_that_is_named(staging: EmbeddedServerProcess, saved_models: SavedModels) -> None:
    report = run_validation(saved_models.path("two_inputs"), at(staging), FEW)
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, ReasonCode.ANOTHER_MODEL_SERVED)


def test_the_named_model_is_not_known_to_be_what_is_served(
    staging: EmbeddedServerProcess, saved_models: SavedModels
) -> None:
    report = run_validation(saved_models.path("half_plus_two"), at(staging), FEW)
    assert report.blessed
    assert report.model_digest
    assert not report.evidence.digest_verified


@pytest.mark.parametrize("requests", [None, {"generate": {}}])
def test_nobody_is_there(requests: dict[str, Any] | None, saved_models: SavedModels) -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for model in ("", saved_models.path("half_plus_two")):
            spec = {"tensorflow_serving": {}, "address": {"grpc": address}, "model_name": "m"}
            report = run_validation(model, spec, SHORT, requests)
            assert (report.verdict, report.finding.reason) == (
                Verdict.INCONCLUSIVE,
                ReasonCode.SERVER_NOT_REACHABLE,
            )
            assert f"{address}: Connection refused." in report.finding.detail
            assert ".." not in report.finding.detail
            assert report.finding.next_step.startswith("Address: see that the server runs")


def test_it_has_no_such_model(staging: EmbeddedServerProcess) -> None:
    report = run_validation("", at(staging, "another"), SHORT)
    assert report.verdict is not Verdict.BLESSED
    assert "another" in report.finding.detail


def test_a_server_that_goes_away_is_not_the_models_fault(saved_models: SavedModels) -> None:
    base_path = saved_models.base_path("half_plus_two")
    with embedded_server("--model_name=m", f"--model_base_path={base_path}") as server:

        def requests() -> Iterator[SampleRequest]:
            predict = serving_pb2.PredictRequest()
            predict.model_spec.name = "m"
            predict.inputs["x"].CopyFrom(tensor([1.0]))
            request = SampleRequest(f"{PREDICTION}Predict", "serving_default", predict.SerializeToString(), "a request")
            yield request
            server.process.kill()
            server.process.wait()
            yield request

        report = run_validation("", at(server, "m"), FEW, requests=requests)
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, ReasonCode.SERVER_NOT_REACHABLE)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"address": {}}, "address.grpc"),
        ({"address": {"grpc": "host"}}, "address.grpc"),
        ({"address": {"grpc": "http://host:80"}}, "address.grpc"),
        ({"address": {"grpc": "host:99999"}}, "address.grpc"),
        ({"address": {"grpc": "a:1", "rest": "b"}}, "address.rest"),
        ({"address": {"grpc": "a:1", "version": -1}}, "address.version"),
        ({"address": {"grpc": "a:1"}, "local_process": {}}, "serving_spec"),
        ({"address": {"grpc": "a:1"}, "tensorflow_serving": {"tags": ["2.19.0"]}}, "tensorflow_serving.tags"),
        ({"address": {"grpc": "a:1"}, "tensorflow_serving": {"extra_args": ["--x"]}}, "tensorflow_serving.extra_args"),
        ({"address": {"grpc": "a:1"}, "tensorflow_serving": None, "model_runtime": {}}, "model_runtime"),
    ],
)
def test_what_makes_no_sense_at_an_address_is_refused(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError) as refused:
        run_validation("", {"tensorflow_serving": {}, "model_name": "m", **spec})
    assert field in str(refused.value)


def test_the_command_asks_a_server_by_its_address(
    staging: EmbeddedServerProcess, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--address", grpc_address(staging), "--model-name", "half_plus_two", "--generate", "--quiet"]
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "BLESSED"
    assert json.loads((tmp_path / "out" / "verdict.json").read_text())["verdict"] == "BLESSED"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--address", "localhost:1"],
        ["--address", "localhost:1", "--model-name", "m", "--serving-spec", "{}"],
        ["--model-name", "m", "--serving-spec", "{}"],
        ["--rest-address", "localhost:1", "--serving-spec", "{}"],
        [],
    ],
)
def test_flags_that_do_not_go_together(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_only_an_address_does_without_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--serving-spec", '{"tensorflow_serving": {}, "local_process": {}}']) == 2
    assert "WRONG_USAGE" in capsys.readouterr().out
