"""A real gRPC server inside the test's process that does what a script says, for the contract tests of the clients."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures

import grpc

from infra_validator.testing.contracts.scripts import Refused
from infra_validator.testing.contracts.scripts import Script as AnyScript

#: Answers one call: the request's bytes and grpc's context -> the answer's bytes.
Handler = Callable[[bytes, grpc.ServicerContext], bytes]


class Script(AnyScript):
    """A script for gRPC.

    Attributes:
      answer: how inference requests are answered, where their context is needed; None: by ``reply``.
    """

    def __init__(self, model: str = "ready") -> None:
        super().__init__(model)
        self.answer: Handler | None = None

    def call(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        """The handler of inference requests."""
        if self.answer is not None:
            with self.taking(request):
                return self.answer(request, context)
        try:
            return self.infer(request)
        except Refused as refused:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(refused))
            raise  # not reached


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
