"""Whole validations with a server that speaks the Open Inference Protocol: a process, a pod, and what goes wrong with it."""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Any

import pytest

from component_tests.fakes.kubernetes_api import FakeCluster, Image
from component_tests.fakes.kubernetes_pods import ROOT, SHELL
from component_tests.fakes.servers.open_inference_server import Model
from component_tests.fakes.servers.scripted_server import serving as scripted
from infra_validator import run_validation
from infra_validator.cli.main import main
from infra_validator.core.errors import SpecError
from infra_validator.core.network.held_port import HeldPort
from infra_validator.core.reason_codes import ReasonCode as R
from infra_validator.core.sample_request import SampleRequest
from infra_validator.model_server_clients.open_inference.infer_request import MODEL_INFER
from infra_validator.protos import open_inference_pb2 as pb
from infra_validator.report.evidence import CheckOutcome, EvidenceLevel
from infra_validator.report.verdict import ValidationReport, Verdict

pytestmark = pytest.mark.slow

SCHEMA = {"inputs": {"x": "FP32[-1]"}, "outputs": {"x": "FP32[-1]"}}
SERVER = "component_tests.fakes.servers.open_inference_server"


@pytest.fixture
def model(tmp_path: pathlib.Path) -> pathlib.Path:
    """A model that no SavedModel reader knows."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights.bin").write_bytes(b"weights")
    return model


def serving(*modes: str, **more: Any) -> dict[str, Any]:
    return {
        "open_inference": {
            "command": [sys.executable, "-m", SERVER],
            "extra_args": ["--port=${grpc_port}", "--model_name=m", *(f"--{mode}" for mode in modes)],
            "env": {"PYTHONPATH": str(ROOT)},
            **SCHEMA,
            **more,
        },
        "local_process": {},
        "model_name": "m",
    }


def validated(
    model: pathlib.Path, spec: dict[str, Any], request_spec: dict[str, Any] | None = None, **more: Any
) -> ValidationReport:
    limits = {"num_tries": 1, "max_loading_time_seconds": more.pop("loading", 30)}
    return run_validation(model, spec, limits, {"generate": {}} if request_spec is None else request_spec, **more)


@pytest.mark.parametrize("modes", [[], ["typed"], ["no_metadata", "no_index"], ["unknown_while_loading"]], ids=str)
@pytest.mark.parametrize("typed", [False, True], ids=["raw", "typed"])
def test_a_good_server_is_blessed(model: pathlib.Path, modes: list[str], typed: bool) -> None:
    asked = {"generate": {}, "num_examples": 4, "batch_sizes": [1, 2]}
    report = validated(model, serving(*modes, typed_contents=typed, model_version="1"), asked)
    assert report.blessed, report.finding
    assert (report.evidence.level, report.evidence.requests) == (EvidenceLevel.ANSWERED, 6)
    checks = {check.name: check.outcome for check in report.evidence.checks}
    told = CheckOutcome.NOT_APPLICABLE if "no_metadata" in modes else CheckOutcome.PASSED
    assert checks["served_model"] is told
    assert checks["answer_outputs"] is checks["answer_types"] is CheckOutcome.PASSED
    assert report.model_digest.startswith("sha256:")


@pytest.mark.parametrize(
    ("modes", "reason", "said"),
    [
        (["fails_to_load"], R.MODEL_UNAVAILABLE, "failed to load model.pt"),
        (["never_ready"], R.LOAD_TIMEOUT, "version 1 is LOADING"),
        (["never_ready", "no_index"], R.LOAD_TIMEOUT, "the model m is not ready"),
        (["nan"], R.ANSWER_NOT_FINITE, "'x'"),
        (["exits"], R.SERVER_EXITED, "exit code 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_bad_one_is_not(model: pathlib.Path, modes: list[str], reason: R, said: str) -> None:
    report = validated(model, serving(*modes), loading=4 if reason is R.LOAD_TIMEOUT else 30)
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, reason), report.finding
    assert said in report.finding.detail
    assert ("no such model repository" in report.serving_binaries[0].server_log) == ("exits" in modes)


def test_a_request_that_was_made_up_and_is_refused_blames_nobody(model: pathlib.Path) -> None:
    report = validated(model, serving("refuses"))
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, R.GENERATED_REQUEST_REFUSED)


def test_metadata_that_differ_from_the_description_are_a_warning(model: pathlib.Path) -> None:
    spec = serving(inputs={"x": "FP32[-1,2]"}, outputs={"x": "FP32[-1,2]"})
    report = validated(model, spec)
    assert report.blessed, report.finding
    assert any("describes the model otherwise than the spec" in warning for warning in report.warnings)


def test_without_a_description_the_model_is_only_loaded_or_asked_with_requests_of_ones_own(model: pathlib.Path) -> None:
    spec = serving(inputs={}, outputs={})
    report = validated(model, spec, {})
    assert (report.verdict, report.evidence.level) == (Verdict.BLESSED, EvidenceLevel.LOADED)
    message = pb.ModelInferRequest(model_name="m")
    message.inputs.add(name="x", datatype="INT64", shape=[1]).contents.int64_contents.append(7)
    request = SampleRequest(MODEL_INFER, "serving_default", message.SerializeToString(), "my request")
    report = validated(model, spec, {}, requests=lambda: [request])
    assert (report.verdict, report.evidence.level) == (Verdict.BLESSED, EvidenceLevel.ANSWERED)
    with pytest.raises(SpecError, match=r"serving_spec\.open_inference\.inputs: are needed to make requests"):
        validated(model, spec)


def test_requests_in_a_file_and_the_command_line(
    model: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = {name: {"x": "FP32[-1]", "text": "BYTES[-1]"} for name in ("inputs", "outputs")}
    (tmp_path / "requests.json").write_text(
        json.dumps({"instances": [{"x": 1.0, "text": "a"}, {"x": 2.0, "text": ""}]})
    )
    arguments = [
        "--model",
        str(model),
        "--serving-spec",
        json.dumps(serving(**schema)),
        "--output",
        str(tmp_path / "o"),
    ]
    asked = ["--requests", str(tmp_path / "requests.json"), "--request-spec", '{"batch_sizes": [2]}']
    assert main(["validate", *arguments, *asked, "--quiet"]) == 0
    assert main(["verify", "--model", str(model), "--verdict", str(tmp_path / "o"), "--require", "answered"]) == 0
    (model / "weights.bin").write_bytes(b"others")
    assert main(["verify", "--model", str(model), "--verdict", str(tmp_path / "o")]) == 1
    assert "not the blessed model" in capsys.readouterr().out


def test_a_server_that_reads_its_port_from_its_environment(model: pathlib.Path) -> None:
    held = HeldPort()
    spec = serving(extra_args=["--model_name=m"], env={"PYTHONPATH": str(ROOT), "PORT": str(held.port)})
    try:
        report = validated(model, {**spec, "local_process": {"grpc_port": held.port}})
    finally:
        held.release()
    assert report.blessed, report.finding


def test_a_server_that_is_already_there_by_its_own_metadata() -> None:
    running = Model("m", inputs={"x": ("FP32", [-1, 3]), "text": ("BYTES", [-1])})
    with scripted(running.handlers()) as (endpoint, _):
        spec = {"open_inference": {}, "address": {"grpc": endpoint}, "model_name": "m"}
        asked = {"generate": {"texts": {"text": ["a"]}}, "num_examples": 4, "batch_sizes": [2]}
        report = run_validation("", spec, {"num_tries": 1}, asked)
    assert report.blessed, report.finding
    assert (report.evidence.requests, report.model) == (2, f"grpc://{endpoint}/m")
    assert [list(tensor.shape) for tensor in running.received[0].inputs] == [[2], [2, 3]]
    assert not report.evidence.digest_verified


@pytest.mark.parametrize("described", [False, True])
def test_a_server_that_is_already_there_and_tells_nothing(described: bool) -> None:
    with scripted(Model("m", "no_metadata", "no_index").handlers()) as (endpoint, _):
        spec = {
            "open_inference": SCHEMA if described else {},
            "address": {"grpc": endpoint},
            "model_name": "m",
        }
        report = run_validation("", spec, {"num_tries": 1}, {"generate": {}})
    assert report.blessed == described
    assert described or "does not tell its signatures" in report.finding.detail


def test_limits_under_load(model: pathlib.Path) -> None:
    limits = {
        "num_tries": 1,
        "load": {"concurrency": 2, "requests": 200, "warm_up_seconds": 0.1},
        "limits": {"error_rate_at_most": 0.0, "throughput_at_least_rps": 1.0},
    }
    report = run_validation(model, serving(), limits, {"generate": {}})
    assert report.blessed, report.finding
    measured = report.serving_binaries[0].measurements
    assert measured is not None
    (run,) = measured.load
    assert (run.requests, run.errors) == (200, 0)


@pytest.mark.parametrize("throughput", [0.01, 1000.0], ids=["as good", "far worse"])
def test_limits_that_a_baseline_sets(model: pathlib.Path, tmp_path: pathlib.Path, throughput: float) -> None:
    baseline = tmp_path / "baseline"
    baseline.mkdir()
    (baseline / "weights.bin").write_bytes(b"the weights before")
    limits = {
        "num_tries": 1,
        "load": {"concurrency": 2, "requests": 80, "warm_up_seconds": 0.1},
        "limits": {"throughput_at_least_times": throughput},
    }
    report = run_validation(model, serving(), limits, {"generate": {}}, baseline_model=baseline)
    expected = R.BLESSED if throughput < 1 else R.LIMIT_EXCEEDED
    assert report.finding.reason is expected, report.finding
    measured = report.serving_binaries[0].measurements
    assert measured is not None
    assert measured.baseline is not None


@pytest.mark.parametrize("mode", ["lazy", "never_ready"])
@pytest.mark.parametrize("typed", [False, True], ids=["raw", "typed"])
def test_a_model_that_is_loaded_by_the_first_request(model: pathlib.Path, typed: bool, mode: str) -> None:
    """It need not say that it is ready afterwards: an answer shows it."""
    report = validated(model, serving(mode, ready_by="first_request", typed_contents=typed))
    assert report.blessed, report.finding
    report = validated(model, serving(mode, typed_contents=typed), loading=4)
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, R.LOAD_TIMEOUT), report.finding


def test_a_first_request_that_is_refused_is_told() -> None:
    with scripted(Model("m", "never_ready", "refuses").handlers()) as (endpoint, _):
        spec = {"open_inference": {"ready_by": "first_request"}, "address": {"grpc": endpoint}, "model_name": "m"}
        report = run_validation("", spec, {"num_tries": 1, "max_loading_time_seconds": 4})
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, R.LOAD_TIMEOUT), report.finding
    assert "not ready after a first request, which it answered INVALID_ARGUMENT" in report.finding.detail


@pytest.mark.parametrize(("modes", "reason"), [([], R.BLESSED), (["fails_to_load"], R.MODEL_UNAVAILABLE)], ids=str)
def test_in_a_pod(model: pathlib.Path, tmp_path: pathlib.Path, modes: list[str], reason: R) -> None:
    program = (sys.executable, "-m", SERVER, "+--bind_address={ip}")
    image = Image({"/bin/server": program, **SHELL}, env={"PYTHONPATH": str(ROOT)})
    with FakeCluster(images={"inference:1": image}) as cluster:
        spec = {
            "open_inference": {
                "image": "inference:1",
                "command": ["/bin/server"],
                "extra_args": ["--port=${grpc_port}", "--model_name=m", *(f"--{mode}" for mode in modes)],
                "port": 28500,
                **SCHEMA,
            },
            "kubernetes": {"kubeconfig": cluster.kubeconfig(tmp_path)},
            "model_name": "m",
        }
        report = validated(model, spec)
        cluster.wait_for(lambda: not cluster.pods())
    assert report.finding.reason is reason, report.finding


def test_a_model_that_is_not_there_or_a_file(model: pathlib.Path) -> None:
    assert validated(model / "none", serving()).finding.reason is R.MODEL_NOT_FOUND
    report = validated(model / "weights.bin", serving())
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "is a file, not a directory" in report.finding.detail


def test_a_program_that_is_not_there(model: pathlib.Path) -> None:
    assert validated(model, serving(command=["no-such-server"])).finding.reason is R.BINARY_NOT_FOUND
