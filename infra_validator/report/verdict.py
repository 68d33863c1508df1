"""The verdict as data. ``to_dict`` is the JSON that people's tools read: fields are added, never renamed or removed."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from infra_validator._version import __version__
from infra_validator.core.deadline import SYSTEM_CLOCK, Clock
from infra_validator.core.errors import AttemptFailed, InfrastructureError, UsageError
from infra_validator.core.reason_codes import Blames, ReasonCode
from infra_validator.report.evidence import Evidence, EvidenceLevel, weakest
from infra_validator.report.machine import Machine

if TYPE_CHECKING:
    from infra_validator.report.measurements import LimitResult, Measurements, SignatureChange
    from infra_validator.report.signatures import Signature

#: Raised when a field changes its meaning, or when a reader may rely on a field that was not there before. 2: evidence; 3: measurements.
SCHEMA_VERSION = 3


class Verdict(enum.Enum):
    """The three outcomes."""

    BLESSED = "BLESSED"
    NOT_BLESSED = "NOT_BLESSED"
    INCONCLUSIVE = "INCONCLUSIVE"  # the test could not be carried out; no model is blamed


@dataclasses.dataclass(frozen=True)
class Phase:
    """One phase of an attempt.

    Attributes:
      name: ``wait`` (for a slot), ``prepare``, ``start``, ``schedule``, ``load``, ``query``, ``measure``, ``unload`` or ``stop``.
      seconds: how long it took.
    """

    name: str
    seconds: float

    def to_dict(self) -> dict[str, object]:
        return {"name": self.name, "seconds": round(self.seconds, 4)}


@dataclasses.dataclass(frozen=True)
class Finding:
    """Why something is as it is: reason code, the detail of this case, and the next step."""

    reason: ReasonCode
    detail: str = ""
    next_step: str = ""

    @classmethod
    def of(cls, error: UsageError | InfrastructureError | AttemptFailed) -> Finding:
        """What an error says."""
        return cls(error.reason, error.detail, error.next_step)

    @property
    def sentence(self) -> str:
        return f"{self.reason.sentence} {self.detail}".strip()

    def to_dict(self) -> dict[str, object]:
        return {
            "reason_code": self.reason.name,
            "reason": self.sentence,
            "next_step": self.next_step or self.reason.next_step,
        }


def _told(finding: Finding, evidence: Evidence) -> dict[str, object]:
    """A finding as data; the reason of a success is what it rests on."""
    told = finding.to_dict()
    return {**told, "reason": evidence.sentence} if finding.reason is ReasonCode.BLESSED else told


@dataclasses.dataclass(frozen=True)
class AttemptReport:
    """One start-wait-query-stop.

    Attributes:
      number: counted from 1.
      finding: why it ended as it did.
      phases: in order; the last one before ``stop`` is where it ended.
      server_started: whether a server process was seen running.
      requests_sent: how many sample requests were answered without an error.
      evidence: what was seen of the model.
      server_log: the last lines of the server's output.
      left_behind: what could not be cleaned up, one sentence each.
      restrictions: what the server was held to beyond what its image's author did, one phrase each.
      notes: what its client noted although it is no failure; the verdict's warnings have them.
      measurements: what was measured; None where nothing was.
    """

    number: int
    finding: Finding
    phases: tuple[Phase, ...]
    server_started: bool
    requests_sent: int = 0
    server_log: str = ""
    left_behind: tuple[str, ...] = ()
    evidence: Evidence = Evidence()
    notes: tuple[str, ...] = ()
    measurements: Measurements | None = None
    restrictions: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        return {
            "number": self.number,
            **_told(self.finding, self.evidence),
            "phases": [phase.to_dict() for phase in self.phases],
            "server_started": self.server_started,
            "requests_sent": self.requests_sent,
            "server_log_tail": self.server_log,
            "left_behind": list(self.left_behind),
            "restrictions": list(self.restrictions),
            "measurements": self.measurements.to_dict() if self.measurements else None,
        }


@dataclasses.dataclass(frozen=True)
class BinaryReport:
    """All attempts with one serving binary.

    Attributes:
      binary: its name in the serving spec.
      label: which one, e.g. ``tensorflow/serving:2.19.0``.
      platform: where it ran.
      advisory: whether it is only reported and does not decide.
      verdict: its own outcome.
      finding: why.
      attempts: in order.
      flaky: whether an attempt failed by the model's fault before one succeeded.
      digest_verified: whether what was served is known to be what the report's ``model_digest`` names.
    """

    binary: str
    label: str
    platform: str
    advisory: bool
    verdict: Verdict
    finding: Finding
    attempts: tuple[AttemptReport, ...] = ()
    flaky: bool = False
    digest_verified: bool = False

    @property
    def evidence(self) -> Evidence:
        """What the verdict rests on: the last attempt's."""
        evidence = self.attempts[-1].evidence if self.attempts else Evidence()
        return dataclasses.replace(evidence, digest_verified=self.digest_verified)

    @property
    def measurements(self) -> Measurements | None:
        """What was measured in the last attempt."""
        return self.attempts[-1].measurements if self.attempts else None

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases of the last attempt."""
        return self.attempts[-1].phases if self.attempts else ()

    @property
    def image_digest(self) -> str:
        """The digest of the image that ran, ``sha256:...``; empty where there is no image, or nobody could say which."""
        return self.label.partition("@")[2]

    @property
    def server_log(self) -> str:
        """The server's last lines in the last attempt."""
        return self.attempts[-1].server_log if self.attempts else ""

    def to_dict(self) -> dict[str, object]:
        return {
            "binary": self.binary,
            "label": self.label,
            "platform": self.platform,
            "advisory": self.advisory,
            "verdict": self.verdict.value,
            **_told(self.finding, self.evidence),
            "flaky": self.flaky,
            "evidence": self.evidence.to_dict(),
            "phases": [phase.to_dict() for phase in self.phases],
            "image_digest": self.image_digest,
            "attempts": [attempt.to_dict() for attempt in self.attempts],
        }


