"""The client for servers that speak the Open Inference Protocol (KServe v2) over gRPC or REST: KServe, MLServer, Triton and others.

Ready is what the server says of the *model*, by its name and its version where one is named; that the server itself is ready says
nothing of it. Where a server has the model repository extension, its index tells why a model is not there.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import grpc

from infra_validator.core.answer import Answer
from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import SpecError, UsageError, shorten
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.core.states import ModelStatus, ModelStatusReport
from infra_validator.model_server_clients.base_client import BaseModelServerClient, Job, RequestFailed, unwatched
from infra_validator.model_server_clients.grpc_channel import close_channel, is_other_protocol, open_channel
from infra_validator.model_server_clients.grpc_load import GrpcLoad
from infra_validator.model_server_clients.open_inference.datatypes import BY_NAME
from infra_validator.model_server_clients.open_inference.errors import WAITED_FOR
from infra_validator.model_server_clients.open_inference.first_request import first_request
from infra_validator.model_server_clients.open_inference.infer_answer import read_infer_response, read_rest_response
from infra_validator.model_server_clients.open_inference.infer_request import MODEL_INFER, Translated, infer_request
from infra_validator.model_server_clients.open_inference.rest_channel import RestChannel, RestError
from infra_validator.model_server_clients.open_inference.rest_messages import NotInJson, rest_request
from infra_validator.model_server_clients.request_stream import RequestStream
from infra_validator.model_server_clients.tensorflow_serving import why_not_open
from infra_validator.protos import open_inference_pb2 as pb
from infra_validator.protos import tensorflow_pb2

_SERVICE = "/inference.GRPCInferenceService/"
_LONGEST_TEXT = 1000
_INDEX_SECONDS = 1.0  # between two looks at the repository's index: MLServer reads its whole directory for each

#: The one signature that a model has in this protocol, by the name that every source of requests asks where none is named.
SIGNATURE = "serving_default"
_PREDICT_METHOD_NAME = "tensorflow/serving/predict"

_FIRST_SECONDS = 1.0  # between two first requests
_LOAD_SECONDS = 3600.0  # the wait for the model has its own deadline
_UNLOAD_SECONDS = 5.0  # how long a model that was loaded for the validation may take to go

T = TypeVar("T", pb.ModelReadyResponse, pb.ModelMetadataResponse, pb.RepositoryIndexResponse)


class OpenInferenceClient(BaseModelServerClient):
    """Talks to one model of a server. Used by one thread; see the base class for the first two arguments.

    Args:
      version: of the launch plan; the server is asked for ``model_version``, since not every server has numbers for versions.
      model_version: the version to ask for; empty leaves the choice to the server.
      typed_contents: whether values are sent one by one in the field of their type, or as JSON over REST, rather than as raw content,
        which is REST's binary data extension.
      protocol: ``grpc`` or ``rest``.
      load: whether the model is loaded through the model repository extension first, and unloaded by ``Close``.
      first_asked: of a server that loads its model when it is first asked, what the model takes, as in the spec; None for others.
    """

    patience = 0.02  # MLServer and KServe write a line for every question
    signatures_identify = False  # what the spec says of inputs and outputs is a description, and so are metadata

    def __init__(
        self,
        endpoint: str,
        model_name: str,
        version: int | None = None,
        *,
        model_version: str = "",
        typed_contents: bool = False,
        protocol: str = "grpc",
        load: bool = False,
        first_asked: Mapping[str, str] | None = None,
    ) -> None:
        number = int(model_version) if re.fullmatch(r"[0-9]{1,18}", model_version) else None
        super().__init__(endpoint, model_name, number)
        self._asked_version = model_version
        self._typed = typed_contents
        self._seen_open = False  # whether anybody ever accepted a connection at the endpoint
        self._index_at = (
            0.0  # when its index is looked at next, on the deadline's clock; never where the server has none
        )
        self._index_said: ModelStatusReport | None = None
        self._rest = protocol == "rest"
        self._channel: Any = RestChannel(endpoint) if self._rest else open_channel(endpoint)
        self._load = load
        self._loading: Any = None  # the call that loads the model
        self._first_asked = first_asked
        self._first: Any = None  # the call of the request that a server is first asked
        self._first_at = 0.0  # when it is asked again, on the deadline's clock
        self._first_said = ""

    def GetModelStatus(self, deadline: Deadline) -> ModelStatusReport:
        """Ask once whether the model is ready; where it is not, ask the repository's index why."""
        if not self._seen_open:
            refused = why_not_open(self.endpoint, deadline)
            if refused:
                return ModelStatusReport(ModelStatus.NOT_READY, refused, answered=False)
            self._seen_open = True
        if self._load:
            told = self._status_of_load(deadline)
            if told is not None:
                return told
        asked = pb.ModelReadyRequest(name=self.model_name, version=self._asked_version)
        try:
            answer = self._call("ModelReady", asked, pb.ModelReadyResponse.FromString, deadline)
        except grpc.RpcError as error:
            told = report_of_error(error.code(), error.details() or "", isinstance(error, RestError) and error.answered)
            if told.answered and error.code() in WAITED_FOR:
                return self._from_first_request(deadline) or self._from_index(deadline) or told
            return told
        if answer.ready:
            return ModelStatusReport(ModelStatus.READY, f"the model {self._called} is ready")
        told = ModelStatusReport(ModelStatus.NOT_READY, f"the model {self._called} is not ready")
        return self._from_first_request(deadline) or self._from_index(deadline) or told

    def _status_of_load(self, deadline: Deadline) -> ModelStatusReport | None:
        """What is said of the load that the spec asks for; None once the server has done it."""
        if self._loading is None:
            self._loading = self._repository_call("RepositoryModelLoad", _LOAD_SECONDS)
        if not self._loading.done():
            return ModelStatusReport(ModelStatus.NOT_READY, f"the model {self.model_name} is being loaded")
        code, text = self._loading.code(), self._loading.details() or ""
        if code is grpc.StatusCode.OK:
            return None
        told = report_of_error(code, text)
        if code is grpc.StatusCode.UNIMPLEMENTED:
            raise SpecError(
                "serving_spec.open_inference.load", f"the server has no model repository extension ({told.detail})"
            )
        if not told.answered:
            self._loading = None  # nobody has heard of it yet
            return told
        return ModelStatusReport(ModelStatus.UNAVAILABLE, f"the load was answered {told.detail}")

    def _from_first_request(self, deadline: Deadline) -> ModelStatusReport | None:
        """What becomes of asking a model that is not ready; READY where it answers, None where the spec does not say that it is asked."""
        if self._first_asked is None:
            return None
        now = deadline.clock.monotonic()
        if self._first is None and now >= self._first_at:
            asked = first_request(self.model_name, self._asked_version, self._first_asked, typed=self._typed)
            self._first = self._channel.unary_unary(MODEL_INFER, None, None).future(asked, timeout=_LOAD_SECONDS)
        if self._first is not None and self._first.done():
            code, text = self._first.code(), self._first.details() or ""
            self._first, self._first_at = None, now + _FIRST_SECONDS
            if code is grpc.StatusCode.OK:
                return ModelStatusReport(ModelStatus.READY, f"the model {self._called} answered a first request")
            self._first_said = f", which it answered {report_of_error(code, text).detail}"
        told = f"the model {self._called} is not ready after a first request{self._first_said}"
        return ModelStatusReport(ModelStatus.NOT_READY, told)

    @property
    def _called(self) -> str:
        return self.model_name + (f" version {self._asked_version}" if self._asked_version else "")

    def _from_index(self, deadline: Deadline) -> ModelStatusReport | None:
        """What the repository's index says of the model; None where it says nothing, or the server has none."""
        now = deadline.clock.monotonic()
        if now < self._index_at:
            return self._index_said
        self._index_at = now + _INDEX_SECONDS
        try:
            index = self._call(
                "RepositoryIndex", pb.RepositoryIndexRequest(), pb.RepositoryIndexResponse.FromString, deadline
            )
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                self._index_at = math.inf
            self._index_said = None
        else:
            self._index_said = report_of_index(index, self.model_name, self._asked_version)
        return self._index_said

    def SendRequests(
        self, requests: Iterable[SampleRequest], deadline: Deadline, job: Job = unwatched, concurrency: int = 8
    ) -> int:
        on_answer = self.on_answer

        def answered(request: SampleRequest, payload: bytes) -> None:
            if on_answer is not None:
                original = request.original if isinstance(request, Translated) else None
                on_answer(original or request, payload)

        stream = RequestStream(self._channel, deadline, job, concurrency, on_answer=answered)
        try:
            return stream.send(map(self._translated, requests))
        except RequestFailed as failure:
            if self._rest and not self._typed and self._is_answered_as_json(failure.request, deadline):
                raise SpecError(
                    "serving_spec.open_inference.binary_data",
                    f"must be false on this server, which answers {failure.request.label} as JSON, and as binary data only with an error",
                    next_step="Set serving_spec.open_inference.binary_data to false: the server has not got that extension.",
                ) from failure
            raise

    def _is_answered_as_json(self, request: SampleRequest, deadline: Deadline) -> bool:
        """Whether a request that failed as binary data is one that the server takes otherwise."""
        original = request.original if isinstance(request, Translated) else None
        if original is None:
            return False
        try:
            asked = infer_request(original, self.model_name, self._asked_version, typed=True)
            self._channel.unary_unary(asked.method, None, None)(asked.payload, timeout=deadline.remaining())
        except (UsageError, grpc.RpcError):  # it cannot be written, or fails in the same way
            return False
        return True

    def OpenLoad(self, requests: Sequence[SampleRequest]) -> GrpcLoad:
        translated = [self._translated(request) for request in requests]
        return GrpcLoad(self.endpoint, translated, open_channel=RestChannel if self._rest else open_channel)

    def _translated(self, request: SampleRequest) -> SampleRequest:
        translated = infer_request(request, self.model_name, self._asked_version, typed=self._typed)
        if self._rest and self._typed:
            try:
                rest_request(pb.ModelInferRequest.FromString(translated.payload))
            except NotInJson as error:
                raise UsageError(
                    f"{request.label}: {error}.",
                    reason=ReasonCode.BAD_REQUESTS,
                    next_step="Set serving_spec.open_inference.binary_data, where the server has that extension.",
                ) from error
        return translated

    def ReadAnswer(self, request: SampleRequest, payload: bytes) -> Sequence[Answer] | None:
        return [read_rest_response(payload) if self._rest else read_infer_response(payload)]

    def GetSignatures(self, deadline: Deadline) -> Mapping[str, tensorflow_pb2.SignatureDef] | None:
        """The model's metadata as the one signature that it has; None where the server tells nothing of inputs and outputs."""
        asked = pb.ModelMetadataRequest(name=self.model_name, version=self._asked_version)
        try:
            return signatures_in(self._call("ModelMetadata", asked, pb.ModelMetadataResponse.FromString, deadline))
        except grpc.RpcError:
            return None

    def Close(self) -> None:
        if self._load and self._loading is not None:
            self._load = False
            with contextlib.suppress(grpc.RpcError):  # cleanup: most servers end with the validation
                self._repository_call("RepositoryModelUnload", _UNLOAD_SECONDS).result()
        close_channel(self._channel)

    def _repository_call(self, method: str, seconds: float) -> Any:
        """A call of the model repository extension under way."""
        asked = pb.ModelReadyRequest(version=self.model_name)  # the same message: the model's name is field 2
        call = self._channel.unary_unary(_SERVICE + method, None, None)
        return call.future(asked.SerializeToString(), timeout=seconds)

    def _call(
        self,
        method: str,
        request: pb.ModelReadyRequest | pb.ModelMetadataRequest | pb.RepositoryIndexRequest,
        read: Callable[[bytes], T],
        deadline: Deadline,
    ) -> T:
        ask = self._channel.unary_unary(_SERVICE + method, None, read)
        answer: T = ask(request.SerializeToString(), timeout=deadline.remaining())
        return answer


