"""The servicer's answers over real gRPC, with a backend that only keeps a ledger."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from component_tests.fakes.model_runtime.backend import LedgerBackend
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.errors import UsageError
from infra_validator.model_runtime import ModelRuntimeStub
from infra_validator.model_runtime.model_entry import State
from infra_validator.model_runtime.server import ModelRuntimeServer
from infra_validator.model_runtime.servicer import Parameters
from infra_validator.protos import model_runtime_pb2 as pb2
from infra_validator.protos import tensorflow_serving_pb2 as tfs

PREDICT = "/tensorflow.serving.PredictionService/Predict"
GIB = 2**30


class Runtime:
    """A running server with everything a test asks it."""

    def __init__(self, root: pathlib.Path, backend: LedgerBackend, parameters: Parameters) -> None:
        self.root = root
        self.backend = backend
        self.server = ModelRuntimeServer(backend, parameters, str(root), ["127.0.0.1:0"])
        self.target = f"127.0.0.1:{self.server.ports[0]}"
        self.channel = grpc.insecure_channel(self.target, options=[("grpc.max_metadata_size", 65536)])
        self.stub = ModelRuntimeStub(self.channel)

    def model(self, name: str = "good", weight: int = 10) -> str:
        directory = self.root / name
        (directory / "variables").mkdir(parents=True, exist_ok=True)
        (directory / "saved_model.pb").write_bytes(b"graph")
        (directory / "variables" / "variables.data-00000-of-00001").write_bytes(b"v" * weight)
        return str(directory)

    def request(self, model_id: str, path: str | None = None, key: str = "{}") -> pb2.LoadModelRequest:
        return pb2.LoadModelRequest(
            modelId=model_id, modelType="mt:tensorflow", modelPath=self.model() if path is None else path, modelKey=key
        )

    def load(self, model_id: str, path: str | None = None, key: str = "{}") -> pb2.LoadModelResponse:
        answer = self.stub.loadModel(self.request(model_id, path, key), timeout=20)
        assert isinstance(answer, pb2.LoadModelResponse)
        return answer

    def start_load(self, model_id: str, path: str | None = None) -> Any:
        return self.stub.loadModel.future(self.request(model_id, path))

    def unload(self, model_id: str) -> None:
        self.stub.unloadModel(pb2.UnloadModelRequest(modelId=model_id), timeout=20)

    def status(self) -> pb2.RuntimeStatusResponse:
        answer = self.stub.runtimeStatus(pb2.RuntimeStatusRequest(), timeout=20)
        assert isinstance(answer, pb2.RuntimeStatusResponse)
        return answer

    def infer(self, request: bytes, **headers: str | bytes) -> bytes:
        call: Any = self.channel.unary_unary
        metadata = [(name.replace("_", "-"), value) for name, value in headers.items()]
        answer = call(PREDICT)(request, metadata=metadata, timeout=20)
        assert isinstance(answer, bytes)
        return answer

    def is_loaded(self, model_id: str) -> bool:
        return self.server.table.states().get(model_id) is State.LOADED

    def close(self) -> None:
        self.channel.close()
        self.backend.hold = False
        self.server.stop(grace=0.2)


Start = Callable[..., Runtime]


@pytest.fixture
def start(tmp_path: pathlib.Path) -> Iterator[Start]:
    running: list[Runtime] = []

    def starts(backend: LedgerBackend | None = None, **parameters: Any) -> Runtime:
        root = tmp_path / "models"
        root.mkdir(exist_ok=True)
        wanted = Parameters(**{"capacity": GIB, **parameters})
        running.append(Runtime(root, backend or LedgerBackend(), wanted))
        return running[-1]

    yield starts
    for runtime in running:
        runtime.close()
    for runtime in running:
        assert runtime.backend.mistakes == []
        assert runtime.backend.held == set()


def code_of(call: Callable[[], Any]) -> grpc.StatusCode:
    """The code of a call that must fail; its description must say something."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.details(), "an error without a description"
    return caught.value.code()


def eventually(question: Callable[[], bool]) -> None:
    wait_until(lambda: question() or None, Deadline.after(20))


# ---------------------------------------------------------------- loading


