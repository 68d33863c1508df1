"""The client for model-mesh's ModelRuntime: does to a runtime what model-mesh would do, with one model.

runtimeStatus until READY (never again after that: it purges), predictModelSize, loadModel without a deadline but under a timer
of our own, modelSize only if the load told no size, inference with the model's id injected, unloadModel. Everything that model-mesh
would refuse or suffer from is a failure that says so.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator, Sequence

import grpc

from infra_validator.core.answer import Answer
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.errors import AttemptFailed, DeadlineExceeded, UsageError, shorten
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.core.states import ModelStatus, ModelStatusReport
from infra_validator.model_server_clients.base_client import BaseModelServerClient, Job, raise_if_gone, unwatched
from infra_validator.model_server_clients.grpc_channel import is_other_protocol, open_channel
from infra_validator.model_server_clients.grpc_load import GrpcLoad
from infra_validator.model_server_clients.model_runtime import contract
from infra_validator.model_server_clients.model_runtime.id_injection import NotInjectable, inject
from infra_validator.model_server_clients.model_runtime.measurements import Measurements
from infra_validator.model_server_clients.pending_call import LOOK_SECONDS, PendingCall
from infra_validator.model_server_clients.request_stream import RequestStream
from infra_validator.model_server_clients.tensorflow_serving_answers import read_answers
from infra_validator.protos import model_runtime_pb2 as pb2
from infra_validator.protos.model_runtime_pb2_grpc import ModelRuntimeStub

_Status = pb2.RuntimeStatusResponse

_POLL_SECONDS = (
    0.25  # between two runtimeStatus calls; model-mesh takes 2 s, and a gate has no reason to wait that long
)
_NOTICE_SECONDS = 1.0  # how long a broken connection waits for news of the job, which would be the cause
_LAST_UNLOAD_SECONDS = 10.0  # of the unload that Close sends for a model that is still loaded
_LONGEST_TEXT = 1000

#: What gRPC answers when the connection broke under a call.
_BROKEN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED)


class ModelRuntimeClient(BaseModelServerClient):
    """Talks to one ModelRuntime about one model. Used by one thread; see the base class for the first three arguments.

    Args:
      model_path: where the runtime sees the model.
      model_type, model_key: as they are registered with model-mesh.
      address: where to reach the runtime instead of the endpoint, e.g. ``unix:/tmp/mmesh/grpc.sock``.
      inference_address: where inference goes; empty: where management goes.
      method: the full path of the inference method; empty: each sample request's own.
      load_timeout: seconds; None: what the runtime tells in modelLoadingTimeoutMs.
      start_timeout: seconds until READY.

    Attributes:
      measured: what was seen.
    """

    unloads = True

    def __init__(
        self,
        endpoint: str,
        model_name: str,
        version: int | None = None,
        *,
        model_path: str,
        model_type: str = "tensorflow",
        model_key: str = contract.DEFAULT_KEY,
        address: str = "",
        inference_address: str = "",
        method: str = "",
        load_timeout: float | None = None,
        start_timeout: float = contract.START_SECONDS,
    ) -> None:
        super().__init__(address or endpoint, model_name, version)
        self.measured = Measurements()
        self._model = {"modelType": model_type, "modelPath": model_path, "modelKey": model_key}
        self._inference_address = inference_address
        self._method = method
        self._load_timeout = load_timeout
        self._start_timeout = start_timeout
        self._channel = open_channel(self.endpoint)
        self._inference = open_channel(inference_address) if inference_address else self._channel
        self._stub = ModelRuntimeStub(self._channel)
        self._began = time.monotonic()
        self._poll_at = 0.0
        self._last_report = ModelStatusReport(ModelStatus.NOT_READY, "nobody was asked yet", answered=False)
        self._status_call: PendingCall | None = None
        self._load_call: PendingCall | None = None
        self._must_unload = False

    @property
    def notes(self) -> Sequence[str]:
        return self.measured.notes

    # ---------------------------------------------------------------- up to READY

    def GetModelStatus(self, deadline: Deadline) -> ModelStatusReport:
        """Take the next step towards a loaded model; READY when it is loaded and its size is known.

        Raises:
          AttemptFailed: what model-mesh would not take (RUNTIME_BROKE_CONTRACT, SERVER_UNHEALTHY), a load that was refused
            (MODEL_LOAD_FAILED) or not ended in time (LOAD_TIMEOUT).
        """
        if self.measured.status is None:
            self._last_report = self._next_status(deadline)
        elif self.measured.size_bytes is None:
            self._last_report = self._next_of_load(deadline)
        return self._last_report

    def WaitUntilRuntimeReady(self, deadline: Deadline) -> ModelStatusReport:
        """Wait until the runtime is READY, or the start timeout or the deadline has come; the last report says which.

        Raises:
          AttemptFailed: as for GetModelStatus.
        """
        limit = deadline.capped(self._start_timeout)
        try:
            wait_until(lambda: self.GetModelStatus(limit) and self.measured.status, limit, longest_pause=LOOK_SECONDS)
        except DeadlineExceeded:
            pass
        return self._last_report

    def _next_status(self, deadline: Deadline) -> ModelStatusReport:
        if self._status_call is None:
            if time.monotonic() < self._poll_at:
                return self._last_report
            left = max(0.1, self._began + self._start_timeout - time.monotonic())
            self._status_call = PendingCall(self._stub.runtimeStatus.future(pb2.RuntimeStatusRequest(), timeout=left))
        call = self._status_call
        if not call.is_done(deadline):
            return ModelStatusReport(ModelStatus.NOT_READY, "runtimeStatus was not answered yet", answered=False)
        self._status_call = None
        self._poll_at = time.monotonic() + _POLL_SECONDS
        late = time.monotonic() - self._began > self._start_timeout
        if call.future.code() is grpc.StatusCode.OK:
            return self._take_status(call.future.result(), late)
        return self._take_status_error(call.future, late)

    def _take_status(self, status: pb2.RuntimeStatusResponse, late: bool) -> ModelStatusReport:
        if status.status == _Status.READY:
            problem = contract.parameters_problem(status)
            if problem:
                raise _broke(f"Its READY answer ends model-mesh's start: {problem}.")
            self.measured.status = status
            self.measured.start_seconds = time.monotonic() - self._began
            return ModelStatusReport(ModelStatus.NOT_READY, "the runtime is READY, the model is not loaded yet")
        if status.status != _Status.STARTING:
            named = (
                _Status.Status.Name(status.status) if status.status == _Status.FAILING else f"status {status.status}"
            )
            raise AttemptFailed(
                ReasonCode.SERVER_UNHEALTHY, f"runtimeStatus answered {named}; model-mesh ends at once."
            )
        if late:
            raise _broke(f"It was still STARTING after {self._start_timeout:g} s, when model-mesh has given up.")
        return ModelStatusReport(ModelStatus.NOT_READY, "the runtime says STARTING")

    def _take_status_error(self, call: grpc.Call, late: bool) -> ModelStatusReport:
        told = _told(call)
        if call.code() is grpc.StatusCode.UNIMPLEMENTED:
            raise _broke(f"runtimeStatus: {told}; model-mesh ends. Open the port when the service is registered.")
        if late and call.code() is not grpc.StatusCode.UNAVAILABLE:
            raise _broke(f"runtimeStatus was not answered READY within {self._start_timeout:g} s: {told}.")
        answered = call.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
        return ModelStatusReport(ModelStatus.NOT_READY, told, answered=answered, foreign=is_other_protocol(told))

    # ---------------------------------------------------------------- the load

    def _next_of_load(self, deadline: Deadline) -> ModelStatusReport:
        if self._load_call is None:
            self._predict()
            self._must_unload = True
            request = pb2.LoadModelRequest(modelId=self.model_name, **self._model)
            self._load_call = PendingCall(self._stub.loadModel.future(request))
        call = self._load_call
        if not call.is_done(deadline):
            if call.seconds > self._limit_of_load():
                self._give_up_load(call)
            return ModelStatusReport(ModelStatus.NOT_READY, f"the model has been loading for {call.seconds:.0f} s")
        if call.future.code() is not grpc.StatusCode.OK:
            return self._take_load_error(call)
        self.measured.load_seconds = self.measured.load_seconds or call.seconds
        self._take_load(call.future.result())
        return ModelStatusReport(ModelStatus.READY, f"loaded, {self.measured.size_bytes} bytes")

    def _predict(self) -> None:
        request = pb2.PredictModelSizeRequest(modelId=self.model_name, **self._model)
        try:
            answer = self._stub.predictModelSize(request, timeout=contract.PREDICTION_SECONDS)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                self.measured.notes.append(
                    f"predictModelSize failed ({_told(error)}); model-mesh books the default size."
                )
            return
        self.measured.predicted_bytes = answer.sizeInBytes
        capacity = self._ready().capacityInBytes
        if answer.sizeInBytes > capacity:
            raise _broke(
                f"predictModelSize answered {answer.sizeInBytes}, above the capacity of {capacity}: model-mesh would refuse "
                "the load without calling loadModel."
            )

    def _take_load(self, answer: pb2.LoadModelResponse) -> None:
        if self._ready().limitModelConcurrency:
            self.measured.max_concurrency = answer.maxConcurrency or 1
            if not answer.maxConcurrency:
                self.measured.notes.append("limitModelConcurrency without maxConcurrency; model-mesh takes 1.")
        self.measured.size_bytes = answer.sizeInBytes or self._ask_size()
        predicted = self.measured.predicted_bytes
        if predicted is not None and predicted < self.measured.size_bytes:
            self.measured.notes.append(
                f"predicted {predicted} bytes, measured {self.measured.size_bytes}: model-mesh may have to evict others."
            )

    def _ask_size(self) -> int:
        """The size that model-mesh books after a load that told none."""
        request = pb2.ModelSizeRequest(modelId=self.model_name)
        try:
            answer = self._stub.modelSize(request, timeout=contract.SIZE_SECONDS)
        except grpc.RpcError as error:
            predicted = self.measured.predicted_bytes
            booked = predicted or self._ready().defaultModelSizeInBytes
            self.measured.notes.append(
                f"loadModel told no size, and modelSize failed ({_told(error)}); model-mesh keeps the "
                f"{'predicted' if predicted else 'default'} size of {booked} bytes."
            )
            return booked
        if not answer.sizeInBytes:
            self._unload_quietly(_LAST_UNLOAD_SECONDS)
            raise _broke("Neither loadModel nor modelSize told a size; model-mesh books 8 KiB for the model.")
        return int(answer.sizeInBytes)

    def _take_load_error(self, call: PendingCall) -> ModelStatusReport:
        told = _told(call.future)
        if call.future.code() in _BROKEN:  # the job's end may be behind it, and then that is the cause
            call.broken_at = call.broken_at or time.monotonic()
            if time.monotonic() - call.broken_at < _NOTICE_SECONDS:
                return ModelStatusReport(ModelStatus.NOT_READY, f"loadModel failed: {told}")
        self._unload_quietly(_LAST_UNLOAD_SECONDS)  # as model-mesh does after every failed load
        if call.future.code() is grpc.StatusCode.UNIMPLEMENTED:
            raise _broke(f"loadModel: {told}.")
        raise AttemptFailed(ReasonCode.MODEL_LOAD_FAILED, f"loadModel answered {told}.")

    def _give_up_load(self, call: PendingCall) -> None:
        call.future.cancel()
        began = time.monotonic()
        code = self._unload_quietly(contract.SIZE_SECONDS)
        after = f"cancelled; unloadModel then answered {code} after {time.monotonic() - began:.1f} s"
        raise AttemptFailed(
            ReasonCode.LOAD_TIMEOUT,
            f"loadModel did not end within {self._limit_of_load():g} s, the runtime's own limit; it was {after}.",
            next_step="Raise the runtime's load timeout if the model is only large.",
        )

    def _limit_of_load(self) -> float:
        return self._load_timeout or self._ready().modelLoadingTimeoutMs / 1000

    def _ready(self) -> pb2.RuntimeStatusResponse:
        assert self.measured.status is not None, "called before the runtime was READY"
        return self.measured.status

    # ---------------------------------------------------------------- inference

    def SendRequests(
        self, requests: Iterable[SampleRequest], deadline: Deadline, job: Job = unwatched, concurrency: int = 8
    ) -> int:
        headers = contract.headers_of(self.model_name)
        if self.measured.max_concurrency:
            concurrency = min(concurrency, self.measured.max_concurrency)
        stream = RequestStream(self._inference, deadline, job, concurrency, headers, self.on_answer, self.on_latency)
        return stream.send(self._forwarded(requests))

    def OpenLoad(self, requests: Sequence[SampleRequest]) -> GrpcLoad:
        address = self._inference_address or self.endpoint
        return GrpcLoad(address, list(self._forwarded(requests)), contract.headers_of(self.model_name))

    def ReadAnswer(self, request: SampleRequest, payload: bytes) -> Sequence[Answer] | None:
        """What TensorFlow Serving's methods answer; the names of models and versions there are the runtime's own affair."""
        answers = read_answers(request.method, payload)
        return answers and [dataclasses.replace(answer, model="", version=None) for answer in answers]

    def _forwarded(self, requests: Iterable[SampleRequest]) -> Iterator[SampleRequest]:
        """The requests as model-mesh would forward them."""
        infos = self._ready().methodInfos
        for request in requests:
            method = self._method or request.method
            if not contract.may_be_forwarded(self._ready(), method):
                raise _broke(f"{method} is not among its methodInfos; model-mesh answers clients UNIMPLEMENTED.")
            name = method.lstrip("/")
            path = infos[name].idInjectionPath if name in infos else ()
            try:
                payload = inject(request.payload, path, self.model_name)
            except NotInjectable as error:
                detail = f"{request.label}: the model's id cannot be put into it at {list(path)}: {error}."
                raise UsageError(detail, reason=ReasonCode.BAD_REQUESTS) from error
            yield dataclasses.replace(request, method=f"/{name}", payload=payload)

    # ---------------------------------------------------------------- the end

    def UnloadModel(self, deadline: Deadline, job: Job = unwatched) -> None:
        """Unload; OK and NOT_FOUND are success, as for model-mesh.

        Raises:
          AttemptFailed: anything else.
          JobGone: the server ended meanwhile.
        """
        call = PendingCall(
            self._stub.unloadModel.future(pb2.UnloadModelRequest(modelId=self.model_name), timeout=deadline.remaining())
        )
        while not call.is_done(deadline) and not deadline.expired():
            raise_if_gone(job())
        self._must_unload = False
        self.measured.unload_seconds = call.seconds
        code = call.future.code() if call.future.done() else grpc.StatusCode.DEADLINE_EXCEEDED
        if code in (grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND):
            return
        raise_if_gone(job())
        raise _broke(f"unloadModel answered {_told(call.future)}; model-mesh tries 90 times and writes the memory off.")

    def Close(self) -> None:
        for call in (self._status_call, self._load_call):
            if call is not None:
                call.future.cancel()
        if self._must_unload:
            self._unload_quietly(_LAST_UNLOAD_SECONDS)
        self._channel.close()
        self._inference.close()

    def _unload_quietly(self, seconds: float) -> str:
        """Unload what may be loaded, whatever the answer; returns its code."""
        self._must_unload = False
        try:
            self._stub.unloadModel(pb2.UnloadModelRequest(modelId=self.model_name), timeout=seconds)
        except grpc.RpcError as error:
            return str(error.code().name)
        return "OK"


def _broke(detail: str) -> AttemptFailed:
    return AttemptFailed(ReasonCode.RUNTIME_BROKE_CONTRACT, detail)


def _told(error: grpc.RpcError | grpc.Call) -> str:
    """Code and description of a failed call."""
    details = shorten((error.details() or "no description").rstrip("."), _LONGEST_TEXT)
    return f"{error.code().name}: {details}"
