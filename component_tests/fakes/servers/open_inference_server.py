"""An inference server that speaks the Open Inference Protocol strictly, and whose model answers every input as the output of its name.

    python -m component_tests.fakes.servers.open_inference_server --port=8001 [--bind_address=127.0.0.1] [--model_name=m] [--MODE]

The port may stand in the variable PORT instead. ``--most_receive=N`` and ``--most_send=N`` are the octets of the largest messages.

It refuses what the protocol forbids: contents in two places, of the wrong size, in the field of another type, 16-bit floats that are not
raw, a model or a version that it does not have. Modes: ``MODES`` says what each does.
"""

from __future__ import annotations

import math
import os
import struct
import sys
from collections.abc import Mapping
from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc

from infra_validator.protos import open_inference_pb2 as pb

if TYPE_CHECKING:
    from component_tests.fakes.servers.scripted_server import (
        Handler,
    )  # which needs what an image of servers has not got

MODES = {
    "typed": "answers with typed contents instead of raw ones",
    "no_metadata": "tells nothing of inputs and outputs",
    "lazy": "loads the model when it is first asked, and is not ready before",
    "no_index": "has no model repository extension",
    "never_ready": "the server is ready, the model never is",
    "fails_to_load": "the model's load failed, which the index tells",
    "unknown_while_loading": "answers UNKNOWN for the model, as MLServer does while it loads, the first three times",
    "nan": "answers NaN in the place of every FP32 and FP64",
    "refuses": "answers every request INVALID_ARGUMENT",
    "exits": "prints why and exits with 1",
}

SERVICE = "/inference.GRPCInferenceService/"
VERSION = "1"

#: datatype -> (octets of an element, 0 for BYTES; struct's code; the field of its typed contents, empty where it has none)
DATATYPES = {
    "BOOL": (1, "?", "bool_contents"),
    "UINT8": (1, "B", "uint_contents"),
    "UINT16": (2, "H", "uint_contents"),
    "UINT32": (4, "I", "uint_contents"),
    "UINT64": (8, "Q", "uint64_contents"),
    "INT8": (1, "b", "int_contents"),
    "INT16": (2, "h", "int_contents"),
    "INT32": (4, "i", "int_contents"),
    "INT64": (8, "q", "int64_contents"),
    "FP16": (2, "e", ""),
    "BF16": (2, "", ""),
    "FP32": (4, "f", "fp32_contents"),
    "FP64": (8, "d", "fp64_contents"),
    "BYTES": (0, "", "bytes_contents"),
}


