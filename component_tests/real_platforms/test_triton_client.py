"""Triton's own client, out of MLServer's environment, against the embedded server: a reader of the protocol that is not ours."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from component_tests.conftest import python_of
from component_tests.fakes.all_datatypes import write_all_datatypes
from component_tests.fakes.saved_models import ROOT, SavedModels
from component_tests.fakes.servers.embedded_server_process import embedded_server
from infra_validator.core.datatypes import OPEN_INFERENCE_DATATYPES

pytestmark = pytest.mark.mlserver

CLIENT = ROOT / "component_tests" / "fakes" / "triton_client.py"
WITHOUT_JSON = {"FP16", "BF16", "BYTES"}  # BYTES: the client's values are no UTF-8


@pytest.fixture(scope="module")
def told(saved_models: SavedModels, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    base_path = tmp_path_factory.mktemp("triton_client") / "m"
    write_all_datatypes(saved_models, base_path)
    with embedded_server(f"--model_base_path={base_path}", "--model_name=m", "--enable_open_inference") as server:
        addresses = [f"127.0.0.1:{server.ports()[protocol]}" for protocol in ("grpc", "rest")]
        command = [python_of("mlserver"), str(CLIENT), *addresses, "m"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert "Traceback" not in server.stderr
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("way", ["grpc", "rest", "rest_binary"])
def test_it_understands_the_embedded_server(told: dict[str, Any], way: str) -> None:
    seen = told[way]
    assert (seen["live"], seen["ready"], seen["model_ready"], seen["nobody_ready"]) == (True, True, True, False)
    assert seen["server"] == "infra-validator embedded server"
    assert sorted(seen["inputs"]) == sorted(OPEN_INFERENCE_DATATYPES)
    assert set(seen["asked"]) == set(OPEN_INFERENCE_DATATYPES) - (WITHOUT_JSON if way == "rest" else set())
    assert (seen["differ"], seen["id"]) == ([], "42")
    assert "the input 'BOOL' is missing" in seen["refused"]
    assert (seen["after_unload"], seen["index"]) == (False, ["READY"])
