"""Contract 3.8: the health service and TLS."""

from __future__ import annotations

import pathlib
import shutil
import subprocess

import grpc
import pytest

from component_tests.contract.tensorflow_serving.requests import (
    NOT_FOUND,
    PREDICTION,
    fails,
    predict_request,
    spec,
    tensor,
)
from component_tests.fakes.saved_models import SavedModels
from component_tests.fakes.servers.embedded_server_process import embedded_server
from infra_validator.protos import health_pb2

pytestmark = pytest.mark.slow

CHECK = "/grpc.health.v1.Health/Check"


def test_3_8_health_service_behind_its_flag(saved_models: SavedModels) -> None:
    flags = [f"--model_base_path={saved_models.base_path('half_plus_two')}", "--enable_grpc_healthcheck_service"]
    with embedded_server(*flags) as server:
        for service in ("", "ModelService", "PredictionService"):
            response = server.call(
                CHECK, health_pb2.HealthCheckRequest(service=service), health_pb2.HealthCheckResponse
            )
            assert response.status == health_pb2.HealthCheckResponse.SERVING
        with fails(NOT_FOUND, "service name unknown"):
            server.call(CHECK, health_pb2.HealthCheckRequest(service="tensorflow.serving.ModelService"))


def test_3_8_tls(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    assert shutil.which("openssl"), "this test needs openssl"
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, capture_output=True, check=True)
    config = tmp_path / "ssl.config"
    lines = [("server_key", key), ("server_cert", certificate)]
    config.write_text("".join(f"{name}: {path.read_text()!r}\n" for name, path in lines))
    flags = [f"--model_base_path={saved_models.base_path('half_plus_two')}", f"--ssl_config_file={config}"]
    with embedded_server(*flags) as server:
        assert "] Using SSL credentials" in server.stderr
        credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
        with grpc.secure_channel(f"localhost:{server.ports()['grpc']}", credentials) as channel:
            request = predict_request(spec("default"), x=tensor([1.0])).SerializeToString()
            assert channel.unary_unary(PREDICTION + "Predict", bytes, bytes)(request, timeout=60)


def test_1_2_an_unreadable_ssl_file_aborts(saved_models: SavedModels) -> None:
    flags = [f"--model_base_path={saved_models.base_path('half_plus_two')}", "--ssl_config_file=/no/such/file"]
    with embedded_server(*flags, wait=False) as server:
        assert server.wait_for_exit() == -6
