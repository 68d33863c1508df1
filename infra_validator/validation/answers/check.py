"""What every check of answers is: a name, a look at each request with its answer, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra_validator.core.answer import Answer
from infra_validator.core.errors import AttemptFailed
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.specs.extensions import NoConfig
from infra_validator.validation.answers.expected_outputs import ExpectedOutput


class Check:
    """One check. A subclass overrides ``look`` and, if it needs the whole, ``finish``; both raise what is wrong.

    Attributes:
      name: how the evidence calls it.
      applied: how often it had something to look at.
    """

    name = ""

    def __init__(self) -> None:
        self.applied = 0

    def look(self, request: SampleRequest, answer: Answer, expected: Mapping[str, ExpectedOutput]) -> None:
        """Look at one answer.

        Args:
          expected: the outputs that the signature declares; empty where it is not known.

        Raises:
          AttemptFailed, InfrastructureError, UsageError: the answer does not pass.
        """

    def finish(self) -> None:
        """Called when all requests were answered. Raises as ``look`` does."""


class OfferedCheck(Check):
    """A check that another package offers by an entry point: named by the entry point, made anew for each attempt.

    Args:
      config: its part of ``validation_spec.answers``, a ``config_class``.
    """

    #: The data class of the check's part of ``validation_spec.answers``.
    config_class: type = NoConfig

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    def failed(self, request: SampleRequest, problem: str, next_step: str = "") -> AttemptFailed:
        """What to raise for an answer that does not pass.

        Args:
          problem: what is wrong with it, without the full stop; it is cleaned of what was sent.
        """
        return failed(ReasonCode.ANSWER_CHECK_FAILED, request, problem, next_step)


def asked(request: SampleRequest) -> str:
    """The request for people, the beginning of a sentence about its answer."""
    return f"{request.label}, signature {request.signature!r}"


def failed(reason: ReasonCode, request: SampleRequest, problem: str, next_step: str = "") -> AttemptFailed:
    """The failure of an answer; what differs from request to request is no part of what makes two failures the same."""
    return AttemptFailed(
        reason, f"{asked(request)}: {problem}.", next_step=next_step, fingerprint=reason.name, quotes=(problem,)
    )