def test_a_load_answers_the_measured_size_and_the_model_serves(start: Start) -> None:
    runtime = start()
    assert runtime.load("m").sizeInBytes == 1000
    assert runtime.stub.modelSize(pb2.ModelSizeRequest(modelId="m"), timeout=20).sizeInBytes == 1000
    assert runtime.infer(tfs.PredictRequest().SerializeToString(), mm_model_id="m")


def test_loading_a_loaded_model_is_fine_and_loads_nothing(start: Start) -> None:
    runtime = start()
    assert runtime.load("m") == runtime.load("m")
    assert runtime.backend.loads == 1


def test_a_loaded_id_with_another_path_is_replaced(start: Start) -> None:
    runtime = start()
    runtime.load("m")
    runtime.load("m", runtime.model("other"))
    assert runtime.backend.loads == 2
    assert runtime.backend.held == {"m"}


def test_a_model_that_the_backend_has_lost_is_loaded_again(start: Start) -> None:
    runtime = start()
    runtime.load("m")
    runtime.backend.lost = {"m"}
    runtime.load("m")
    assert runtime.backend.loads == 2


def test_loads_of_one_id_join(start: Start) -> None:
    runtime = start(LedgerBackend(hold=True))
    first, second = runtime.start_load("m"), runtime.start_load("m")
    eventually(lambda: runtime.server.table.waiting("m") == 2)
    runtime.backend.wait_until_loading("m")
    runtime.backend.let_go("m")
    assert first.result(20) == second.result(20)
    assert runtime.backend.loads == 1


def test_no_more_loads_at_once_than_told(start: Start) -> None:
    runtime = start(LedgerBackend(hold=True), max_loading_concurrency=2)
    calls = [runtime.start_load(f"m{i}") for i in range(6)]
    eventually(lambda: len(runtime.backend.loading()) == 2)
    for i in range(6):
        runtime.backend.let_go(f"m{i}")
    assert [call.result(20).sizeInBytes for call in calls] == [1000] * 6
    assert runtime.backend.most_at_once == 2


def test_a_failed_load_says_why_and_disturbs_nobody(start: Start) -> None:
    runtime = start()
    runtime.backend.failing = {"bad"}
    runtime.load("good")
    with pytest.raises(grpc.RpcError, match="'bad' could not be loaded: the graph is broken"):
        runtime.load("bad")
    assert runtime.is_loaded("good")
    runtime.unload("bad")
    runtime.backend.failing = set()
    assert runtime.load("bad").sizeInBytes == 1000


def test_a_load_that_takes_too_long_is_given_up(start: Start) -> None:
    runtime = start(LedgerBackend(hold=True), load_timeout=0.2)
    assert code_of(lambda: runtime.load("m")) is grpc.StatusCode.DEADLINE_EXCEEDED
    runtime.backend.let_go("m")
    eventually(lambda: not runtime.server.table.states())


# ---------------------------------------------------------------- cancelling and unloading


@pytest.mark.parametrize("unload_first", [False, True])
def test_cancel_and_unload_leave_nothing_whatever_the_order(start: Start, unload_first: bool) -> None:
    runtime = start(LedgerBackend(hold=True))
    loading = runtime.start_load("m")
    runtime.backend.wait_until_loading("m")
    unloading = runtime.stub.unloadModel.future(pb2.UnloadModelRequest(modelId="m")) if unload_first else None
    loading.cancel()
    unloading = unloading or runtime.stub.unloadModel.future(pb2.UnloadModelRequest(modelId="m"))
    runtime.backend.let_go("m")
    assert unloading.result(20) == pb2.UnloadModelResponse()
    assert runtime.backend.held == set()
    assert code_of(lambda: runtime.infer(b"", mm_model_id="m")) is grpc.StatusCode.NOT_FOUND


def test_an_unload_in_mid_load_waits_for_the_memory(start: Start) -> None:
    runtime = start(LedgerBackend(hold=True))
    loading = runtime.start_load("m")
    runtime.backend.wait_until_loading("m")
    unloading = runtime.stub.unloadModel.future(pb2.UnloadModelRequest(modelId="m"))
    assert loading.exception(20).code() is grpc.StatusCode.ABORTED
    assert not unloading.done()
    runtime.backend.let_go("m")
    unloading.result(20)
    assert runtime.backend.held == set()


