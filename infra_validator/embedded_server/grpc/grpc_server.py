"""The gRPC edge (contract 3.1, 3.8): methods by their original paths, deadlines, status texts. Thin on purpose."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Mapping

import grpc

from infra_validator.core import wire
from infra_validator.embedded_server import log
from infra_validator.embedded_server.inference.inference import RunSettings, run_options
from infra_validator.embedded_server.inference.prediction_service import Method
from infra_validator.embedded_server.status import StatusError

_LONGEST_MESSAGE = 1024  # bytes of a status text
_UNLIMITED = [("grpc.max_receive_message_length", 2**31 - 1), ("grpc.max_send_message_length", -1)]
_NO_SETTINGS = RunSettings()
_CODES = {code.value[0]: code for code in grpc.StatusCode}


def _behaviour(method: Method, settings: RunSettings) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    def serve(request: bytes, context: grpc.ServicerContext) -> bytes:
        remaining = context.time_remaining()
        options = b"" if remaining is None else run_options(int(remaining * 1000))
        try:
            return method(request, RunSettings(options, settings.check_method_name, settings.metrics))
        except StatusError as error:
            context.set_code(_CODES[error.code])
            context.set_details(truncated(error.message))
        except wire.WireError:
            context.set_code(grpc.StatusCode.INTERNAL)
            context.set_details("")
        return b""

    return serve


def truncated(message: str) -> str:
    """A status text as the real server cuts it: 1024 bytes and ``...TRUNCATED``."""
    data = message.encode("utf-8", "surrogateescape")
    if len(data) > _LONGEST_MESSAGE:
        data = data[:_LONGEST_MESSAGE] + b"...TRUNCATED"
    return data.decode("utf-8", "replace")


def add_service(
    server: grpc.Server, service: str, methods: Mapping[str, Method], settings: RunSettings = _NO_SETTINGS
) -> None:
    """Register methods under ``/<service>/<method name>``; requests and responses stay bytes.

    Args:
      settings: of every request; its deadline is added.
    """
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(_behaviour(method, settings)) for name, method in methods.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))


def open_port(server: grpc.Server, address: str, credentials: grpc.ServerCredentials | None) -> int:
    """Bind and listen; the port, or 0 if the address cannot be had (newer gRPC raises RuntimeError instead)."""
    log.info("server.cc", "Using SSL credentials" if credentials else "Using InsecureServerCredentials")
    if credentials:
        return server.add_secure_port(address, credentials)
    return server.add_insecure_port(address)


def make_server(threads: int, options: list[tuple[str, str | int]]) -> grpc.Server:
    """A gRPC server, not started, without port and services.

    Args:
      threads: how many requests are worked on at once.
      options: more channel arguments; they win.
    """
    pool = concurrent.futures.ThreadPoolExecutor(threads, "grpc")
    arguments = dict([*_UNLIMITED, *options])  # of an argument that stands twice, gRPC takes the first
    return grpc.server(pool, options=list(arguments.items()))
