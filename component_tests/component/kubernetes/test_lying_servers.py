"""Lying servers in pods: none is blessed, each for its own reason, and the honest twin is blessed. All lies: local_process."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys

import pytest

from component_tests.fakes.kubernetes_api import FakeCluster, Image
from component_tests.fakes.kubernetes_pods import ROOT, SERVER, SHELL, misbehaving_image
from component_tests.fakes.saved_models import SavedModels
from infra_validator.api import run_validation
from infra_validator.core.reason_codes import ReasonCode as R
from infra_validator.core.sample_request import SampleRequest
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.protos import tensorflow_serving_pb2 as pb
from infra_validator.report.evidence import CheckOutcome
from infra_validator.report.verdict import ValidationReport, Verdict

PREDICT = "/tensorflow.serving.PredictionService/Predict"


def request(*rows: float) -> SampleRequest:
    message = pb.PredictRequest()
    message.model_spec.name = "m"
    message.model_spec.signature_name = "serving_default"
    message.inputs["x"].dtype = tf.DT_FLOAT
    message.inputs["x"].tensor_shape.dim.add().size = len(rows)
    message.inputs["x"].float_val.extend(rows)
    return SampleRequest(PREDICT, "serving_default", message.SerializeToString(), "record 1 of rows", rows=len(rows))


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("good", R.BLESSED),
        ("lies_empty", R.ANSWER_OUTPUTS_DIFFER),
        ("lies_half", R.ANSWER_UNREADABLE),
        ("lies_another_model", R.ANSWER_FROM_ANOTHER_MODEL),
        ("lies_wrong_dtype", R.ANSWER_TYPE_DIFFERS),
        ("lies_nan", R.ANSWER_NOT_FINITE),
        ("lies_wrong_order", R.ANSWER_DIFFERS),
    ],
)
def test_what_a_server_in_a_pod_answers(
    tmp_path: pathlib.Path, saved_models: SavedModels, mode: str, reason: R
) -> None:
    model = saved_models.path("half_plus_two_tf2")
    program = (sys.executable, "-m", "component_tests.fakes.servers.misbehaving_servers", mode)
    image = Image({SERVER: (*program, "+--bind_address={ip}"), **SHELL}, env={"PYTHONPATH": str(ROOT)})
    with FakeCluster(images={"misbehaving:1": image}) as cluster:
        report = run_validation(
            model,
            {
                "tensorflow_serving": {"image_name": "misbehaving", "tags": ["1"]},
                "kubernetes": {
                    "kubeconfig": cluster.kubeconfig(tmp_path),
                    "model": {"host_path": {"path": str(model)}},
                },
                "model_name": "m",
            },
            {"num_tries": 1, "stop_grace_seconds": 0.3, "answers": {"batch_agreement": True}},
            requests=lambda: [request(0.0, 1.0, 4.0)],
        )
    assert report.finding.reason is reason, report.finding
    assert report.blessed == (reason is R.BLESSED)


def over_rest(saved_models: SavedModels, mode: str, **kubernetes: object) -> ValidationReport:
    """Ask a server of that mode 20,000 rows over gRPC and over REST: more than a port-forward holds for a closed port."""
    model = saved_models.path("half_plus_two_tf2")
    rows = list(map(float, range(20_000)))
    return run_validation(
        model,
        {
            "tensorflow_serving": {"image_name": f"misbehaving/{mode}", "tags": ["1"]},
            "kubernetes": {"model": {"host_path": {"path": str(model)}}, **kubernetes},
            "model_name": "m",
        },
        {"num_tries": 1, "stop_grace_seconds": 0.3},
        {"protocols": ["grpc", "rest"]},
        requests=lambda: [dataclasses.replace(request(*rows), rest_body=json.dumps({"instances": rows}).encode())],
    )


@pytest.mark.parametrize("endpoint", ["pod_ip", "port_forward"])
@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("good_over_rest", R.BLESSED),
        ("lies_over_rest_half", R.ANSWER_DIFFERS),
        ("lies_over_rest_one_off", R.ANSWER_DIFFERS),
        ("lies_over_rest_refused", R.ANSWER_DIFFERS),
        ("good", R.SERVER_NOT_REACHABLE),  # without a REST port
    ],
)
def test_what_a_server_in_a_pod_answers_over_rest(
    tmp_path: pathlib.Path, saved_models: SavedModels, mode: str, reason: R, endpoint: str
) -> None:
    with FakeCluster(images={f"misbehaving/{mode}:1": misbehaving_image(mode)}) as cluster:
        report = over_rest(saved_models, mode, kubeconfig=cluster.kubeconfig(tmp_path), endpoint=endpoint)
        assert report.finding.reason is reason, report.finding
        assert (report.verdict is Verdict.INCONCLUSIVE) == (reason is R.SERVER_NOT_REACHABLE)
        checks = {check.name: check.outcome for check in report.evidence.checks}
        assert (checks["answer_over_rest"] is CheckOutcome.PASSED) == report.blessed
        assert report.serving_binaries[0].attempts[-1].left_behind == ()
        cluster.wait_for(lambda: not cluster.pods())


def test_a_request_written_for_rest_to_a_server_without_that_port(
    tmp_path: pathlib.Path, saved_models: SavedModels
) -> None:
    """Through a port-forward, too, a REST port that is closed is known as closed, and nothing waits for it."""
    model = saved_models.path("half_plus_two_tf2")
    (tmp_path / "requests.json").write_text(json.dumps({"instances": [1.0, 2.0]}))
    with FakeCluster(images={"misbehaving:1": misbehaving_image("good")}) as cluster:
        report = run_validation(
            model,
            {
                "tensorflow_serving": {"image_name": "misbehaving", "tags": ["1"]},
                "kubernetes": {
                    "kubeconfig": cluster.kubeconfig(tmp_path),
                    "model": {"host_path": {"path": str(model)}},
                },
                "model_name": "m",
            },
            {"num_tries": 1, "stop_grace_seconds": 0.3},
            requests=str(tmp_path / "requests.json"),
        )
    assert report.blessed, report.finding
    checks = {check.name: check.outcome for check in report.evidence.checks}
    assert checks["answer_over_rest"] is CheckOutcome.NOT_APPLICABLE
