"""The standard health service (contract 3.8): says that the process is up, nothing about models."""

from __future__ import annotations

from infra_validator.embedded_server.inference.inference import RunSettings
from infra_validator.embedded_server.inference.prediction_service import Method, parsed
from infra_validator.embedded_server.status import not_found
from infra_validator.protos import health_pb2

SERVICE = "grpc.health.v1.Health"
_KNOWN = ("", "ModelService", "PredictionService")  # short names, as the real server registers them


def methods() -> dict[str, Method]:
    """Method name -> function."""
    return {"Check": _check}


def _check(request: bytes, _settings: RunSettings) -> bytes:
    service = parsed(health_pb2.HealthCheckRequest(), request).service
    if service not in _KNOWN:
        raise not_found("service name unknown")
    return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING).SerializeToString()
