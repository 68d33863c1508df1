"""What was measured of a server in one attempt, as data: latency, throughput, memory, limits. No measuring happens here."""

from __future__ import annotations

import dataclasses
import enum


def _ms(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


@dataclasses.dataclass(frozen=True)
class Percentile:
    """One percentile of latencies with its confidence interval.

    Attributes:
      name: ``p50``, ``p90``, ``p95``, ``p99`` or ``max``.
      ms: the percentile, in milliseconds.
      low_ms, high_ms: the ends of its 95 % confidence interval (order statistics); None where the sample is too small for that end.
    """

    name: str
    ms: float
    low_ms: float | None = None
    high_ms: float | None = None

    def to_dict(self) -> dict[str, object]:
        return {"name": self.name, "ms": _ms(self.ms), "low_ms": _ms(self.low_ms), "high_ms": _ms(self.high_ms)}


@dataclasses.dataclass(frozen=True)
class LoadWindow:
    """One window of a load run.

    Attributes:
      starts_at: seconds since the run began.
      seconds: how long it is.
      requests: how many were answered in it.
      p50_ms, p99_ms: of these, in milliseconds.
      warm_up: whether it does not count.
    """

    starts_at: float
    seconds: float
    requests: int
    p50_ms: float
    p99_ms: float
    warm_up: bool = False

    def to_dict(self) -> dict[str, object]:
        return {
            "starts_at": round(self.starts_at, 3),
            "seconds": round(self.seconds, 3),
            "requests": self.requests,
            "p50_ms": _ms(self.p50_ms),
            "p99_ms": _ms(self.p99_ms),
            "warm_up": self.warm_up,
        }


@dataclasses.dataclass(frozen=True)
class ClientShare:
    """What the measuring itself took.

    Attributes:
      processor_seconds: of the validator's process while it measured.
      processor_share: the same as a share of one processor.
      delay_p50_ms, delay_p99_ms: how late requests were sent, after they were due, in milliseconds.
    """

    processor_seconds: float
    processor_share: float
    delay_p50_ms: float
    delay_p99_ms: float

    def to_dict(self) -> dict[str, object]:
        return {
            "processor_seconds": round(self.processor_seconds, 4),
            "processor_share": round(self.processor_share, 4),
            "delay_p50_ms": _ms(self.delay_p50_ms),
            "delay_p99_ms": _ms(self.delay_p99_ms),
        }


@dataclasses.dataclass(frozen=True)
class LoadRun:
    """One kind of request under load: a signature and a batch size.

    Attributes:
      signature: the signature.
      batch_size: the rows of each request; None where they have none.
      mode: ``closed`` or ``open``.
      concurrency: callers (closed); rate_rps: requests per second that were due (open).
      seconds: how long was measured, warm-up apart.
      requests: how many were answered rightly in that time; errors: how many were not.
      error: the first error, in the server's words; empty where there was none.
      throughput_rps: requests answered rightly per second.
      steady: whether the latency had become steady; why_not_steady: one sentence where it had not.
      percentiles: of the latency.
      histogram: all measured latencies in microseconds, in HdrHistogram's own compressed form (V2, base64), so that runs can be merged.
      windows: in order, those of the warm-up first.
      client: what the measuring itself took.
      lost: how many requests were cut off with their connection while the server lived: neither answers nor errors.
    """

    signature: str
    batch_size: int | None
    mode: str
    concurrency: int | None
    rate_rps: float | None
    seconds: float
    requests: int
    errors: int
    error: str
    throughput_rps: float
    steady: bool
    why_not_steady: str
    percentiles: tuple[Percentile, ...]
    histogram: str
    windows: tuple[LoadWindow, ...]
    client: ClientShare
    lost: int = 0

    @property
    def error_rate(self) -> float:
        """The share of requests that failed."""
        asked = self.requests + self.errors
        return self.errors / asked if asked else 0.0

    def to_dict(self) -> dict[str, object]:
        return {
            "signature": self.signature,
            "batch_size": self.batch_size,
            "mode": self.mode,
            "concurrency": self.concurrency,
            "rate_rps": self.rate_rps,
            "seconds": round(self.seconds, 4),
            "requests": self.requests,
            "errors": self.errors,
            "error": self.error,
            "error_rate": self.error_rate,
            "throughput_rps": round(self.throughput_rps, 3),
            "steady": self.steady,
            "why_not_steady": self.why_not_steady,
            "percentiles": [percentile.to_dict() for percentile in self.percentiles],
            "histogram": self.histogram,
            "windows": [window.to_dict() for window in self.windows],
            "client": self.client.to_dict(),
            "lost": self.lost,
        }


@dataclasses.dataclass(frozen=True)
class MemoryUse:
    """The server's memory over time.

    Attributes:
      source: where it was read, for people, e.g. ``proportional set size of the process tree``.
      after_load_bytes: once the model was loaded.
      peak_bytes: the most from the start on; under_load_peak_bytes: the most while it was asked. None where nothing was read.
      curve: (seconds since the attempt began, bytes), 20 each second at most.
      reading_share: what the reading itself took, as a share of one processor's time.
    """

    source: str
    after_load_bytes: int | None = None
    peak_bytes: int | None = None
    under_load_peak_bytes: int | None = None
    curve: tuple[tuple[float, int], ...] = ()
    reading_share: float = 0.0

    def to_dict(self) -> dict[str, object]:
        return {
            "source": self.source,
            "after_load_bytes": self.after_load_bytes,
            "peak_bytes": self.peak_bytes,
            "under_load_peak_bytes": self.under_load_peak_bytes,
            "curve": [[round(seconds, 3), octets] for seconds, octets in self.curve],
            "reading_share": round(self.reading_share, 5),
        }


class LimitOutcome(enum.Enum):
    """What came of one limit."""

    KEPT = "kept"
    EXCEEDED = "exceeded"
    NOT_MEASURED = "not_measured"


@dataclasses.dataclass(frozen=True)
class LimitResult:
    """One limit, held against what was measured.

    Attributes:
      name: the field of ``validation_spec.limits`` and what it was applied to, e.g. ``latency.p99 (serving_default, batch size 1)``.
      outcome: kept, exceeded, or not measured.
      limit: the limit, in ``unit``; measured: what was measured; None where nothing was.
      unit: ``ms``, ``seconds``, ``requests per second``, ``share``, ``bytes`` or ``times the baseline``.
      at_most: whether the limit is an upper one.
      decides: whether it decides, or is only reported.
      low, high: the confidence interval of what was measured, where there is one.
      within_noise: whether the limit lies inside that interval: the point decided, and another run may decide otherwise.
      detail: one sentence.
    """

    name: str
    outcome: LimitOutcome
    limit: float
    measured: float | None
    unit: str
    at_most: bool = True
    decides: bool = True
    low: float | None = None
    high: float | None = None
    within_noise: bool = False
    detail: str = ""

    def to_dict(self) -> dict[str, object]:
        return {**dataclasses.asdict(self), "outcome": self.outcome.value}


@dataclasses.dataclass(frozen=True)
class SignatureChange:
    """One difference between the signature that was expected and the model's.

    Attributes:
      signature: its name.
      what: e.g. ``input x``; empty for the signature itself.
      kind: ``added``, ``removed``, ``retyped``, ``reshaped``, or ``changed``: its method, or whether an input may be left out.
      breaking: whether callers that were right before are wrong now.
      detail: one sentence.
    """

    signature: str
    what: str
    kind: str
    breaking: bool
    detail: str

    def to_dict(self) -> dict[str, object]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class BaselineComparison:
    """The model beside the one that it is compared with.

    Attributes:
      baseline: the path of the baseline model, or of the verdict that stands for it.
      interleaved: whether both ran side by side in blocks now; false for an earlier verdict.
      blocks: how many blocks each had.
      load: the baseline's own load runs.
      memory: the baseline's memory.
      ratios: one result for each relative limit (unit ``times the baseline``).
    """

    baseline: str
    interleaved: bool
    blocks: int
    load: tuple[LoadRun, ...] = ()
    memory: MemoryUse | None = None
    ratios: tuple[LimitResult, ...] = ()

    def to_dict(self) -> dict[str, object]:
        return {
            "baseline": self.baseline,
            "interleaved": self.interleaved,
            "blocks": self.blocks,
            "load": [run.to_dict() for run in self.load],
            "memory": self.memory.to_dict() if self.memory else None,
            "ratios": [ratio.to_dict() for ratio in self.ratios],
        }


@dataclasses.dataclass(frozen=True)
class WarmUpProof:
    """What a warm-up file was seen to do.

    Attributes:
      records: how many requests it holds; octets: its size.
      signatures: the signatures in it; batch_sizes: the batch sizes in it.
      first_answer_ms: the first answer of the model with it, in milliseconds; without_ms: of the model without it.
      load_seconds: how long the model with it took to load; without_seconds: the model without it.
      replayed: how many of the requests the server's own log says that it replayed; None where it does not tell.
    """

    records: int
    octets: int
    signatures: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    first_answer_ms: float | None = None
    without_ms: float | None = None
    load_seconds: float | None = None
    without_seconds: float | None = None
    replayed: int | None = None

    def to_dict(self) -> dict[str, object]:
        return {
            "records": self.records,
            "octets": self.octets,
            "signatures": list(self.signatures),
            "batch_sizes": list(self.batch_sizes),
            "first_answer_ms": _ms(self.first_answer_ms),
            "without_ms": _ms(self.without_ms),
            "load_seconds": _ms(self.load_seconds),
            "without_seconds": _ms(self.without_seconds),
            "replayed": self.replayed,
        }


@dataclasses.dataclass(frozen=True)
class Measurements:
    """All that was measured in one attempt.

    Attributes:
      model_size_bytes: of the model's files together; None where they cannot be read here.
      first_answer_ms: how long the first request after loading took, in milliseconds; None where nothing was asked.
      memory: the server's memory; None where it was not measured.
      load: one run for each signature and batch size.
      limits: one result for each limit and what it was applied to, the relative ones included.
      baseline: the comparison; None without a baseline.
      warm_up: what the warm-up file was seen to do; None without one.
    """

    model_size_bytes: int | None = None
    first_answer_ms: float | None = None
    memory: MemoryUse | None = None
    load: tuple[LoadRun, ...] = ()
    limits: tuple[LimitResult, ...] = ()
    baseline: BaselineComparison | None = None
    warm_up: WarmUpProof | None = None

    def to_dict(self) -> dict[str, object]:
        return {
            "model_size_bytes": self.model_size_bytes,
            "first_answer_ms": _ms(self.first_answer_ms),
            "memory": self.memory.to_dict() if self.memory else None,
            "load": [run.to_dict() for run in self.load],
            "limits": [limit.to_dict() for limit in self.limits],
            "baseline": self.baseline.to_dict() if self.baseline else None,
            "warm_up": self.warm_up.to_dict() if self.warm_up else None,
        }
