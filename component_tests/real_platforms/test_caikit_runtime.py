"""caikit's own ModelRuntime, in an environment of its own, under our client, our command and our conformance test."""

from __future__ import annotations

import json
import os
import pathlib
import re
import socket
import subprocess
import sys
from collections.abc import Iterator

import grpc
import pytest

from component_tests.conftest import python_of
from infra_validator.conformance.points import Outcome
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.model_runtime.conformance.points import POINTS
from infra_validator.model_runtime.conformance.run import Model as ConformanceModel
from infra_validator.model_runtime.conformance.run import Subject, run

pytestmark = pytest.mark.caikit

ROOT = pathlib.Path(__file__).parents[2]
LIBRARY = ROOT / "component_tests" / "fakes" / "caikit_library"
METHOD = "/caikit.runtime.SlowEcho.SlowEchoService/EchoTaskPredict"

#: What caikit 0.29.0 is known to do otherwise than the contract says.
FAILED = {
    "method-infos": "methodInfos is empty",
    "load-joined": "answered OK while the first was still under way",
    "purge-loaded": "a model is still loaded",
    "purge-loading": "loading when runtimeStatus was asked is loaded afterwards",
    "inference-id-bin": "whose id is not ASCII|whatever mm-model-id-bin says",
}
ADVICE = {
    "size-loading": "modelSize answered OK while loadModel was still under way",
    "empty-id": "UNKNOWN",
    "missing-path-code": "NOT_FOUND",
    "unload-in-load": "answered OK although the model was unloaded",
}


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A caikit model that takes a second to load."""
    directory = tmp_path_factory.mktemp("caikit") / "slow"
    directory.mkdir()
    (directory / "config.yml").write_text("module_id: a3b1c5d2-0000-4000-8000-00000000c0de\nseconds: 1.0\n")
    (directory / "weights.bin").write_bytes(bytes(200_000))
    return directory


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running caikit runtime. It takes no port 0, so a free one is looked for."""
    directory = tmp_path_factory.mktemp("caikit-runtime")
    port = _free_port()
    config = directory / "config.yml"
    config.write_text(
        f"runtime:\n  library: slow_echo\n  grpc: {{enabled: true, port: {port}}}\n"
        "  http: {enabled: false}\n  metrics: {enabled: false}\nlog: {level: warning}\n"
    )
    environment = {**os.environ, "CONFIG_FILES": str(config), "PYTHONPATH": str(LIBRARY)}
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [python_of("caikit"), "-m", "caikit.runtime.grpc_server"],
            env=environment,
            stdout=log,
            stderr=log,
            cwd=directory,
        )
    try:
        target = f"127.0.0.1:{port}"

        def up() -> bool | None:
            assert process.poll() is None, (directory / "log").read_text()[-4000:]
            with grpc.insecure_channel(target) as channel:
                try:
                    grpc.channel_ready_future(channel).result(1)
                except grpc.FutureTimeoutError:
                    return None
            return True

        wait_until(up, Deadline.after(120))
        yield target
    finally:
        process.kill()
        process.wait(30)


def test_the_known_departures_are_found_and_no_others(target: str, model: pathlib.Path) -> None:
    subject = Subject(target, [ConformanceModel("slow", str(model), "slow")], method=METHOD)
    try:
        subject.ask_status(60)
        results = run(subject, POINTS, lambda _: None)
    finally:
        subject.close()
    found = {r.point.name: r.detail for r in results if r.outcome is Outcome.FAILED}
    advice = {r.point.name: r.detail for r in results if r.outcome is Outcome.ADVICE}
    assert set(found) == set(FAILED), found
    assert set(advice) == set(ADVICE), advice
    for name, detail in {**found, **advice}.items():
        assert re.search({**FAILED, **ADVICE}[name], detail), detail


def test_check_loads_sizes_and_unloads(target: str, model: pathlib.Path) -> None:
    command = [sys.executable, "-m", "infra_validator", "model-runtime", "check", "--address", target]
    command += ["--model-id", "m", "--model-type", "slow", "--model-path", str(model), "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["measurements"]["size_bytes"] > 200_000


def test_our_classes_load_beside_caikits_and_both_serve_in_one_process() -> None:
    code = """
import grpc
from concurrent import futures
from caikit.runtime.protobufs import model_runtime_pb2 as theirs, model_runtime_pb2_grpc as their_grpc
from infra_validator import model_runtime as ours

class Servicer(ours.ModelRuntimeServicer):
    def loadModel(self, request, context):
        return ours.LoadModelResponse(sizeInBytes=len(request.modelKey), maxConcurrency=2)

server = grpc.server(futures.ThreadPoolExecutor(2))
ours.add_ModelRuntimeServicer_to_server(Servicer(), server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    answer = their_grpc.ModelRuntimeStub(channel).loadModel(theirs.LoadModelRequest(modelId="m", modelKey="1234"), timeout=20)
    print(answer.sizeInBytes, answer.maxConcurrency)
server.stop(None).wait()
for name in ("LoadModelRequest", "RuntimeStatusResponse", "PredictModelSizeResponse"):
    mine, other = getattr(ours, name).DESCRIPTOR, getattr(theirs, name).DESCRIPTOR
    fields = lambda message: sorted((f.name, f.number, f.type, f.label) for f in message.fields)
    assert fields(mine) == fields(other), name
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [python_of("caikit"), "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-2:] == ["4", "2"]
