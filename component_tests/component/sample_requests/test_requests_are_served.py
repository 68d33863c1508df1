"""Sample requests of every source, sent by the client to the embedded server with real models on it."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterable

import pytest

from component_tests.fakes.saved_models import SavedModels
from component_tests.fakes.servers.embedded_server_process import embedded_server
from component_tests.unit.sample_requests.examples_on_disk import example, write_split
from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.model_server_clients.tensorflow_serving import TensorFlowServingClient
from infra_validator.sample_requests.examples.example_files import requests_from_examples_dir
from infra_validator.sample_requests.files.prediction_log import write_warmup_file
from infra_validator.sample_requests.files.requests_file import requests_from_file
from infra_validator.saved_model.find import WARMUP_FILE
from infra_validator.saved_model.graph import read_graph

ENOUGH = 60.0  # seconds


def sent(models: SavedModels, model: str, requests: Iterable[SampleRequest]) -> int:
    return sent_to(models.base_path(model), requests)


def sent_to(base_path: pathlib.Path, requests: Iterable[SampleRequest]) -> int:
    """Serve the model at ``base_path`` and send it the requests; returns how many were answered."""
    with embedded_server("--model_name=m", f"--model_base_path={base_path}") as server:
        with TensorFlowServingClient(f"127.0.0.1:{server.ports()['grpc']}", "m", 1) as client:
            client.WaitUntilModelLoaded(Deadline.after(ENOUGH))
            return client.SendRequests(requests, Deadline.after(ENOUGH))


def test_examples_for_a_signature_of_serialized_examples(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    signatures = read_graph(str(saved_models.path("examples"))).signatures_named(["serving_default"])
    split = write_split(tmp_path, [example(x) for x in range(20)])
    assert sent(saved_models, "examples", requests_from_examples_dir(split, signatures, "m", 20)) == 20


def test_examples_for_classify_and_regress(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    graph = read_graph(str(saved_models.path("half_plus_two")))
    signatures = graph.signatures_named(["classify_x_to_y", "regress_x_to_y"])
    split = write_split(tmp_path, [example(x) for x in range(5)])
    assert sent(saved_models, "half_plus_two", requests_from_examples_dir(split, signatures, "m", 5)) == 10


def test_json_of_each_type(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    bodies = [
        {"signature_name": dtype, "instances": values}
        for dtype, values in {
            "float": [1, 2.5],
            "double": [1.5],
            "half": [0.5],
            "bfloat16": [0.5],
            "int8": [-1],
            "int16": [-1],
            "int32": [-1],
            "int64": [-1],
            "uint8": [255],
            "uint16": [65535],
            "uint32": [1],
            "uint64": [1],
            "bool": [True],
            "string": ["a", {"b64": "/w=="}],
        }.items()
    ]
    file = tmp_path / "requests.jsonl"
    file.write_text("\n".join(json.dumps(body) for body in bodies))
    graph = read_graph(str(saved_models.path("identity")))
    assert sent(saved_models, "identity", requests_from_file(str(file), graph.signatures, "m")) == len(bodies)


def test_several_inputs(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "requests.json"
    file.write_text('{"instances": [{"a": [1, 2], "b": [3, 4]}, {"a": [5, 6], "b": [7, 8]}]}')
    graph = read_graph(str(saved_models.path("two_inputs")))
    assert sent(saved_models, "two_inputs", requests_from_file(str(file), graph.signatures, "m")) == 1


def test_a_warmup_file_is_accepted_at_load_and_as_a_file_of_requests(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    version = saved_models.copy("half_plus_two", tmp_path / "m")
    graph = read_graph(str(version))
    signatures = graph.signatures_named(["classify_x_to_y", "regress_x_to_y"])
    split = write_split(tmp_path / "split", [example(x) for x in range(5)])
    warmup = str(version / WARMUP_FILE)
    assert write_warmup_file(requests_from_examples_dir(split, signatures, "m", 5), warmup) == 10
    assert sent_to(version.parent, requests_from_file(warmup, graph.signatures, "m")) == 10


def test_a_model_without_its_variables_fails_at_the_first_request(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    file = tmp_path / "requests.json"
    file.write_text('{"instances": [1.0]}')
    graph = read_graph(str(saved_models.path("missing_variables")))
    with pytest.raises(AttemptFailed, match="FAILED_PRECONDITION: Could not find variable") as caught:
        sent(saved_models, "missing_variables", requests_from_file(str(file), graph.signatures, "m"))
    assert caught.value.reason is ReasonCode.REQUEST_FAILED