def test_a_load_that_only_waits_is_cancelled_at_once(start: Start) -> None:
    runtime = start(LedgerBackend(hold=True), max_loading_concurrency=1)
    first = runtime.start_load("first")
    runtime.backend.wait_until_loading("first")
    second = runtime.start_load("second")
    eventually(lambda: "second" in runtime.server.table.states())
    second.cancel()
    eventually(lambda: "second" not in runtime.server.table.states())
    runtime.backend.let_go("first")
    first.result(20)
    assert runtime.backend.loads == 1


def test_one_of_two_callers_cancels_and_the_other_gets_the_model(start: Start) -> None:
    runtime = start(LedgerBackend(hold=True))
    first, second = runtime.start_load("m"), runtime.start_load("m")
    eventually(lambda: runtime.server.table.waiting("m") == 2)
    runtime.backend.wait_until_loading("m")
    first.cancel()
    runtime.backend.let_go("m")
    assert second.result(20).sizeInBytes == 1000
    assert runtime.is_loaded("m")


def test_a_load_after_a_cancelled_one_gets_the_model(start: Start) -> None:
    runtime = start(LedgerBackend(hold=True))
    first = runtime.start_load("m")
    runtime.backend.wait_until_loading("m")
    first.cancel()
    second = runtime.start_load("m")
    runtime.backend.let_go("m")
    runtime.backend.hold = False
    assert second.result(20).sizeInBytes == 1000
    assert runtime.backend.held == {"m"}


def test_an_unload_also_gives_up_a_load_that_waits_for_an_older_one(start: Start) -> None:
    runtime = start(LedgerBackend(hold=True))
    first = runtime.start_load("m")
    runtime.backend.wait_until_loading("m")
    first.cancel()
    eventually(lambda: runtime.server.table.waiting("m") == 0)
    second = runtime.start_load("m")
    eventually(lambda: runtime.server.table.waiting("m") == 1)
    unloading = runtime.stub.unloadModel.future(pb2.UnloadModelRequest(modelId="m"))
    assert second.exception(20).code() is grpc.StatusCode.ABORTED
    runtime.backend.let_go("m")
    unloading.result(20)
    assert runtime.backend.held == set()
    assert runtime.backend.loads == 1


def test_a_client_that_disappears_leaves_nothing(start: Start) -> None:
    runtime = start(LedgerBackend(hold=True))
    with grpc.insecure_channel(runtime.target) as other:
        loading = ModelRuntimeStub(other).loadModel.future(runtime.request("m"))
        runtime.backend.wait_until_loading("m")
    assert loading.code() is grpc.StatusCode.CANCELLED
    eventually(lambda: runtime.server.table.waiting("m") == 0)  # the server has heard of it, too
    runtime.backend.let_go("m")
    eventually(lambda: not runtime.server.table.states())
    assert runtime.backend.held == set()


def test_unload_of_an_unknown_id_is_done_at_once(start: Start) -> None:
    runtime = start()
    runtime.unload("nobody knows me")
    assert runtime.backend.loads == 0


def test_an_unload_that_fails_is_said_and_can_be_repeated(start: Start) -> None:
    runtime = start()
    runtime.load("m")
    runtime.backend.stuck = {"m"}
    assert code_of(lambda: runtime.unload("m")) is grpc.StatusCode.INTERNAL
    assert code_of(lambda: runtime.infer(b"", mm_model_id="m")) is grpc.StatusCode.NOT_FOUND
    assert code_of(lambda: runtime.load("m")) is grpc.StatusCode.INTERNAL
    runtime.backend.stuck = set()
    runtime.unload("m")
    assert runtime.backend.held == set()


# ---------------------------------------------------------------- status


def test_ready_tells_everything_that_model_mesh_reads(start: Start) -> None:
    runtime = start(max_loading_concurrency=3, load_timeout=1.5, max_concurrency=4, runtime_version="v9")
    status = runtime.status()
    assert status.status == pb2.RuntimeStatusResponse.READY
    assert (status.capacityInBytes, status.maxLoadingConcurrency, status.modelLoadingTimeoutMs) == (GIB, 3, 1500)
    assert (status.defaultModelSizeInBytes, status.runtimeVersion) == (16 * 2**20, "v9")
    assert status.limitModelConcurrency
    assert not status.allowAnyMethod
    assert list(status.methodInfos[PREDICT[1:]].idInjectionPath) == [1, 1]
    assert not any("MultiInference" in method or "ModelService" in method for method in status.methodInfos)
    assert runtime.load("m").maxConcurrency == 4