class Model:
    """The model and what is asked of it.

    Attributes:
      name: its name.
      modes: of MODES.
      inputs: name -> (datatype, shape), for the metadata.
      takes: the names that it takes; None: any.
      received: every ModelInferRequest that was answered.
    """

    def __init__(self, name: str = "m", *modes: str, inputs: Mapping[str, tuple[str, list[int]]] | None = None) -> None:
        assert set(modes) <= set(MODES), modes
        self.name = name
        self.modes = modes
        self.inputs = inputs if inputs is not None else {"x": ("FP32", [-1])}
        self.takes = set(inputs) if inputs is not None else None
        self.received: list[Any] = []
        self._asked = 0
        self._loaded = "lazy" not in modes

    def handlers(self) -> Mapping[str, Handler]:
        """The methods that the server has, by their full path."""
        methods: dict[str, Handler] = {
            "ServerLive": lambda request, context: b"\x08\x01",
            "ServerReady": lambda request, context: b"\x08\x01",
            "ModelReady": self._ready,
            "ModelMetadata": self._metadata,
            "ModelInfer": self._infer,
        }
        if "no_index" not in self.modes:
            methods["RepositoryIndex"] = self._index
        return {SERVICE + name: handler for name, handler in methods.items()}

    def _check(self, name: str, version: str, context: grpc.ServicerContext) -> None:
        if name != self.name or version not in ("", VERSION):
            context.abort(grpc.StatusCode.NOT_FOUND, f"Model {name} with version {version} not found")

    def _ready(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        asked = pb.ModelReadyRequest.FromString(request)
        self._asked += 1
        if "unknown_while_loading" in self.modes and self._asked <= 3:
            context.abort(grpc.StatusCode.UNKNOWN, f"Model {asked.name} not found")
        self._check(asked.name, asked.version, context)
        ready = self._loaded and not {"never_ready", "fails_to_load"} & set(self.modes)
        return pb.ModelReadyResponse(ready=ready).SerializeToString()

    def _index(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        index = pb.RepositoryIndexResponse()
        index.models.add(name="another", version=VERSION, state="READY")
        entry = index.models.add(name=self.name, version=VERSION, state="READY")
        if "never_ready" in self.modes or not self._loaded:
            entry.state = "LOADING"
        if "fails_to_load" in self.modes:
            entry.state, entry.reason = "UNAVAILABLE", "Internal: failed to load model.pt: no such file"
        return index.SerializeToString()

    def _metadata(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        asked = pb.ModelMetadataRequest.FromString(request)
        self._check(asked.name, asked.version, context)
        told = pb.ModelMetadataResponse(name=self.name, versions=[VERSION], platform="python")
        if "no_metadata" not in self.modes:
            for name, (datatype, shape) in self.inputs.items():
                told.inputs.add(name=name, datatype=datatype, shape=shape)
                told.outputs.add(name=name, datatype=datatype, shape=shape)
        return told.SerializeToString()

    def _infer(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        asked = pb.ModelInferRequest.FromString(request)
        self._check(asked.model_name, asked.model_version, context)
        self._loaded = True
        self._refuse_what_is_wrong(asked, context)
        self.received.append(asked)
        answer = pb.ModelInferResponse(model_name=self.name, model_version=VERSION, id=asked.id)
        wanted = [output.name for output in asked.outputs] or [tensor.name for tensor in asked.inputs]
        for place, tensor in enumerate(asked.inputs):
            if tensor.name in wanted:
                raw = raw_of(asked, place)
                if "nan" in self.modes and tensor.datatype in ("FP32", "FP64"):
                    size, code, _ = DATATYPES[tensor.datatype]
                    raw = struct.pack(f"<{code}", math.nan) * (len(raw) // size)
                self._add(answer, tensor, raw)
        return answer.SerializeToString()

    def _refuse_what_is_wrong(self, asked: Any, context: grpc.ServicerContext) -> None:
        problem = "this server refuses everything" if "refuses" in self.modes else problem_of(asked)
        others = {tensor.name for tensor in asked.inputs} - (self.takes or set())
        if self.takes is not None and others:
            problem = problem or f"unexpected inputs: {sorted(others)}"
        if problem:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, problem)

    def _add(self, answer: Any, tensor: Any, raw: bytes) -> None:
        added = answer.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        size, code, field = DATATYPES[tensor.datatype]
        if "typed" not in self.modes or not field:
            answer.raw_output_contents.append(raw)
        elif size:
            getattr(added.contents, field).extend(value for (value,) in struct.iter_unpack(f"<{code}", raw))
        else:
            added.contents.bytes_contents.extend(strings_in(raw))


def raw_of(asked: Any, place: int) -> bytes:
    """The raw content of an input, whichever way it was sent."""
    if asked.raw_input_contents:
        return bytes(asked.raw_input_contents[place])
    tensor = asked.inputs[place]
    size, code, field = DATATYPES[tensor.datatype]
    values = getattr(tensor.contents, field)
    if size:
        return struct.pack(f"<{len(values)}{code}", *values)
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def strings_in(raw: bytes) -> list[bytes]:
    """The elements of raw BYTES; an IndexError or struct.error where it is none."""
    found = []
    while raw:
        (length,) = struct.unpack("<I", raw[:4])
        if len(raw) < 4 + length:
            raise IndexError("cut off")
        found.append(raw[4 : 4 + length])
        raw = raw[4 + length :]
    return found


def problem_of(asked: Any) -> str:
    """What the protocol forbids in a request; empty if nothing."""
    if asked.raw_input_contents and len(asked.raw_input_contents) != len(asked.inputs):
        return f"{len(asked.inputs)} inputs and {len(asked.raw_input_contents)} raw contents"
    for place, tensor in enumerate(asked.inputs):
        if tensor.datatype not in DATATYPES:
            return f"input {tensor.name}: unknown datatype {tensor.datatype}"
        size, _, field = DATATYPES[tensor.datatype]
        filled = {each.name for each, _ in tensor.contents.ListFields()}
        if asked.raw_input_contents and (filled or tensor.HasField("contents")):
            return f"input {tensor.name}: raw and typed contents"
        if filled - {field}:
            return f"input {tensor.name}: contents of another type: {filled}"
        elements = math.prod(tensor.shape)
        if elements and not asked.raw_input_contents and not field:
            return f"input {tensor.name}: {tensor.datatype} must be raw"
        try:
            raw = raw_of(asked, place)
            count = len(raw) // size if size else len(strings_in(raw))
        except (struct.error, IndexError) as error:
            return f"input {tensor.name}: {error}"
        if count != elements or (size and len(raw) % size):
            return f"input {tensor.name}: {count} elements for the shape {list(tensor.shape)}"
    return ""


def main() -> None:
    given = dict(item.removeprefix("--").partition("=")[::2] for item in sys.argv[1:])
    if "exits" in given:
        sys.exit("no such model repository")
    model = Model(given.get("model_name", "m"), *(name for name in given if name in MODES))
    address = f"{given.get('bind_address', '127.0.0.1')}:{given.get('port') or os.environ['PORT']}"
    limits = {
        direction: int(given[f"most_{direction}"]) for direction in ("receive", "send") if f"most_{direction}" in given
    }
    grpc_server(model, address, **limits).wait_for_termination()


def grpc_server(model: Model, address: str, *, receive: int = -1, send: int = -1) -> grpc.Server:
    """A server of this model that has begun; the largest messages that it receives and sends in octets, -1 for any."""
    limits = [("grpc.max_receive_message_length", receive), ("grpc.max_send_message_length", send)]
    server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0), *limits])
    for path, handler in model.handlers().items():
        _, service, method = path.split("/")
        methods = {method: grpc.unary_unary_rpc_method_handler(handler)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    server.add_insecure_port(address)
    server.start()
    return server


if __name__ == "__main__":
    main()
