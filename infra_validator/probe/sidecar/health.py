"""gRPC's health service (grpc.health.v1) for the sidecar: service name = model name."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Iterator

import grpc

from infra_validator.probe.sidecar.models import Models
from infra_validator.protos import health_pb2 as health

_SERVICE = "grpc.health.v1.Health"
_MOST_WATCHES = 100  # each holds a thread
_THREADS_FOR_CHECKS = 8
_LONGEST_SILENCE = 60.0  # seconds after which a watch looks whether its client is still there

_UNKNOWN = health.HealthCheckResponse.SERVICE_UNKNOWN


class HealthService:
    """Check and Watch.

    A service is ``""`` (everything that the sidecar was asked for), a model's name, or a model as it was asked for, such as
    ``NAME:VERSION``. Check of another one is NOT_FOUND, Watch of another one says SERVICE_UNKNOWN, as the protocol has it.
    """

    def __init__(self, models: Models) -> None:
        self._models = models
        self._places = threading.Semaphore(_MOST_WATCHES)

    def _status(self, service: str) -> health.HealthCheckResponse.ServingStatus.ValueType:
        ready = self._models.ready(service)
        if ready is None:
            return _UNKNOWN
        return health.HealthCheckResponse.SERVING if ready else health.HealthCheckResponse.NOT_SERVING

    def check(self, request: health.HealthCheckRequest, context: grpc.ServicerContext) -> health.HealthCheckResponse:
        """The state now."""
        status = self._status(request.service)
        if status == _UNKNOWN:
            context.abort(grpc.StatusCode.NOT_FOUND, f"the sidecar was not asked to watch {request.service!r}")
        return health.HealthCheckResponse(status=status)

    def watch(
        self, request: health.HealthCheckRequest, context: grpc.ServicerContext
    ) -> Iterator[health.HealthCheckResponse]:
        """The state now, and whenever it changes, until the client goes or the sidecar stops."""
        if not self._places.acquire(blocking=False):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"there are {_MOST_WATCHES} watches already")
        try:
            news = self._models.news
            context.add_callback(news.announce)
            said = None
            while context.is_active():
                seen, stopping = news.count, self._models.stopping
                status = self._status(request.service)
                if status != said:
                    yield health.HealthCheckResponse(status=status)
                    said = status
                if stopping:
                    return
                news.wait(seen, _LONGEST_SILENCE)
        finally:
            self._places.release()


def place_text(host: str, port: int) -> str:
    """``host:port``, as gRPC takes it and people read it; no host is every address of both families."""
    return f"[{host or '::'}]:{port}" if ":" in host or not host else f"{host}:{port}"


def start_health_server(models: Models, host: str, port: int) -> tuple[grpc.Server, int]:
    """A running server and the port it listens on.

    Args:
      host: a number or a name; empty for every address of both families.
      port: 0 for any that is free.

    Raises:
      OSError: it cannot listen there.
    """
    service = HealthService(models)
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(_MOST_WATCHES + _THREADS_FOR_CHECKS, "health"),
        options=[("grpc.so_reuseport", 0)],
    )
    handlers: dict[str, grpc.RpcMethodHandler[health.HealthCheckRequest, health.HealthCheckResponse]] = {
        "Check": grpc.unary_unary_rpc_method_handler(
            service.check, health.HealthCheckRequest.FromString, health.HealthCheckResponse.SerializeToString
        ),
        "Watch": grpc.unary_stream_rpc_method_handler(
            service.watch, health.HealthCheckRequest.FromString, health.HealthCheckResponse.SerializeToString
        ),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    address = place_text(host, port)
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(str(error)) from None
    if not bound:
        raise OSError(f"cannot listen on {address}")
    server.start()
    return server, bound