def test_every_ready_bound_call_purges_first(start: Start) -> None:
    runtime = start()
    for _ in range(2):
        runtime.load("m")
        assert runtime.status().status == pb2.RuntimeStatusResponse.READY
        assert runtime.backend.held == set()


def test_a_model_that_is_loading_is_purged_too(start: Start) -> None:
    runtime = start(LedgerBackend(hold=True))
    loading = runtime.start_load("m")
    runtime.backend.wait_until_loading("m")
    status = runtime.stub.runtimeStatus.future(pb2.RuntimeStatusRequest())
    assert loading.exception(20).code() is grpc.StatusCode.ABORTED
    assert not status.done()
    runtime.backend.let_go("m")
    assert status.result(20).status == pb2.RuntimeStatusResponse.READY
    assert runtime.backend.held == set()


def test_starting_while_the_backend_is_not_ready(start: Start) -> None:
    runtime = start()
    runtime.backend.not_ready = "the server does not answer"
    assert runtime.status() == pb2.RuntimeStatusResponse()
    runtime.backend.not_ready = ""
    assert runtime.status().status == pb2.RuntimeStatusResponse.READY


def test_starting_while_something_cannot_be_purged(start: Start) -> None:
    runtime = start()
    runtime.load("m")
    runtime.backend.stuck = {"m"}
    assert runtime.status().status == pb2.RuntimeStatusResponse.STARTING
    runtime.backend.stuck = set()
    assert runtime.status().status == pb2.RuntimeStatusResponse.READY


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"capacity": 0}, "capacityInBytes"),
        ({"capacity": 31 * 2**20}, "capacityInBytes must be at least"),
        ({"max_loading_concurrency": 0}, "maxLoadingConcurrency"),
        ({"load_timeout": 0.05}, "modelLoadingTimeoutMs"),
        ({"load_timeout": 5e6}, "modelLoadingTimeoutMs"),
        ({"default_model_size": 0}, "defaultModelSizeInBytes"),
        ({"max_concurrency": -1}, "concurrency of a model"),
    ],
)
def test_parameters_that_model_mesh_would_refuse_are_refused_at_the_start(
    start: Start, parameters: dict[str, Any], named: str
) -> None:
    with pytest.raises(UsageError, match=named):
        start(**parameters)


# ---------------------------------------------------------------- sizes and capacity


def test_a_prediction_needs_no_load_and_errs_high(start: Start) -> None:
    runtime = start()
    path = runtime.model("large", weight=5_000_000)
    request = pb2.PredictModelSizeRequest(modelId="m", modelPath=path)
    assert runtime.stub.predictModelSize(request, timeout=0.5).sizeInBytes > 5_000_000
    assert runtime.backend.loads == 0


def test_a_prediction_for_a_path_that_is_not_there_yet_uses_the_size_in_the_key(start: Start) -> None:
    runtime = start()
    request = pb2.PredictModelSizeRequest(
        modelId="m", modelPath=str(runtime.root / "not yet"), modelKey='{"disk_size_bytes": 7000000}'
    )
    assert runtime.stub.predictModelSize(request, timeout=0.5).sizeInBytes > 7_000_000


def test_a_prediction_for_nothing_is_an_error(start: Start) -> None:
    runtime = start()
    request = pb2.PredictModelSizeRequest(modelId="m", modelPath=str(runtime.root / "nothing"))
    assert code_of(lambda: runtime.stub.predictModelSize(request, timeout=5)) is grpc.StatusCode.FAILED_PRECONDITION


def test_the_size_of_a_model_that_is_not_loaded_is_not_found(start: Start) -> None:
    runtime = start()
    assert (
        code_of(lambda: runtime.stub.modelSize(pb2.ModelSizeRequest(modelId="m"), timeout=5))
        is grpc.StatusCode.NOT_FOUND
    )


def test_a_size_of_zero_is_never_told(start: Start) -> None:
    runtime = start()
    runtime.backend.size = 0
    assert runtime.load("m").sizeInBytes == 1


def test_what_cannot_fit_is_not_tried(start: Start) -> None:
    runtime = start(default_model_size=1, capacity=5000)
    big = runtime.model("big", weight=6000)
    assert code_of(lambda: runtime.load("big", big)) is grpc.StatusCode.FAILED_PRECONDITION
    assert runtime.backend.loads == 0
    for i in range(5):
        runtime.load(f"m{i}")
    assert code_of(lambda: runtime.load("one more")) is grpc.StatusCode.FAILED_PRECONDITION
    runtime.unload("m0")
    runtime.load("one more")


