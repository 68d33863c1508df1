"""The strict inference server, but for one thing that it does otherwise than the Open Inference Protocol says."""

from __future__ import annotations

from typing import Any

import grpc

from component_tests.fakes.servers.open_inference_server import VERSION, Model
from infra_validator.protos import open_inference_pb2 as pb

#: What is answered in the place of an error, by the point that finds it.
ANSWERED = ("wrong-length", "missing-content", "unknown-datatype", "both-contents", "unknown-input")


class DepartingModel(Model):
    """A model with two inputs that departs in one point.

    Args:
      wrong: the name of a point of conformance/open_inference/points.py; empty: it is right.
    """

    def __init__(self, wrong: str = "") -> None:
        super().__init__("m", inputs={"x": ("FP32", [-1, 2]), "t": ("BYTES", [1])})
        self._wrong = wrong

    def _check(self, name: str, version: str, context: grpc.ServicerContext) -> None:
        if self._wrong == "unknown-model-code" and name != self.name:
            context.abort(grpc.StatusCode.UNKNOWN, f"Model {name} not found")
        super()._check(name, version, context)

    def handlers(self) -> Any:
        right = dict(super().handlers())
        if self._wrong == "server-ready":
            right["/inference.GRPCInferenceService/ServerReady"] = lambda request, context: b""
        return right

    def _ready(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        asked = pb.ModelReadyRequest.FromString(request)
        ready = pb.ModelReadyResponse(ready=True).SerializeToString()
        if self._wrong == "model-ready":
            return b""
        if self._wrong == "unknown-model" or (self._wrong == "unknown-version" and asked.name == self.name):
            return ready
        return super()._ready(request, context)

    def _metadata(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        metadata = pb.ModelMetadataResponse.FromString(super()._metadata(request, context))
        if self._wrong == "metadata-name":
            metadata.name = "another"
        if self._wrong == "metadata-tensors":
            del metadata.outputs[:]
        return metadata.SerializeToString()

    def _refuse_what_is_wrong(self, asked: Any, context: grpc.ServicerContext) -> None:
        if self._wrong not in ANSWERED:
            super()._refuse_what_is_wrong(asked, context)

    def _infer(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        asked = pb.ModelInferRequest.FromString(request)
        if self._wrong == "infer-typed" and not asked.raw_input_contents:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "raw contents only")
        if self._wrong in ANSWERED:
            return pb.ModelInferResponse(model_name=self.name, model_version=VERSION, id=asked.id).SerializeToString()
        if self._wrong == "requested-output":
            del asked.outputs[:]
        answer = pb.ModelInferResponse.FromString(super()._infer(asked.SerializeToString(), context))
        if self._wrong == "infer-raw":
            answer.raw_output_contents[0] = answer.raw_output_contents[0] + b"\0"
        if self._wrong == "request-id":
            answer.id = ""
        if self._wrong == "side-by-side" and asked.id.isdigit():
            answer.id = str(9 - int(asked.id))
        if self._wrong == "answer-model":
            answer.model_name = "another"
        return answer.SerializeToString()
