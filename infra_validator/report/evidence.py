"""What a verdict rests on: whether the model was only loaded or also asked, with what, and what was looked at."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Sequence

from infra_validator.core.sample_request import RequestOrigin


class EvidenceLevel(enum.Enum):
    """How far the model got. In the order of their weight."""

    NONE = "NONE"  # no server had loaded it
    LOADED = "LOADED"  # a server loaded it; no request was answered
    ANSWERED = "ANSWERED"  # every request that was asked for was sent and answered


class CheckOutcome(enum.Enum):
    """What came of one check."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not_applicable"


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """What came of one check.

    Attributes:
      name: the check, e.g. ``finite`` or ``alive_after_the_last_answer``.
      outcome: passed, failed, or not applicable.
      detail: one sentence; empty where there is nothing to say.
    """

    name: str
    outcome: CheckOutcome
    detail: str = ""

    def to_dict(self) -> dict[str, object]:
        return {"name": self.name, "outcome": self.outcome.value, "detail": self.detail}


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What the verdict on one serving binary, or on all of them, rests on.

    Attributes:
      level: how far the model got.
      requests: how many requests were answered.
      source: where they came from.
      signatures_asked: names of the signatures that were asked.
      signatures_not_asked: names of the model's other signatures, as far as its files can be read here.
      checks: what was looked at.
      digest_verified: whether the bytes that were served are the ones that the model's digest names.
    """

    level: EvidenceLevel = EvidenceLevel.NONE
    requests: int = 0
    source: RequestOrigin = RequestOrigin.NONE
    signatures_asked: tuple[str, ...] = ()
    signatures_not_asked: tuple[str, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    digest_verified: bool = False

    @property
    def sentence(self) -> str:
        """The evidence in one plain sentence."""
        if self.level is EvidenceLevel.NONE:
            return "The model was not loaded."
        if self.level is EvidenceLevel.LOADED:
            if self.source is RequestOrigin.NONE:
                return "The model was loaded; no request was sent to it."
            return "The model was loaded; its requests were not all answered rightly."
        how_many = "1 request was" if self.requests == 1 else f"{self.requests} requests were"
        return f"The model was loaded; {how_many} sent to it and answered."

    def to_dict(self) -> dict[str, object]:
        return {
            "level": self.level.value,
            "requests": self.requests,
            "source": self.source.value,
            "signatures_asked": list(self.signatures_asked),
            "signatures_not_asked": list(self.signatures_not_asked),
            "checks": [check.to_dict() for check in self.checks],
            "digest_verified": self.digest_verified,
        }


def weakest(evidence: Sequence[Evidence]) -> Evidence:
    """What holds for all of them: the lowest level, the fewest requests, the signatures that everyone was asked, the worst outcome of
    each check."""
    if not evidence:
        return Evidence()
    order = list(EvidenceLevel)
    asked = [name for name in evidence[0].signatures_asked if all(name in e.signatures_asked for e in evidence)]
    others = {name for e in evidence for name in (*e.signatures_asked, *e.signatures_not_asked)} - set(asked)
    return Evidence(
        level=min((e.level for e in evidence), key=order.index),
        requests=min(e.requests for e in evidence),
        source=evidence[0].source,
        signatures_asked=tuple(asked),
        signatures_not_asked=tuple(sorted(others)),
        checks=_worst(check for e in evidence for check in e.checks),
        digest_verified=all(e.digest_verified for e in evidence),
    )


def _worst(checks: Iterable[CheckResult]) -> tuple[CheckResult, ...]:
    order = (CheckOutcome.FAILED, CheckOutcome.NOT_APPLICABLE, CheckOutcome.PASSED)
    worst: dict[str, CheckResult] = {}
    for check in checks:
        before = worst.get(check.name)
        if before is None or order.index(check.outcome) < order.index(before.outcome):
            worst[check.name] = check
    return tuple(worst.values())
