"""model_runtime on Kubernetes: our runtime in a pod of the fake cluster, through the same runner as every server."""

from __future__ import annotations

import pathlib
import sys

import pytest

from component_tests.component.model_runtime.test_runtime import LIMITS, requests
from component_tests.fakes.kubernetes_api import FakeCluster, Image
from component_tests.fakes.kubernetes_pods import ROOT, SHELL
from component_tests.fakes.saved_models import SavedModels
from infra_validator import api
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.verdict import Verdict

PROGRAM = "/usr/bin/model-runtime"


@pytest.mark.parametrize(
    ("model", "verdict", "reason"),
    [
        ("half_plus_two", Verdict.BLESSED, ReasonCode.BLESSED),
        ("unknown_op", Verdict.NOT_BLESSED, ReasonCode.MODEL_LOAD_FAILED),
    ],
)
def test_a_verdict_through_our_runtime_in_a_pod(
    saved_models: SavedModels, tmp_path: pathlib.Path, model: str, verdict: Verdict, reason: ReasonCode
) -> None:
    runtime = (sys.executable, "-m", "infra_validator", "model-runtime", "+--host={ip}", "+--port={port:8085}")
    image = Image({PROGRAM: runtime, **SHELL}, env={"PYTHONPATH": str(ROOT)})
    # The fake's containers are processes of this machine, so what a request names must be there, too, under the same path.
    root = tmp_path / "mounted"
    (root / "gate").mkdir(parents=True)
    (root / "gate" / "1").symlink_to(saved_models.path(model))
    arguments = ["--host=${bind_address}", "--port=${grpc_port}", "--model-root=/", "--capacity=1g"]
    with FakeCluster(images={"my/runtime:1": image}) as cluster:
        spec = {
            "model_runtime": {
                "image": "my/runtime:1",
                "command": [PROGRAM],
                "extra_args": arguments,
                "model_root": str(root),
            },
            "kubernetes": {"kubeconfig": cluster.kubeconfig(tmp_path)},
            "model_name": "gate",
        }
        report = api.run_validation(saved_models.path(model), spec, LIMITS, requests=requests)
        assert (report.verdict, report.finding.reason) == (verdict, reason), report.finding
        cluster.wait_for(lambda: not cluster.pods())
