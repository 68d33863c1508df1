"""Whole validations over the Open Inference Protocol's REST form: a process, a pod, an address, and what goes wrong."""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Any

import pytest

from component_tests.component.open_inference.test_validation import SCHEMA, validated
from component_tests.fakes.kubernetes_api import FakeCluster, Image
from component_tests.fakes.kubernetes_pods import ROOT, SHELL
from component_tests.fakes.servers.open_inference_rest import serving_rest
from component_tests.fakes.servers.open_inference_server import Model
from infra_validator import run_validation, serving
from infra_validator.core.errors import SpecError
from infra_validator.core.reason_codes import ReasonCode as R
from infra_validator.report.evidence import CheckOutcome, EvidenceLevel
from infra_validator.report.verdict import ValidationReport, Verdict

pytestmark = pytest.mark.slow

SERVER = "component_tests.fakes.servers.open_inference_rest"


@pytest.fixture
def model(tmp_path: pathlib.Path) -> pathlib.Path:
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights.bin").write_bytes(b"weights")
    return model


def spec_of(*modes: str, **more: Any) -> dict[str, Any]:
    return {
        "open_inference": {
            "command": [sys.executable, "-m", SERVER],
            "extra_args": ["--port=${rest_port}", "--model_name=m", *(f"--{mode}" for mode in modes)],
            "env": {"PYTHONPATH": str(ROOT)},
            "protocol": "rest",
            **SCHEMA,
            **more,
        },
        "local_process": {},
        "model_name": "m",
    }


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_a_good_server_is_blessed(model: pathlib.Path, binary: bool) -> None:
    asked = {"generate": {}, "num_examples": 4, "batch_sizes": [1, 2]}
    report = validated(model, spec_of(binary_data=binary, model_version="1"), asked)
    assert report.blessed, report.finding
    assert (report.evidence.level, report.evidence.requests) == (EvidenceLevel.ANSWERED, 6)
    checks = {check.name: check.outcome for check in report.evidence.checks}
    assert checks["served_model"] is checks["answer_outputs"] is checks["answer_types"] is CheckOutcome.PASSED


@pytest.mark.parametrize(
    ("modes", "reason"),
    [
        (["fails_to_load"], R.MODEL_UNAVAILABLE),
        (["nan"], R.ANSWER_NOT_FINITE),
        (["exits"], R.SERVER_EXITED),
        (["needs_load"], R.LOAD_TIMEOUT),
    ],
    ids=str,
)
def test_a_bad_one_is_not(model: pathlib.Path, modes: list[str], reason: R) -> None:
    report = validated(model, spec_of(*modes), loading=4 if reason is R.LOAD_TIMEOUT else 60)
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, reason), report.finding


def test_a_model_that_must_be_loaded_first(model: pathlib.Path) -> None:
    report = validated(model, spec_of("needs_load", load=True))
    assert report.blessed, report.finding


def test_a_server_without_the_binary_data_extension_is_the_specs_matter(model: pathlib.Path) -> None:
    report = validated(model, spec_of("no_binary", binary_data=True))
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, R.BAD_SPEC), report.finding
    assert "open_inference.binary_data: must be false on this server" in report.finding.detail
    assert "binary_data to false" in report.finding.next_step


@pytest.mark.parametrize("show", [False, True], ids=["hidden", "shown"])
def test_a_trace_that_quotes_the_request_is_cleaned(model: pathlib.Path, tmp_path: pathlib.Path, show: bool) -> None:
    """As JSON the model refuses it too, so what counts is what it said of the binary data."""
    asked = tmp_path / "asked.jsonl"
    asked.write_text(json.dumps({"inputs": {"x": [1003.25, 2004.5, 3005.75]}}) + "\n")
    spec = spec_of("no_binary", "refuses", binary_data=True)
    report = run_validation(model, spec, {"num_tries": 1, "show_requests": show}, requests=str(asked))
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, R.REQUEST_FAILED), report.finding
    assert ("\\x" in report.finding.detail) is show
    assert ("<value of input x>" in report.finding.detail) is not show


@pytest.mark.parametrize("mode", ["lazy", "never_ready"])
@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_a_model_that_is_loaded_by_the_first_request(model: pathlib.Path, binary: bool, mode: str) -> None:
    """It need not say that it is ready afterwards: an answer shows it."""
    report = validated(model, spec_of(mode, ready_by="first_request", binary_data=binary))
    assert report.blessed, report.finding
    report = validated(model, spec_of(mode, binary_data=binary), loading=4)
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, R.LOAD_TIMEOUT), report.finding


def test_a_first_request_that_is_refused_is_told() -> None:
    with serving_rest(Model("m", "never_ready", "refuses")) as (endpoint, _):
        asked = {"protocol": "rest", "ready_by": "first_request"}
        spec = {"open_inference": asked, "address": {"rest": endpoint}, "model_name": "m"}
        report = run_validation("", spec, {"num_tries": 1, "max_loading_time_seconds": 4})
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, R.LOAD_TIMEOUT), report.finding
    assert "not ready after a first request, which it answered INVALID_ARGUMENT" in report.finding.detail


