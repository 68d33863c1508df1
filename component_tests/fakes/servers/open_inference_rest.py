"""The strict inference server over REST: JSON and the binary data extension, translated by its own hands for the model of gRPC.

    python -m component_tests.fakes.servers.open_inference_rest --port=8000 [--bind_address=127.0.0.1] [--model_name=m] [--MODE]

It refuses what the protocol forbids: other paths and verbs, members that the protocol has not got, data and binary data in one input,
16-bit floats as JSON, NaN, lists that are neither flat nor of their shape, octets that belong to no input.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import math
import os
import re
import struct
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import grpc

from component_tests.fakes.servers.open_inference_server import DATATYPES, MODES, Model, strings_in
from infra_validator.protos import open_inference_pb2 as pb

_C = grpc.StatusCode
STATUS = {
    _C.NOT_FOUND: 404,
    _C.INVALID_ARGUMENT: 400,
    _C.UNKNOWN: 500,
    _C.UNIMPLEMENTED: 501,
    _C.FAILED_PRECONDITION: 400,
}
HEADER = "Inference-Header-Content-Length"

#: Changes an answer before it is sent: (path, status, headers, body) -> the same.
Change = Callable[[str, int, dict[str, str], bytes], tuple[int, dict[str, str], bytes]]


class Wrong(Exception):
    """An HTTP status and the server's words."""


class _Context:
    def abort(self, code: grpc.StatusCode, text: str) -> None:
        raise Wrong(STATUS[code], text)


def _refuse_constant(name: str) -> None:
    raise Wrong(400, f"{name} is no JSON")


def _only(told: Mapping[str, Any], *names: str) -> None:
    others = set(told) - set(names)
    if others:
        raise Wrong(400, f"members that the protocol has not got: {sorted(others)}")


def _flat(data: Any, shape: list[int]) -> list[Any]:
    if not isinstance(data, list):
        raise Wrong(400, "data are no list")
    if not any(isinstance(item, list) for item in data):
        return data
    if not shape or len(data) != shape[0] or not all(isinstance(item, list) for item in data):
        raise Wrong(400, "data are not of their shape")
    return [value for item in data for value in _flat(item, shape[1:])]


def _request(name: str, version: str, headers: Any, body: bytes) -> tuple[Any, bool]:
    """The message that a body stands for, and whether the answer is to be binary."""
    length = headers.get(HEADER)
    expected = "application/json" if length is None else "application/octet-stream"
    if headers.get("Content-Type") != expected:
        raise Wrong(415, f"Content-Type must be {expected}")
    head, binary = (body, b"") if length is None else (body[: int(length)], body[int(length) :])
    try:
        told = json.loads(head, parse_constant=_refuse_constant)
    except ValueError as error:
        raise Wrong(400, f"no JSON: {error}") from error
    _only(told, "id", "inputs", "outputs", "parameters")
    message = pb.ModelInferRequest(model_name=name, model_version=version, id=told.get("id", ""))
    for output in told.get("outputs", ()):
        _only(output, "name")
        message.outputs.add(name=output["name"])
    for tensor in told["inputs"]:
        _only(tensor, "name", "shape", "datatype", "data", "parameters")
        datatype, shape = tensor["datatype"], tensor["shape"]
        if datatype not in DATATYPES:
            raise Wrong(400, f"unknown datatype {datatype}")
        message.inputs.add(name=tensor["name"], datatype=datatype, shape=shape)
        size = tensor.get("parameters", {}).get("binary_data_size")
        if (size is None) == ("data" not in tensor):
            raise Wrong(400, f"input {tensor['name']}: either data or binary data")
        if size is not None:
            if size > len(binary):
                raise Wrong(400, "binary data that are not there")
            message.raw_input_contents.append(binary[:size])
            binary = binary[size:]
            continue
        message.raw_input_contents.append(_packed(datatype, _flat(tensor["data"], shape)))
    if binary:
        raise Wrong(400, f"{len(binary)} octets that belong to no input")
    return message, bool(told.get("parameters", {}).get("binary_data_output"))


