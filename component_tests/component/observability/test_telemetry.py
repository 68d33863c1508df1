"""Metrics and traces of real validations, taken by real receivers; and receivers that are broken, which change nothing."""

from __future__ import annotations

import http.server
import json
import logging
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from component_tests.fakes.saved_models import ROOT, SavedModels
from infra_validator.api import run_validation
from infra_validator.report.verdict import ValidationReport, Verdict
from infra_validator.telemetry import metrics as metrics_module
from infra_validator.telemetry.watchers import Watchers, wants_traces

SECRET = "3141592.5"
SPEC = {"tensorflow_serving": {}, "local_process": {}, "model_name": "a_model"}


class Receiver:
    """Takes whatever is sent by POST and PUT, and answers with one status."""

    def __init__(self, status: int = 200) -> None:
        self.taken: list[tuple[str, dict[str, str], bytes]] = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.taken.append((self.path, dict(self.headers), body))
                self.send_response(status)
                self.end_headers()

            def do_PUT(self) -> None:
                self.do_POST()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take its time to send what the tests look at; every test has metrics of its own."""
    monkeypatch.setattr("infra_validator.telemetry.watchers.AT_MOST", 60.0)
    metrics_module.metrics.cache_clear()
    metrics_module.listen.cache_clear()


def validated(saved_models: SavedModels, tmp_path: pathlib.Path, model: str = "half_plus_two") -> ValidationReport:
    requests = tmp_path / "requests.json"
    requests.write_text(f'{{"instances": [{SECRET}]}}')
    return run_validation(saved_models.path(model), SPEC, requests=str(requests))


def failed(saved_models: SavedModels) -> ValidationReport:
    """A validation that is over in no time."""
    spec = {**SPEC, "local_process": {"binary_path": "/bin/false"}}
    return run_validation(saved_models.path("half_plus_two"), spec)


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


# ---------------------------------------------------------------- metrics


def test_a_scrape(saved_models: SavedModels, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFRA_VALIDATOR_METRICS_LISTEN", "127.0.0.1:0")
    assert validated(saved_models, tmp_path).blessed
    assert not failed(saved_models).blessed
    port = metrics_module.listen("127.0.0.1:0")  # the one that listens already
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    found = samples(text)
    validations = "infra_validator_validations_total"
    assert found[validations, (("reason_code", "BLESSED"), ("verdict", "BLESSED"))] == 1
    assert found[validations, (("reason_code", "SERVER_EXITED"), ("verdict", "NOT_BLESSED"))] == 1
    assert found["infra_validator_tries_again_total", (("reason_code", "SERVER_EXITED"),)] == 1
    assert found["infra_validator_phase_seconds_count", (("outcome", "ok"), ("phase", "query"))] == 1
    assert found["infra_validator_phase_seconds_count", (("outcome", "ok"), ("phase", "stop"))] == 3
    assert found["infra_validator_server_load_seconds_count", ()] == 1
    assert found["infra_validator_validation_seconds_count", (("verdict", "BLESSED"),)] == 1
    assert found["infra_validator_slots_waiting", ()] == found["infra_validator_attempts_running", ()] == 0
    assert "a_model" not in text
    assert SECRET not in text


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("", "/metrics/job/infra_validator/instance/"),
        ("/metrics/job/nightly/team/fares", "/metrics/job/nightly/team/fares"),
    ],
)
def test_a_push(
    saved_models: SavedModels, receiver: Receiver, path: str, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFRA_VALIDATOR_METRICS_PUSH", receiver.url + path)
    report = failed(saved_models)
    ((asked, _, body),) = receiver.taken
    assert asked.startswith(group)
    key = (("reason_code", report.finding.reason.name), ("verdict", "NOT_BLESSED"))
    assert samples(body.decode())["infra_validator_validations_total", key] == 1


def test_every_metric_that_the_dashboard_asks_for_is_there() -> None:
    dashboard = json.loads((ROOT / "configs/grafana/infra_validator.json").read_text())
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"\binfra_validator_\w+", target["expr"])
    }
    families = metrics_module.Metrics().registry.collect()
    ends = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    there = {family.name + end for family in families for end in ends[family.type]}
    assert asked <= there
    assert {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in asked} == {
        name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in there
    }
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


# ---------------------------------------------------------------- traces


def test_a_trace(
    saved_models: SavedModels, tmp_path: pathlib.Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=fare%20team,other=1")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=staging")
    monkeypatch.setenv("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    report = validated(saved_models, tmp_path)
    assert report.blessed
    ((path, headers, body),) = receiver.taken
    assert path == "/v1/traces"
    assert headers["Content-Type"] == "application/json"
    assert {key.lower(): value for key, value in headers.items()}["x-tenant"] == "fare team"
    (resource_spans,) = json.loads(body)["resourceSpans"]
    resource = values(resource_spans["resource"]["attributes"])
    assert (resource["service.name"], resource["deployment.environment"]) == ("infra-validator", "staging")
    spans = {span["name"]: span for span in resource_spans["scopeSpans"][0]["spans"]}
    phases = [phase.name for phase in report.serving_binaries[0].phases]
    names = ["validation", "attempt", *phases]
    assert sorted(spans) == sorted(f"infra_validator.{name}" for name in names)
    root, attempt = spans["infra_validator.validation"], spans["infra_validator.attempt"]
    assert {span["traceId"] for span in spans.values()} == {"0af7651916cd43dd8448eb211c80319c"}
    assert root["parentSpanId"] == "b7ad6b7169203331"
    assert attempt["parentSpanId"] == root["spanId"]
    for name in phases:
        phase = spans[f"infra_validator.{name}"]
        assert phase["parentSpanId"] == attempt["spanId"]
        assert int(phase["startTimeUnixNano"]) <= int(phase["endTimeUnixNano"]) <= int(root["endTimeUnixNano"])
    assert all(span["status"]["code"] == 1 for span in spans.values())
    told = values(root["attributes"])
    assert told["infra_validator.run_id"] == report.run_id
    assert told["infra_validator.verdict"] == "BLESSED"
    assert values(attempt["attributes"])["infra_validator.attempt"] == "1"
    assert SECRET not in body.decode()


def values(attributes: list[dict[str, Any]]) -> dict[str, str]:
    return {one["key"]: next(iter(one["value"].values())) for one in attributes}


def test_a_rejection_is_an_error(
    saved_models: SavedModels, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{receiver.url}/custom")
    failed(saved_models)
    ((path, _, body),) = receiver.taken
    assert path == "/custom"
    spans = json.loads(body)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert sum(span["name"] == "infra_validator.attempt" for span in spans) == 2
    assert all(span["status"]["code"] == 2 for span in spans if span["name"].endswith(("attempt", "validation")))


def test_who_is_not_to_be_sampled_is_not(
    saved_models: SavedModels, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    failed(saved_models)
    assert receiver.taken == []


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, False),
    ],
)
def test_traces_are_off_unless_they_are_asked_for(environment: dict[str, str], wanted: bool) -> None:
    assert wants_traces(environment) is wanted
    assert bool(Watchers({"PATH": "/bin", **({} if wanted else environment)})) is False


# ---------------------------------------------------------------- what is broken


@pytest.mark.parametrize(
    "variables",
    [
        {"INFRA_VALIDATOR_METRICS_PUSH": "CLOSED"},
        {"INFRA_VALIDATOR_METRICS_PUSH": "no url"},
        {"INFRA_VALIDATOR_METRICS_PUSH": "REFUSING"},
        {"INFRA_VALIDATOR_METRICS_LISTEN": "no address"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "CLOSED"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "file:///etc/passwd"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "REFUSING"},
        {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ],
    ids=str,
)
def test_what_is_broken_is_a_warning_and_changes_no_verdict(
    saved_models: SavedModels,
    variables: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusing = Receiver(status=503)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        places = {"CLOSED": f"http://127.0.0.1:{closed.getsockname()[1]}", "REFUSING": refusing.url}
        for name, value in variables.items():
            monkeypatch.setenv(name, places.get(value, value))
        with caplog.at_level(logging.WARNING):
            assert failed(saved_models).verdict is Verdict.NOT_BLESSED
    refusing.close()
    assert [record for record in caplog.records if record.message.startswith("Telemetry: ")]


@pytest.mark.parametrize(
    ("missing", "variable", "extra"),
    [
        ("prometheus_client", "INFRA_VALIDATOR_METRICS_PUSH", "prometheus"),
        ("opentelemetry", "OTEL_EXPORTER_OTLP_ENDPOINT", "opentelemetry"),
    ],
)
def test_an_extra_that_is_not_installed_is_named(
    saved_models: SavedModels, receiver: Receiver, missing: str, variable: str, extra: str
) -> None:
    arguments = ["validate", "--model", str(saved_models.path("half_plus_two")), "--serving-spec", "SPEC"]
    arguments[-1] = json.dumps({**SPEC, "local_process": {"binary_path": "/bin/false"}})
    program = f"import sys; sys.modules[{missing!r}] = None\nfrom infra_validator.cli.main import main\nsys.exit(main({arguments}))"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, variable: receiver.url},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert ended.returncode == 1
    assert "Telemetry: " in ended.stderr
    assert f"pip install 'infra-validator[{extra}]'" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert receiver.taken == []


def test_a_receiver_that_never_answers_is_not_waited_for(
    saved_models: SavedModels, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("infra_validator.telemetry.watchers.AT_MOST", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        with caplog.at_level(logging.WARNING):
            assert failed(saved_models).verdict is Verdict.NOT_BLESSED
        assert "not everything was sent" in caplog.text
        for thread in threading.enumerate():
            if thread.name == "telemetry":
                thread.join(60)
