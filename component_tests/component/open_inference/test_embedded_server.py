"""Whole validations of SavedModels with the embedded server as the honest server of the Open Inference Protocol."""

from __future__ import annotations

import json
import pathlib
import struct
import sys
import urllib.request
from typing import Any

import pytest

from component_tests.fakes.all_datatypes import write_all_datatypes
from component_tests.fakes.saved_models import ROOT, SavedModels
from infra_validator import run_validation, serving
from infra_validator.cli.main import main
from infra_validator.core.datatypes import OPEN_INFERENCE_DATATYPES
from infra_validator.core.deadline import Deadline
from infra_validator.core.reason_codes import ReasonCode as R
from infra_validator.core.sample_request import SampleRequest
from infra_validator.core.states import ModelStatus
from infra_validator.model_server_clients.open_inference.client import OpenInferenceClient
from infra_validator.model_server_clients.open_inference.infer_request import MODEL_INFER
from infra_validator.protos import open_inference_pb2 as pb
from infra_validator.report.evidence import CheckOutcome, EvidenceLevel
from infra_validator.report.verdict import ValidationReport, Verdict

pytestmark = pytest.mark.slow


def spec_of(inputs: dict[str, str], outputs: dict[str, str], **more: Any) -> dict[str, Any]:
    """The embedded server as any other server of the protocol: a program with arguments."""
    arguments = [
        "serve",
        "--enable_open_inference",
        "--port=${grpc_port}",
        "--bind_address=${bind_address}",
        "--model_name=m",
        "--model_base_path=${model_base_path}",
        "--max_num_load_retries=0",
    ]
    return {
        "open_inference": {
            "command": [sys.executable, "-m", "infra_validator"],
            "extra_args": arguments,
            "env": {"PYTHONPATH": str(ROOT)},
            "inputs": inputs,
            "outputs": outputs,
            **more,
        },
        "local_process": {},
        "model_name": "m",
    }


HALF_PLUS_TWO = ({"x": "FP32[-1]"}, {"y": "FP32[-1]"})


def validated(model: pathlib.Path, spec: dict[str, Any], request_spec: Any = None, **more: Any) -> ValidationReport:
    limits = {"num_tries": 1, "max_loading_time_seconds": 60}
    return run_validation(model, spec, limits, {"generate": {}} if request_spec is None else request_spec, **more)


@pytest.mark.parametrize("typed", [False, True], ids=["raw", "typed"])
def test_a_saved_model_is_blessed_and_its_answers_are_looked_at(saved_models: SavedModels, typed: bool) -> None:
    spec = spec_of(*HALF_PLUS_TWO, typed_contents=typed, model_version="1")
    report = validated(
        saved_models.path("half_plus_two"), spec, {"generate": {}, "num_examples": 4, "batch_sizes": [1, 4]}
    )
    assert report.blessed, report.finding
    assert (report.evidence.level, report.evidence.requests) == (EvidenceLevel.ANSWERED, 5)
    checks = {check.name: check.outcome for check in report.evidence.checks}
    assert {checks[name] for name in ("served_model", "answer_outputs", "answer_types")} == {CheckOutcome.PASSED}


def test_every_datatype_in_one_request(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    model = write_all_datatypes(saved_models, tmp_path / "datatypes")
    described = {name: f"{name}[-1]" for name in OPEN_INFERENCE_DATATYPES}
    report = validated(
        model,
        spec_of(described, described),
        {"generate": {"texts": {"BYTES": ["a", "\u00e4"]}}, "num_examples": 3, "batch_sizes": [3]},
    )
    assert report.blessed, report.finding
    assert report.evidence.level is EvidenceLevel.ANSWERED


@pytest.mark.parametrize(
    ("name", "outputs", "reason"),
    [
        ("nan", {"y": "FP32[-1]"}, R.ANSWER_NOT_FINITE),
        ("missing_variables", {"y": "FP32[-1]"}, R.REQUEST_FAILED),
        ("half_plus_two", {"z": "FP32[-1]"}, R.ANSWER_OUTPUTS_DIFFER),
        ("half_plus_two", {"y": "FP64[-1]"}, R.ANSWER_TYPE_DIFFERS),
    ],
    ids=str,
)
def test_bad_models_are_not(saved_models: SavedModels, name: str, outputs: dict[str, str], reason: R) -> None:
    report = validated(saved_models.path(name), spec_of({"x": "FP32[-1]"}, outputs))
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, reason), report.finding


@pytest.mark.parametrize("name", ["truncated_pb", "no_pb"])
def test_a_model_that_does_not_load(saved_models: SavedModels, name: str) -> None:
    report = validated(saved_models.path(name), spec_of(*HALF_PLUS_TWO))
    assert report.verdict is Verdict.NOT_BLESSED, report.finding
    assert "Traceback" not in "".join(binary.server_log for binary in report.serving_binaries)


def test_a_request_in_the_protocols_words_asks_another_signature(saved_models: SavedModels) -> None:
    message = pb.ModelInferRequest(model_name="m")
    message.parameters["signature_name"].string_param = "scalar"
    message.inputs.add(name="number", datatype="FP32")
    message.raw_input_contents.append(struct.pack("<f", 4))
    request = SampleRequest(MODEL_INFER, "serving_default", message.SerializeToString(), "mine")
    report = validated(saved_models.path("signatures"), spec_of({}, {}), {}, requests=lambda: [request])
    assert (report.verdict, report.evidence.level) == (Verdict.BLESSED, EvidenceLevel.ANSWERED), report.finding


def test_the_command_line(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    (tmp_path / "requests.json").write_text(json.dumps({"instances": [{"x": 1.0}, {"x": 2.0}]}))
    arguments = [
        "--model",
        str(saved_models.path("half_plus_two")),
        "--serving-spec",
        json.dumps(spec_of(*HALF_PLUS_TWO)),
    ]
    asked = ["--requests", str(tmp_path / "requests.json"), "--output", str(tmp_path / "o"), "--quiet"]
    assert main(["validate", *arguments, *asked]) == 0
    told = json.loads((tmp_path / "o" / "verdict.json").read_text())
    assert told["verdict"] == "BLESSED"
    assert main(["verify", *arguments[:2], "--verdict", str(tmp_path / "o"), "--require", "answered"]) == 0


def test_serving_gives_the_addresses_of_a_server_that_speaks_both_protocols(saved_models: SavedModels) -> None:
    spec = {"tensorflow_serving": {}, "local_process": {"extra_args": ["--enable_open_inference"]}, "model_name": "m"}
    asked = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}
    for _ in range(2):  # the second one is made of the spare
        with serving(saved_models.path("half_plus_two"), spec) as server:
            ((_, first),) = post(server.rest_url + ":predict", {"instances": [1.0]}).items()
            answer = post(server.open_inference_url + "/infer", asked)
            with OpenInferenceClient(server.grpc_address, "m") as client:
                status = client.GetModelStatus(Deadline.after(30))
        assert (first, answer["outputs"][0]["data"], status.status) == ([2.5], [2.5], ModelStatus.READY)


def post(url: str, document: Any) -> dict[str, Any]:
    with urllib.request.urlopen(url, json.dumps(document).encode(), timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def test_serving_gives_the_address(saved_models: SavedModels) -> None:
    with serving(saved_models.path("half_plus_two"), spec_of(*HALF_PLUS_TWO)) as server:
        assert server.rest_url == ""
        with server.client() as client:
            told = client.GetSignatures(Deadline.after(30))
    assert told is not None
    assert list(told["serving_default"].inputs) == ["x"]
