"""OpenTelemetry traces of validations (extra ``opentelemetry``): a span for the validation, for each attempt and for each phase.

The standard variables configure it (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/). Spans go out over
OTLP/HTTP in its JSON encoding, which needs no protobuf of any version; where one of OpenTelemetry's own exporters is installed and named by
the variables, by that one.
"""

from __future__ import annotations

import importlib.metadata
import json
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from infra_validator._version import __version__
from infra_validator.core.progress import PhaseEnded, Progress
from infra_validator.report.verdict import ValidationReport

_PACKAGES = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}


def export(
    report: ValidationReport,
    events: Sequence[tuple[int, Progress]],
    began: int,
    ended: int,
    environment: Mapping[str, str],
    seconds: float,
) -> None:
    """Send the trace of one validation.

    Args:
      report: what came of it.
      events: what went on, each with its moment in nanoseconds since 1970.
      began, ended: the validation's moments.
      environment: the standard variables, and ``TRACEPARENT``, the caller's span.
      seconds: how long sending may take.
    """
    kept = _Kept()
    resource = Resource.create({"service.name": environment.get("OTEL_SERVICE_NAME") or "infra-validator"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(kept)
    tracer = provider.get_tracer("infra_validator", __version__)
    parent = {key: environment[key.upper()] for key in ("traceparent", "tracestate") if environment.get(key.upper())}
    root = tracer.start_span(
        "infra_validator.validation",
        TraceContextTextMapPropagator().extract(parent),
        attributes={
            "infra_validator.run_id": report.run_id,
            "infra_validator.model_name": report.model_name,
            "infra_validator.verdict": report.verdict.value,
            "infra_validator.reason_code": report.finding.reason.name,
        },
        start_time=began,
    )
    reasons = {
        (binary.label, attempt.number): attempt.finding.reason.name
        for binary in report.serving_binaries
        for attempt in binary.attempts
    }
    attempts: dict[tuple[str, int], list[tuple[int, PhaseEnded]]] = {}
    for moment, event in events:
        if isinstance(event, PhaseEnded):
            attempts.setdefault((event.of.binary, event.of.number), []).append((moment, event))
    for (binary, number), phases in attempts.items():
        reason = reasons.get((binary, number), "")
        span = tracer.start_span(
            "infra_validator.attempt",
            trace.set_span_in_context(root),
            attributes={
                "infra_validator.binary": binary,
                "infra_validator.attempt": number,
                "infra_validator.reason_code": reason,
            },
            start_time=phases[0][0] - int(phases[0][1].seconds * 1e9),
        )
        for moment, phase in phases:
            part = tracer.start_span(
                f"infra_validator.{phase.phase}",
                trace.set_span_in_context(span),
                attributes={"infra_validator.phase": phase.phase, "infra_validator.outcome": phase.outcome},
                start_time=moment - int(phase.seconds * 1e9),
            )
            _end(part, phase.outcome != "failed", moment)
        _end(span, reason in ("BLESSED", ""), phases[-1][0])
    _end(root, report.blessed, ended)
    exporter = _exporter(environment, seconds)
    if exporter.export(kept.spans) is not SpanExportResult.SUCCESS:
        raise OSError("the receiver of the traces did not take them")
    exporter.shutdown()


def _end(span: trace.Span, good: bool, moment: int) -> None:
    span.set_status(trace.StatusCode.OK if good else trace.StatusCode.ERROR)
    span.end(moment)


class _Kept(SpanProcessor):
    """Keeps the spans that ended."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is not None and span.context.trace_flags.sampled:
            self.spans.append(span)


def _exporter(environment: Mapping[str, str], seconds: float) -> SpanExporter:
    protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environment.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    name = _PACKAGES.get(protocol or "", "")
    for entry in importlib.metadata.entry_points(group="opentelemetry_traces_exporter"):
        if name and entry.name == name:
            made: SpanExporter = entry.load()()
            return made
    if protocol == "grpc":
        raise ImportError("opentelemetry-exporter-otlp-proto-grpc is not installed, and OTLP's protocol is to be grpc")
    return OtlpJsonExporter(environment, seconds)


class OtlpJsonExporter(SpanExporter):
    """OTLP over HTTP in JSON. Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding.

    Args:
      environment: ``OTEL_EXPORTER_OTLP_ENDPOINT`` and its like.
      seconds: how long sending may take.
    """

    def __init__(self, environment: Mapping[str, str], seconds: float) -> None:
        base = environment.get("OTEL_EXPORTER_OTLP_ENDPOINT") or "http://localhost:4318"
        self._url = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or f"{base.rstrip('/')}/v1/traces"
        self._headers = {"Content-Type": "application/json"}
        given = environment.get("OTEL_EXPORTER_OTLP_TRACES_HEADERS") or environment.get(
            "OTEL_EXPORTER_OTLP_HEADERS", ""
        )
        for pair in given.split(","):
            key, _, value = pair.partition("=")
            if key.strip():
                self._headers[key.strip()] = urllib.parse.unquote(value.strip())
        self._seconds = seconds

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if not self._url.startswith(("http://", "https://")):
            raise ValueError(f"{self._url}: is no address of a receiver of traces")
        if not spans:
            return SpanExportResult.SUCCESS
        scope = {"name": "infra_validator", "version": __version__}
        told = {"scope": scope, "spans": [_encoded(span) for span in spans]}
        resource = {"attributes": _attributes(spans[0].resource.attributes)}
        body = {"resourceSpans": [{"resource": resource, "scopeSpans": [told]}]}
        asked = urllib.request.Request(self._url, json.dumps(body).encode(), self._headers)
        with urllib.request.urlopen(asked, timeout=self._seconds) as answer:
            answer.read(65536)
        return SpanExportResult.SUCCESS


def _encoded(span: ReadableSpan) -> dict[str, Any]:
    context = span.context
    assert context is not None
    return {
        "traceId": f"{context.trace_id:032x}",
        "spanId": f"{context.span_id:016x}",
        **({"parentSpanId": f"{span.parent.span_id:016x}"} if span.parent is not None else {}),
        "name": span.name,
        "kind": 1,  # internal
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.end_time),
        "attributes": _attributes(span.attributes or {}),
        "status": {"code": span.status.status_code.value},
    }


def _attributes(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": str(value)}}
        for key, value in given.items()
    ]
