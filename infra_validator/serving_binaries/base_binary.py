"""What a serving binary must answer: WHAT runs, and which client talks to it."""

from __future__ import annotations

import abc
from collections.abc import Sequence

from infra_validator.core.launch_plan import LaunchPlan
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.specs import ServingSpec
from infra_validator.specs.extensions import NoConfig


class BaseServingBinary(abc.ABC):
    """One serving binary of a serving spec (one image of several, say). Starts nothing itself.

    Attributes:
      name: its name in the serving spec, e.g. ``tensorflow_serving``.
      client: the name of the model server client that talks to it (a key of wiring.CLIENTS).
      advisory: whether its verdict is reported only and does not decide.
    """

    name: str
    client: str
    advisory: bool = False

    #: The data class of the binary's part of a serving spec, of one that is offered by an entry point (docs/extending.md).
    config_class: type = NoConfig

    #: Whether its models are SavedModels, whose files are checked and whose signatures make requests; else any directory will do.
    serves_saved_models: bool = True

    #: Whether ``Explain`` may say of a server that still runs that it is broken (SERVER_BROKEN): the log is looked at while it loads, too.
    explains_while_it_runs: bool = False

    @classmethod
    def OfSpec(cls, serving_spec: ServingSpec) -> Sequence[BaseServingBinary]:
        """The serving binaries that a spec asks for; its own part is ``serving_spec.binary_config``.

        Called for one that is offered by an entry point, before anything is started.

        Raises:
          SpecError: the spec does not fit.
          InfrastructureError: something that is needed is missing.
        """
        raise NotImplementedError

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """How reports call it, e.g. ``tensorflow/serving:2.19.0``."""

    @abc.abstractmethod
    def MakeLaunchPlan(self, model_path: str, platform: str) -> LaunchPlan:
        """The server to start for the SavedModel at ``model_path``. Called by the runner's constructor.

        Raises:
          InfrastructureError: there is no such binary on this platform.
          SpecError: the spec asks for something that this binary cannot do.
        """

    def Explain(self, log: str) -> tuple[ReasonCode, str] | None:
        """The cause of a failure as the server's own log tells it: a reason code and the log's words; None if it does not.

        Called by the validation when an attempt failed for a reason that may have a deeper one (the server exited, no answer).
        """
        return None

    def WarmUpRecords(self, log: str) -> int | None:
        """How many warm-up records the server's own log says that it replayed; None where it does not tell.

        Called by the validation of a model with a warm-up file that was made for it.
        """
        return None
