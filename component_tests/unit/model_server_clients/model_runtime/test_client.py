"""The ModelRuntime client against runtimes that do what they should not: each is told as what model-mesh would do with it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest

from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.model_runtime import ModelRuntimeServicer, add_ModelRuntimeServicer_to_server
from infra_validator.model_server_clients.model_runtime.client import ModelRuntimeClient
from infra_validator.protos import model_runtime_pb2 as pb2

READY: dict[str, Any] = {
    "status": pb2.RuntimeStatusResponse.READY,
    "capacityInBytes": 2**30,
    "maxLoadingConcurrency": 1,
    "modelLoadingTimeoutMs": 20_000,
    "defaultModelSizeInBytes": 2**20,
}


class Runtime(ModelRuntimeServicer):
    """Answers what a test says, and notes what it was asked.

    Attributes:
      calls: the RPCs, in order.
      keys: modelKey of the loads, in order.
      statuses: the answers of runtimeStatus, in order; the last one is repeated.
    """

    def __init__(self, **answers: Any) -> None:
        self.calls: list[str] = []
        self.keys: list[str] = []
        self.statuses: list[dict[str, Any]] = [READY]
        self.size = 7
        self.later_size: int | grpc.StatusCode = 0
        self.predicted: int | grpc.StatusCode = grpc.StatusCode.UNIMPLEMENTED
        self.load_code: grpc.StatusCode | None = None
        self.unload_code: grpc.StatusCode | None = None
        self.hangs = False
        self.cancelled = threading.Event()
        self.max_concurrency = 0
        for name, answer in answers.items():
            assert hasattr(self, name)
            setattr(self, name, answer)

    def runtimeStatus(self, request: pb2.RuntimeStatusRequest, context: Any) -> pb2.RuntimeStatusResponse:
        self.calls.append("status")
        fields = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return pb2.RuntimeStatusResponse(**fields)

    def predictModelSize(self, request: pb2.PredictModelSizeRequest, context: Any) -> pb2.PredictModelSizeResponse:
        self.calls.append("predict")
        return pb2.PredictModelSizeResponse(sizeInBytes=_or_abort(context, self.predicted))

    def loadModel(self, request: pb2.LoadModelRequest, context: Any) -> pb2.LoadModelResponse:
        self.calls.append("load")
        self.keys.append(request.modelKey)
        assert context.time_remaining() is None or context.time_remaining() > 1e9, "model-mesh sets no deadline"
        context.add_callback(self.cancelled.set)
        if self.hangs:
            self.cancelled.wait(20)
        if self.load_code is not None:
            context.abort(self.load_code, "no such operation")
        return pb2.LoadModelResponse(sizeInBytes=self.size, maxConcurrency=self.max_concurrency)

    def modelSize(self, request: pb2.ModelSizeRequest, context: Any) -> pb2.ModelSizeResponse:
        self.calls.append("size")
        return pb2.ModelSizeResponse(sizeInBytes=_or_abort(context, self.later_size))

    def unloadModel(self, request: pb2.UnloadModelRequest, context: Any) -> pb2.UnloadModelResponse:
        self.calls.append("unload")
        if self.unload_code is not None:
            context.abort(self.unload_code, "cannot")
        return pb2.UnloadModelResponse()


def _or_abort(context: Any, answer: int | grpc.StatusCode) -> int:
    if isinstance(answer, grpc.StatusCode):
        context.abort(answer, "cannot tell")
        raise AssertionError("abort raises")
    return answer


@contextlib.contextmanager
def client_of(runtime: Runtime, **arguments: Any) -> Iterator[ModelRuntimeClient]:
    server = grpc.server(futures.ThreadPoolExecutor(8))
    add_ModelRuntimeServicer_to_server(runtime, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with ModelRuntimeClient(f"127.0.0.1:{port}", "m", 1, **{"model_path": "/models/m", **arguments}) as client:
            assert isinstance(client, ModelRuntimeClient)
            yield client
    finally:
        server.stop(None).wait()


def load(client: ModelRuntimeClient) -> None:
    client.WaitUntilModelLoaded(Deadline.after(20))


def failure(runtime: Runtime, **arguments: Any) -> AttemptFailed:
    with client_of(runtime, **arguments) as client, pytest.raises(AttemptFailed) as caught:
        load(client)
    return caught.value


def test_the_calls_come_in_model_meshs_order_and_status_is_never_asked_after_ready() -> None:
    runtime = Runtime(statuses=[{}, READY], predicted=9)
    with client_of(runtime) as client:
        load(client)
        load(client)
        client.UnloadModel(Deadline.after(20))
    assert runtime.calls == ["status", "status", "predict", "load", "unload"]
    assert (client.measured.predicted_bytes, client.measured.size_bytes) == (9, 7)
    assert client.measured.notes == []


def test_a_size_that_the_load_does_not_tell_is_asked_for() -> None:
    runtime = Runtime(size=0, later_size=55)
    with client_of(runtime) as client:
        load(client)
        assert client.measured.size_bytes == 55
    assert runtime.calls == ["status", "predict", "load", "size", "unload"]


def test_a_size_of_nothing_breaks_the_contract() -> None:
    runtime = Runtime(size=0, later_size=0)
    assert failure(runtime).reason is ReasonCode.RUNTIME_BROKE_CONTRACT
    assert runtime.calls[-1] == "unload"


@pytest.mark.parametrize(
    ("predicted", "booked", "words"),
    [(9, 9, "predicted size of 9 bytes"), (grpc.StatusCode.UNIMPLEMENTED, 2**20, "default size of 1048576 bytes")],
)
@pytest.mark.parametrize("code", [grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INTERNAL])
def test_a_size_that_cannot_be_told_is_a_warning(
    code: grpc.StatusCode, predicted: int | grpc.StatusCode, booked: int, words: str
) -> None:
    with client_of(Runtime(size=0, later_size=code, predicted=predicted)) as client:
        load(client)
        assert client.measured.size_bytes == booked
        (note,) = client.measured.notes
        assert f"modelSize failed ({code.name}: cannot tell)" in note
        assert words in note


def test_the_key_of_a_model_that_has_none_is_an_empty_object() -> None:
    runtime = Runtime()
    with client_of(runtime) as client:
        load(client)
    assert runtime.keys == ["{}"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"capacityInBytes": 0},
        {"capacityInBytes": 2**20},
        {"maxLoadingConcurrency": 0},
        {"modelLoadingTimeoutMs": 99},
        {"defaultModelSizeInBytes": 0},
    ],
    ids=str,
)
def test_parameters_that_end_model_meshs_start_break_the_contract(wrong: dict[str, int]) -> None:
    runtime = Runtime(statuses=[{**READY, **wrong}])
    error = failure(runtime)
    assert error.reason is ReasonCode.RUNTIME_BROKE_CONTRACT
    assert "load" not in runtime.calls


@pytest.mark.parametrize("status", [pb2.RuntimeStatusResponse.FAILING, 7])
def test_failing_and_unknown_statuses_end_it_at_once(status: Any) -> None:
    error = failure(Runtime(statuses=[{"status": status}]))
    assert error.reason is ReasonCode.SERVER_UNHEALTHY


def test_a_runtime_that_stays_starting_is_given_up_when_model_mesh_would() -> None:
    error = failure(Runtime(statuses=[{}]), start_timeout=3.0)
    assert error.reason is ReasonCode.RUNTIME_BROKE_CONTRACT
    assert "still STARTING" in error.detail


def test_a_prediction_above_the_capacity_refuses_the_load() -> None:
    runtime = Runtime(predicted=2**31)
    assert failure(runtime).reason is ReasonCode.RUNTIME_BROKE_CONTRACT
    assert "load" not in runtime.calls


def test_a_low_prediction_and_a_failed_one_are_noted() -> None:
    with client_of(Runtime(predicted=3)) as client:
        load(client)
        assert "predicted 3 bytes, measured 7" in client.measured.notes[0]
    with client_of(Runtime(predicted=grpc.StatusCode.INTERNAL)) as client:
        load(client)
        assert "predictModelSize failed" in client.measured.notes[0]


def test_a_refused_load_is_told_in_the_runtimes_words_and_followed_by_an_unload() -> None:
    runtime = Runtime(load_code=grpc.StatusCode.NOT_FOUND)
    error = failure(runtime)
    assert error.reason is ReasonCode.MODEL_LOAD_FAILED
    assert "NOT_FOUND: no such operation" in error.detail
    assert runtime.calls[-1] == "unload"


def test_a_load_beyond_the_runtimes_own_limit_is_cancelled_and_unloaded() -> None:
    runtime = Runtime(statuses=[{**READY, "modelLoadingTimeoutMs": 200}], hangs=True)
    error = failure(runtime)
    assert error.reason is ReasonCode.LOAD_TIMEOUT
    assert runtime.cancelled.wait(20)
    assert runtime.calls[-1] == "unload"


def test_not_found_is_a_successful_unload_and_anything_else_is_not() -> None:
    with client_of(Runtime(unload_code=grpc.StatusCode.NOT_FOUND)) as client:
        load(client)
        client.UnloadModel(Deadline.after(20))
    with client_of(Runtime(unload_code=grpc.StatusCode.INTERNAL)) as client:
        load(client)
        with pytest.raises(AttemptFailed, match="90 times") as caught:
            client.UnloadModel(Deadline.after(20))
    assert caught.value.reason is ReasonCode.RUNTIME_BROKE_CONTRACT


def test_close_unloads_what_is_still_loaded() -> None:
    runtime = Runtime()
    with client_of(runtime) as client:
        load(client)
    assert runtime.calls[-1] == "unload"


def test_a_limited_concurrency_without_a_number_is_one() -> None:
    with client_of(Runtime(statuses=[{**READY, "limitModelConcurrency": True}])) as client:
        load(client)
        assert client.measured.max_concurrency == 1
        assert "model-mesh takes 1" in client.measured.notes[0]


def _requests(payload: bytes = b"", method: str = "/a.B/C") -> Iterator[SampleRequest]:
    yield SampleRequest(method, "s", payload, "request 1")


def test_methods_that_model_mesh_does_not_forward_are_refused() -> None:
    with client_of(
        Runtime(statuses=[{**READY, "methodInfos": {"x.Y/Z": pb2.RuntimeStatusResponse.MethodInfo()}}])
    ) as client:
        load(client)
        for method in ("/a.B/C", "/mmesh.ModelRuntime/unloadModel"):
            with pytest.raises(AttemptFailed, match="not among its methodInfos"):
                client.SendRequests(_requests(method=method), Deadline.after(20))


def test_a_request_that_the_id_cannot_be_put_into_is_the_callers_mistake() -> None:
    info = pb2.RuntimeStatusResponse.MethodInfo(idInjectionPath=[1, 1])
    with client_of(Runtime(statuses=[{**READY, "methodInfos": {"a.B/C": info}}])) as client:
        load(client)
        with pytest.raises(UsageError, match=r"cannot be put into it at \[1, 1\]"):
            client.SendRequests(_requests(b"\x08\x01"), Deadline.after(20))
