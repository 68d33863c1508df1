"""The probe and its sidecar against the embedded model server with real SavedModels."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest

from component_tests.fakes.saved_models import SavedModels
from component_tests.fakes.servers.embedded_server_process import embedded_server
from infra_validator.probe.command import main

SAMPLE = {"inputs": {"x": {"dtype": "DT_FLOAT", "shape": [3], "values": [1.0, 2.0, 5.0]}}}


@pytest.mark.parametrize("transport", ["own", "grpcio"])
def test_a_served_model(
    saved_models: SavedModels, tmp_path: pathlib.Path, transport: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        saved_models.copy("half_plus_two_tf2", tmp_path / "half", number)
    config = tmp_path / "models.config"
    config.write_text(
        f"""model_config_list {{ config {{
          name: "half" base_path: "{tmp_path}/half" model_platform: "tensorflow"
          model_version_policy {{ all {{}} }}
          version_labels {{ key: "stable" value: 1 }} }} }}"""
    )
    sample = tmp_path / "sample.json"
    sample.write_text(json.dumps(SAMPLE))
    with embedded_server(
        f"--model_config_file={config}", "--allow_version_labels_for_unavailable_models=true"
    ) as server:

        def probe(*arguments: str) -> int:
            capfd.readouterr()
            address = f"-addr=127.0.0.1:{server.ports()['grpc']}"
            return main([address, "-connect-timeout=60s", f"-transport={transport}", *arguments])

        assert probe("-model-name=half", "--wait=60s") == 0
        assert "model_version_status:{version:1 state:AVAILABLE status:{}}" in capfd.readouterr().err
        assert probe("-model-name=half", "-model-version=2", "--wait=60s") == 0
        assert probe("-model-name=half", "-model-version=3") == 12
        assert probe("-model-name=other") == 10
        assert "Could not find any versions of model other" in capfd.readouterr().err
        assert probe("-model-name=half", "--version-label=stable", f"--infer={sample}") == 0
        assert "Sample request succeeded" in capfd.readouterr().err
        assert probe("-model-name=half", "--version-label=canary") == 12
        assert "Unrecognized servable version label: canary" in capfd.readouterr().err
        sample.write_text(json.dumps({"inputs": {"no_such_input": SAMPLE["inputs"]["x"]}}))
        assert probe("-model-name=half", f"--infer={sample}") == 40
        assert "Sample request failed: rpc error: code = InvalidArgument" in capfd.readouterr().err


def test_a_new_version_that_fails_is_seen_by_latest(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    saved_models.copy("half_plus_two_tf2", tmp_path / "half", 1)
    flags = ["--model_name=half", f"--model_base_path={tmp_path}/half", "--file_system_poll_wait_seconds=1"]
    with embedded_server(*flags) as server:
        address = f"-addr=127.0.0.1:{server.ports()['grpc']}"
        assert main([address, "-model-name=half", "--policy=latest", "--wait=60s"]) == 0
        saved_models.copy("unknown_op", tmp_path / "half", 2)
        asked = [address, "-model-name=half"]
        server.wait_until(lambda: main([*asked, "--policy=latest", "--distinguish-failed"]) == 35, "END after an error")
        assert main(asked) == 0, "the original's rule: any AVAILABLE version is enough"
        assert main([*asked, "--policy=all"]) == 34


def test_a_server_that_is_still_starting(saved_models: SavedModels) -> None:
    """The probe comes first: it dials until the port opens."""
    base = saved_models.base_path("half_plus_two_tf2")
    with embedded_server("--model_name=half", f"--model_base_path={base}", wait=False) as server:
        address = f"-addr=127.0.0.1:{server.ports()['grpc']}"
        command = [sys.executable, "-m", "infra_validator.probe", address, "-model-name=half", "-connect-timeout=120s"]
        assert subprocess.run(command, timeout=150, check=False).returncode == 0
