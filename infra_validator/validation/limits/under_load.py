"""What puts a server under load: the seam between an attempt and those who send the load.

An attempt has a server whose model is loaded and whose sample requests were answered. It hands both to an ``UnderLoad`` and gets back
what was measured. One sends the load to this server alone; another starts the baseline's server beside it and sends to both in turns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed, InfrastructureError
from infra_validator.core.sample_request import RequestSource
from infra_validator.core.signals.interruption import Interruption
from infra_validator.model_server_clients.base_client import BaseModelServerClient
from infra_validator.model_server_runners.base_runner import BaseModelServerRunner
from infra_validator.specs import LimitsSpec

if TYPE_CHECKING:  # most validations put nothing under load
    from infra_validator.report.measurements import BaselineComparison, LoadRun
    from infra_validator.specs import LoadSpec
    from infra_validator.validation.load.load_generator import LoadProgress


@dataclasses.dataclass(frozen=True)
class LoadJob:
    """A server to put under load, and how.

    Attributes:
      label: the serving binary's, for messages.
      client: talks to the server.
      runner: runs the server: ``runner.Observe`` tells whether it lives, ``runner.news`` when to look.
      requests: what is asked.
      spec: how much is asked, and how fast.
      limits: what is held against it: percentiles need so many requests.
      deadline: when all of it must have ended: the whole validation's.
      interruption: ends it early.
      say: takes one line for people.
      say_with_quotes: the same, for a line with a server's words in it: what was sent is taken out of it.
      on_load: called four times a second while requests are sent.
    """

    label: str
    client: BaseModelServerClient
    runner: BaseModelServerRunner
    requests: RequestSource
    spec: LoadSpec
    limits: LimitsSpec
    deadline: Deadline
    interruption: Interruption
    say: Callable[[str], None]
    say_with_quotes: Callable[[str], None]
    on_load: Callable[[LoadProgress], None] | None = None


@dataclasses.dataclass(frozen=True)
class LoadOutcome:
    """What came of it.

    Attributes:
      runs: this server's, one for each signature and batch size that was asked.
      baseline: the comparison with the baseline; its ``ratios`` are the relative limits, and decide like all others.
      notes: what people should know, one sentence each; they become warnings of the verdict.
      with_quotes: the same, where a server's words stand in it.
      problem: why the comparison could not decide (TOO_NOISY); raised unless a limit is exceeded, which weighs more.
    """

    runs: tuple[LoadRun, ...] = ()
    baseline: BaselineComparison | None = None
    notes: tuple[str, ...] = ()
    with_quotes: tuple[str, ...] = ()
    problem: AttemptFailed | InfrastructureError | None = None


class UnderLoad(Protocol):
    """Puts a server under load. Called once for each attempt, in the phase ``measure``."""

    def __call__(self, job: LoadJob) -> LoadOutcome:
        """Send the load and return what was measured.

        Raises:
          AttemptFailed: the server did not stand it.
          InfrastructureError: it could not be carried out, or was interrupted.
          JobGone: the server ended meanwhile.
        """
        ...
