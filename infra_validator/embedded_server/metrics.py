"""What the Prometheus path shows (contract 10), with the real server's names. Counting is always on; it costs a microsecond."""

from __future__ import annotations

import bisect
import re
import threading

from infra_validator.core.network.prometheus_text import label_pairs
from infra_validator.embedded_server.status import Code

REQUEST_COUNT = "/tensorflow/serving/request_count"
REQUEST_LATENCY = "/tensorflow/serving/request_latency"
RUNTIME_LATENCY = "/tensorflow/serving/runtime_latency"
WARMUP_LATENCY = "/tensorflow/serving/model_warmup_latency"
WARMUP_RECORDS = "/tensorflow/serving/model_warmup_records_read"
EXAMPLE_COUNTS = "/tensorflow/serving/request_example_counts"
EXAMPLE_TOTAL = "/tensorflow/serving/request_example_count_total"
QUEUING_LATENCY = "/tensorflow/serving/batching_session/queuing_latency"
WRAPPED_RUN_COUNT = "/tensorflow/serving/batching_session/wrapped_run_count"
LOAD_ATTEMPTS = "/tensorflow/cc/saved_model/load_attempt_count"
LOAD_LATENCY = "/tensorflow/cc/saved_model/load_latency"

# The names of each metric's labels.
_LABELS = {
    REQUEST_COUNT: ("model_name", "status"),
    REQUEST_LATENCY: ("model_name", "API", "entrypoint"),
    RUNTIME_LATENCY: ("model_name", "API", "runtime"),
    WARMUP_LATENCY: ("model_path", "status"),
    WARMUP_RECORDS: ("model_path", "status"),
    EXAMPLE_COUNTS: ("model",),
    EXAMPLE_TOTAL: ("model",),
    QUEUING_LATENCY: ("thread_pool_name",),
    WRAPPED_RUN_COUNT: (),
    LOAD_ATTEMPTS: ("model_path", "status"),
    LOAD_LATENCY: ("model_path",),
}

# Upper bounds of latency buckets, in microseconds: 10 * 1.8^i.
_BOUNDS = [10 * 1.8**exponent for exponent in range(33)]


class _Histogram:
    def __init__(self) -> None:
        self.buckets = [0] * (len(_BOUNDS) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.buckets[bisect.bisect_left(_BOUNDS, value)] += 1
        self.sum += value


class Metrics:
    """Counters and histograms, in cells by the values of their labels. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: dict[str, dict[tuple[str, ...], int]] = {}
        self._histograms: dict[str, dict[tuple[str, ...], _Histogram]] = {}

    def count(self, name: str, *labels: str, by: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            cells = self._counters.setdefault(name, {})
            cells[labels] = cells.get(labels, 0) + by

    def observe(self, name: str, *labels: str, value: float) -> None:
        """Add a value (microseconds, for latencies) to a histogram."""
        with self._lock:
            cells = self._histograms.setdefault(name, {})
            histogram = cells.get(labels)
            if histogram is None:
                histogram = cells[labels] = _Histogram()
            histogram.observe(value)

    def request(self, model: str, api: str, entrypoint: str, code: Code, seconds: float) -> None:
        """One request was answered."""
        self.count(REQUEST_COUNT, model, code.name)
        if code is Code.OK:
            self.observe(REQUEST_LATENCY, model, api, entrypoint, value=seconds * 1e6)

    def run(self, model: str, api: str, seconds: float) -> None:
        """A graph ran."""
        self.observe(RUNTIME_LATENCY, model, api, "TF1", value=seconds * 1e6)

    def examples(self, model: str, count: int) -> None:
        """A MultiInference over ``count`` examples was asked."""
        self.observe(EXAMPLE_COUNTS, model, value=count)
        self.count(EXAMPLE_TOTAL, model, by=count)

    def first_cell(self, name: str) -> int:
        """The value of a counter's first cell; 0 if there is none (what a reload's metric_names ask for)."""
        with self._lock:
            return next(iter(self._counters.get(name, {}).values()), 0)

    def prometheus(self) -> str:
        """All of it in Prometheus' text form."""
        lines = []
        with self._lock:
            for name, cells in self._counters.items():
                lines.append(f"# TYPE {_name(name)} counter")
                lines += [f"{_name(name)}{{{_labels(name, labels)}}} {value}" for labels, value in cells.items()]
            for name, histograms in self._histograms.items():
                lines.append(f"# TYPE {_name(name)} histogram")
                for labels, histogram in histograms.items():
                    lines += _histogram_lines(_name(name), _labels(name, labels), histogram)
        return "\n".join([*lines, ""])


def _histogram_lines(name: str, labels: str, histogram: _Histogram) -> list[str]:
    lines, total = [], 0
    for bound, count in zip([*(f"{bound:g}" for bound in _BOUNDS), "+Inf"], histogram.buckets, strict=True):
        total += count
        lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {total}')
    lines.append(f"{name}_sum{{{labels}}} {histogram.sum:g}")
    lines.append(f"{name}_count{{{labels}}} {total}")
    return lines


def _name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", ":", name)


def _labels(name: str, values: tuple[str, ...]) -> str:
    return label_pairs(dict(zip(_LABELS[name], values, strict=True)))
