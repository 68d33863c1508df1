"""Traces by OpenTelemetry's own exporters, OTLP over gRPC and over HTTP in protobuf, which Airflow brings."""

from __future__ import annotations

import concurrent.futures
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import grpc
import pytest

from component_tests.fakes.saved_models import SavedModels
from infra_validator.api import run_validation
from infra_validator.core.deadline import Deadline

if TYPE_CHECKING:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
        ExportTraceServiceRequest,
        ExportTraceServiceResponse,
    )

pytestmark = pytest.mark.airflow

SPEC = {"tensorflow_serving": {}, "local_process": {"binary_path": "/bin/false"}, "model_name": "m"}
METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class Collector:
    """Takes traces over gRPC and over HTTP, as a collector does.

    Attributes:
      taken: (protocol, metadata or headers, request) of each.
      addresses: by protocol.
    """

    def __init__(self) -> None:
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2  # of Airflow's environment alone

        request, response = trace_service_pb2.ExportTraceServiceRequest, trace_service_pb2.ExportTraceServiceResponse
        self._response = response
        self.taken: list[tuple[str, dict[str, str], ExportTraceServiceRequest]] = []
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
        handler = grpc.unary_unary_rpc_method_handler(self._over_grpc, request.FromString, response.SerializeToString)
        service, _, method = METHOD[1:].partition("/")
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        taken = self.taken

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                good = (self.path, self.headers["Content-Type"]) == ("/v1/traces", "application/x-protobuf")
                if good:
                    taken.append(("http/protobuf", dict(self.headers.items()), request.FromString(body)))
                self.send_response(200 if good else 400)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        self.addresses = {
            "grpc": f"http://127.0.0.1:{port}",
            "http/protobuf": f"http://127.0.0.1:{self._http.server_port}",
        }

    def _over_grpc(
        self, request: ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> ExportTraceServiceResponse:
        headers = {key: str(value) for key, value in context.invocation_metadata()}
        self.taken.append(("grpc", headers, request))
        return self._response()

    def close(self) -> None:
        self._server.stop(None).wait()
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """One, for whom a validation waits as long as it takes."""
    monkeypatch.setattr("infra_validator.telemetry.watchers.AT_MOST", 60.0)
    made = Collector()
    yield made
    made.close()


@pytest.fixture
def failed(saved_models: SavedModels) -> Callable[[], object]:
    """A validation that is over in no time."""
    return lambda: run_validation(saved_models.path("half_plus_two"), SPEC, {"num_tries": 1}).finding.reason.name


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_the_trace_goes_out_by_the_protocol_that_is_asked_for(
    collector: Collector, protocol: str, failed: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.addresses[protocol])
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=fares")
    assert failed() == "SERVER_EXITED"
    ((used, headers, request),) = collector.taken
    assert used == protocol
    assert headers["x-tenant"] == "fares"
    (resource,) = request.resource_spans
    names = sorted(span.name for span in resource.scope_spans[0].spans)
    assert {"infra_validator.validation", "infra_validator.attempt", "infra_validator.start"} <= set(names)
    assert len({span.trace_id for span in resource.scope_spans[0].spans}) == 1


def test_a_collector_that_is_gone_is_a_warning(
    collector: Collector,
    failed: Callable[[], object],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    collector.close()
    monkeypatch.setattr("infra_validator.telemetry.watchers.AT_MOST", 0.5)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.addresses["grpc"])
    assert failed() == "SERVER_EXITED"
    assert "Telemetry: not everything was sent" in caplog.text
    deadline = Deadline.after(60)  # it reads the variables, which are gone after the test
    while "StatusCode.UNAVAILABLE" not in caplog.text:
        assert deadline.remaining() > 0, caplog.text
        time.sleep(0.02)
