"""A small ModelRuntime that keeps the contract but for the points it is told to break, to see that the conformance test finds each."""

from __future__ import annotations

import os
import threading
import time
from typing import Any, NoReturn

import grpc

from infra_validator.model_runtime import ModelRuntimeServicer
from infra_validator.model_server_clients.model_runtime.id_injection import extract
from infra_validator.protos import model_runtime_pb2 as pb2

PREDICT = "tensorflow.serving.PredictionService/Predict"
LOAD_SECONDS = 0.1
LONG_LOAD_SECONDS = 1.0  # where the departure shows only while a load is under way, on a busy machine too
CAPACITY = 2**30

_TO_BE_CAUGHT = {"cancel", "load-joined", "purge-loading", "size-loading", "unload-in-load"}


class DepartingRuntime(ModelRuntimeServicer, grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Models are names in a dictionary; a load is a pause.

    Args:
      wrong: the names of the points that it breaks.
    """

    def __init__(self, *wrong: str) -> None:
        self.wrong = wrong
        self._changed = threading.Condition()
        self._models: dict[str, str] = {}  # id -> loading, given up, loaded
        self._references: dict[str, int] = {}

    # ---------------------------------------------------------------- management

    def runtimeStatus(self, request: pb2.RuntimeStatusRequest, context: Any) -> pb2.RuntimeStatusResponse:
        if "status-ready" in self.wrong:
            return pb2.RuntimeStatusResponse(status=pb2.RuntimeStatusResponse.FAILING)
        with self._changed:
            for model_id, state in list(self._models.items()):
                if state == "loaded" and "purge-loaded" not in self.wrong:
                    del self._models[model_id]
                if state == "loading" and "purge-loading" not in self.wrong:
                    self._models[model_id] = "given up"
        status = pb2.RuntimeStatusResponse(
            status=pb2.RuntimeStatusResponse.READY,
            capacityInBytes=CAPACITY,
            maxLoadingConcurrency=2,
            modelLoadingTimeoutMs=20_000,
            defaultModelSizeInBytes=0 if "status-parameters" in self.wrong else 1000,
        )
        if "method-infos" not in self.wrong:
            status.methodInfos[PREDICT].idInjectionPath.extend([1, 1])
        return status

    def predictModelSize(self, request: pb2.PredictModelSizeRequest, context: Any) -> pb2.PredictModelSizeResponse:
        if "predict" in self.wrong:
            return pb2.PredictModelSizeResponse(sizeInBytes=CAPACITY + 1)
        return pb2.PredictModelSizeResponse(sizeInBytes=1 if "predict-high" in self.wrong else 200)

    def loadModel(self, request: pb2.LoadModelRequest, context: Any) -> pb2.LoadModelResponse:
        model_id = request.modelId
        if not model_id:
            _abort(context, "UNKNOWN" if "empty-id" in self.wrong else "INVALID_ARGUMENT", "the id is empty")
        if "key" in self.wrong and "unknown" in request.modelKey:
            _abort(context, "INVALID_ARGUMENT", "an unknown attribute")
        if "ids" in self.wrong and "/" in model_id:
            _abort(context, "INVALID_ARGUMENT", "a slash in the id")
        if not os.path.exists(request.modelPath) and "missing-path" not in self.wrong:
            if "failure-is-alone" in self.wrong:
                self._models.clear()
            _abort(context, "NOT_FOUND" if "missing-path-code" in self.wrong else "FAILED_PRECONDITION", "no such path")
        self._load(model_id, context)
        return pb2.LoadModelResponse(sizeInBytes=0 if {"size", "size-told"} & {*self.wrong} else 100)

    def _load(self, model_id: str, context: Any) -> None:
        with self._changed:
            while self._models.get(model_id) == "given up":
                self._changed.wait(20)
            self._references[model_id] = self._references.get(model_id, 0) + 1
            state = self._models.get(model_id)
            if state == "loading" and "load-joined" in self.wrong:
                return
            if state == "loaded" and "load-again" in self.wrong:
                _abort(context, "ALREADY_EXISTS", "it is loaded")
            if state is not None:
                self._changed.wait_for(lambda: self._models.get(model_id) != "loading", 20)
                return
            if "load-concurrently" in self.wrong and list(self._models.values()).count("loading") >= 2:
                _abort(context, "RESOURCE_EXHAUSTED", "too many loads")
            self._models[model_id] = "loading"
        heeds_cancels = "size-loading" not in self.wrong and "cancel" not in self.wrong
        if heeds_cancels and not context.add_callback(lambda: self._give_up(model_id)):
            self._give_up(model_id)  # cancelled before we came to it, and perhaps unloaded as well
        time.sleep(LOAD_SECONDS if not _TO_BE_CAUGHT & {*self.wrong} else LONG_LOAD_SECONDS)
        with self._changed:
            if self._models.get(model_id) == "given up":
                del self._models[model_id]
            else:
                self._models[model_id] = "loaded"
            self._changed.notify_all()
            if model_id not in self._models and "unload-in-load" not in self.wrong:
                _abort(context, "ABORTED", "it was given up")
        if "load-serves" in self.wrong:
            with self._changed:
                del self._models[model_id]

    def _give_up(self, model_id: str) -> None:
        with self._changed:
            if self._models.get(model_id) == "loading":
                self._models[model_id] = "given up"

    def unloadModel(self, request: pb2.UnloadModelRequest, context: Any) -> pb2.UnloadModelResponse:
        model_id = request.modelId
        with self._changed:
            state = self._models.get(model_id)
            if state is None and "unload-unknown" in self.wrong:
                _abort(context, "INTERNAL", "nobody knows it")
            self._references[model_id] = self._references.get(model_id, 0) - 1
            counting = "load-counts" in self.wrong and self._references[model_id] > 0
            if state == "loaded" and "unload" not in self.wrong and not counting:
                del self._models[model_id]
            if state in ("loading", "given up") and "cancel" not in self.wrong:
                self._models[model_id] = "given up"
                self._changed.wait_for(lambda: model_id not in self._models, 20)
        return pb2.UnloadModelResponse()

    def modelSize(self, request: pb2.ModelSizeRequest, context: Any) -> pb2.ModelSizeResponse:
        state = self._models.get(request.modelId)
        known = (
            state == "loaded" or (state == "loading" and "size-loading" in self.wrong) or "size-unknown" in self.wrong
        )
        if not known:
            _abort(context, "NOT_FOUND", "it is not loaded")
        if "size-told" in self.wrong:
            _abort(context, "UNIMPLEMENTED", "no sizes here")
        return pb2.ModelSizeResponse(sizeInBytes=0 if "size" in self.wrong else 100)

    # ---------------------------------------------------------------- inference

    def service(self, handler_call_details: Any) -> Any:
        if handler_call_details.method != f"/{PREDICT}":
            return None
        return grpc.unary_unary_rpc_method_handler(self._infer)

    def _infer(self, request: bytes, context: Any) -> bytes:
        headers = dict(context.invocation_metadata())
        model_id = extract(request, (1, 1))
        if "inference-id-bin" in self.wrong:
            model_id = headers.get("mm-model-id")
        if self._models.get(model_id or "") != "loaded" and "inference-unknown" not in self.wrong:
            _abort(context, "NOT_FOUND", "it is not loaded")
        return b""


def _abort(context: Any, code: str, detail: str) -> NoReturn:
    context.abort(grpc.StatusCode[code], detail)
    raise AssertionError("abort raises")
