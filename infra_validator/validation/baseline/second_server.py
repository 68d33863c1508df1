"""The baseline's server: a second one of the same kind, beside the model's, for as long as both are measured."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

from infra_validator.core.deadline import SYSTEM_CLOCK, Clock, Deadline
from infra_validator.core.errors import AttemptFailed, InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_clients.base_client import BaseModelServerClient, JobGone
from infra_validator.model_server_runners.base_runner import BaseModelServerRunner, failure_of
from infra_validator.report.measurements import MemoryUse
from infra_validator.specs import ValidationSpec
from infra_validator.validation.limits.memory_watch import MemoryWatch
from infra_validator.validation.limits.under_load import LoadJob

_STOP_SECONDS = 30.0  # what Stop may take beyond the server's own grace

#: What is nobody's server's fault and ends a comparison as it ends anything else.
_OUR_OWN = frozenset({ReasonCode.INTERRUPTED, ReasonCode.TOTAL_TIMEOUT, ReasonCode.LOAD_NOT_REACHED})


@dataclasses.dataclass(frozen=True)
class SecondServer:
    """How a server with the baseline is had: of the same kind as the model's.

    Attributes:
      path: the baseline's SavedModel directory, or its address in a remote store.
      make_runner, make_client: as of the model's candidate.
    """

    path: str
    make_runner: Callable[[], BaseModelServerRunner]
    make_client: Callable[[str], BaseModelServerClient]


@dataclasses.dataclass
class RunningBaseline:
    """A server that has the baseline loaded.

    Attributes:
      client, runner: talk to it, and watch it.
      memory: watches its memory.
    """

    client: BaseModelServerClient
    runner: BaseModelServerRunner
    memory: MemoryWatch

    @property
    def memory_use(self) -> MemoryUse | None:
        return self.memory.use


@contextlib.contextmanager
def running_baseline(
    server: SecondServer, spec: ValidationSpec, job: LoadJob, clock: Clock = SYSTEM_CLOCK
) -> Iterator[RunningBaseline]:
    """Start the baseline's server, have it load the model, and stop it in every case.

    Args:
      server: how it is had.
      spec: says how long loading and stopping may take.
      job: what it stands beside: its deadline, interruption and lines for people are the baseline's, too.

    Raises:
      InfrastructureError: it does not serve (BASELINE_FAILED), or the whole was ended.
    """
    runner = server.make_runner()
    runner.on_progress = job.say_with_quotes
    runner.interruption = job.interruption
    runner.run_id = job.runner.run_id
    runner.stop_grace_seconds = spec.stop_grace_seconds
    job.interruption.wakes(runner.news)
    try:
        with contextlib.ExitStack() as closing:
            with blaming_the_baseline(server.path, runner):
                job.say(f"{job.label}: starting another server with the baseline {server.path}")
                runner.Prepare(job.deadline)
                loading = job.deadline.capped(spec.max_loading_time_seconds)
                runner.Start()
                runner.WaitUntilRunning(loading)
                began = clock.monotonic()
                memory = MemoryWatch(runner.ReadMemory, began, clock)
                closing.callback(memory.close)
                client = closing.enter_context(server.make_client(runner.GetEndpoint()))
                client.WaitUntilModelLoaded(loading, runner.Observe, runner.news)
                memory.loaded()
            yield RunningBaseline(client, runner, memory)
    finally:
        runner.Stop(Deadline.after(spec.stop_grace_seconds + _STOP_SECONDS))
        job.interruption.forget(runner.news)
        for problem in runner.stop_problems:
            job.say_with_quotes(f"{job.label}: the baseline's server: {problem}")


@contextlib.contextmanager
def blaming_the_baseline(path: str, runner: BaseModelServerRunner) -> Iterator[None]:
    """What goes wrong in the block is the baseline's: BASELINE_FAILED, with the cause and its server's last line."""
    try:
        yield
    except JobGone as gone:
        raise baseline_failed(path, failure_of(gone.seen), runner) from gone
    except (AttemptFailed, InfrastructureError) as error:
        if error.reason in _OUR_OWN or error.reason is ReasonCode.BASELINE_FAILED:
            raise
        raise baseline_failed(path, error, runner) from error


def baseline_failed(
    path: str, cause: AttemptFailed | InfrastructureError, runner: BaseModelServerRunner | None = None
) -> InfrastructureError:
    """The error for a baseline that cannot be compared with.

    Args:
      path: the baseline's.
      cause: why.
      runner: of its server, where there was one.
    """
    last = runner.GetLogs().strip().splitlines()[-1:] if runner is not None else []
    told = f" Its server's last line: {last[0]}" if last else ""
    return InfrastructureError(
        ReasonCode.BASELINE_FAILED,
        f"Baseline {path}: {cause.reason.name}: {cause.sentence}{told}",
        heals=cause.heals and isinstance(cause, InfrastructureError),
    )
