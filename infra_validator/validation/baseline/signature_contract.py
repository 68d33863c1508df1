"""The signature contract: callers of the model that is expected can call this one. Needs no server."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from infra_validator.core.errors import AttemptFailed, InfrastructureError, SpecError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.signatures import Signatures, read_signatures, signatures_of
from infra_validator.saved_model.graph import read_graph
from infra_validator.specs import RequestSpec, ValidationSpec

if TYPE_CHECKING:  # most models are held against nothing
    from infra_validator.report.measurements import SignatureChange
    from infra_validator.validation.baseline.baseline import Baseline

_FIELD = "validation_spec.expected_signature"


@dataclasses.dataclass(frozen=True)
class SignatureContract:
    """What a model's signatures are held against, and what differs.

    Attributes:
      against: what was expected, for people: a path.
      changes: every difference.
    """

    against: str = ""
    changes: tuple[SignatureChange, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What differs and breaks nobody, one sentence each."""
        return tuple(f"Other than {self.against}: {change.detail}" for change in self.changes if not change.breaking)

    def check(self) -> None:
        """Raises AttemptFailed (SIGNATURE_BROKE) where callers that were right before are wrong now; names every breaking difference."""
        breaking = [change.detail for change in self.changes if change.breaking]
        if breaking:
            raise AttemptFailed(ReasonCode.SIGNATURE_BROKE, f"Against {self.against}: {' '.join(breaking)}")


def contract_of(
    signatures: Signatures, limits: ValidationSpec, asked: RequestSpec, baseline: Baseline | None = None
) -> SignatureContract:
    """What the model's signatures are held against, and what differs: those that are expected, else the baseline's.

    Args:
      signatures: the model's, as far as its files can be read here.
      baseline: what the model is compared with; None where nothing is.
      limits, asked: the specs; whoever asks over REST has callers there.

    Raises:
      SpecError: what is expected cannot be read, or the model's signatures cannot.
    """
    path = limits.expected_signature
    if not path:
        if baseline is None or not baseline.signatures or not signatures:
            return SignatureContract()
        from infra_validator.validation.baseline.signature_changes import signature_changes

        changes = signature_changes(baseline.signatures, signatures, over_rest=asked.over_rest)
        return SignatureContract(baseline.name, changes)
    expected = _expected(path, asked.tag_set)
    if not signatures:
        raise SpecError(_FIELD, "the signatures of the model cannot be read here, so nothing can be held against it")
    from infra_validator.validation.baseline.signature_changes import signature_changes

    return SignatureContract(path, signature_changes(expected, signatures, over_rest=asked.over_rest))


def _expected(path: str, tag_set: Iterable[str]) -> Signatures:
    """The signatures that ``validation_spec.expected_signature`` names: a SavedModel directory's, or a file's.

    Raises:
      SpecError: it cannot be read, or holds no signatures.
    """
    if not os.path.isdir(path):
        return read_signatures(path, _FIELD)
    try:
        found = signatures_of(read_graph(path, tag_set).signatures)
    except (AttemptFailed, InfrastructureError) as error:
        raise SpecError(_FIELD, f"{error.detail}", next_step="Name a SavedModel directory, or a file.") from error
    if not found:
        raise SpecError(_FIELD, f"the model at {path!r} has no signature")
    return found
