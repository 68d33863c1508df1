"""Who watches a validation, as the environment says: nobody, metrics, traces. What goes wrong with them is a line in the log.

INFRA_VALIDATOR_METRICS_PUSH=URL       push metrics to a Pushgateway at the end
INFRA_VALIDATOR_METRICS_LISTEN=HOST:PORT  have them scraped while the process lives
OTEL_EXPORTER_OTLP_ENDPOINT=URL        send a trace at the end, with OpenTelemetry's other variables
"""

from __future__ import annotations

import importlib
import logging
import threading
import time
from collections.abc import Callable, Mapping

from infra_validator.core.deadline import Deadline
from infra_validator.core.progress import PhaseEnded, Progress
from infra_validator.report.verdict import ValidationReport

_LOG = logging.getLogger(__name__)

METRICS_PUSH = "INFRA_VALIDATOR_METRICS_PUSH"
METRICS_LISTEN = "INFRA_VALIDATOR_METRICS_LISTEN"

AT_MOST = 1.0  # seconds that telemetry may hold up the end of a validation, all of it together
_SENDING = 10.0  # seconds that sending may take where the process lives on

_EXTRAS = {"prometheus_client": "prometheus", "opentelemetry": "opentelemetry"}


class Watchers:
    """Those of one validation. Never raises.

    Args:
      environment: says who watches.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._push, self._listen = environment.get(METRICS_PUSH, ""), environment.get(METRICS_LISTEN, "")
        self._counts = bool(self._push or self._listen)
        self._traces = wants_traces(environment)
        self._lock = threading.Lock()
        self._events: list[tuple[int, Progress]] = []
        self._told: list[Progress] = []
        self._began = time.time_ns()
        self._importing = self._beside(self._import) if self else None

    def __bool__(self) -> bool:
        """Whether anybody watches."""
        return self._counts or self._traces

    def tell(self, event: Progress) -> None:
        """Take note of what goes on: only the ends of phases make a trace, and metrics are counted as it goes."""
        if self._traces and isinstance(event, PhaseEnded):
            with self._lock:
                self._events.append((time.time_ns(), event))
        if self._counts:
            with self._lock:
                self._told.append(event)
            if self._importing is None or not self._importing.is_alive():
                self._guarded(self._count)

    def end(self, report: ValidationReport) -> None:
        """Send what there is. Returns after ``AT_MOST`` seconds at the latest; what is not sent by then goes on beside."""
        deadline = Deadline.after(AT_MOST)
        ended = time.time_ns()
        sending = self._beside(lambda: self._send(report, ended))
        if sending is not None:
            sending.join(deadline.remaining())
            if sending.is_alive():
                _LOG.warning(
                    "Telemetry: not everything was sent within %g s; the validation goes on without it.", AT_MOST
                )

    def _import(self) -> None:
        if self._counts:
            self._guarded(self._count)
            if self._listen:
                self._guarded(lambda: importlib.import_module(f"{__package__}.metrics").listen(self._listen))
        if self._traces:
            self._guarded(lambda: importlib.import_module(f"{__package__}.traces"))

    def _send(self, report: ValidationReport, ended: int) -> None:
        if self._importing is not None:
            self._importing.join(_SENDING)
        if self._counts:
            self._guarded(lambda: self._count(report))
        parts: list[Callable[[], object]] = []
        if self._push:
            parts.append(lambda: importlib.import_module(f"{__package__}.metrics").metrics().push(self._push, _SENDING))
        if self._traces:
            more = (self._events, self._began, ended, self._environment, _SENDING)
            parts.append(lambda: importlib.import_module(f"{__package__}.traces").export(report, *more))
        threads = [self._beside(lambda part=part: self._guarded(part)) for part in parts]  # type: ignore[misc]
        for thread in threads:
            if thread is not None:
                thread.join(_SENDING)

    def _count(self, report: ValidationReport | None = None) -> None:
        metrics = importlib.import_module(f"{__package__}.metrics").metrics()
        with self._lock:
            while self._told:
                metrics.tell(self._told.pop(0))
        if report is not None:
            metrics.end(report)

    def _guarded(self, action: Callable[[], object]) -> None:
        """Whatever goes wrong is said and changes nothing."""
        try:
            action()
        except ImportError as error:
            package = (error.name or "").partition(".")[0]
            extra = _EXTRAS.get(package)
            how = f"; pip install 'infra-validator[{extra}]'" if extra else ""
            _LOG.warning("Telemetry: %s%s.", error, how)
        except Exception as error:
            _LOG.warning("Telemetry: %s: %s.", type(error).__name__, error)

    def _beside(self, action: Callable[[], None]) -> threading.Thread | None:
        """A thread that nobody has to wait for; None where there are no more threads."""
        thread = threading.Thread(target=action, name="telemetry", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            _LOG.warning("Telemetry: %s.", error)
            return None
        return thread


def wants_traces(environment: Mapping[str, str]) -> bool:
    """Whether the standard variables ask for traces."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "")
    asked = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return exporter == "otlp" or (not exporter and any(environment.get(name) for name in asked))