def _packed(datatype: str, values: list[Any]) -> bytes:
    size, code, field = DATATYPES[datatype]
    if not field:
        raise Wrong(400, f"{datatype} must be binary data")
    try:
        if not size:
            return b"".join(struct.pack("<I", len(raw)) + raw for raw in (value.encode() for value in values))
        if datatype == "BOOL" and any(type(value) is not bool for value in values):
            raise Wrong(400, "BOOL must be true or false")
        return struct.pack(f"<{len(values)}{code}", *values)
    except (struct.error, AttributeError, OverflowError) as error:
        raise Wrong(400, f"{datatype}: {error}") from error


def _answer(response: Any, binary: bool, nested: bool) -> tuple[dict[str, str], bytes]:
    told: dict[str, Any] = {"model_name": response.model_name, "model_version": response.model_version, "outputs": []}
    if response.id:
        told["id"] = response.id
    contents = []
    for output, raw in zip(response.outputs, response.raw_output_contents, strict=True):
        one: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": list(output.shape)}
        if binary or output.datatype == "BF16":
            one["parameters"] = {"binary_data_size": len(raw)}
            contents.append(raw)
        else:
            size, code, _ = DATATYPES[output.datatype]
            values = (
                [v for (v,) in struct.iter_unpack(f"<{code}", raw)] if size else [v.decode() for v in strings_in(raw)]
            )
            one["data"] = _nest(values, list(output.shape)) if nested else values
        told["outputs"].append(one)
    head = json.dumps(told).encode()
    if not contents:
        return {"Content-Type": "application/json"}, head
    return {"Content-Type": "application/octet-stream", HEADER: str(len(head))}, b"".join((head, *contents))


def _nest(values: list[Any], shape: list[int]) -> Any:
    if not shape:
        return values
    if len(shape) == 1:
        return values
    step = math.prod(shape[1:])
    return [_nest(values[at * step : (at + 1) * step], shape[1:]) for at in range(shape[0])]


