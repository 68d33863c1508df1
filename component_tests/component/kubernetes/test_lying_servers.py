"""Lying servers in pods: none is blessed, each for its own reason, and the honest twin is blessed. All lies: local_process."""

from __future__ import annotations

import pathlib
import sys

import pytest

from component_tests.fakes.kubernetes_api import FakeCluster, Image
from component_tests.fakes.kubernetes_pods import ROOT, SERVER, SHELL
from component_tests.fakes.saved_models import SavedModels
from infra_validator.api import run_validation
from infra_validator.core.reason_codes import ReasonCode as R
from infra_validator.core.sample_request import SampleRequest
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.protos import tensorflow_serving_pb2 as pb

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
