"""Runs model-mesh's ModelRuntime contract against anybody's runtime: what points are made of. The points are in points.py."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import uuid
from collections.abc import Callable, Iterable, Iterator

import grpc

from infra_validator.conformance.points import Departure, NotJudged, Point, Result, run_points, told
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.errors import DeadlineExceeded, shorten
from infra_validator.model_server_clients.grpc_channel import open_channel
from infra_validator.model_server_clients.model_runtime import contract
from infra_validator.model_server_clients.model_runtime.id_injection import inject
from infra_validator.protos import model_runtime_pb2 as pb2
from infra_validator.protos.model_runtime_pb2_grpc import ModelRuntimeStub

_CALL_SECONDS = 60.0  # of calls that should be quick


@dataclasses.dataclass(frozen=True)
class Model:
    """A good model: where the runtime sees it, and what is registered of it."""

    name: str
    path: str
    type: str = "tensorflow"
    key: str = contract.DEFAULT_KEY


class Subject:
    """The runtime under test, with the calls that points are made of. Every call has a deadline.

    Args:
      target: the management address.
      models: good models; at least one.
      inference_target: where inference goes; empty: the target.
      method: the inference method; empty: the first of methodInfos.
      load_timeout: seconds of one load; None: what the runtime tells.
    """

    def __init__(
        self,
        target: str,
        models: list[Model],
        inference_target: str = "",
        method: str = "",
        load_timeout: float | None = None,
    ) -> None:
        self.target = target
        self.models = models
        self.status = pb2.RuntimeStatusResponse()
        self._method = method
        self._load_timeout = load_timeout
        self._channel = open_channel(target)
        self._inference = open_channel(inference_target) if inference_target else self._channel
        self.stub = ModelRuntimeStub(self._channel)
        self._ids: list[str] = []

    @property
    def model(self) -> Model:
        return self.models[0]

    # ---------------------------------------------------------------- ids

    def new_id(self, text: str = "conformance") -> str:
        """An id that nobody has used; unloaded after the point."""
        self._ids.append(f"{text}-{uuid.uuid4().hex[:10]}")
        return self._ids[-1]

    def tidy_up(self) -> None:
        """Unload what the point has loaded."""
        while self._ids:
            with contextlib.suppress(grpc.RpcError):
                self.stub.unloadModel(pb2.UnloadModelRequest(modelId=self._ids.pop()), timeout=self.load_seconds)

    # ---------------------------------------------------------------- calls

    @property
    def load_seconds(self) -> float:
        return self._load_timeout or max(1.0, self.status.modelLoadingTimeoutMs / 1000)

    def ask_status(self, seconds: float = contract.START_SECONDS) -> pb2.RuntimeStatusResponse:
        """Poll until READY, as model-mesh does.

        Raises:
          Departure: an answer that ends model-mesh's start.
          grpc.RpcError: nobody answered in time.
        """
        deadline = Deadline.after(seconds)

        def answered() -> pb2.RuntimeStatusResponse | None:
            try:
                status = self.stub.runtimeStatus(pb2.RuntimeStatusRequest(), timeout=max(0.1, deadline.remaining()))
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    raise Departure(f"runtimeStatus answered {told(error)}") from error
                if deadline.expired():
                    raise
                return None
            if status.status not in (pb2.RuntimeStatusResponse.STARTING, pb2.RuntimeStatusResponse.READY):
                raise Departure(f"runtimeStatus answered the status {status.status}")
            if status.status == pb2.RuntimeStatusResponse.STARTING and deadline.expired():
                raise Departure(f"runtimeStatus still answered STARTING after {seconds:g} s")
            return status if status.status == pb2.RuntimeStatusResponse.READY else None

        self.status = wait_until(answered, deadline, longest_pause=0.5)
        return self.status

    def request(self, model_id: str, model: Model | None = None, **changes: str) -> pb2.LoadModelRequest:
        chosen = model or self.model
        fields = {"modelType": chosen.type, "modelPath": chosen.path, "modelKey": chosen.key, **changes}
        return pb2.LoadModelRequest(modelId=model_id, **fields)

    def load(self, model_id: str, model: Model | None = None, **changes: str) -> pb2.LoadModelResponse:
        """Load; a failure is a Departure."""
        try:
            answer = self.stub.loadModel(self.request(model_id, model, **changes), timeout=self.load_seconds)
        except grpc.RpcError as error:
            raise Departure(f"loadModel of {shorten(repr(model_id), 80)} answered {told(error)}") from error
        assert isinstance(answer, pb2.LoadModelResponse)
        return answer

    def start_load(self, model_id: str, channel: grpc.Channel | None = None) -> grpc.CallFuture[pb2.LoadModelResponse]:
        """A load under way, without a deadline, as model-mesh sends it."""
        stub = ModelRuntimeStub(channel) if channel is not None else self.stub
        call: grpc.CallFuture[pb2.LoadModelResponse] = stub.loadModel.future(self.request(model_id))
        return call

    def unload(self, model_id: str, seconds: float = _CALL_SECONDS) -> float:
        """Unload, and how many seconds it took; any answer but OK and NOT_FOUND is a Departure."""
        began = time.monotonic()
        try:
            self.stub.unloadModel(pb2.UnloadModelRequest(modelId=model_id), timeout=max(seconds, self.load_seconds))
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise Departure(f"unloadModel answered {told(error)}") from error
        return time.monotonic() - began

    def size(self, model_id: str) -> int:
        """modelSize; raises grpc.RpcError."""
        answer = self.stub.modelSize(pb2.ModelSizeRequest(modelId=model_id), timeout=contract.SIZE_SECONDS)
        return int(answer.sizeInBytes)

    # ---------------------------------------------------------------- inference

    @property
    def method(self) -> str:
        """The method that is asked; empty when none is known."""
        return self._method.lstrip("/") or next(iter(sorted(self.status.methodInfos)), "")

    def infer(self, model_id: str, headers: Iterable[tuple[str, str | bytes]] | None = None) -> grpc.StatusCode:
        """The code with which an empty request for the model is answered, forwarded as model-mesh does it."""
        if not self.method:
            raise NotJudged("methodInfos is empty and no --method was given, so no inference method is known")
        infos = self.status.methodInfos
        path = infos[self.method].idInjectionPath if self.method in infos else ()
        metadata = tuple(contract.headers_of(model_id) if headers is None else headers)
        call = self._inference.unary_unary(f"/{self.method}", None, None)
        try:
            call(inject(b"", path, model_id), timeout=_CALL_SECONDS, metadata=metadata)
        except grpc.RpcError as error:
            code = error.code()
            assert isinstance(code, grpc.StatusCode)
            return code
        return grpc.StatusCode.OK

    def is_loaded(self, model_id: str) -> bool:
        """By inference (NOT_FOUND means not loaded, and only that), else by modelSize.

        Raises:
          NotJudged: neither is there.
        """
        if self.method:
            return self.infer(model_id) is not grpc.StatusCode.NOT_FOUND
        try:
            return self.size(model_id) >= 0
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                raise NotJudged("without inference methods and modelSize nobody can tell what is loaded") from error
            return False

    def stays_unloaded(self, model_id: str, seconds: float) -> bool:
        """Whether the model is not loaded now and does not become so for some time."""
        try:
            wait_until(lambda: self.is_loaded(model_id) or None, Deadline.after(seconds), first_pause=0.1)
        except DeadlineExceeded:
            return True
        return False

    def close(self) -> None:
        self._channel.close()
        self._inference.close()

    @contextlib.contextmanager
    def another_connection(self) -> Iterator[grpc.Channel]:
        with contextlib.closing(open_channel(self.target)) as channel:
            yield channel


def run(
    subject: Subject, points: Iterable[Point[Subject]], on_result: Callable[[Result[Subject]], None]
) -> list[Result[Subject]]:
    """Test every point; ``on_result`` is called after each."""
    return run_points(subject, points, on_result, subject.tidy_up)
