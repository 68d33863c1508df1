"""Whole validations of models that are no SavedModel, in the layouts of model repositories: as a process, and in a pod."""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Any

import pytest

from component_tests.fakes.kubernetes_api import FakeCluster, Image
from component_tests.fakes.kubernetes_pods import ROOT, SHELL
from infra_validator import run_validation
from infra_validator.cli.main import main
from infra_validator.core.reason_codes import ReasonCode as R
from infra_validator.report.evidence import EvidenceLevel
from infra_validator.report.verdict import ValidationReport, Verdict

pytestmark = pytest.mark.slow

SERVER = "component_tests.fakes.servers.repository_server"
IMPLEMENTATION = {"implementation": "mlserver_sklearn.SKLearnModel", "uri": "weights.bin"}
CONFIG = 'backend: "python"\n'
SETTINGS = json.dumps({"name": "m", "implementation": "x.Y", "parameters": {"uri": "./weights.bin"}})

#: name -> (layout, the model's files)
LAYOUTS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "mlserver made": ({"mlserver": IMPLEMENTATION}, {"weights.bin": "weights"}),
    "mlserver given": ({"mlserver": {}}, {"weights.bin": "weights", "model-settings.json": SETTINGS}),
    "kserve": ({"kserve": {}}, {"weights.bin": "weights"}),
    "triton made": ({"triton": {"backend": "python"}}, {"weights.bin": "weights"}),
    "triton given": ({"triton": {}}, {"1/weights.bin": "weights", "config.pbtxt": CONFIG}),
    "plain": ({"plain": {}}, {"weights.bin": "weights"}),
}
PROTOCOLS = ("grpc", "rest")


def model_of(directory: pathlib.Path, files: dict[str, str]) -> pathlib.Path:
    model = directory / "model"
    for name, text in files.items():
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_text(text)
    return model


def served(layout: dict[str, Any], protocol: str = "grpc", *arguments: str, **more: Any) -> dict[str, Any]:
    """A serving spec but for the platform; nothing but the layout says where the model is, unless it is plain."""
    port = "--http_port=${rest_port}" if protocol == "rest" else "--grpc_port=${grpc_port}"
    plain = ("--model_dir=${model_path}", "--model_name=m", port) if "plain" in layout else ()
    return {
        "open_inference": {
            "layout": layout,
            "protocol": protocol,
            "extra_args": [*plain, *arguments],
            "env": {"PYTHONPATH": str(ROOT)},
            "inputs": {"x": "FP32[-1]"},
            "outputs": {"x": "FP32[-1]"},
            **more,
        },
        "model_name": "m",
    }


def on_this_machine(layout: dict[str, Any], protocol: str = "grpc", *arguments: str) -> dict[str, Any]:
    return {**served(layout, protocol, *arguments, command=[sys.executable, "-m", SERVER]), "local_process": {}}


def validated(model: pathlib.Path, spec: dict[str, Any]) -> ValidationReport:
    return run_validation(model, spec, {"num_tries": 1, "max_loading_time_seconds": 30}, {"generate": {}})


def files_in(model: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(model)): path.read_bytes() for path in model.rglob("*") if path.is_file()}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", LAYOUTS)
def test_as_a_process(tmp_path: pathlib.Path, kind: str, protocol: str) -> None:
    layout, files = LAYOUTS[kind]
    model = model_of(tmp_path, files)
    before = files_in(model)
    report = validated(model, on_this_machine(layout, protocol))
    assert report.blessed, (report.finding, report.serving_binaries[0].server_log)
    assert (report.evidence.level, report.evidence.digest_verified) == (EvidenceLevel.ANSWERED, True)
    assert files_in(model) == before


def test_what_a_server_writes_beside_the_models_files_does_not_come_into_the_model(tmp_path: pathlib.Path) -> None:
    layout, files = LAYOUTS["triton given"]
    model = model_of(tmp_path, files)
    before = files_in(model)
    report = validated(model, on_this_machine(layout, "grpc", "--write=${model_path}/1/__pycache__"))
    assert report.blessed, (report.finding, report.serving_binaries[0].server_log)
    assert "wrote" in report.serving_binaries[0].server_log
    assert files_in(model) == before


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", LAYOUTS)
def test_in_a_pod(tmp_path: pathlib.Path, kind: str, protocol: str) -> None:
    layout, files = LAYOUTS[kind]
    image = Image({"/bin/server": (sys.executable, "-m", SERVER, "+--bind_address={ip}"), **SHELL})
    with FakeCluster(images={"inference:1": image}) as cluster:
        spec = {
            **served(layout, protocol, image="inference:1", command=["/bin/server"], port=28500),
            "kubernetes": {"kubeconfig": cluster.kubeconfig(tmp_path)},
        }
        report = validated(model_of(tmp_path, files), spec)
        cluster.wait_for(lambda: not cluster.pods())
    assert report.blessed, (report.finding, report.serving_binaries[0].server_log)


def test_the_digest_is_of_the_models_own_files(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is made beside it: one model has one digest, and a verdict of one layout holds for it in another."""
    layout, files = LAYOUTS["triton made"]
    model = model_of(tmp_path, files)
    digests = {validated(model, on_this_machine(LAYOUTS[kind][0])).model_digest for kind in ("kserve", "mlserver made")}
    arguments = ["--model", str(model), "--serving-spec", json.dumps(on_this_machine(layout)), "--generate", "--quiet"]
    assert main(["validate", *arguments, "--output", str(tmp_path / "o")]) == 0
    verdict = json.loads((tmp_path / "o" / "verdict.json").read_text())
    assert digests == {verdict["model_digest"]}
    assert main(["verify", "--model", str(model), "--verdict", str(tmp_path / "o"), "--require", "answered"]) == 0
    (model / "weights.bin").write_text("others")
    assert main(["verify", "--model", str(model), "--verdict", str(tmp_path / "o")]) == 1
    assert "not the blessed model" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "name", "text", "said"),
    [
        ("mlserver given", "model-settings.json", "{", "model-settings.json is not JSON: "),
        ("triton given", "config.pbtxt", "name: {", "config.pbtxt is no text proto of a ModelConfig: line 1"),
    ],
)
def test_a_model_whose_own_file_is_broken_starts_nothing(
    tmp_path: pathlib.Path, kind: str, name: str, text: str, said: str
) -> None:
    layout, files = LAYOUTS[kind]
    model = model_of(tmp_path, {**files, name: text})
    report = validated(model, on_this_machine(layout))
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, R.MODEL_REPOSITORY_BROKEN)
    assert said in report.finding.detail
    assert not report.serving_binaries[0].attempts


def test_another_name_is_the_users_mistake(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout, files = LAYOUTS["mlserver given"]
    model = model_of(tmp_path, {**files, "model-settings.json": SETTINGS.replace('"m"', '"other"')})
    assert main(["validate", "--model", str(model), "--serving-spec", json.dumps(on_this_machine(layout))]) == 2
    assert "serving_spec.model_name: is 'm', but the field name of" in capsys.readouterr().out