def test_a_model_that_turns_out_larger_than_everything_is_unloaded_again(start: Start) -> None:
    runtime = start(default_model_size=1, capacity=5000)
    runtime.backend.size = 5001
    assert code_of(lambda: runtime.load("m")) is grpc.StatusCode.RESOURCE_EXHAUSTED
    eventually(lambda: not runtime.server.table.states())


# ---------------------------------------------------------------- inference


@pytest.mark.parametrize("model_id", ["m", "a/b", "..", "é\N{SNOWMAN}\N{GRINNING FACE}", "nul\0inside", "x" * 10_000])
def test_any_id_loads_serves_and_unloads(start: Start, model_id: str) -> None:
    runtime = start()
    runtime.load(model_id)
    answer = runtime.infer(b"", mm_model_id_bin=model_id.encode())
    assert tfs.PredictRequest.FromString(answer).model_spec.name == model_id
    direct = tfs.PredictRequest(model_spec=tfs.ModelSpec(name=model_id)).SerializeToString()
    assert runtime.infer(direct) == direct
    runtime.unload(model_id)
    assert code_of(lambda: runtime.infer(direct)) is grpc.StatusCode.NOT_FOUND


def test_the_header_counts_and_the_binary_one_first(start: Start) -> None:
    runtime = start()
    runtime.load("right")
    request = tfs.PredictRequest(model_spec=tfs.ModelSpec(name="wrong", signature_name="s")).SerializeToString()
    answer = tfs.PredictRequest.FromString(runtime.infer(request, mm_model_id="wrong", mm_model_id_bin=b"right"))
    assert (answer.model_spec.name, answer.model_spec.signature_name) == ("right", "s")


@pytest.mark.parametrize(
    ("request_bytes", "headers"),
    [(b"", {}), (b"\xff\xff", {"mm_model_id": "m"}), (b"\x0a\x7f", {}), (b"", {"mm_model_id_bin": b"\xff"})],
    ids=["no id", "no message", "cut message", "header no UTF-8"],
)
def test_a_request_without_a_readable_id_is_an_invalid_argument(
    start: Start, request_bytes: bytes, headers: dict[str, Any]
) -> None:
    runtime = start()
    runtime.load("m")
    assert code_of(lambda: runtime.infer(request_bytes, **headers)) is grpc.StatusCode.INVALID_ARGUMENT


def _ask(runtime: Runtime, model_id: str) -> Any:
    call: Any = runtime.channel.unary_unary
    return call(PREDICT).future(b"", metadata=[("mm-model-id", model_id)], timeout=20)


def test_an_unload_waits_for_requests_under_way_and_lets_no_new_ones_in(start: Start) -> None:
    runtime = start()
    runtime.load("m")
    runtime.backend.may_answer.clear()
    asked = _ask(runtime, "m")
    assert runtime.backend.asking.acquire(timeout=20)
    unloading = runtime.stub.unloadModel.future(pb2.UnloadModelRequest(modelId="m"), timeout=20)
    eventually(lambda: runtime.server.table.states() == {"m": State.UNLOADING})
    assert code_of(lambda: runtime.infer(b"", mm_model_id="m")) is grpc.StatusCode.NOT_FOUND
    assert not unloading.done()
    runtime.backend.may_answer.set()
    assert asked.result(20)
    assert unloading.result(20) == pb2.UnloadModelResponse()


def test_no_more_requests_at_once_than_the_models_limit(start: Start) -> None:
    runtime = start(max_concurrency=2)
    runtime.load("m")
    runtime.backend.may_answer.clear()
    asked = [_ask(runtime, "m") for _ in range(2)]
    assert all(runtime.backend.asking.acquire(timeout=20) for _ in asked)
    assert code_of(lambda: runtime.infer(b"", mm_model_id="m")) is grpc.StatusCode.RESOURCE_EXHAUSTED
    runtime.backend.may_answer.set()
    assert all(call.result(20) for call in asked)
    assert runtime.infer(b"", mm_model_id="m")