def report_of_error(code: grpc.StatusCode, details: str, answered: bool = False) -> ModelStatusReport:
    """What a failed ModelReady says: never more than NOT_READY, since a server may still be starting.

    Args:
      answered: whether it is known that a server, and not the connection, said so.
    """
    told = shorten(f"{code.name}: {details}" if details else code.name, _LONGEST_TEXT)
    if answered and code in WAITED_FOR:
        return ModelStatusReport(ModelStatus.NOT_READY, told)
    if code is grpc.StatusCode.UNAVAILABLE and not is_other_protocol(details):
        return ModelStatusReport(ModelStatus.NOT_READY, told, answered=False)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return ModelStatusReport(ModelStatus.NOT_READY, "a connection was made, but no answer came", answered=False)
    if code in WAITED_FOR and not is_other_protocol(details):
        return ModelStatusReport(ModelStatus.NOT_READY, told)
    return ModelStatusReport(ModelStatus.NOT_READY, f"it answers as no inference server does: {told}", foreign=True)


def report_of_index(index: pb.RepositoryIndexResponse, name: str, version: str) -> ModelStatusReport | None:
    """What a repository's index says of a model that is not ready.

    UNAVAILABLE with a reason is final: a load that failed, or an unload. Everything else may become ready.

    Args:
      name, version: of the model; an empty version means any.
    """
    entries = [
        entry for entry in index.models if entry.name == name and (not version or entry.version in ("", version))
    ]
    if not entries:
        return None
    said = "; ".join(
        f"version {entry.version or '(none)'} is {entry.state or 'in no state'}"
        + (f" ({shorten(entry.reason, _LONGEST_TEXT)})" if entry.reason else "")
        for entry in entries
    )
    final = all(entry.state == "UNAVAILABLE" and entry.reason for entry in entries)
    return ModelStatusReport(ModelStatus.UNAVAILABLE if final else ModelStatus.NOT_READY, said)


def signatures_in(metadata: pb.ModelMetadataResponse) -> Mapping[str, tensorflow_pb2.SignatureDef] | None:
    """The signature that a model's metadata describes; None where it describes neither inputs nor outputs."""
    if not metadata.inputs and not metadata.outputs:
        return None
    signature = tensorflow_pb2.SignatureDef(method_name=_PREDICT_METHOD_NAME)
    for tensors, told in ((signature.inputs, metadata.inputs), (signature.outputs, metadata.outputs)):
        for tensor in told:
            info = tensors[tensor.name]
            info.name = tensor.name
            datatype = BY_NAME.get(tensor.datatype)
            info.dtype = datatype.number if datatype else tensorflow_pb2.DT_INVALID  # type: ignore[assignment]
            for size in tensor.shape:
                info.tensor_shape.dim.add(size=size)
    return {SIGNATURE: signature}
