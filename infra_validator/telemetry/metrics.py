"""Prometheus metrics of this process's validations (extra ``prometheus``): scraped over HTTP, or pushed to a Pushgateway.

No label has a model's name, a path or a message: their values are few, and nothing of a request is among them.
"""

from __future__ import annotations

import functools
import socket
import urllib.parse

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, pushadd_to_gateway, start_http_server

from infra_validator.core.progress import PhaseBegan, PhaseEnded, Progress, TriedAgain
from infra_validator.report.verdict import ValidationReport

_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
_JOB = "infra_validator"


class Metrics:
    """The metrics. Everything may be called from several threads.

    Attributes:
      registry: has them, and nothing else.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._validations = Counter(
            "infra_validator_validations", "Validations that ended.", ("verdict", "reason_code"), registry=self.registry
        )
        self._took = Histogram(
            "infra_validator_validation_seconds",
            "How long validations took, waiting included.",
            ("verdict",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._phases = Histogram(
            "infra_validator_phase_seconds",
            "How long the phases of attempts took.",
            ("phase", "outcome"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._loads = Histogram(
            "infra_validator_server_load_seconds",
            "How long servers took until they had loaded the model, from when their process ran.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._again = Counter(
            "infra_validator_tries_again",
            "Attempts that failed and were made again.",
            ("reason_code",),
            registry=self.registry,
        )
        self._waiting = Gauge(
            "infra_validator_slots_waiting", "Attempts of this process that wait for a slot.", registry=self.registry
        )
        self._running = Gauge(
            "infra_validator_attempts_running", "Attempts of this process that are at work.", registry=self.registry
        )

    def tell(self, event: Progress) -> None:
        """Count an event."""
        if isinstance(event, PhaseBegan):
            if event.phase == "wait":
                self._waiting.inc()
            elif event.phase == "prepare":
                self._running.inc()
        elif isinstance(event, PhaseEnded):
            self._phases.labels(event.phase, event.outcome).observe(event.seconds)
            if event.phase == "wait":
                self._waiting.dec()
            elif event.phase == "load" and event.outcome == "ok":
                self._loads.observe(event.seconds)
            elif event.phase == "stop":
                self._running.dec()
        elif isinstance(event, TriedAgain):
            self._again.labels(event.reason).inc()

    def end(self, report: ValidationReport) -> None:
        """Count a validation that ended."""
        self._validations.labels(report.verdict.value, report.finding.reason.name).inc()
        self._took.labels(report.verdict.value).observe(report.seconds)

    def push(self, url: str, seconds: float) -> None:
        """Push everything to a Pushgateway.

        Args:
          url: its address; with a path ``/metrics/job/JOB/LABEL/VALUE...`` the group, else that of this machine.
          seconds: how long it may take.
        """
        parts = urllib.parse.urlsplit(url)
        names = [urllib.parse.unquote(one) for one in parts.path.partition("/metrics/job/")[2].split("/") if one]
        job, group = _JOB, {"instance": socket.gethostname()}
        if names:
            job, group = names[0], dict(zip(names[1::2], names[2::2], strict=False))
        gateway = urllib.parse.urlunsplit(
            (parts.scheme, parts.netloc, parts.path.partition("/metrics/job/")[0], "", "")
        )
        pushadd_to_gateway(gateway, job, self.registry, group, timeout=seconds)


@functools.cache
def metrics() -> Metrics:
    """Those of this process."""
    return Metrics()


@functools.cache
def listen(address: str) -> int:
    """Serve the metrics at ``http://HOST:PORT/metrics`` until the process ends; once for each address. Returns the port.

    Args:
      address: ``HOST:PORT``, or ``:PORT`` for all addresses of the machine; port 0: any that is free.

    Raises:
      ValueError, OSError: that is none, or it cannot be had.
    """
    host, _, port = address.rpartition(":")
    server, _ = start_http_server(int(port), host.strip("[]") or "0.0.0.0", metrics().registry)
    return int(server.server_port)
