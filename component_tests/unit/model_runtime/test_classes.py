"""The generated-style classes of mmesh.ModelRuntime: names, paths, arguments, and both ends against each other."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest

from infra_validator import model_runtime
from infra_validator.protos import model_runtime_pb2 as pb2
from infra_validator.protos.model_runtime_pb2_grpc import METHODS as METHOD_TABLE

METHODS = ("loadModel", "unloadModel", "predictModelSize", "modelSize", "runtimeStatus")


class _Loads(model_runtime.ModelRuntimeServicer):
    def loadModel(self, request: pb2.LoadModelRequest, context: Any) -> pb2.LoadModelResponse:
        return pb2.LoadModelResponse(sizeInBytes=len(request.modelPath), maxConcurrency=3)


@pytest.fixture
def target() -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    model_runtime.add_ModelRuntimeServicer_to_server(_Loads(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_stub_and_servicer_speak_under_the_original_path(target: str) -> None:
    with grpc.insecure_channel(target) as channel:
        answer = model_runtime.ModelRuntimeStub(channel).loadModel(
            pb2.LoadModelRequest(modelId="m", modelPath="1234"), timeout=10
        )
        call: Any = channel.unary_unary  # without serializers it takes and gives bytes
        raw = call("/mmesh.ModelRuntime/loadModel")(b"\x1a\x0512345", timeout=10)
    assert (answer.sizeInBytes, answer.maxConcurrency) == (4, 3)
    assert raw == b"\x08\x05\x10\x03"


@pytest.mark.parametrize("method", METHODS[1:])
def test_what_is_not_overridden_is_unimplemented(target: str, method: str) -> None:
    request = METHOD_TABLE[method].request()
    with grpc.insecure_channel(target) as channel:
        stub = model_runtime.ModelRuntimeStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            getattr(stub, method)(request, timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert caught.value.details() == "Method not implemented!"


@pytest.mark.filterwarnings("ignore::grpc.experimental.ExperimentalApiWarning")
def test_the_static_api_calls_without_a_stub(target: str) -> None:
    answer = model_runtime.ModelRuntime.loadModel(
        pb2.LoadModelRequest(modelId="m", modelPath="ab"), target, insecure=True, timeout=10, metadata=(("k", "v"),)
    )
    assert answer.sizeInBytes == 2


@pytest.mark.parametrize("method", METHODS)
def test_the_static_api_has_the_documented_parameters(method: str) -> None:
    parameters = inspect.signature(getattr(model_runtime.ModelRuntime, method)).parameters
    assert {name: p.default for name, p in parameters.items()} == {
        "request": inspect.Parameter.empty,
        "target": inspect.Parameter.empty,
        "options": (),
        "channel_credentials": None,
        "call_credentials": None,
        "insecure": False,
        "compression": None,
        "wait_for_ready": None,
        "timeout": None,
        "metadata": None,
    }


def test_our_symbols_do_not_collide_with_the_original_ones() -> None:
    assert pb2.DESCRIPTOR.package == "infra_validator.model_runtime"
    assert pb2.DESCRIPTOR.name == "infra_validator/protos/model_runtime.proto"


def test_importing_the_package_imports_no_tensorflow() -> None:
    code = "import sys, infra_validator.model_runtime; print(sorted({'tensorflow', 'numpy', 'tfx'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    assert out.strip() == "[]"
