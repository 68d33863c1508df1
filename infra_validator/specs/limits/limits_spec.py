"""The limits spec: what a model and its server may need at most, and deliver at least. Each limit decides."""

from __future__ import annotations

import dataclasses
from typing import Any

from infra_validator.core.errors import SpecError
from infra_validator.specs.reader import above_zero, not_negative, one_of, spec_field

#: The names of percentiles that can be limited, with the share of requests below them.
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "max": 100.0}


@dataclasses.dataclass(frozen=True)
class LatencyLimit:
    """How long the answers to one kind of request may take."""

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

    after_load: str = spec_field("", "Once the model is loaded, e.g. `2g`.")
    under_load: str = spec_field("", "At most while it is asked, e.g. `3g`.")
    at_most_times: float | None = spec_field(
        None, "At most under load, as a multiple of the baseline's.", check=above_zero
    )


@dataclasses.dataclass(frozen=True)
class LimitsSpec:
    """Limits. Without any of them nothing is measured."""

    latency: tuple[LatencyLimit, ...] = spec_field((), "Limits of the time that answers take.")
    throughput_at_least_rps: float | None = spec_field(
        None, "How many requests must be answered at least.", unit="requests per second", check=above_zero
    )
    throughput_at_least_times: float | None = spec_field(
        None, "The same, as a multiple of the baseline's.", check=above_zero
    )
    error_rate_at_most: float | None = spec_field(
        None, "The share of the load's requests that may fail, from 0 to 1.", check=not_negative
    )
    cold_start: ColdStartLimits = spec_field(ColdStartLimits(), "Limits of the way to the first answer.")
    memory: MemoryLimits = spec_field(MemoryLimits(), "Limits of the server's memory.")
    model_size: str = spec_field("", "How large the model's files may be together, e.g. `500m`.")
    advisory: bool = spec_field(False, "Whether limits are only reported and do not decide.")

    def check(self, path: str) -> None:
        """Called by the reader. Raises SpecError."""
        if self.error_rate_at_most is not None and self.error_rate_at_most > 1:
            raise SpecError(f"{path}.error_rate_at_most", f"is a share from 0 to 1, not {self.error_rate_at_most:g}")

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

    def relative(self) -> list[str]:
        """The fields that need a baseline."""
        fields = [f"latency[{i}].at_most_times" for i, limit in enumerate(self.latency) if limit.at_most_times]
        fields += ["throughput_at_least_times"] if self.throughput_at_least_times else []
        return fields + (["memory.at_most_times"] if self.memory.at_most_times else [])


def is_set(spec: Any) -> bool:
    """Whether a spec differs from its defaults."""
    return bool(spec != type(spec)())
