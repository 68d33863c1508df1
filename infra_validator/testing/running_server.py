"""``with serving(model) as server``: any serving spec's server, started, ready, and stopped whatever happens."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
from collections.abc import Callable, Iterator

from infra_validator import wiring
from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed, InfrastructureError, ModelRejected, UsageError
from infra_validator.core.reason_codes import Blames
from infra_validator.model_server_clients.base_client import BaseModelServerClient, JobGone
from infra_validator.model_server_runners.base_runner import BaseModelServerRunner, failure_of
from infra_validator.model_server_runners.local_process import spares
from infra_validator.model_server_runners.local_process.runner import LocalProcessRunner
from infra_validator.plan import Plan, make_plan
from infra_validator.serving_binaries.base_binary import BaseServingBinary
from infra_validator.specs import ServingSpec

_LOG = logging.getLogger(__name__)

_PREPARE_SECONDS = 3600.0  # pulls and uploads; platforms have limits of their own
_STOP_SECONDS = 35.0  # what a stop may take, the server's own grace included
_HERE: dict[str, dict[str, str]] = {"tensorflow_serving": {}, "local_process": {}}
_LAST_LINES = 10  # of the server's log, in an error


@dataclasses.dataclass(frozen=True)
class RunningServer:
    """A model server that has the model ready.

    Attributes:
      grpc_address: ``host:port``.
      rest_url: ``http://host:port/v1/models/NAME``, to which ``:predict`` and the like are appended; empty where there is no way to a
        REST port.
      model_name: the model's name on the server.
    """

    grpc_address: str
    rest_url: str
    model_name: str
    _runner: BaseModelServerRunner = dataclasses.field(repr=False)
    _make_client: Callable[[str], BaseModelServerClient] = dataclasses.field(repr=False)

    @property
    def open_inference_url(self) -> str:
        """``http://host:port/v2/models/NAME``, to which ``/infer`` and the like are appended, of a server that speaks the Open Inference
        Protocol beside TensorFlow Serving's, as the embedded one does with ``--enable_open_inference``; empty where ``rest_url`` is."""
        return self.rest_url.replace("/v1/models/", "/v2/models/", 1)

    def client(self) -> BaseModelServerClient:
        """A client for the model; close it, or use it in a ``with`` statement."""
        return self._make_client(self.grpc_address)

    def log(self) -> str:
        """The last lines that the server wrote."""
        return self._runner.GetLogs()


@contextlib.contextmanager
def serving(
    model: str | os.PathLike[str],
    serving_spec: object = None,
    *,
    max_loading_time_seconds: float = 300.0,
    on_progress: Callable[[str], None] = _LOG.info,
) -> Iterator[RunningServer]:
    """Start a model server on a model, wait until it is ready, and stop it at the end of the ``with`` block, whatever happens in it.

    Once an embedded model server is ready, a spare one is started beside it, which is told the model of the next call (docs/testing.md).

    Args:
      model: the SavedModel directory.
      serving_spec: as for ``validate``; None: a process of this machine (``tensorflow_model_server`` where it is installed, else the
        embedded model server). It must mean one serving binary.
      max_loading_time_seconds: how long the server may take to be ready, pulls and uploads apart.
      on_progress: called with one line for people when something slow goes on.

    Raises:
      SpecError: the spec is wrong.
      UsageError: it means several serving binaries.
      ModelRejected: the model cannot be served; the server's last lines are in its text.
      InfrastructureError: the server could not be started.
    """
    spec = ServingSpec.of(_HERE if serving_spec is None else serving_spec)
    try:
        plan = make_plan(model, spec)
        if len(plan.launch_plans) != 1:
            raise UsageError(
                f"The serving spec means {len(plan.launch_plans)} serving binaries, and one server is to be started.",
                next_step="Name one tag or digest.",
            )
        spec = wiring.runner_class(spec.platform).Pin(spec)  # a tag may move meanwhile
        (binary,) = wiring.serving_binaries_function(spec.binary)(spec)
        runner = wiring.runner_class(spec.platform)(plan.model, binary, spec)
    except AttemptFailed as error:
        raise _rejected(error, "") from error
    runner.on_progress = on_progress
    try:
        server = _ready(runner, plan, binary, max_loading_time_seconds)
        _prepare_spare(runner)
        yield server
    finally:
        runner.Stop(Deadline.after(_STOP_SECONDS))


def _prepare_spare(runner: BaseModelServerRunner) -> None:
    """Have a spare for the next one that is like this runner's, if that is an embedded server; it starts in the background."""
    if isinstance(runner, LocalProcessRunner) and runner.may_be_spare:
        spares.start(runner.environment)


def _ready(runner: BaseModelServerRunner, plan: Plan, binary: BaseServingBinary, seconds: float) -> RunningServer:
    """The server, once the model is ready."""
    launch_plan = plan.launch_plans[0]
    name, version = launch_plan.model.name, launch_plan.model.version or None

    def make_client(endpoint: str) -> BaseModelServerClient:
        return wiring.client_class(binary.client)(endpoint, name, version, **launch_plan.client_arguments)

    try:
        runner.Prepare(Deadline.after(_PREPARE_SECONDS))
        loading = Deadline.after(seconds)
        runner.Start()
        runner.WaitUntilRunning(loading)
        with make_client(runner.GetEndpoint()) as client:
            client.WaitUntilModelLoaded(loading, runner.Observe, runner.news)
            has_rest = client.has_rest
        rest = runner.GetRestEndpoint() if has_rest else ""
    except JobGone as gone:
        raise _cause(failure_of(gone.seen), runner, binary) from gone
    except (AttemptFailed, InfrastructureError) as error:
        raise _cause(error, runner, binary) from error
    url = f"http://{rest}/v1/models/{name}" if rest else ""
    return RunningServer(runner.GetEndpoint(), url, name, runner, make_client)


def _cause(
    failure: AttemptFailed | InfrastructureError, runner: BaseModelServerRunner, binary: BaseServingBinary
) -> ModelRejected | InfrastructureError:
    """What the server's log names as the cause, else what was seen."""
    log = runner.GetLogs()
    if isinstance(failure, InfrastructureError):
        return failure
    deeper = binary.Explain(log)
    if deeper is None:
        return _rejected(failure, log)
    reason, detail = deeper
    if reason.blames is Blames.INFRASTRUCTURE:
        return InfrastructureError(reason, detail)
    return _rejected(AttemptFailed(reason, detail), log)


def _rejected(failure: AttemptFailed, log: str) -> ModelRejected:
    lines = "".join(f"\n  | {line}" for line in log.splitlines()[-_LAST_LINES:])
    return ModelRejected(failure.reason, failure.detail + lines, next_step=failure.next_step)
