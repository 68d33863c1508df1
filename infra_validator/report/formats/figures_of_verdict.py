"""The few numbers of a verdict that are looked at over time."""

from __future__ import annotations

import dataclasses

from infra_validator.report.formats.fields import Fields, last_attempt


@dataclasses.dataclass(frozen=True)
class VerdictFigures:
    """Numbers of one verdict; None where nothing was measured.

    Attributes:
      p99_ms: of the slowest kind of request under load, in milliseconds.
      load_seconds: until the model was ready, in the slowest last attempt.
      memory_bytes: the most that a server took, under load where it was loaded.
      model_bytes: of the model's files.
    """

    p99_ms: float | None
    load_seconds: float | None
    memory_bytes: float | None
    model_bytes: float | None


def figures_of(verdict: Fields, binary: Fields | None = None) -> VerdictFigures:
    """The figures of one serving binary; of all that decide where none is named."""
    binaries = (
        [binary] if binary is not None else [b for b in verdict.rows("serving_binaries") if not b.flag("advisory")]
    )
    attempts = [last_attempt(one) for one in binaries]
    measured = [attempt.fields("measurements") for attempt in attempts]
    p99s = [
        one.number("ms")
        for m in measured
        for run in m.rows("load")
        for one in run.rows("percentiles")
        if one.text("name") == "p99"
    ]
    loads = [p.number("seconds") for attempt in attempts for p in attempt.rows("phases") if p.text("name") == "load"]
    memories = []
    for one in measured:
        use = one.fields("memory")
        peak = use.number("under_load_peak_bytes")
        memories.append(use.number("peak_bytes") if peak is None else peak)
    return VerdictFigures(
        _most(p99s), _most(loads), _most(memories), _most([m.number("model_size_bytes") for m in measured])
    )


def _most(values: list[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
