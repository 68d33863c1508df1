"""What the embedded server is measured beside: an echo server of the same gRPC library, and a minimal server on Python's TensorFlow.

    python -m benchmarks.embedded_server_peers echo|echo-asyncio|minimal MODEL PORT_FILE

Each writes its ports to PORT_FILE once it serves.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import sys
import threading
from typing import Any

import grpc

from infra_validator.protos import tensorflow_pb2
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

OPTIONS = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
THREADS = 64
SERVICE = "tensorflow.serving.PredictionService"


def report(path: str, grpc_port: int, rest_port: int = 0) -> None:
    """Say where it serves."""
    with open(f"{path}.new", "w") as file:
        json.dump({"grpc": grpc_port, "rest": rest_port, "pid": os.getpid()}, file)
    os.replace(f"{path}.new", path)


def grpc_server(behaviour: Any) -> tuple[grpc.Server, int]:
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(THREADS), options=OPTIONS)
    handlers = {"Predict": grpc.unary_unary_rpc_method_handler(behaviour)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def echo(path: str) -> None:
    """Answers every Predict with its request: the price of the transport."""
    server, port = grpc_server(lambda request, context: request)
    report(path, port)
    server.wait_for_termination()


async def echo_asyncio(path: str) -> None:
    """The same on the library's asyncio server."""

    async def behaviour(request: bytes, context: Any) -> bytes:
        return request

    server = grpc.aio.server(options=OPTIONS)
    handlers = {"Predict": grpc.unary_unary_rpc_method_handler(behaviour)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    report(path, port)
    await server.wait_for_termination()


def minimal(model: str, path: str) -> None:
    """What one writes in an afternoon: import tensorflow, saved_model.load, a gRPC handler and a web handler."""
    import numpy
    import tensorflow as tf
    import werkzeug.serving
    import werkzeug.wrappers

    loaded = tf.saved_model.load(model)
    signature = loaded.signatures["serving_default"]

    def predict(request: bytes, context: Any) -> bytes:
        message = serving_pb2.PredictRequest.FromString(request)
        tensor = message.inputs["x"]
        x = numpy.frombuffer(tensor.tensor_content, numpy.float32) if tensor.tensor_content else tensor.float_val
        x = numpy.reshape(numpy.array(x, numpy.float32), [dim.size for dim in tensor.tensor_shape.dim])
        y = signature(x=tf.constant(x))["y"].numpy()
        response = serving_pb2.PredictResponse(model_spec=message.model_spec)
        answer = response.outputs["y"]
        answer.dtype = tensorflow_pb2.DT_FLOAT
        for size in y.shape:
            answer.tensor_shape.dim.add(size=size)
        answer.float_val.extend(y.ravel())
        return response.SerializeToString()

    @werkzeug.wrappers.Request.application
    def application(request: Any) -> Any:
        instances = json.loads(request.get_data())["instances"]
        y = signature(x=tf.constant(instances, tf.float32))["y"].numpy()
        return werkzeug.wrappers.Response(json.dumps({"predictions": y.tolist()}), content_type="application/json")

    class Quiet(werkzeug.serving.WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log(self, *_: Any) -> None: ...

    web = werkzeug.serving.make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    server, port = grpc_server(predict)
    report(path, port, web.server_port)
    server.wait_for_termination()


if __name__ == "__main__":
    mode, saved_model, port_file = sys.argv[1:]
    if mode == "echo":
        echo(port_file)
    elif mode == "echo-asyncio":
        asyncio.run(echo_asyncio(port_file))
    else:
        minimal(saved_model, port_file)
