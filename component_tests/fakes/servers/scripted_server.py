"""A real gRPC server inside the test's process that does what a script says, for the contract tests of the clients."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures

import grpc

#: Answers one call: the request's bytes and grpc's context -> the answer's bytes.
Handler = Callable[[bytes, grpc.ServicerContext], bytes]


class Script:
    """What the server does now; a test changes it while the server runs.

    Attributes:
      model: ``loading``, ``ready`` or ``failed``.
      message: the model's error when it has failed.
      answer: how inference requests are answered.
      received: every inference request's bytes.
      most_at_once: how many inference requests have been in hand at one moment.
    """

    def __init__(self, model: str = "ready") -> None:
        self.model = model
        self.message = ""
        self.answer: Handler = lambda request, context: b""
        self.received: list[bytes] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()

    def infer(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        """The handler of inference requests."""
        with self._lock:
            self.received.append(request)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return self.answer(request, context)
        finally:
            with self._lock:
                self._at_once -= 1


@contextlib.contextmanager
def serving(handlers: Mapping[str, Handler], port: int = 0) -> Iterator[tuple[str, grpc.Server]]:
    """A server with these handlers by full method path; yields (endpoint, server) and stops it in the end."""
    options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with futures.ThreadPoolExecutor(16) as pool:
        server = grpc.server(pool, options=options)
        for path, handler in handlers.items():
            _, service, method = path.split("/")
            methods = {method: grpc.unary_unary_rpc_method_handler(handler)}
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()
        try:
            yield f"127.0.0.1:{bound}", server
        finally:
            server.stop(None).wait()


@contextlib.contextmanager
def answering_connections(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A TCP server that hands every connection to ``answer``, then closes it; yields its endpoint."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                if stopped.is_set():
                    return
                answer(connection)

    thread = threading.Thread(target=accept)
    thread.start()
    endpoint = f"127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield endpoint
    finally:
        stopped.set()
        with contextlib.suppress(OSError):
            socket.create_connection(listener.getsockname()).close()
        thread.join()
        listener.close()
