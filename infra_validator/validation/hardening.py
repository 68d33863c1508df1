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


class Hardening:
    """The restrictions over the attempts with one serving binary."""

    def __init__(self) -> None:
        self._under: tuple[str, ...] = ()
        self._failure: Failure | None = None
        self._log = ""

    def may_be_why(self, report: AttemptReport, failure: Failure) -> bool:
        """Whether restrictions may be why: the server ended under them before it served. It is remembered what it ended of."""
        served = report.evidence.level is not EvidenceLevel.NONE
        if not report.restrictions or served or failure.reason not in _MAY_BE_OURS:
            return False
        self._under, self._failure, self._log = report.restrictions, failure, report.server_log.lower()
        return True

    def judged(self, failure: Failure) -> Failure:
        """The failure that counts: what was seen under restrictions, where the platform does not let the image run without."""
        if self._failure is not None and failure.reason in _REFUSED:
            return self._failure
        return failure

    def noted(self, report: AttemptReport) -> AttemptReport:
        """The report of a success, with what the image does not bear."""
        if self._failure is None:
            return report
        likely = [part for word, parts in _WORDS if word in self._log for part in parts if part in self._under]
        which = " or ".join(dict.fromkeys(likely)) or f"one of: {', '.join(self._under)}"
        note = (
            f"The image does not bear {which}. It was validated as its author made it; hardening: image does so at once,"
            " hardening: strict rejects such an image."
        )
        return dataclasses.replace(report, notes=(*report.notes, note))