@dataclasses.dataclass(frozen=True)
class ValidationReport:
    """The outcome of a validation.

    Attributes:
      verdict: the outcome.
      finding: why, in the words of the serving binary that decided.
      model: the model's path as it was given.
      model_name: its name on the servers.
      serving_binaries: one report for each serving binary that was to be validated.
      started_at: UTC, ISO 8601.
      seconds: how long the whole took.
      model_digest: of a blessed local model: ``sha256:`` and what names its files' content (saved_model/digest.py); else empty.
      warnings: what people should know besides the verdict, one sentence each.
      warmed_model: where the blessed model with the warm-up file that was made for it lies; empty where none was made.
      warmed_model_digest: of that one, as ``model_digest``.
      model_limits: the limits of the model's files, which were held against them before anything was started.
      signatures: the model's, by name, as far as its files can be read here.
      signature_changes: how they differ from those that are expected; breaking ones are why a model is SIGNATURE_BROKE.
      machine: where the validator ran.
      baseline: the path of what the model was compared with, as it was given; empty where it was with nothing.
      baseline_digest: of a local baseline that is a model, as ``model_digest``.
      run_id: names the validation in logs, traces, and on what it started; empty where none was begun.
    """

    verdict: Verdict
    finding: Finding
    model: str
    model_name: str
    serving_binaries: tuple[BinaryReport, ...]
    started_at: str
    seconds: float
    model_digest: str = ""
    warnings: tuple[str, ...] = ()
    model_limits: tuple[LimitResult, ...] = ()
    signatures: Mapping[str, Signature] = dataclasses.field(default_factory=dict)
    signature_changes: tuple[SignatureChange, ...] = ()
    warmed_model: str = ""
    warmed_model_digest: str = ""
    machine: Machine = dataclasses.field(default_factory=Machine.here)
    baseline: str = ""
    baseline_digest: str = ""
    run_id: str = ""

    def __post_init__(self) -> None:
        started = any(a.server_started for b in self.serving_binaries if not b.advisory for a in b.attempts)
        if self.verdict is Verdict.BLESSED and not started:
            raise ValueError("There is no blessing without a server that was started.")
        if self.verdict is Verdict.BLESSED and self.evidence.level is EvidenceLevel.NONE:
            raise ValueError("There is no blessing of a model that no server had loaded.")

    @property
    def blessed(self) -> bool:
        return self.verdict is Verdict.BLESSED

    @property
    def evidence(self) -> Evidence:
        """What the verdict rests on: what holds for every serving binary that decides."""
        return weakest([binary.evidence for binary in self.serving_binaries if not binary.advisory])

    @property
    def flaky(self) -> bool:
        """Whether a serving binary that decides succeeded only after an attempt had failed by the model's fault."""
        return any(binary.flaky for binary in self.serving_binaries if not binary.advisory)

    @property
    def limits(self) -> tuple[tuple[str, LimitResult], ...]:
        """Every limit that was held against something: (the serving binary's label, the result). The model's own come first, once,
        with an empty label; an advisory binary's decide nothing."""
        told = [("", limit) for limit in self.model_limits]
        for binary in self.serving_binaries:
            for limit in binary.measurements.limits if binary.measurements else ():
                decides = limit.decides and not binary.advisory
                told.append((binary.label, dataclasses.replace(limit, decides=decides)))
        return tuple(told)

    @property
    def sentence(self) -> str:
        """Why, in one sentence; for a blessing what it rests on."""
        return self.evidence.sentence if self.blessed else self.finding.sentence

    def to_dict(self) -> dict[str, object]:
        return {
            "schema_version": SCHEMA_VERSION,
            "verdict": self.verdict.value,
            "run_id": self.run_id,
            **_told(self.finding, self.evidence),
            "flaky": self.flaky,
            "evidence": self.evidence.to_dict(),
            "limits": [{"binary": label, **limit.to_dict()} for label, limit in self.limits],
            "warnings": list(self.warnings),
            "model": self.model,
            "model_name": self.model_name,
            "model_digest": self.model_digest,
            "warmed_model": self.warmed_model,
            "warmed_model_digest": self.warmed_model_digest,
            "signatures": {name: self.signatures[name].to_dict() for name in sorted(self.signatures)},
            "signature_changes": [change.to_dict() for change in self.signature_changes],
            "baseline": self.baseline,
            "baseline_digest": self.baseline_digest,
            "started_at": self.started_at,
            "seconds": round(self.seconds, 4),
            "tool": f"infra-validator {__version__}",
            "machine": self.machine.to_dict(),
            "serving_binaries": [binary.to_dict() for binary in self.serving_binaries],
        }

    def _repr_html_(self) -> str:
        """The report as notebooks show it."""
        from infra_validator.report.formats.html.page import framed

        return framed(self.to_dict())

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"


def report_of_error(
    model: str,
    error: UsageError | InfrastructureError | AttemptFailed,
    model_name: str = "",
    serving_binaries: tuple[BinaryReport, ...] = (),
) -> ValidationReport:
    """The report of a validation that ended with an error before there was anything else to report.

    Args:
      model: the model's path as it was given.
      error: why it ended; its reason decides the verdict.
      model_name: the model's name on the servers, where it is known.
      serving_binaries: what was to be validated, where it is known.
    """
    return ValidationReport(verdict_of(error), Finding.of(error), model, model_name, serving_binaries, now(), 0.0)


def verdict_of(error: UsageError | InfrastructureError | AttemptFailed) -> Verdict:
    """The verdict that an error stands for."""
    return Verdict.NOT_BLESSED if error.reason.blames is Blames.MODEL else Verdict.INCONCLUSIVE


def now(clock: Clock = SYSTEM_CLOCK) -> str:
    """The time, UTC, ISO 8601."""
    return datetime.datetime.fromtimestamp(clock.utc(), datetime.timezone.utc).isoformat()
