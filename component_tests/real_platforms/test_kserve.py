"""KServe's own model server, in an environment of its own, under whole validations over the Open Inference Protocol."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from component_tests.conftest import python_of
from component_tests.real_platforms.inference_servers import NO_BINARY_DATA, departures, said, validated
from infra_validator.core.reason_codes import ReasonCode as R
from infra_validator.report.evidence import EvidenceLevel
from infra_validator.report.verdict import Verdict

pytestmark = pytest.mark.kserve

SERVER = """
import argparse, sys
from kserve import InferOutput, InferResponse, Model, ModelServer, model_server

class Double(Model):
    def load(self):
        self.ready = "not_ready" not in sys.argv
        return self.ready

    def predict(self, payload, headers=None, response_headers=None):
        if "raises" in sys.argv:
            raise ValueError("the weights are not those of this model")
        given = payload.inputs[0]
        output = InferOutput(name="y", shape=list(given.shape), datatype=given.datatype)
        output.set_data_from_numpy(given.as_numpy() * 2, binary_data="typed" not in sys.argv)
        return InferResponse(response_id=payload.id or "1", model_name=self.name, infer_outputs=[output])

arguments, _ = argparse.ArgumentParser(parents=[model_server.parser]).parse_known_args()
model = Double(arguments.model_name)
model.load()
ModelServer().start([model])
"""


@pytest.fixture
def model(tmp_path: pathlib.Path) -> pathlib.Path:
    """A model that is a program: twice what it is asked."""
    model = tmp_path / "double"
    model.mkdir()
    (model / "server.py").write_text(SERVER)
    return model


def spec_of(model: pathlib.Path, *modes: str, name: str = "double", **more: Any) -> dict[str, Any]:
    return {
        "open_inference": {
            "command": [python_of("kserve"), str(model / "server.py")],
            "extra_args": ["--model_name=double", "--http_port=${rest_port}", "--grpc_port=${grpc_port}", *modes],
            "inputs": {"x": "FP32[-1,3]"},
            "outputs": {"y": "FP32[-1,3]"},
            **more,
        },
        "local_process": {},
        "model_name": name,
    }


@pytest.mark.parametrize("answers", ["raw", "typed"])
@pytest.mark.parametrize("typed", [False, True], ids=["asked raw", "asked typed"])
def test_a_good_model_is_blessed(model: pathlib.Path, typed: bool, answers: str) -> None:
    report = validated(model, spec_of(model, answers, typed_contents=typed))
    assert report.blessed, report.finding
    assert (report.evidence.level, report.evidence.requests) == (EvidenceLevel.ANSWERED, 5)


def test_a_model_in_kserves_layout_is_blessed(model: pathlib.Path) -> None:
    spec = spec_of(model, layout={"kserve": {}}, extra_args=[])
    report = validated(model, spec)
    assert report.blessed, said(report)
    assert [path.name for path in model.iterdir()] == ["server.py"]


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_over_rest(model: pathlib.Path, binary: bool) -> None:
    report = validated(model, spec_of(model, protocol="rest", binary_data=binary))
    assert report.blessed, report.finding


@pytest.mark.parametrize(
    ("modes", "name"), [(["not_ready"], "double"), ([], "another")], ids=["not ready", "another model"]
)
def test_a_server_that_runs_without_the_model_is_not_enough(model: pathlib.Path, modes: list[str], name: str) -> None:
    report = validated(model, spec_of(model, *modes, name=name), seconds=10)
    assert report.verdict is Verdict.NOT_BLESSED
    assert report.finding.reason in (R.LOAD_TIMEOUT, R.SERVER_EXITED), report.finding


def test_a_model_that_fails_when_it_is_asked_has_its_words_in_the_log(model: pathlib.Path) -> None:
    report = validated(model, spec_of(model, "raises"))
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, R.REQUEST_FAILED)
    assert "INTERNAL: Internal server error" in report.finding.detail  # KServe's words for whatever a model raises
    assert "the weights are not those of this model" in report.serving_binaries[0].server_log


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_where_it_departs_from_the_protocol(
    model: pathlib.Path, capsys: pytest.CaptureFixture[str], protocol: str
) -> None:
    """What KServe 0.21.0 is known to do otherwise; another release may do more of it right."""
    told = departures(model, spec_of(model, protocol=protocol), "x=FP32[2,3]", capsys)
    assert told == {
        "metadata-tensors": "advice",
        "requested-output": "not judged",  # the model has one output
        "unknown-input": "advice",
        **({"unknown-version": "failed"} if protocol == "grpc" else NO_BINARY_DATA),  # any version is ready
    }
