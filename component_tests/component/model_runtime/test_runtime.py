"""The ModelRuntime as a process: our own contract test, its commands, real models, and the gate over it."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from component_tests.fakes.model_runtime.process import ROOT, RuntimeProcess, running
from component_tests.fakes.saved_models import BROKEN, SavedModels
from infra_validator import api
from infra_validator.conformance.points import Outcome
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.model_runtime import ModelRuntimeStub
from infra_validator.model_runtime.conformance.points import POINTS
from infra_validator.model_runtime.conformance.run import Model, Subject, run
from infra_validator.protos import model_runtime_pb2 as pb2
from infra_validator.protos import tensorflow_pb2
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2
from infra_validator.report.verdict import Verdict

PREDICT = "/tensorflow.serving.PredictionService/Predict"
LOADS_ALTHOUGH_BROKEN = ("missing_variables", "missing_tensor", "keras_attribute")  # they fail at the first request


@pytest.fixture(scope="module", params=["embedded", "tensorflow_serving"])
def runtime(
    request: pytest.FixtureRequest, saved_models: SavedModels, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RuntimeProcess]:
    """A runtime with each backend."""
    with running(request.param, saved_models.directory, tmp_path_factory.mktemp(request.param)) as process:
        yield process


def predict_request(value: float) -> bytes:
    request = serving_pb2.PredictRequest()
    request.inputs["x"].dtype = tensorflow_pb2.DT_FLOAT
    request.inputs["x"].tensor_shape.dim.add(size=1)
    request.inputs["x"].float_val.append(value)
    return request.SerializeToString()


def ask(target: str, model_id: str, value: float) -> float:
    request = serving_pb2.PredictRequest.FromString(predict_request(value))
    request.model_spec.name = model_id
    with grpc.insecure_channel(target) as channel:
        call: Any = channel.unary_unary(PREDICT, None, None)
        answer = serving_pb2.PredictResponse.FromString(call(request.SerializeToString(), timeout=60))
    return float(answer.outputs["y"].float_val[0])


def load(stub: ModelRuntimeStub, model_id: str, path: pathlib.Path) -> int:
    return int(stub.loadModel(pb2.LoadModelRequest(modelId=model_id, modelPath=str(path)), timeout=60).sizeInBytes)


def unload(stub: ModelRuntimeStub, model_id: str) -> None:
    stub.unloadModel(pb2.UnloadModelRequest(modelId=model_id), timeout=60)


# ---------------------------------------------------------------- the contract


def test_ours_departs_in_no_point(runtime: RuntimeProcess, saved_models: SavedModels) -> None:
    models = [Model(name, str(saved_models.path(name))) for name in ("matmul", "vocabulary")]
    subject = Subject(runtime.target, models, runtime.inference_target)
    try:
        subject.ask_status(60)
        results = run(subject, POINTS, lambda _: None)
    finally:
        subject.close()
    assert {r.point.name: r.detail for r in results if r.outcome in (Outcome.FAILED, Outcome.ADVICE)} == {}
    passed = {r.point.name for r in results if r.outcome is Outcome.PASSED}
    assert {"cancel-then-unload", "purge-loaded", "inference-id-bin", "load-again", "ids"} <= passed


def test_a_loaded_model_answers_and_an_unloaded_one_is_not_found(
    runtime: RuntimeProcess, saved_models: SavedModels
) -> None:
    with grpc.insecure_channel(runtime.target) as channel:
        stub = ModelRuntimeStub(channel)
        assert load(stub, "half/plus two", saved_models.base_path("half_plus_two")) > 10_000
        assert ask(runtime.inference_target, "half/plus two", 4.0) == 4.0
        unload(stub, "half/plus two")
    with pytest.raises(grpc.RpcError) as caught:
        ask(runtime.inference_target, "half/plus two", 4.0)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_broken_models_among_good_ones(runtime: RuntimeProcess, saved_models: SavedModels) -> None:
    with grpc.insecure_channel(runtime.target) as channel:
        stub = ModelRuntimeStub(channel)
        load(stub, "good", saved_models.path("half_plus_two"))
        for name in BROKEN:
            if name in LOADS_ALTHOUGH_BROKEN:
                continue
            with pytest.raises(grpc.RpcError) as caught:
                load(stub, name, saved_models.path(name))
            not_tried = caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert not_tried == (name == "no_pb"), f"{name}: {caught.value.code()}"
            assert caught.value.details()
            unload(stub, name)
        assert ask(runtime.inference_target, "good", 2.0) == 3.0
        unload(stub, "good")


def test_two_clients_at_once(runtime: RuntimeProcess, saved_models: SavedModels) -> None:
    path = str(saved_models.path("vocabulary"))
    with grpc.insecure_channel(runtime.target) as one, grpc.insecure_channel(runtime.target) as two:
        stubs = [ModelRuntimeStub(one), ModelRuntimeStub(two)]
        requests = [pb2.LoadModelRequest(modelId=f"m{i % 5}", modelPath=path) for i in range(20)]
        loads = [stubs[i % 2].loadModel.future(request, timeout=60) for i, request in enumerate(requests)]
        assert all(call.result().sizeInBytes > 0 for call in loads)
        unloads = [stubs[i % 2].unloadModel.future(pb2.UnloadModelRequest(modelId=f"m{i % 5}")) for i in range(20)]
        assert all(call.result(60) == pb2.UnloadModelResponse() for call in unloads)
        with pytest.raises(grpc.RpcError):
            stubs[0].modelSize(pb2.ModelSizeRequest(modelId="m0"), timeout=20)


# ---------------------------------------------------------------- TensorFlow Serving and its adapter, one without the other


def test_a_new_adapter_purges_what_a_killed_one_has_loaded(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    with running("tensorflow_serving", saved_models.directory, tmp_path) as killed:
        with grpc.insecure_channel(killed.target) as channel:
            load(ModelRuntimeStub(channel), "left/behind", saved_models.path("half_plus_two"))
        runtime = killed.again()
        try:
            assert ask(killed.inference_target, "left/behind", 4.0) == 4.0
            with grpc.insecure_channel(runtime.target) as channel:
                stub = ModelRuntimeStub(channel)
                status = stub.runtimeStatus(pb2.RuntimeStatusRequest(), timeout=60)
                assert status.status == pb2.RuntimeStatusResponse.READY
                with pytest.raises(grpc.RpcError) as caught:
                    ask(killed.inference_target, "left/behind", 4.0)
                assert caught.value.code() is grpc.StatusCode.NOT_FOUND
                load(stub, "left/behind", saved_models.path("half_plus_two"))
            assert list((tmp_path / "adapted").iterdir())
        finally:
            assert runtime.stop() == 0
        assert not list((tmp_path / "adapted").iterdir())


def test_an_adapter_without_its_server_is_starting_and_says_why(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    with running("tensorflow_serving", saved_models.directory, tmp_path) as runtime:
        assert runtime.server is not None
        runtime.server.kill()
        runtime.server.wait(30)
        with grpc.insecure_channel(runtime.target) as channel:
            stub = ModelRuntimeStub(channel)
            status = stub.runtimeStatus(pb2.RuntimeStatusRequest(), timeout=60)
            assert status.status == pb2.RuntimeStatusResponse.STARTING
            with pytest.raises(grpc.RpcError) as caught:
                load(stub, "m", saved_models.path("half_plus_two"))
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert "TensorFlow Serving" in (caught.value.details() or "")
            unload(stub, "never loaded")


# ---------------------------------------------------------------- the commands


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "infra_validator", "model-runtime", *arguments]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def check(target: str, path: pathlib.Path | str, *more: str) -> subprocess.CompletedProcess[str]:
    named = ["--address", target, "--model-id", "m", "--model-type", "tensorflow", "--model-path", str(path)]
    return command("check", *named, *more)


@pytest.fixture(scope="module")
def embedded(saved_models: SavedModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    with running("embedded", saved_models.directory, tmp_path_factory.mktemp("commands")) as process:
        yield process


def test_check_is_0_when_loaded_sized_and_unloaded(embedded: RuntimeProcess, saved_models: SavedModels) -> None:
    done = check(embedded.target, saved_models.path("matmul"), "--format", "json", "--model-key", '{"model_type": "t"}')
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    measured = result["measurements"]
    assert result["reason"] is None
    assert 4_000_000 < measured["size_bytes"] <= measured["predicted_bytes"]
    assert measured["notes"] == []


@pytest.mark.parametrize(
    ("name", "reason"), [("unknown_op", "MODEL_LOAD_FAILED"), ("no_pb", "MODEL_LOAD_FAILED")], ids=["op", "no model"]
)
def test_check_is_1_when_the_model_is_refused(
    embedded: RuntimeProcess, saved_models: SavedModels, name: str, reason: str
) -> None:
    done = check(embedded.target, saved_models.path(name), "--format", "json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["reason"] == reason


def test_check_is_1_when_it_is_no_model_runtime(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    with running("tensorflow_serving", saved_models.directory, tmp_path) as process:
        done = check(process.inference_target, saved_models.path("matmul"))
    assert done.returncode == 1
    assert "RUNTIME_BROKE_CONTRACT" in done.stderr
    assert "UNIMPLEMENTED" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--address", "localhost:1"),
        ("--address", "nonsense", "--model-id", "m", "--model-type", "t", "--model-path", "/m"),
        ("--address", "localhost:1", "--model-id", "", "--model-type", "t", "--model-path", "/m"),
        ("--address", "localhost:1", "--model-id", "m", "--model-type", "t", "--model-path", "/m", "--model-key", "[]"),
        (
            "--address",
            "localhost:1",
            "--model-id",
            "m",
            "--model-type",
            "t",
            "--model-path",
            "/m",
            "--load-timeout",
            "0",
        ),
    ],
    ids=["nothing", "half", "address", "empty id", "key", "timeout"],
)
def test_check_is_2_for_wrong_usage(arguments: tuple[str, ...]) -> None:
    done = command("check", *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_check_and_conformance_are_3_when_nobody_answers() -> None:
    done = check("localhost:1", "/m", "--start-timeout", "0.5", "--format", "json")
    assert done.returncode == 3
    assert "Nobody answered at localhost:1" in json.loads(done.stdout)["detail"]
    done = command("conformance", "--target", "localhost:1", "--model", "m=/m", "--start-timeout", "0.5")
    assert done.returncode == 3


def test_conformance_prints_text_json_and_junit(embedded: RuntimeProcess, saved_models: SavedModels) -> None:
    base = [
        "conformance",
        "--target",
        embedded.target,
        "--model",
        f"m={saved_models.path('vocabulary')}",
        "--only",
        "load",
    ]
    text = command(*base)
    assert text.returncode == 0
    assert text.stdout.splitlines()[-1] == "1 passed, 0 failed, 0 advice, 0 not judged"
    assert json.loads(command(*base, "--format", "json").stdout)["conforms"] is True
    assert '<testcase classname="mmesh.ModelRuntime" name="load"' in command(*base, "--format", "junit").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (("--model-root", "/does/not/exist"), 2, "--model-root"),
        (("--model-root", "/tmp", "--backend", "nobody"), 2, "no backend 'nobody'"),
        (("--model-root", "/tmp", "--port", "70000"), 2, "70000"),
        (("--model-root", "/tmp", "--capacity", "10m"), 2, "capacityInBytes"),
        (("--model-root", "/tmp", "--max-loading-concurrency", "0"), 2, "maxLoadingConcurrency"),
        (("--model-root", "/tmp", "--unix-socket", "/does/not/exist/socket"), 2, "directory does not exist"),
        (("--model-root", "/tmp", "--unix-socket", "/dev/null"), 2, "is no socket"),
    ],
)
def test_a_runtime_that_cannot_be_started_says_why(arguments: tuple[str, ...], code: int, named: str) -> None:
    done = command(*arguments)
    assert (done.returncode, named in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_and_a_taken_socket_are_refused(
    embedded: RuntimeProcess, saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    root = str(saved_models.directory)
    done = command("--model-root", root, "--host", "127.0.0.1", "--port", embedded.target.rpartition(":")[2])
    assert (done.returncode, "Cannot listen on" in done.stderr) == (2, True), done.stderr
    path = tmp_path / "grpc.sock"
    with running("embedded", saved_models.directory, tmp_path, "--unix-socket", str(path)):
        assert check(f"unix:{path}", saved_models.path("vocabulary")).returncode == 0
        assert command("--model-root", root, "--unix-socket", str(path)).returncode == 2


def test_sigterm_ends_it_in_the_middle_of_a_load(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    with running("embedded", saved_models.directory, tmp_path) as process:
        with grpc.insecure_channel(process.target) as channel:
            path = str(saved_models.path("matmul"))
            calls = [
                ModelRuntimeStub(channel).loadModel.future(pb2.LoadModelRequest(modelId=str(i), modelPath=path))
                for i in range(20)
            ]
            process.process.send_signal(signal.SIGTERM)
            assert process.process.wait(30) == 0
            assert all(call.done() or call.exception(20) for call in calls)


# ---------------------------------------------------------------- memory


def _resident(pid: int) -> int:
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no RssAnon")


def test_a_cancelled_loads_memory_is_given_back(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    path = str(saved_models.path("matmul"))
    with running("embedded", saved_models.directory, tmp_path, "--max-loading-concurrency", "8") as process:
        with grpc.insecure_channel(process.target) as channel:
            stub = ModelRuntimeStub(channel)

            def load_eight() -> list[Any]:
                requests = [pb2.LoadModelRequest(modelId=f"m{i}", modelPath=path) for i in range(8)]
                return [stub.loadModel.future(request) for request in requests]

            for _ in range(3):  # what the process needs anyhow: threads and their arenas
                for call in load_eight():
                    call.result(60)
                for i in range(8):
                    unload(stub, f"m{i}")
            time.sleep(0.6)
            before = _resident(process.process.pid)
            calls = load_eight()
            time.sleep(0.02)
            for i, call in enumerate(calls):
                call.cancel()
                unload(stub, f"m{i}")
            limit = before + 8 * 2**20  # eight such models take 38 MiB

            def back() -> bool | None:
                return _resident(process.process.pid) <= limit or None

            wait_until(back, Deadline.after(20))


# ---------------------------------------------------------------- the gate

LIMITS = {"num_tries": 1, "max_loading_time_seconds": 120}


def requests() -> list[SampleRequest]:
    return [SampleRequest(PREDICT, "serving_default", predict_request(float(i)), f"request {i}") for i in range(20)]


@pytest.mark.parametrize("unix", [False, True])
def test_a_good_model_is_blessed_through_our_runtime(
    saved_models: SavedModels, tmp_path: pathlib.Path, unix: bool
) -> None:
    config = {"unix_socket": str(tmp_path / "grpc.sock")} if unix else {"capacity": "2g"}
    spec = {"model_runtime": config, "local_process": {}, "model_name": "gate"}
    report = api.run_validation(saved_models.path("half_plus_two"), spec, LIMITS, requests=requests)
    assert report.verdict is Verdict.BLESSED, report.finding
    attempt = report.serving_binaries[0].attempts[0]
    assert attempt.requests_sent == 20
    assert [phase.name for phase in attempt.phases] == [
        *("prepare", "start", "schedule", "load", "query", "unload", "stop")
    ]


def test_what_model_mesh_would_put_up_with_is_a_warning(saved_models: SavedModels) -> None:
    command = [
        sys.executable,
        "-m",
        "component_tests.fakes.model_runtime.departing_process",
        "${grpc_port}",
        "size-told",
    ]
    spec = {
        "model_runtime": {"command": command[:1], "extra_args": command[1:]},
        "local_process": {"env": {"PYTHONPATH": str(ROOT)}},
    }
    report = api.run_validation(saved_models.path("half_plus_two"), spec, LIMITS)
    assert report.verdict is Verdict.BLESSED, report.finding
    (warning,) = report.warnings
    assert (
        "modelSize failed (UNIMPLEMENTED: no sizes here); model-mesh keeps the predicted size of 200 bytes." in warning
    )


def test_a_model_that_does_not_load_is_not_blessed(saved_models: SavedModels) -> None:
    spec: Any = {"model_runtime": {}, "local_process": {}}
    report = api.run_validation(saved_models.path("unknown_op"), spec, LIMITS)
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, ReasonCode.MODEL_LOAD_FAILED)
    assert "OpThatNobodyHas" in report.finding.detail


def test_a_runtime_of_ones_own_is_started_by_its_command(saved_models: SavedModels) -> None:
    command = [sys.executable, "-m", "infra_validator", "model-runtime"]
    arguments = ["--port=${grpc_port}", "--host=${bind_address}", f"--model-root={saved_models.directory}"]
    spec = {
        "model_runtime": {"command": command, "extra_args": arguments},
        "local_process": {"env": {"PYTHONPATH": str(ROOT)}},
    }
    report = api.run_validation(saved_models.path("half_plus_two"), spec, LIMITS, requests=requests)
    assert report.verdict is Verdict.BLESSED, report.finding


def test_a_method_that_model_mesh_would_not_forward_is_named(saved_models: SavedModels) -> None:
    method = "/tensorflow.serving.PredictionService/MultiInference"
    spec = {"model_runtime": {"method": method}, "local_process": {}}
    report = api.run_validation(saved_models.path("half_plus_two"), spec, LIMITS, requests=requests)
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, ReasonCode.RUNTIME_BROKE_CONTRACT)
    assert "MultiInference is not among its methodInfos" in report.finding.detail


def test_nothing_of_ours_is_left_in_the_environment() -> None:
    assert "TF_ONEDNN_USE_SYSTEM_ALLOCATOR" not in os.environ
