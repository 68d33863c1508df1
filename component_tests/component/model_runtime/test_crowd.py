"""A crowd of clients that load, cancel, disconnect, unload, ask and poll at random: the runtime stays well and nothing is left."""

from __future__ import annotations

import collections
import pathlib
import random
import time
from concurrent import futures
from typing import Any

import grpc
import pytest

from component_tests.fakes.model_runtime.process import running
from component_tests.fakes.saved_models import SavedModels
from infra_validator.model_runtime import ModelRuntimeStub
from infra_validator.protos import model_runtime_pb2 as pb2
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

CLIENTS, CALLS = 8, 120
MODELS = ("half_plus_two", "matmul", "vocabulary", "unknown_op", "truncated_shard")
IDS = [f"m{i}" for i in range(6)]
PREDICT = "/tensorflow.serving.PredictionService/Predict"

#: What a call may be answered with, whatever the others do; an empty request is an INVALID_ARGUMENT for every model.
EXPECTED = {
    "load": {"OK", "CANCELLED", "ABORTED", "INTERNAL"},
    "unload": {"OK"},
    "infer": {"NOT_FOUND", "INVALID_ARGUMENT"},
    "size": {"OK", "NOT_FOUND"},
    "status": {"OK"},
}


class Client:
    """One client with a will of its own."""

    def __init__(self, target: str, inference_target: str, models: SavedModels, seed: int) -> None:
        self._target, self._models, self._random = target, models, random.Random(seed)
        self._inference = grpc.insecure_channel(inference_target)
        self.answers: collections.Counter[tuple[str, str]] = collections.Counter()
        self._connect()

    def _connect(self) -> None:
        self._channel = grpc.insecure_channel(self._target, options=[("grpc.use_local_subchannel_pool", 1)])
        self._stub = ModelRuntimeStub(self._channel)

    def run(self) -> None:
        for _ in range(CALLS):
            kind = self._random.choices(
                ["load", "unload", "infer", "size", "status", "disconnect"], [40, 30, 20, 5, 3, 2]
            )[0]
            call = getattr(self, f"_{kind}")(self._random.choice(IDS))
            if call is not None:
                self.answers[kind, call.code().name] += 1
        self._channel.close()
        self._inference.close()

    def _load(self, model_id: str) -> Any:
        path = str(self._models.path(self._random.choice(MODELS)))
        call = self._stub.loadModel.future(pb2.LoadModelRequest(modelId=model_id, modelPath=path))
        if self._random.random() < 0.5:
            time.sleep(self._random.random() * 0.03)
            call.cancel()
        return call

    def _unload(self, model_id: str) -> Any:
        return self._stub.unloadModel.future(pb2.UnloadModelRequest(modelId=model_id), timeout=60)

    def _infer(self, model_id: str) -> Any:
        request = serving_pb2.PredictRequest(model_spec=serving_pb2.ModelSpec(name=model_id))
        return self._inference.unary_unary(PREDICT, None, None).future(request.SerializeToString(), timeout=60)

    def _size(self, model_id: str) -> Any:
        return self._stub.modelSize.future(pb2.ModelSizeRequest(modelId=model_id), timeout=60)

    def _status(self, _: str) -> Any:
        return self._stub.runtimeStatus.future(pb2.RuntimeStatusRequest(), timeout=60)

    def _disconnect(self, model_id: str) -> None:
        call = self._load(model_id)
        self._channel.close()
        call.code()
        self._connect()


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["embedded", "tensorflow_serving"])
def test_a_crowd_leaves_nothing(saved_models: SavedModels, tmp_path: pathlib.Path, backend: str) -> None:
    with running(backend, saved_models.directory, tmp_path, "--max-loading-concurrency", "4") as runtime:
        clients = [Client(runtime.target, runtime.inference_target, saved_models, seed) for seed in range(CLIENTS)]
        with futures.ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(Client.run, clients))
        answers: collections.Counter[tuple[str, str]] = sum(
            (client.answers for client in clients), collections.Counter()
        )
        unexpected = {key: count for key, count in answers.items() if key[1] not in EXPECTED[key[0]]}
        assert unexpected == {}
        assert answers["load", "OK"] > 0
        with grpc.insecure_channel(runtime.target) as channel:
            stub = ModelRuntimeStub(channel)
            status = stub.runtimeStatus(pb2.RuntimeStatusRequest(), timeout=60)
            assert status.status == pb2.RuntimeStatusResponse.READY
            for model_id in IDS:
                with pytest.raises(grpc.RpcError) as caught:
                    stub.modelSize(pb2.ModelSizeRequest(modelId=model_id), timeout=60)
                assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        if backend == "tensorflow_serving":
            assert list((tmp_path / "adapted").iterdir()) == []
        assert runtime.stop() == 0
        assert "Traceback" not in runtime.log.read_text()
