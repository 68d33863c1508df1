"""The shared interface of all model server runners: WHERE a model server runs.

The interface, the five states and their order are the base runner seed's (TFX ``base_runner.py``). A runner owns one job on
a platform, is used once, never recovers a job and does not talk to the model server's application. The base class owns
the verbs; a platform answers and acts through the five methods whose names start with an underscore.

The caller's order: ``Prepare`` (may be left out), ``Start``, ``WaitUntilRunning``, ``GetEndpoint``, any number of ``Observe``
and ``GetLogs``, and ``Stop`` in every case.
"""

from __future__ import annotations

import abc
import logging
import threading
from collections.abc import Callable

from infra_validator.core.deadline import Deadline, News, wait_until
from infra_validator.core.errors import AttemptFailed, DeadlineExceeded, InfrastructureError, JobAborted
from infra_validator.core.launch_plan import LaunchPlanner
from infra_validator.core.reason_codes import Blames, ReasonCode
from infra_validator.core.signals.interruption import Interruption
from infra_validator.core.states import JobState, Life, MemoryReading, Observation, Verb, check_move
from infra_validator.specs import ServingSpec
from infra_validator.specs.extensions import NoConfig

_LOG = logging.getLogger(__name__)

_PREPARE_SECONDS = 3600.0  # how long Start may prepare where nobody did before; platforms have limits of their own
_HANGING_SECONDS = 1.0  # how long after its deadline a cleanup of another package's may take
_AFTER_HANGING_SECONDS = 5.0  # what is left for those that come after it
_STOP_SECONDS = 30.0  # how long Stop may take when the caller sets no deadline of its own


