"""The outcome of a fleet as data: one line for each model. ``to_dict`` is the JSON of ``fleet.json`` (fleet.schema.json)."""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from infra_validator._version import __version__
from infra_validator.report.verdict import Verdict

FLEET_SCHEMA_VERSION = 1
FLEET_FILE = "fleet.json"

VALIDATED, KEPT, NOT_STARTED = "validated", "kept", "not_started"


@dataclasses.dataclass(frozen=True)
class ModelLine:
    """One model.

    Attributes:
      name: which one.
      model: its directory.
      state: ``validated``; ``kept``: its verdict was there from an earlier run; ``not_started``: the fleet ended before its turn.
      verdict: the outcome.
      reason_code, reason, next_step: why, and what to do.
      seconds: how long its validation took.
      model_digest: of a blessed local model; else empty.
      evidence: ``NONE``, ``LOADED`` or ``ANSWERED``.
      requests: how many sample requests were answered.
      report: the path of its ``verdict.json``, seen from ``fleet.json``; empty where none is kept.
    """

    name: str
    model: str
    state: str
    verdict: Verdict
    reason_code: str
    reason: str
    next_step: str
    seconds: float = 0.0
    model_digest: str = ""
    evidence: str = "NONE"
    requests: int = 0
    report: str = ""

    @classmethod
    def of(cls, name: str, state: str, told: Mapping[str, Any], report: str = "") -> ModelLine:
        """The line of a verdict's data."""
        evidence = told.get("evidence") or {}
        return cls(
            name,
            told["model"],
            state,
            Verdict(told["verdict"]),
            told["reason_code"],
            told["reason"],
            told["next_step"],
            told["seconds"],
            told.get("model_digest", ""),
            evidence.get("level", "NONE"),
            evidence.get("requests", 0),
            report,
        )

    def to_dict(self) -> dict[str, object]:
        return {**dataclasses.asdict(self), "verdict": self.verdict.value}


@dataclasses.dataclass(frozen=True)
class FleetReport:
    """The outcome of a fleet.

    Attributes:
      models: one line for each, in the list's order.
      started_at: UTC, ISO 8601.
      seconds: how long the whole took.
      at_once: how many models were validated at once.
      shard: (which part of the list this is, of how many).
      missing_shards: of a merged report, the parts that are not in it.
    """

    models: tuple[ModelLine, ...]
    started_at: str
    seconds: float
    at_once: int
    shard: tuple[int, int] = (1, 1)
    missing_shards: tuple[int, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """BLESSED if every model is; a rejection outweighs what could not be tested."""
        found = {line.verdict for line in self.models}
        if Verdict.NOT_BLESSED in found:
            return Verdict.NOT_BLESSED
        unknown = Verdict.INCONCLUSIVE in found or self.missing_shards or (not found and self.shard == (1, 1))
        return Verdict.INCONCLUSIVE if unknown else Verdict.BLESSED

    @property
    def counts(self) -> dict[str, int]:
        """How many models have each verdict."""
        found = collections.Counter(line.verdict for line in self.models)
        return {verdict.value: found[verdict] for verdict in Verdict}

    @property
    def sentence(self) -> str:
        """The outcome in one sentence."""
        blessed, rejected, unknown = self.counts.values()
        parts = [f"{blessed} of {len(self.models)} models are blessed"]
        parts += [f"{rejected} not blessed"] if rejected else []
        parts += [f"{unknown} could not be tested"] if unknown else []
        missing = ", ".join(map(str, self.missing_shards))
        return ", ".join(parts) + "." + (f" Parts {missing} are missing." if missing else "")

    def to_dict(self) -> dict[str, object]:
        index, of = self.shard
        return {
            "fleet_schema_version": FLEET_SCHEMA_VERSION,
            "verdict": self.verdict.value,
            "reason": self.sentence,
            "counts": self.counts,
            "shard": {"index": index, "of": of, "missing": list(self.missing_shards)},
            "started_at": self.started_at,
            "seconds": round(self.seconds, 4),
            "at_once": self.at_once,
            "tool": f"infra-validator {__version__}",
            "models": [line.to_dict() for line in self.models],
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"


def lines_from(told: Sequence[Mapping[str, Any]]) -> tuple[ModelLine, ...]:
    """The lines of a ``fleet.json`` that was read.

    Raises:
      ValueError, TypeError, KeyError: it is none.
    """
    known = [field.name for field in dataclasses.fields(ModelLine)]
    return tuple(
        ModelLine(**{**{name: row[name] for name in known}, "verdict": Verdict(row["verdict"])}) for row in told
    )
