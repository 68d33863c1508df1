"""The server under test, with the calls that points are made of. Every call has a deadline."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

import grpc

from infra_validator.conformance.points import Departure, NotJudged, told
from infra_validator.core.answer import ELEMENT_TYPES, STRING, Answer, UnreadableAnswer
from infra_validator.model_server_clients.grpc_channel import open_channel
from infra_validator.model_server_clients.open_inference.datatypes import BY_NAME, raw_strings
from infra_validator.model_server_clients.open_inference.infer_answer import answer_in
from infra_validator.model_server_clients.open_inference.rest_channel import RestChannel
from infra_validator.model_server_clients.open_inference.rest_messages import rest_response
from infra_validator.protos import open_inference_pb2 as pb

SERVICE = "/inference.GRPCInferenceService/"
_CALL_SECONDS = 60.0

#: The protocol's name for the binary data extension among a server's extensions.
BINARY_EXTENSION = "binary_tensor_data"


class Subject:
    """One model of a server.

    Args:
      target: ``host:port``.
      model_name: the model.
      model_version: its version; empty leaves the choice to the server.
      inputs: name -> (datatype, shape) of one good request; empty: as the model's metadata say, with 1 in the place of any size.
      text: what every element of BYTES is.
      protocol: ``grpc`` or ``rest``, where typed contents are JSON and raw contents binary data.
    """

    def __init__(
        self,
        target: str,
        model_name: str,
        model_version: str = "",
        inputs: Mapping[str, tuple[str, tuple[int, ...]]] | None = None,
        text: str = "a",
        protocol: str = "grpc",
    ) -> None:
        self.target = target
        self.name = model_name
        self.version = model_version
        self._inputs = dict(inputs or {})
        self._text = text.encode()
        self.rest = protocol == "rest"
        self._channel: Any = RestChannel(target) if self.rest else open_channel(target)

    def close(self) -> None:
        self._channel.close()

    # ---------------------------------------------------------------- calls

    def call(self, method: str, request: bytes, seconds: float = _CALL_SECONDS) -> bytes:
        """One call as bytes; raises grpc.RpcError."""
        answer: bytes = self._channel.unary_unary(SERVICE + method, None, None)(request, timeout=seconds)
        return answer

    def start(self, method: str, request: bytes) -> grpc.CallFuture[bytes]:
        """One call under way."""
        call: grpc.CallFuture[bytes] = self._channel.unary_unary(SERVICE + method, None, None).future(
            request, timeout=_CALL_SECONDS
        )
        return call

    def read(self, payload: bytes) -> pb.ModelInferResponse:
        """The answer to a ModelInfer. Raises UnreadableAnswer over REST."""
        return rest_response(payload) if self.rest else pb.ModelInferResponse.FromString(payload)

    def has_raw(self) -> bool:
        """Whether raw contents can be sent: over REST, where the server says that it has the binary data extension."""
        if not self.rest:
            return True
        try:
            return BINARY_EXTENSION in self._channel.extensions(_CALL_SECONDS)
        except grpc.RpcError:
            return False

    def is_ready(self, name: str, version: str = "", seconds: float = _CALL_SECONDS) -> bool:
        """ModelReady; raises grpc.RpcError."""
        asked = pb.ModelReadyRequest(name=name, version=version).SerializeToString()
        return pb.ModelReadyResponse.FromString(self.call("ModelReady", asked, seconds)).ready

    def metadata(self) -> pb.ModelMetadataResponse:
        """ModelMetadata; an error is a Departure."""
        asked = pb.ModelMetadataRequest(name=self.name, version=self.version).SerializeToString()
        try:
            return pb.ModelMetadataResponse.FromString(self.call("ModelMetadata", asked))
        except grpc.RpcError as error:
            raise Departure(f"ModelMetadata was answered {told(error)}") from error

    def infer(self, request: pb.ModelInferRequest) -> tuple[pb.ModelInferResponse, Answer]:
        """ModelInfer of a request that must be answered.

        Raises:
          Departure: it is answered with an error, or unreadably.
        """
        try:
            payload = self.call("ModelInfer", request.SerializeToString())
            response = self.read(payload)
            return response, answer_in(response)
        except grpc.RpcError as error:
            raise Departure(f"a good request was answered {told(error)}") from error
        except UnreadableAnswer as error:
            raise Departure(f"the answer has {error}") from error

    def refuses(self, request: pb.ModelInferRequest) -> grpc.StatusCode | None:
        """The code with which a bad request is refused; None where it is answered."""
        try:
            self.call("ModelInfer", request.SerializeToString())
        except grpc.RpcError as error:
            code = error.code()
            assert isinstance(code, grpc.StatusCode)
            return code
        return None

    # ---------------------------------------------------------------- requests

    @property
    def inputs(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """name -> (datatype, shape) of one good request.

        Raises:
          NotJudged: nobody tells.
        """
        if not self._inputs:
            try:
                told_inputs = self.metadata().inputs
            except Departure as error:
                raise NotJudged(f"no --input is given, and {error}") from error
            self._inputs = {
                each.name: (each.datatype, tuple(size if size > 0 else 1 for size in each.shape))
                for each in told_inputs
            }
        if not self._inputs:
            raise NotJudged("no --input is given, and the metadata tell none")
        unknown = [datatype for datatype, _ in self._inputs.values() if datatype not in BY_NAME]
        if unknown:
            raise NotJudged(f"the metadata tell the datatype {unknown[0]!r}, which the protocol does not have")
        return self._inputs

    def request(self, *, typed: bool | None = None) -> pb.ModelInferRequest:
        """A good request: zeros, and the text. Raw over gRPC, typed over REST, where ``typed`` does not say.

        Raises:
          NotJudged: nobody tells the inputs, or one has raw content only.
        """
        typed = self.rest if typed is None else typed
        if not typed and not self.has_raw():
            raise NotJudged("the server does not say that it has the binary data extension")
        made = pb.ModelInferRequest(model_name=self.name, model_version=self.version)
        for name, (datatype, shape) in self.inputs.items():
            added = made.inputs.add(name=name, datatype=datatype, shape=shape)
            count = math.prod(shape)
            known = BY_NAME[datatype]
            if not typed:
                raw = raw_strings([self._text] * count)
                if known.number != STRING:
                    raw = bytes(count * ELEMENT_TYPES[known.number].size)
                made.raw_input_contents.append(raw)
            elif not known.field:
                raise NotJudged(f"the input {name!r} is of {datatype}, which has raw content only")
            elif known.number == STRING:
                added.contents.bytes_contents.extend([self._text] * count)
            else:
                getattr(added.contents, known.field).extend(struct.unpack(f"{count}B", bytes(count)))
        return made