class RestServer(http.server.ThreadingHTTPServer):
    """Serves one model.

    Attributes:
      model: the model.
      nested: whether data in answers are nested as their shape, rather than flat.
      change: what is done to every answer; None: nothing.
      needs_load: whether the model is there only between a load and an unload.
      no_binary: whether the binary data extension is missing: what is sent so is answered with a trace that quotes it, as MLServer does.
      asked: every (verb, path).
    """

    daemon_threads = True

    def __init__(
        self, address: tuple[str, int], model: Model, *, nested: bool = False, change: Change | None = None
    ) -> None:
        super().__init__(address, _Handler)
        self.model = model
        self.handlers = {path.rpartition("/")[2]: handler for path, handler in model.handlers().items()}
        self.nested = nested
        self.change = change
        self.needs_load = False
        self.no_binary = False
        self.loaded = False
        self.asked: list[tuple[str, str]] = []

    def call(self, method: str, message: Any) -> bytes:
        """Ask the model as over gRPC; raises Wrong."""
        if method not in self.handlers:
            raise Wrong(404, "no such path")
        if self.needs_load and not self.loaded and method.startswith(("Model", "RepositoryIndex")):
            raise Wrong(404, "the model is not loaded")
        return self.handlers[method](message.SerializeToString(), _Context())  # type: ignore[arg-type]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left is no news."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RestServer

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""

    def do_GET(self) -> None:
        self._answer("GET", b"")

    def do_POST(self) -> None:
        self._answer("POST", self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _answer(self, verb: str, body: bytes) -> None:
        self.server.asked.append((verb, self.path))
        try:
            status, headers, answer = 200, *self._found(verb, urllib.parse.urlsplit(self.path).path, body)
        except Wrong as wrong:
            status, text = wrong.args
            headers, answer = {"Content-Type": "application/json"}, json.dumps({"error": text}).encode()
        if self.server.no_binary and HEADER in self.headers:
            status, headers = 500, {"Content-Type": "text/plain; charset=utf-8"}
            answer = f"Traceback (most recent call last):\nRequestValidationError: [{{'input': {body!r}}}]\n".encode()
        headers = {"Content-Length": str(len(answer)), **headers}
        if self.server.change is not None:
            status, headers, answer = self.server.change(self.path, status, headers, answer)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    def _found(self, verb: str, path: str, body: bytes) -> tuple[dict[str, str], bytes]:
        server, plain = self.server, {"Content-Type": "application/json"}
        if (verb, path) in (("GET", "/v2/health/live"), ("GET", "/v2/health/ready")):
            method = "ServerLive" if path.endswith("live") else "ServerReady"
            if server.call(method, pb.ModelReadyRequest()) != b"\x08\x01":
                raise Wrong(503, "not now")
            return {}, b""
        if (verb, path) == ("GET", "/v2"):
            extensions = [] if server.no_binary else ["binary_tensor_data"]
            return plain, json.dumps({"name": "strict", "version": "1", "extensions": extensions}).encode()
        if (verb, path) == ("POST", "/v2/repository/index"):
            index = pb.RepositoryIndexResponse.FromString(server.call("RepositoryIndex", pb.RepositoryIndexRequest()))
            return plain, json.dumps(
                [{"name": m.name, "version": m.version, "state": m.state, "reason": m.reason} for m in index.models]
            ).encode()
        load = re.fullmatch(r"/v2/repository/models/([^/]+)/(load|unload)", path)
        if load and verb == "POST" and server.needs_load:
            if urllib.parse.unquote(load[1]) != server.model.name:
                raise Wrong(400, f"failed to load {load[1]}: no such model")
            server.loaded = load[2] == "load"
            return {}, b""
        match = re.fullmatch(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(/ready|/infer)?", path)
        if match is None or verb != ("POST" if match[3] == "/infer" else "GET"):
            raise Wrong(404, "no such path")
        name, version = urllib.parse.unquote(match[1]), match[2] or ""
        if match[3] == "/infer":
            message, binary = _request(name, version, self.headers, body)
            answer = pb.ModelInferResponse.FromString(server.call("ModelInfer", message))
            return _answer(answer, binary, server.nested)
        asked = pb.ModelReadyRequest(name=name, version=version)
        if match[3] == "/ready":
            if not pb.ModelReadyResponse.FromString(server.call("ModelReady", asked)).ready:
                raise Wrong(400, "not ready")
            return {}, b""
        told = pb.ModelMetadataResponse.FromString(server.call("ModelMetadata", asked))
        tensors = {
            kind: [{"name": t.name, "datatype": t.datatype, "shape": list(t.shape)} for t in getattr(told, kind)]
            for kind in ("inputs", "outputs")
        }
        return plain, json.dumps(
            {"name": told.name, "versions": list(told.versions), "platform": told.platform, **tensors}
        ).encode()


@contextlib.contextmanager
def serving_rest(
    model: Model, *, nested: bool = False, change: Change | None = None
) -> Iterator[tuple[str, RestServer]]:
    """A server of this model; yields (endpoint, server) and stops it in the end."""
    with RestServer(("127.0.0.1", 0), model, nested=nested, change=change) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", server
        finally:
            server.shutdown()
            thread.join()


def main() -> None:
    given = dict(item.removeprefix("--").partition("=")[::2] for item in sys.argv[1:])
    if "exits" in given:
        sys.exit("no such model repository")
    model = Model(given.get("model_name", "m"), *(name for name in given if name in MODES))
    port = int(given.get("port") or os.environ["PORT"])
    server = RestServer((given.get("bind_address", "127.0.0.1"), port), model)
    server.needs_load = "needs_load" in given
    server.no_binary = "no_binary" in given
    server.serve_forever()


if __name__ == "__main__":
    main()
