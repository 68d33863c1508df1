"""The official stubs of tensorflow-serving-api, in a process of their own, call every method once."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from component_tests.fakes.servers.embedded_server_process import ROOT, EmbeddedServerProcess

pytestmark = [pytest.mark.slow, pytest.mark.tfx]  # the package comes with TFX and imports TensorFlow


def test_3_1_official_stubs_call_every_method(server: EmbeddedServerProcess) -> None:
    script = ROOT / "component_tests" / "fakes" / "official_client.py"
    command = [sys.executable, "-W", "ignore", str(script), f"127.0.0.1:{server.ports()['grpc']}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == {
        "predict": [2.5, 3.0, 4.5],
        "predict_spec": ["serving_default", 1],
        "classify": [["2.000000", 3.0], ["other", 4.0]],
        "regress": [4.0],
        "multi_inference": ["regression_result", "classification_result"],
        "metadata_unpacks": True,
        "metadata": "x:0",
        "status": [[1, 30]],
        "reload": [
            "INVALID_ARGUMENT",
            "Expected model half_plus_two to have an absolute path or URI; got base_path()=relative",
        ],
        "session_run": "UNIMPLEMENTED",
    }