class BaseModelServerRunner(abc.ABC):
    """Starts, watches and stops one model server job.

    Args:
      model_path: the SavedModel directory.
      serving_binary: says what to start.
      serving_spec: the whole serving spec; a platform reads its own part.

    Attributes:
      platform: the name of the platform in the serving spec; set by each subclass.
      plan: what is started.
      news: announced by the platform's own watcher (process exit, daemon events) whenever ``Observe`` may answer otherwise.
      on_progress: called with one line for people when something slow goes on (a pull, an upload).
      on_bytes: called with ``pull`` or ``upload``, the bytes so far and in all (0: not known), as they move.
      interruption: checked in every wait of the runner; set by the validation. A platform's own long work (a pull, an upload)
        calls ``interruption.check()`` between its steps.
      run_id: the validation's, which what is created bears; empty outside of validations.
      stop_grace_seconds: how long the server may take to stop by itself before Stop kills it.
      detour: what lies between here and the server and makes answers slower, for people, e.g. ``a port-forward``; empty: nothing.
      notes: what the report is to say of how the server was run, one sentence each.
      restricted: whether the server is held to the spec's restrictions; false where the machine does not have the means.
      stop_problems: what could not be cleaned up, one sentence each; filled by Stop, which never raises for them.
    """

    platform: str

    #: The data class of the platform's part of a serving spec, of a runner that is offered by an entry point (docs/extending.md).
    config_class: type = NoConfig

    def __init__(self, model_path: str, serving_binary: LaunchPlanner, serving_spec: ServingSpec) -> None:
        self.model_path = model_path
        self.serving_spec = serving_spec
        plan = serving_binary.MakeLaunchPlan(model_path, self.platform)
        self.plan = plan.as_authored() if serving_spec.hardening == "image" else plan
        self.news = News()
        self.on_progress: Callable[[str], None] = _LOG.info
        self.on_bytes: Callable[[str, int, int], None] = lambda what, done, total: None
        self.interruption = Interruption()
        self.run_id = ""
        self.stop_grace_seconds = 5.0
        self.detour = ""
        self.stop_problems: list[str] = []
        self.notes: list[str] = []
        self.restricted = True
        self._state = JobState.INITIAL
        self._lock = threading.RLock()
        self._prepared = False
        self._cleanups: list[tuple[str, Callable[[Deadline], None]]] = []
        self._last_observation = Observation.pending()
        self._final_logs: str | None = None

    @classmethod
    def Pin(cls, serving_spec: ServingSpec) -> ServingSpec:
        """The spec with names that may come to mean something else (an image's tag) made immutable, as far as is known now.

        Called by the TFX driver, so that the answer enters the cache key. Platforms with images override it.

        Raises:
          InfrastructureError: the platform cannot be reached from here.
        """
        return serving_spec

    @classmethod
    def takes_a_slot(cls, serving_spec: ServingSpec) -> bool:
        """Whether its servers run on this machine's processors, so that only so many are to be at work at once (validation/slots.py)."""
        return False

    @property
    def state(self) -> JobState:
        """The job's state as the verbs have led to it."""
        return self._state

    # ---------------------------------------------------------------- the verbs

    def Prepare(self, deadline: Deadline | float) -> None:
        """Get what the job needs and what has a time limit of its own: an image, an uploaded model.

        Called by the validation before Start, so that it does not count as loading time; Start calls it if nobody did.

        Raises:
          InfrastructureError: it cannot be had.
        """
        with self._lock:
            if self._prepared:
                return
            self._prepared = True
        self._prepare(Deadline.of(deadline))

    def Start(self) -> None:
        """Start the model server in a non-blocking manner; Initial becomes Scheduled.

        Raises:
          IllegalStateError: it was called before (an AssertionError, as the seed has it).
          InfrastructureError: the platform refused. Call Stop all the same.
        """
        with self._lock:
            check_move(Verb.START, self._state)
            self._state = JobState.SCHEDULED
        self.Prepare(Deadline.after(_PREPARE_SECONDS))
        with self._lock:  # a Stop from another thread comes before the launch or after it, never in between
            if self._state is JobState.END:
                check_move(Verb.START, self._state)
            self._launch()

    def WaitUntilRunning(self, deadline: Deadline | float) -> bool:
        """Wait until the job runs; Scheduled becomes Running.

        Args:
          deadline: a Deadline, or a UTC timestamp in seconds as in the seed.

        Returns:
          True: the job is Running. Every other outcome is an exception.

        Raises:
          IllegalStateError: Start was not called, or the runner was stopped.
          InfrastructureError: the server's process never ran.
          AttemptFailed: it ran and ended, even if nobody saw it running; JobAborted if the platform ended it.
        """
        check_move(Verb.WAIT_UNTIL_RUNNING, self._state)
        try:
            seen = wait_until(self._settled, Deadline.of(deadline), news=self.news)
        except DeadlineExceeded as error:
            last = self._last_observation
            raise failure_of(
                Observation.gone(
                    last.reason or ReasonCode.SERVER_NOT_STARTED,
                    f"The job did not reach the state Running in time: {last.detail.rstrip('.') or 'nothing was seen of it'}.",
                )
            ) from error
        if seen.life is Life.GONE:
            raise failure_of(seen)
        with self._lock:
            if self._state is JobState.SCHEDULED:
                self._state = JobState.RUNNING
        return True

    def Observe(self) -> Observation:
        """What is known of the job now. Cheap; never blocks for long. Gone means Aborted, unless Stop was called.

        Raises:
          InfrastructureError: INTERRUPTED.

        Called in every wait beside the question about the model, so that the first news ends the wait.
        """
        self.interruption.check()
        return self._observe()

    def _observe(self) -> Observation:
        if self._state in (JobState.INITIAL, JobState.END):
            return self._last_observation
        seen = self._look()
        with self._lock:
            self._last_observation = seen
            if seen.life is Life.GONE and self._state in (JobState.SCHEDULED, JobState.RUNNING):
                self._state = JobState.ABORTED
        return seen

    def GetEndpoint(self) -> str:
        """``host:port`` of the server's gRPC endpoint.

        Raises:
          IllegalStateError: the job has not reached Running, or has left it.
        """
        check_move(Verb.GET_ENDPOINT, self._state)
        return self._find_endpoint()

    def GetRestEndpoint(self) -> str:
        """``host:port`` of the server's REST endpoint; empty where it has none, or there is no way to it from here.

        Raises:
          IllegalStateError: the job has not reached Running, or has left it.
        """
        check_move(Verb.GET_ENDPOINT, self._state)
        return self._find_rest_endpoint()

    def _find_rest_endpoint(self) -> str:
        return ""

    def ExplainSilence(self) -> None:
        """Called once where a server that runs was not heard in time, before that counts against the model.

        Platforms that reach the server over something else, which may be cut, look whether it is; it may take half a minute.

        Raises:
          InfrastructureError: the way is cut, or nobody can tell what became of the job.
          AttemptFailed: the job ended without anybody having been told.
        """

    def ReadMemory(self, deadline: Deadline | float) -> MemoryReading:
        """How much memory the server holds now. Called again and again while it runs, from a thread beside; never raises.

        Args:
          deadline: when an answer is of no use any more.
        """
        if self._state is not JobState.RUNNING:
            return MemoryReading.none(self.platform, "The server does not run.")
        try:
            return self._read_memory(Deadline.of(deadline))
        except Exception as error:
            return MemoryReading.none(self.platform, f"The server's memory could not be read: {error}")

    def _read_memory(self, deadline: Deadline) -> MemoryReading:
        """Called by ReadMemory. Platforms that know override it."""
        return MemoryReading.none(
            self.platform, f"The platform {self.platform} does not tell how much memory it takes."
        )

    def GetLogs(self) -> str:
        """The last lines that the server wrote, as far as they can be had; after Stop, those read just before. Never raises."""
        if self._final_logs is not None:
            return self._final_logs
        if self._state is JobState.INITIAL:
            return ""
        try:
            return self._tail_logs()
        except Exception as error:
            return f"(the server's log could not be read: {error})"

    def Stop(self, deadline: Deadline | float | None = None) -> None:
        """Stop the job and remove everything that was created. Legal in every state, any number of times; never raises.

        What cannot be cleaned up is logged and kept in ``stop_problems``. A second call tries again what failed in the first.
        """
        limit = Deadline.of(deadline) if deadline is not None else Deadline.after(_STOP_SECONDS)
        with self._lock:
            if self._final_logs is None and self._state is not JobState.INITIAL:
                self._last_look()
                self._final_logs = self.GetLogs()
            self._state = JobState.END
            self.stop_problems = []
            failed = []
            while self._cleanups:
                name, action = self._cleanups.pop()
                try:
                    self._undo(action, limit)
                except Exception as error:
                    limit = Deadline.after(_AFTER_HANGING_SECONDS) if isinstance(error, _Hangs) else limit
                    failed.append((name, action))
                    self.stop_problems.append(f"Could not {name}: {error}")
                    _LOG.warning("Could not %s: %s", name, error)
            self._cleanups = failed[::-1]

    # ---------------------------------------------------------------- for platforms

    def register_cleanup(self, name: str, action: Callable[[Deadline], None]) -> None:
        """Remember how to undo an effect. Called *before* the effect; Stop runs the actions, last registered first.

        Args:
          name: completes "Could not ...", e.g. ``remove container abc``.
          action: must accept that the effect never happened or is already undone.
        """
        self._cleanups.append((name, action))

    def _prepare(self, deadline: Deadline) -> None:
        """Called once, before _launch. Platforms with pulls or uploads override it."""

    @abc.abstractmethod
    def _launch(self) -> None:
        """Called by Start. Create the job and return; register every cleanup before its effect.

        Raises:
          InfrastructureError: the platform refused.
        """

    @abc.abstractmethod
    def _look(self) -> Observation:
        """Called by Observe and in every wait. What is seen of the job now; answer from what a watcher has noted."""

    @abc.abstractmethod
    def _find_endpoint(self) -> str:
        """Called by GetEndpoint when Running: ``host:port``."""

    @abc.abstractmethod
    def _tail_logs(self) -> str:
        """Called by GetLogs and once by Stop before anything is removed: the last lines of the server's output."""

    # ---------------------------------------------------------------- private

    def _undo(self, action: Callable[[Deadline], None], deadline: Deadline) -> None:
        """Carry out a cleanup; one of another package's that hangs is left behind, so that those after it are carried out.

        Raises:
          _Hangs: it hangs; else what it raises.
        """
        if type(self).__module__.startswith("infra_validator."):
            action(deadline)
            return
        raised: list[BaseException] = []

        def carry_out() -> None:
            try:
                action(deadline)
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=carry_out, name="cleaning up", daemon=True)
        thread.start()
        thread.join(deadline.remaining() + _HANGING_SECONDS)
        if thread.is_alive():
            raise _Hangs("it was still at work after its deadline")
        for error in raised:
            raise error

    def _last_look(self) -> None:
        """Before anything is removed; whatever goes wrong here must not keep Stop from stopping."""
        try:
            self._observe()
        except Exception as error:
            _LOG.warning("Could not look at the job before stopping it: %s", error)

    def _settled(self) -> Observation | None:
        check_move(Verb.WAIT_UNTIL_RUNNING, self._state)  # somebody may have called Stop meanwhile
        seen = self.Observe()
        return None if seen.life is Life.PENDING else seen


class _Hangs(TimeoutError):
    """A cleanup that has not ended."""


def failure_of(seen: Observation) -> InfrastructureError | AttemptFailed:
    """The exception for a job that is gone: by the line between the model's fault and the infrastructure's."""
    reason = seen.reason or ReasonCode.JOB_ABORTED
    if reason.blames is Blames.INFRASTRUCTURE:
        return InfrastructureError(reason, seen.detail, fingerprint=seen.fingerprint, heals=seen.heals)
    kind = JobAborted if reason is ReasonCode.JOB_ABORTED else AttemptFailed
    return kind(reason, seen.detail, fingerprint=seen.fingerprint, heals=seen.heals)
