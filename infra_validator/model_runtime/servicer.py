"""The ModelRuntime service over a model table: what each RPC answers, and with which code.

INVALID_ARGUMENT and FAILED_PRECONDITION are kept for loads that were not tried (the proto's promise: no memory is used);
NOT_FOUND means "not loaded" and nothing else. Every error has a description.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import grpc

from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import UsageError
from infra_validator.model_runtime.backends.base_backend import Backend
from infra_validator.model_runtime.model_entry import Refused
from infra_validator.model_runtime.model_source import BadModel, ModelKey, ModelSource, find_model
from infra_validator.model_runtime.model_table import ModelTable
from infra_validator.model_runtime.sizes.size_prediction import predicted_bytes, predicted_of_disk_size
from infra_validator.model_server_clients.model_runtime.contract import problem_of
from infra_validator.protos import model_runtime_pb2 as pb2
from infra_validator.protos.model_runtime_pb2_grpc import ModelRuntimeServicer

_LOG = logging.getLogger(__name__)

_PREDICTION_SECONDS = 0.25  # model-mesh gives a prediction 500 ms, the way there and back included
_STATUS_SECONDS = 5.0  # then STARTING is answered and the purge goes on; model-mesh asks again after 2 s
_UNLOAD_SECONDS = 600.0  # how long an unload may wait for a load or a request that runs; the unload itself goes on
_MOST_WAITING_LOADS = 64  # beyond the ones that run; more would take the threads that unloads need

_MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Parameters:
    """What runtimeStatus tells model-mesh.

    Attributes:
      capacity: bytes for models.
      max_loading_concurrency: loads at once.
      load_timeout: seconds of one load.
      default_model_size: bytes that model-mesh books for a model that nobody knows.
      max_concurrency: requests at once per model; 0 means no limit is told nor kept.
      runtime_version: for information.
    """

    capacity: int
    max_loading_concurrency: int = 2
    load_timeout: float = 90.0
    default_model_size: int = 16 * _MIB
    max_concurrency: int = 0
    runtime_version: str = ""

    def check(self) -> None:
        """Refuse what model-mesh would refuse when it starts, since it would say so much later and less clearly.

        Raises:
          UsageError: names the parameter.
        """
        problem = problem_of(
            self.capacity, self.default_model_size, self.max_loading_concurrency, int(self.load_timeout * 1000)
        )
        if problem:
            raise UsageError(f"model-mesh would refuse these parameters: {problem}.")
        if self.max_concurrency < 0:
            raise UsageError(f"The concurrency of a model must be 0 or more, not {self.max_concurrency}.")


class Servicer(ModelRuntimeServicer):
    """Answers the five RPCs.

    Args:
      backend: loads and unloads.
      table: the models; made over the same backend.
      parameters: what runtimeStatus tells.
      model_root: the directory that model paths may not leave.
    """

    def __init__(self, backend: Backend, table: ModelTable, parameters: Parameters, model_root: str) -> None:
        self._backend = backend
        self._table = table
        self._parameters = parameters
        self._model_root = model_root
        self._waiting = threading.BoundedSemaphore(_MOST_WAITING_LOADS + parameters.max_loading_concurrency)

    def loadModel(self, request: pb2.LoadModelRequest, context: grpc.ServicerContext) -> pb2.LoadModelResponse:
        caller = self._table.caller()
        if not context.add_callback(caller.leave):
            caller.leave()  # it was cancelled before we came to it; an unload may have been answered already
        with self._answering(context), self._a_place_to_wait():
            _check_id(request.modelId)
            ModelKey.parse(request.modelKey)
            size = self._table.load(
                request.modelId,
                request.modelPath,
                lambda: self._find(request.modelPath),
                caller,
                Deadline.after(self._parameters.load_timeout),
            )
        return pb2.LoadModelResponse(sizeInBytes=size, maxConcurrency=self._parameters.max_concurrency)

    def unloadModel(self, request: pb2.UnloadModelRequest, context: grpc.ServicerContext) -> pb2.UnloadModelResponse:
        with self._answering(context):
            _check_id(request.modelId)
            self._table.unload(request.modelId, _deadline(context, _UNLOAD_SECONDS))
        return pb2.UnloadModelResponse()

    def predictModelSize(
        self, request: pb2.PredictModelSizeRequest, context: grpc.ServicerContext
    ) -> pb2.PredictModelSizeResponse:
        with self._answering(context):
            _check_id(request.modelId)
            key = ModelKey.parse(request.modelKey)
            deadline = Deadline.after(_PREDICTION_SECONDS)
            try:
                size = predicted_bytes(find_model(request.modelPath, self._model_root, deadline), deadline)
            except BadModel as error:
                if not (error.absent and key.disk_size_bytes):
                    raise
                size = predicted_of_disk_size(key.disk_size_bytes)
            return pb2.PredictModelSizeResponse(sizeInBytes=size)

    def modelSize(self, request: pb2.ModelSizeRequest, context: grpc.ServicerContext) -> pb2.ModelSizeResponse:
        with self._answering(context):
            _check_id(request.modelId)
            return pb2.ModelSizeResponse(sizeInBytes=self._table.size(request.modelId))

    def runtimeStatus(
        self, request: pb2.RuntimeStatusRequest, context: grpc.ServicerContext
    ) -> pb2.RuntimeStatusResponse:
        """STARTING rather than an error, and READY only when nothing is loaded any more; see the contract's purge rule."""
        deadline = _deadline(context, _STATUS_SECONDS)
        reason = self._backend.why_not_ready(deadline.remaining())
        if not reason:
            try:
                self._table.purge(deadline)
            except Refused as error:
                reason = error.detail
        if reason:
            _LOG.info("STARTING: %s", reason)
            return pb2.RuntimeStatusResponse(status=pb2.RuntimeStatusResponse.STARTING)
        told = self._parameters
        infos = {
            method: pb2.RuntimeStatusResponse.MethodInfo(idInjectionPath=path)
            for method, path in self._backend.method_infos.items()
        }
        return pb2.RuntimeStatusResponse(
            status=pb2.RuntimeStatusResponse.READY,
            capacityInBytes=told.capacity,
            maxLoadingConcurrency=told.max_loading_concurrency,
            modelLoadingTimeoutMs=int(told.load_timeout * 1000),
            defaultModelSizeInBytes=told.default_model_size,
            runtimeVersion=told.runtime_version,
            methodInfos=infos,
            limitModelConcurrency=told.max_concurrency > 0,
        )

    def _find(self, model_path: str) -> ModelSource:
        """Called in the loading thread."""
        try:
            return find_model(model_path, self._model_root)
        except BadModel as error:
            raise _refusal(error) from error

    @contextmanager
    def _a_place_to_wait(self) -> Iterator[None]:
        if not self._waiting.acquire(blocking=False):
            raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "Too many loads wait already; try again later.")
        try:
            yield
        finally:
            self._waiting.release()

    @contextmanager
    def _answering(self, context: grpc.ServicerContext) -> Iterator[None]:
        try:
            yield
        except BadModel as error:
            refusal = _refusal(error)
            _abort(context, refusal.code, refusal.detail)
        except Refused as error:
            _abort(context, error.code, error.detail)


def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, detail: str) -> NoReturn:
    context.abort(code, detail)
    raise AssertionError("abort raises")


def _refusal(error: BadModel) -> Refused:
    code = grpc.StatusCode.FAILED_PRECONDITION if error.absent else grpc.StatusCode.INVALID_ARGUMENT
    return Refused(code, str(error))


def _check_id(model_id: str) -> None:
    if not model_id:
        raise BadModel("modelId is empty; it must be the model's id.")


def _deadline(context: grpc.ServicerContext, seconds: float) -> Deadline:
    """The earlier of the caller's deadline and ``seconds`` from now."""
    remaining = context.time_remaining()
    return Deadline.after(seconds if remaining is None else min(seconds, remaining))