def test_methods_that_are_not_listed_are_unimplemented(start: Start) -> None:
    runtime = start()
    call: Any = runtime.channel.unary_unary
    for method in ("/tensorflow.serving.ModelService/HandleReloadConfigRequest", "/mmesh.ModelRuntime/other"):
        assert code_of(functools.partial(call(method), b"", timeout=5)) is grpc.StatusCode.UNIMPLEMENTED


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize("method", ["loadModel", "unloadModel", "predictModelSize", "modelSize"])
def test_an_empty_id_is_an_invalid_argument(start: Start, method: str) -> None:
    runtime = start()
    request = {"loadModel": pb2.LoadModelRequest, "unloadModel": pb2.UnloadModelRequest}.get(
        method, pb2.PredictModelSizeRequest if method == "predictModelSize" else pb2.ModelSizeRequest
    )
    assert code_of(lambda: getattr(runtime.stub, method)(request(), timeout=5)) is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "key",
    [
        *(
            "no json",
            "[1]",
            "3",
            '"text"',
            "null",
            "{",
            "[" * 100_000,
            '{"model_type": 3}',
            '{"model_type": {"name": []}}',
        ),
        *('{"disk_size_bytes": "7"}', '{"disk_size_bytes": -1}', '{"schema_path": []}', '{"storage_params": "x"}'),
    ],
)
def test_a_bad_key_is_an_invalid_argument(start: Start, key: str) -> None:
    runtime = start()
    assert code_of(lambda: runtime.load("m", key=key)) is grpc.StatusCode.INVALID_ARGUMENT
    assert runtime.backend.loads == 0


@pytest.mark.parametrize(
    "key",
    [
        *("", "{}", '{"unknown": [1]}', '{"model_type": "tensorflow"}'),
        '{"model_type": {"name": "tensorflow", "version": "2"}}',
        '{"model_type": {"name": "t"}, "disk_size_bytes": 12, "schema_path": "/s"}',
        '{"storage_key": "k", "storage_params": {"bucket": "b"}, "bucket": "b", "schema_path": null}',
    ],
)
def test_the_known_forms_of_a_key_are_taken(start: Start, key: str) -> None:
    assert start().load("m", key=key).sizeInBytes == 1000


def test_paths_that_are_no_model_are_refused_with_the_reason(start: Start, tmp_path: pathlib.Path) -> None:
    runtime = start()
    runtime.model("good")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "saved_model.pb").write_bytes(b"graph")
    (runtime.root / "link").symlink_to(outside)
    (runtime.root / "file").write_text("no directory")
    (runtime.root / "empty").mkdir()
    (runtime.root / "loop").symlink_to(runtime.root / "loop")
    inner = runtime.root / "inner"
    inner.mkdir()
    (inner / "saved_model.pb").symlink_to(outside / "saved_model.pb")
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    cases = {
        "": invalid,
        "good": invalid,
        "../models/good": invalid,
        str(outside): invalid,
        str(runtime.root): invalid,
        f"{runtime.root}/../outside": invalid,
        f"{runtime.root}/link": invalid,
        f"{runtime.root}/inner": invalid,
        f"{runtime.root}/file": invalid,
        f"{runtime.root}/empty": invalid,
        f"{runtime.root}/a\0b": invalid,
        f"{runtime.root}/{'x' * 5000}": invalid,
        f"{runtime.root}/absent": grpc.StatusCode.FAILED_PRECONDITION,
        f"{runtime.root}/{'x' * 300}": grpc.StatusCode.FAILED_PRECONDITION,
        "/": invalid,
    }
    found = {path: code_of(functools.partial(runtime.load, "m", path)) for path in cases}
    assert found == cases
    assert runtime.backend.loads == 0
    assert runtime.load("m").sizeInBytes == 1000


def test_the_layouts_that_the_puller_leaves_are_taken(start: Start) -> None:
    runtime = start()
    runtime.model("id-1/_model")
    runtime.model("id-2/half_plus_two/2")
    runtime.model("id-2/half_plus_two/10")
    (runtime.root / "id-3").mkdir()
    (runtime.root / "id-3" / "linked").symlink_to(runtime.root / "id-2" / "half_plus_two")
    for path in ("id-1/_model", "id-1", "id-2/half_plus_two", "id-2/half_plus_two/2", "id-3/linked"):
        assert runtime.load(path, str(runtime.root / path)).sizeInBytes == 1000, path
