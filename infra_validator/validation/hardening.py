"""Whether a server runs under the platform's restrictions: they are there against the model, and must never be blamed on it."""

from __future__ import annotations

import dataclasses

from infra_validator.core.errors import AttemptFailed, InfrastructureError, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.evidence import EvidenceLevel
from infra_validator.report.verdict import AttemptReport

Failure = AttemptFailed | InfrastructureError | UsageError

#: How a server ends that a restriction keeps from starting.
_MAY_BE_OURS = frozenset(
    {
        ReasonCode.SERVER_EXITED,
        ReasonCode.SERVER_KILLED,
        ReasonCode.BAD_SPEC,  # an argument that it does not know
        ReasonCode.IMAGE_NEEDS_WRITABLE_ROOT,
    }
)

#: How a platform refuses a server without restrictions (a policy of the cluster).
_REFUSED = frozenset(
    {
        ReasonCode.POD_REFUSED,
        ReasonCode.KUBERNETES_FORBIDDEN,
        ReasonCode.CONTAINER_NOT_STARTED,
        ReasonCode.SERVER_NOT_STARTED,
    }
)

#: What a restricted program's C library says, and the restrictions that are meant.
_WORDS = (
    ("read-only file system", ("a read-only root file system",)),
    ("operation not permitted", ("no capabilities", "no new privileges")),
    ("permission denied", ("no capabilities", "no new privileges")),
)


@dataclasses.dataclass(frozen=True)
class Relaxing:
    """What giving up a platform's restrictions means.

    Attributes:
      what: who bears them, as a subject.
      how: how it is tried without them.
      advice: which setting does what, for people.
      reasons: how a server fails that a restriction may keep from serving.
      until: what is seen of the model up to which they may be why.
    """

    what: str = "The image"
    how: str = "as its image's author made it"
    advice: str = "hardening: image does so at once, hardening: strict rejects such an image"
    reasons: frozenset[ReasonCode] = _MAY_BE_OURS
    until: frozenset[EvidenceLevel] = frozenset({EvidenceLevel.NONE})


#: A sandbox hides files, so that also a server that goes on may fail of it, and not before it is asked.
OF_A_SANDBOX = Relaxing(
    "The server",
    "without it",
    "local_process.sandbox: off does so at once, required rejects such a server",
    _MAY_BE_OURS
    | {
        ReasonCode.MODEL_LOAD_FAILED,
        ReasonCode.MODEL_UNAVAILABLE,
        ReasonCode.LOAD_TIMEOUT,
        ReasonCode.SERVER_UNHEALTHY,
        ReasonCode.SERVER_NOT_STARTED,
        ReasonCode.SERVER_BROKEN,
        ReasonCode.BINARY_NOT_EXECUTABLE,
        ReasonCode.REQUEST_FAILED,
    },
    frozenset({EvidenceLevel.NONE, EvidenceLevel.LOADED}),
)


class Hardening:
    """The restrictions over the attempts with one serving binary.

    Args:
      relaxing: what giving them up means.
    """

    def __init__(self, relaxing: Relaxing = Relaxing()) -> None:
        self._relaxing = relaxing
        self._ended: tuple[AttemptReport, Failure] | None = None  # under restrictions

    def may_be_why(self, report: AttemptReport, failure: Failure) -> bool:
        """Whether restrictions may be why: the server ended under them before it served. It is remembered what it ended of."""
        served = report.evidence.level not in self._relaxing.until
        if not report.restrictions or served or failure.reason not in self._relaxing.reasons:
            return False
        self._ended = report, failure
        return True

    def judged(self, failure: Failure) -> Failure:
        """The failure that counts: what was seen under restrictions, where the platform does not let the image run without."""
        if self._ended is not None and failure.reason in _REFUSED:
            return self._ended[1]
        return failure

    def noted(self, report: AttemptReport) -> AttemptReport:
        """The report of a success, with what the image does not bear."""
        if self._ended is None:
            return report
        under, log = self._ended[0].restrictions, self._ended[0].server_log.lower()
        likely = [part for word, parts in _WORDS if word in log for part in parts if part in under]
        one_of = "one of: " if len(under) > 1 else ""
        which = " or ".join(dict.fromkeys(likely)) or one_of + ", ".join(under)
        note = f"{self._relaxing.what} does not bear {which}. It was validated {self._relaxing.how}; {self._relaxing.advice}."
        return dataclasses.replace(report, notes=(*report.notes, note))
