"""The limits spec: what a model and its server may need at most, and deliver at least. Each limit decides."""

from __future__ import annotations

import dataclasses

from infra_validator.core.errors import SpecError
from infra_validator.specs.local_process import parse_size, size
from infra_validator.specs.reader import above_zero, not_negative, one_of, spec_field

#: The names of percentiles that can be limited, with the share of requests below them.
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "max": 100.0}


@dataclasses.dataclass(frozen=True)
class LatencyLimit:
    """How long the answers to one kind of request may take. Where several match a request, those that name most of it count."""

    signature: str = spec_field("", "The signature; empty: every one that is asked.")
    batch_size: int | None = spec_field(None, "The batch size; empty: every one that is asked.", check=above_zero)
    percentile: str = spec_field("p99", "Of the answers: p50, p90, p95, p99 or max.", check=one_of(*PERCENTILES))
    at_most_ms: float | None = spec_field(None, "How long they may take.", unit="milliseconds", check=above_zero)
    at_most_times: float | None = spec_field(
        None, "How long they may take, as a multiple of the baseline's.", check=above_zero
    )

    def check(self, path: str) -> None:
        """Called by the reader. Raises SpecError."""
        if self.at_most_ms is None and self.at_most_times is None:
            raise SpecError(path, "names no limit: give at_most_ms, or at_most_times for a multiple of the baseline's")
        if self.at_most_times is not None and self.percentile == "max":
            raise SpecError(
                f"{path}.at_most_times", "cannot be held against max: the slowest request is the luck of one; name p99"
            )


@dataclasses.dataclass(frozen=True)
class ColdStartLimits:
    """How long the way to the first answer may take, by its phases."""

    prepare_seconds: float | None = spec_field(
        None, "Pulls and uploads before the start.", unit="seconds", check=above_zero
    )
    schedule_seconds: float | None = spec_field(
        None, "From the start until the server's process runs.", unit="seconds", check=above_zero
    )
    load_seconds: float | None = spec_field(
        None, "From there until the model is READY.", unit="seconds", check=above_zero
    )
    first_answer_ms: float | None = spec_field(
        None, "The first request after that.", unit="milliseconds", check=above_zero
    )


@dataclasses.dataclass(frozen=True)
class MemoryLimits:
    """How much memory the server may take."""

    after_load: str = spec_field("", "Once the model is loaded, e.g. `2g`.", check=size)
    under_load: str = spec_field("", "At most while it is asked, e.g. `3g`.", check=size)
    at_most_times: float | None = spec_field(
        None, "At most under load, as a multiple of the baseline's.", check=above_zero
    )


@dataclasses.dataclass(frozen=True)
class LimitsSpec:
    """Limits. Without any of them nothing is measured."""

    latency: tuple[LatencyLimit, ...] = spec_field((), "Limits of the time that answers take.")
    throughput_at_least_rps: float | None = spec_field(
        None,
        "How many requests of each signature and batch size must be answered at least.",
        unit="requests per second",
        check=above_zero,
    )
    throughput_at_least_times: float | None = spec_field(
        None, "The same, as a multiple of the baseline's.", check=above_zero
    )
    error_rate_at_most: float | None = spec_field(
        None, "The share of the load's requests that may fail, from 0 to 1.", check=not_negative
    )
    cold_start: ColdStartLimits = spec_field(ColdStartLimits(), "Limits of the way to the first answer.")
    memory: MemoryLimits = spec_field(MemoryLimits(), "Limits of the server's memory.")
    model_size: str = spec_field("", "How large the model's files may be together, e.g. `500m`.", check=size)
    advisory: bool = spec_field(False, "Whether limits are only reported and do not decide.")

    def check(self, path: str) -> None:
        """Called by the reader. Raises SpecError."""
        if self.error_rate_at_most is not None and self.error_rate_at_most > 1:
            raise SpecError(f"{path}.error_rate_at_most", f"is a share from 0 to 1, not {self.error_rate_at_most:g}")
        memory = self.memory
        after, under = parse_size(memory.after_load), parse_size(memory.under_load)
        if after and under and under < after:
            raise SpecError(
                f"{path}.memory.under_load",
                f"{memory.under_load} is below after_load ({memory.after_load}), so that after_load can decide nothing",
            )
        self._check_latency(f"{path}.latency")

    def _check_latency(self, path: str) -> None:
        """That no limit is given twice, and none makes another of the same requests say nothing."""
        seen: dict[tuple[str, int | None, str, str], int] = {}
        for index, limit in enumerate(self.latency):
            for field in ("at_most_ms", "at_most_times"):
                if getattr(limit, field) is None:
                    continue
                number = seen.setdefault((limit.signature, limit.batch_size, limit.percentile, field), index)
                if number != index:
                    raise SpecError(f"{path}[{index}]", f"limits the same as {path}[{number}]; say it once")
            for other in self.latency[:index]:
                if (limit.signature, limit.batch_size) == (other.signature, other.batch_size):
                    _check_order(f"{path}[{index}]", limit, other)

    def needs_a_start_from_nothing(self) -> bool:
        """Whether the start of the server is limited."""
        return self.cold_start != ColdStartLimits()

    def needs_load(self) -> bool:
        """Whether a limit can only be measured under load."""
        return bool(
            self.latency
            or self.throughput_at_least_rps
            or self.throughput_at_least_times
            or self.error_rate_at_most is not None
            or self.memory.under_load
            or self.memory.at_most_times
        )

    def needs_requests(self) -> bool:
        """Whether a limit can only be measured where something is asked."""
        return self.needs_load() or self.cold_start.first_answer_ms is not None

    def relative(self) -> list[str]:
        """The fields that need a baseline."""
        fields = [f"latency[{i}].at_most_times" for i, limit in enumerate(self.latency) if limit.at_most_times]
        fields += ["throughput_at_least_times"] if self.throughput_at_least_times else []
        return fields + (["memory.at_most_times"] if self.memory.at_most_times else [])


def _check_order(path: str, one: LatencyLimit, other: LatencyLimit) -> None:
    """That of two limits of the same requests the higher percentile's is not the smaller one. Raises SpecError."""
    low, high = sorted((one, other), key=lambda limit: PERCENTILES[limit.percentile])
    if low.at_most_ms is not None and high.at_most_ms is not None and low.at_most_ms > high.at_most_ms:
        raise SpecError(
            path,
            f"{low.percentile} may be {low.at_most_ms:g} ms, but {high.percentile}, which is never smaller, only {high.at_most_ms:g} ms:"
            " one of the two is wrong",
        )