def test_limits_under_load(model: pathlib.Path) -> None:
    limits = {
        "num_tries": 1,
        "load": {"concurrency": 2, "requests": 50, "warm_up_seconds": 0.1},
        "limits": {"error_rate_at_most": 0.0},
    }
    report = run_validation(model, spec_of(), limits, {"generate": {}})
    assert report.blessed, report.finding
    measured = report.serving_binaries[0].measurements
    assert measured is not None
    (run,) = measured.load
    assert (run.requests, run.errors) == (50, 0)


def test_a_server_for_ones_own_tests(model: pathlib.Path) -> None:
    with serving(model, spec_of()) as server, server.client() as client:
        assert client.endpoint == server.grpc_address


def test_in_a_pod(model: pathlib.Path, tmp_path: pathlib.Path) -> None:
    program = (sys.executable, "-m", SERVER, "+--bind_address={ip}")
    image = Image({"/bin/server": program, **SHELL}, env={"PYTHONPATH": str(ROOT)})
    with FakeCluster(images={"inference:1": image}) as cluster:
        spec = spec_of(image="inference:1", command=["/bin/server"], env={}, port=28510)
        del spec["local_process"]
        report = validated(model, {**spec, "kubernetes": {"kubeconfig": cluster.kubeconfig(tmp_path)}})
        cluster.wait_for(lambda: not cluster.pods())
    assert report.blessed, report.finding


@pytest.mark.parametrize("compared", [False, True], ids=["redaction", "baseline"])
def test_in_a_pod_with_a_baseline_and_without_the_requests(
    model: pathlib.Path, tmp_path: pathlib.Path, compared: bool
) -> None:
    modes = [] if compared else ["--no_binary", "--refuses"]
    program = (sys.executable, "-m", SERVER, "+--bind_address={ip}", *modes)
    image = Image({"/bin/server": program, **SHELL}, env={"PYTHONPATH": str(ROOT)})
    with FakeCluster(images={"inference:1": image}) as cluster:
        spec = spec_of(image="inference:1", command=["/bin/server"], env={}, port=28511, binary_data=True)
        del spec["local_process"]
        report = compared_or_cleaned(
            model, {**spec, "kubernetes": {"kubeconfig": cluster.kubeconfig(tmp_path)}}, compared
        )
        cluster.wait_for(lambda: not cluster.pods())
    check(report, compared)


def compared_or_cleaned(model: pathlib.Path, spec: dict[str, Any], compared: bool) -> ValidationReport:
    """With a limit that a baseline sets; else with rows whose octets a server tells in its trace."""
    asked = model.parent / "asked.jsonl"
    asked.write_text(json.dumps({"inputs": {"x": [1003.25, 2004.5, 3005.75]}}) + "\n")
    limits: dict[str, Any] = {"num_tries": 1}
    if not compared:
        return run_validation(model, spec, limits, requests=str(asked))
    baseline = model.parent / "baseline"
    baseline.mkdir()
    (baseline / "weights.bin").write_bytes(b"weights")
    limits["limits"] = {"throughput_at_least_times": 0.01}
    limits["load"] = {"concurrency": 2, "requests": 80, "warm_up_seconds": 0.1}
    return run_validation(model, spec, limits, requests=str(asked), baseline_model=baseline)


def check(report: ValidationReport, compared: bool) -> None:
    if compared:
        assert report.blessed, report.finding
        measured = report.serving_binaries[0].measurements
        assert measured is not None
        assert measured.baseline is not None
        return
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, R.REQUEST_FAILED), report.finding
    assert "<value of input x>" in report.finding.detail
    assert "\\x" not in report.finding.detail


def test_a_server_that_is_already_there_by_its_own_metadata() -> None:
    running = Model("m", inputs={"x": ("FP32", [-1, 3]), "text": ("BYTES", [-1])})
    with serving_rest(running, nested=True) as (endpoint, _):
        spec = {"open_inference": {"protocol": "rest"}, "address": {"rest": endpoint}, "model_name": "m"}
        asked = {"generate": {"texts": {"text": ["a"]}}, "num_examples": 4, "batch_sizes": [2]}
        report = run_validation("", spec, {"num_tries": 1}, asked)
    assert report.blessed, report.finding
    assert (report.evidence.requests, report.model) == (2, f"http://{endpoint}/m")


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"protocol": "http"}, "open_inference.protocol"),
        ({"typed_contents": True}, "typed_contents: has no effect over rest"),
        ({"protocol": "grpc", "binary_data": True}, "binary_data: has no effect over grpc"),
        ({"extra_args": ["--port=${grpc_port}"]}, "do not tell the command on which port to listen"),
        ({"extra_args": ["--ports=${port_file}", "--port=${rest_port}"]}, "tells a gRPC port"),
    ],
)
def test_what_does_not_go_together(model: pathlib.Path, more: dict[str, Any], problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        validated(model, spec_of(**more))
    address = {"open_inference": {"protocol": "rest"}, "address": {"grpc": "a:1"}, "model_name": "m"}
    with pytest.raises(SpecError, match=r"address\.grpc: has no effect: open_inference\.protocol is rest"):
        run_validation("", address, {"num_tries": 1}, {"generate": {}})
