"""A model of which only a running server tells: its signatures, asked of the server before anything else."""

from __future__ import annotations

from collections.abc import Callable

from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed, InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.signals.interruption import Interruption
from infra_validator.core.states import Observation
from infra_validator.model_server_clients.base_client import BaseModelServerClient, JobGone
from infra_validator.model_server_runners.base_runner import BaseModelServerRunner
from infra_validator.saved_model.graph import SavedModelGraph

_METADATA_SECONDS = 10.0  # how long the server may take to tell the model's signatures


def served_graph(
    name: str,
    runner: BaseModelServerRunner,
    make_client: Callable[[str], BaseModelServerClient],
    deadline: Deadline,
    interruption: Interruption,
) -> SavedModelGraph:
    """What a running server tells of its model, in the place of a graph that could be read.

    Args:
      name: how the model is called in messages.
      runner: finds the server; its job is not touched.
      make_client: a client for an endpoint.
      deadline: when the model must be ready.
      interruption: ends the wait early.

    Raises:
      AttemptFailed: the model does not become ready (LOAD_TIMEOUT, MODEL_UNAVAILABLE, SERVER_UNHEALTHY).
      InfrastructureError: nobody answers there (SERVER_NOT_REACHABLE), or the server does not tell signatures.
    """
    runner.interruption = interruption
    try:
        runner.Start()
        runner.WaitUntilRunning(deadline)
        with make_client(runner.GetEndpoint()) as client:
            client.WaitUntilModelLoaded(deadline, runner.Observe, runner.news)
            told = client.GetSignatures(deadline.capped(_METADATA_SECONDS))
    except JobGone as gone:
        raise _unreachable(gone.seen) from gone
    finally:
        runner.Stop()
    if told is None:
        raise InfrastructureError(
            ReasonCode.MODEL_NOT_READABLE,
            f"{name} does not tell its signatures.",
            next_step="Name the model's own directory with --model, too; or describe it (serving_spec.open_inference.inputs and outputs).",
        )
    return SavedModelGraph(name, frozenset({"serve"}), told, restores_variables=False, assets=())


def _unreachable(seen: Observation) -> AttemptFailed | InfrastructureError:
    return InfrastructureError(seen.reason or ReasonCode.SERVER_NOT_REACHABLE, seen.detail)
