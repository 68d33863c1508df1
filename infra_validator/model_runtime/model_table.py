"""Which models a ModelRuntime holds: one entry for each id, and the only code that moves it from one state to the next.

    (absent) -> LOADING -> LOADED -> UNLOADING -> (absent)
                LOADING -> (absent)                the load failed, or nobody wanted the model before it began
                LOADING -> UNLOADING               it was loaded, but had been given up meanwhile
                UNLOADING -> STUCK -> UNLOADING    the backend could not unload it; the next unload tries again

Rules (the contract of model-mesh's ModelRuntime): loads of one id join one load; nobody counts references; a load that all
its callers have left, or that was unloaded or purged, is *given up*: it never becomes LOADED, whatever the order in which
cancellation, unload and the load's own end arrive. A load that waits for an older model of its id to go is given up by an
unload as well. Backend calls run without the lock, in threads of the table.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent import futures

import grpc

from infra_validator.core.deadline import Deadline
from infra_validator.model_runtime.backends.base_backend import Backend, BackendError
from infra_validator.model_runtime.model_entry import Entry, Refused, State, named
from infra_validator.model_runtime.model_source import ModelSource

_LOG = logging.getLogger(__name__)

_UNLOADING_THREADS = 8
_LONGEST_WAIT = 3600.0  # seconds; a waiter looks at its deadline at least this often


class Caller:
    """Somebody who waits for a load; made by ``ModelTable.caller`` before the load is asked for.

    Attributes:
      asked: whether the load was asked for and takes its place among the calls for its id.
    """

    def __init__(self, table: ModelTable) -> None:
        self._table = table
        self.asked = False
        self.left = False
        self.failure: Refused | None = None  # why it need not wait any longer
        self.entry: Entry | None = None  # the load that it has joined; None while an older model of the id has to go

    def leave(self) -> None:
        """The caller is not interested any more (its RPC was cancelled or has ended). Any thread, any number of times."""
        self._table._leave(self)


class ModelTable:
    """The models of one runtime. Thread-safe; close it.

    Args:
      backend: what loads and unloads.
      capacity: bytes that all models together may take.
      max_loading_concurrency: how many loads run at once; more wait.
      max_concurrency: how many requests a model is asked at once; 0 means any number.
    """

    def __init__(
        self, backend: Backend, capacity: int, max_loading_concurrency: int = 1, max_concurrency: int = 0
    ) -> None:
        self._backend = backend
        self._capacity = capacity
        self._max_concurrency = max_concurrency
        self._changed = threading.Condition()
        self._entries: dict[str, Entry] = {}
        self._queue: dict[str, list[Caller]] = {}  # by id, who waits for an older model, or a purge, to end
        self._purges = 0
        self._loaders = futures.ThreadPoolExecutor(max_loading_concurrency, "model-loader")
        self._unloaders = futures.ThreadPoolExecutor(_UNLOADING_THREADS, "model-unloader")

    # ---------------------------------------------------------------- questions

    def states(self) -> dict[str, State]:
        """Every id that is held, with its state."""
        with self._changed:
            return {model_id: entry.state for model_id, entry in self._entries.items()}

    def waiting(self, model_id: str) -> int:
        """How many callers wait for a load of the id."""
        with self._changed:
            entry = self._entries.get(model_id)
            joined = entry.callers if entry is not None and entry.state is State.LOADING else 0
            return len(self._queue.get(model_id, ())) + joined

    def size(self, model_id: str) -> int:
        """The measured size in bytes of a loaded model.

        Raises:
          Refused: it is not loaded (NOT_FOUND).
        """
        with self._changed:
            return self._loaded(model_id).size

    @contextlib.contextmanager
    def using(self, model_id: str) -> Iterator[None]:
        """While the block runs, the model stays loaded.

        Raises:
          Refused: it is not loaded (NOT_FOUND), or asked by too many at once (RESOURCE_EXHAUSTED).
        """
        with self._changed:
            entry = self._loaded(model_id)
            if self._max_concurrency and entry.in_flight >= self._max_concurrency:
                raise Refused(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"{named(model_id)} is being asked {entry.in_flight} requests at once, which is its limit.",
                )
            entry.in_flight += 1
        try:
            yield
        finally:
            with self._changed:
                entry.in_flight -= 1
                if entry.state is State.UNLOADING and not entry.in_flight:
                    self._unloaders.submit(self._run_unload, entry)

    # ---------------------------------------------------------------- the verbs

    def caller(self) -> Caller:
        """A caller for one ``load``. Arrange for its ``leave`` to be called before asking for the load."""
        return Caller(self)

    def load(
        self, model_id: str, path: str, find: Callable[[], ModelSource], caller: Caller, deadline: Deadline
    ) -> int:
        """Return the model's size in bytes when it can be asked; a load of the same id and path that runs is joined.

        Args:
          model_id: the id.
          path: tells two models of one id apart: an id that is loaded from another path is unloaded first.
          find: makes the ModelSource, in the loading thread; its Refused is the load's.
          caller: who waits; when the last caller of a load leaves, the load is given up.
          deadline: how long the caller waits at most.

        Raises:
          Refused: it was not loaded; CANCELLED when the caller left, DEADLINE_EXCEEDED when the deadline came.
        """
        self._drop_if_lost(model_id, deadline)
        with self._changed:
            caller.asked = True
            self._queue.setdefault(model_id, []).append(caller)
            try:
                entry = self._join(model_id, path, find, caller, deadline)
            finally:
                self._leave_queue(model_id, caller)
            while entry.state is State.LOADING and entry.failure is None:
                self._wait_for_load(model_id, caller, deadline)
            caller.entry = None
            if entry.failure is not None:
                raise Refused(entry.failure.code, entry.failure.detail)
            return entry.size

    def unload(self, model_id: str, deadline: Deadline) -> None:
        """Return when the model is gone; at once when nobody knows it.

        Raises:
          Refused: the backend could not unload it, or the deadline came while the unload goes on.
        """
        with self._changed:
            entries = self._give_up_id(model_id, "was unloaded while it was loading")
            self._wait_until_gone(entries, deadline)

    def purge(self, deadline: Deadline) -> None:
        """Drop every model that is loaded or loading; loads that come meanwhile wait.

        Raises:
          Refused: something is still there.
        """
        with self._changed:
            self._purges += 1
            ids = {*self._entries, *self._queue}
            entries = [entry for model_id in ids for entry in self._give_up_id(model_id, "was purged by runtimeStatus")]
        try:
            with self._changed:
                self._wait_until_gone(entries, deadline)
            self._backend.purge()
        except BackendError as error:
            raise Refused(error.code, error.detail) from error
        finally:
            with self._changed:
                self._purges -= 1
                self._changed.notify_all()

    def close(self, deadline: Deadline) -> None:
        """Drop every model and end the threads. Never raises; what could not be dropped is logged."""
        try:
            self.purge(deadline)
        except Refused as error:
            _LOG.warning("At the end some models could not be unloaded: %s", error.detail)
        self._loaders.shutdown(wait=False, cancel_futures=True)
        self._unloaders.shutdown(wait=False, cancel_futures=True)

    # ---------------------------------------------------------------- private; the lock is held unless it says otherwise

    def _drop_if_lost(self, model_id: str, deadline: Deadline) -> None:
        """Forget a model that the backend has lost: model-mesh loads again what was NOT_FOUND. The lock is not held."""
        with self._changed:
            entry = self._entries.get(model_id)
            if entry is None or entry.state is not State.LOADED:
                return
        try:
            lost = not self._backend.holds(model_id)
        except BackendError as error:
            raise Refused(error.code, error.detail) from error
        if lost:
            self.unload(model_id, deadline)

    def _loaded(self, model_id: str) -> Entry:
        entry = self._entries.get(model_id)
        if entry is None or entry.state is not State.LOADED:
            state = "is not loaded" if entry is None or entry.state is State.STUCK else f"is {entry.state.value}"
            raise Refused(grpc.StatusCode.NOT_FOUND, f"{named(model_id)} {state}.")
        return entry

    def _join(
        self, model_id: str, path: str, find: Callable[[], ModelSource], caller: Caller, deadline: Deadline
    ) -> Entry:
        """The entry that the caller waits for from now on: the one that is there, or a new one."""
        replaced = False
        while True:
            entry = self._entries.get(model_id)
            usable = entry is not None and entry.path == path and not entry.given_up.is_set()
            wanted = not caller.left and caller.failure is None
            if entry is None and wanted and not self._purges:
                entry = self._entries[model_id] = Entry(model_id, path, find)
                self._loaders.submit(self._run_load, entry)
                usable = True
            if entry is not None and usable and wanted:
                entry.callers += 1
                caller.entry = entry
                return entry
            if entry is not None and wanted and entry.state in (State.LOADED, State.STUCK):
                if replaced and entry.state is State.STUCK:
                    raise Refused(grpc.StatusCode.INTERNAL, entry.unload_failure)
                self._start_unload(entry)
                replaced = True
            self._wait_for_load(model_id, caller, deadline)

    def _wait_for_load(self, model_id: str, caller: Caller, deadline: Deadline) -> None:
        if caller.failure is not None:
            raise caller.failure
        if caller.left:
            raise Refused(grpc.StatusCode.CANCELLED, f"The load of {named(model_id)} was cancelled by its caller.")
        if deadline.expired():
            self._forget(caller)
            raise Refused(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                f"{named(model_id)} was not loaded in time. Raise the runtime's load timeout if it is only large.",
            )
        self._changed.wait(min(deadline.remaining(), _LONGEST_WAIT))

    def _leave(self, caller: Caller) -> None:
        """The lock is not held."""
        with self._changed:
            caller.left = True
            self._forget(caller)
            self._changed.notify_all()

    def _leave_queue(self, model_id: str, caller: Caller) -> None:
        queue = self._queue[model_id]
        queue.remove(caller)
        if not queue:
            del self._queue[model_id]

    def _forget(self, caller: Caller) -> None:
        entry, caller.entry = caller.entry, None
        if entry is None:
            return
        entry.callers -= 1
        if not entry.callers and entry.state is State.LOADING:
            self._give_up(entry, grpc.StatusCode.CANCELLED, f"The load of {named(entry.model_id)} was cancelled.")

    def _give_up_id(self, model_id: str, why: str) -> list[Entry]:
        """See to it that no load of the id that was asked for until now comes true; the entry that has to go, if any."""
        failure = Refused(grpc.StatusCode.ABORTED, f"{named(model_id)} {why}.")
        for caller in self._queue.get(model_id, []):
            caller.failure = failure
        entry = self._entries.get(model_id)
        self._changed.notify_all()
        if entry is None:
            return []
        self._give_up(entry, failure.code, failure.detail)
        return [entry]

    def _give_up(self, entry: Entry, code: grpc.StatusCode, detail: str) -> None:
        """See to it that the entry goes, whatever its state."""
        entry.given_up.set()
        if entry.state is State.LOADING:
            entry.failure = entry.failure or Refused(code, detail)
            if not entry.began:
                self._remove(entry)
            self._changed.notify_all()
        elif entry.state in (State.LOADED, State.STUCK):
            self._start_unload(entry)

    def _start_unload(self, entry: Entry) -> None:
        entry.given_up.set()
        entry.state = State.UNLOADING
        if not entry.in_flight:
            self._unloaders.submit(self._run_unload, entry)
        self._changed.notify_all()

    def _wait_until_gone(self, entries: list[Entry], deadline: Deadline) -> None:
        while True:
            left = [entry for entry in entries if self._entries.get(entry.model_id) is entry]
            if not left:
                return
            stuck = [entry for entry in left if entry.state is State.STUCK]
            if stuck:
                raise Refused(grpc.StatusCode.INTERNAL, stuck[0].unload_failure)
            if deadline.expired():
                raise Refused(
                    grpc.StatusCode.DEADLINE_EXCEEDED,
                    f"{named(left[0].model_id)} is still {left[0].state.value}; it is unloaded as soon as that ends.",
                )
            self._changed.wait(min(deadline.remaining(), _LONGEST_WAIT))

    def _remove(self, entry: Entry) -> None:
        if self._entries.get(entry.model_id) is entry:
            del self._entries[entry.model_id]
        self._changed.notify_all()

    # ---------------------------------------------------------------- in the table's own threads, without the lock

    def _run_load(self, entry: Entry) -> None:
        size, failure = 0, None
        try:
            if entry.given_up.is_set():
                return
            source = entry.find()
            if not self._book(entry, source):
                return
            size = max(1, self._backend.load(entry.model_id, source, entry.given_up))
        except Refused as error:
            failure = error
        except BackendError as error:
            failure = Refused(error.code, f"{named(entry.model_id)} could not be loaded: {error.detail}")
        except Exception as error:
            _LOG.exception("Loading %s failed", named(entry.model_id))
            failure = Refused(grpc.StatusCode.INTERNAL, f"{named(entry.model_id)} could not be loaded: {error!r}")
        with self._changed:
            if failure is not None:
                entry.failure = entry.failure or failure
                self._remove(entry)
                return
            entry.size = entry.booked = size
            if size > self._capacity:
                detail = f"{named(entry.model_id)} takes {size} bytes, more than the capacity of {self._capacity}."
                self._give_up(entry, grpc.StatusCode.RESOURCE_EXHAUSTED, detail)
            if entry.given_up.is_set():
                self._start_unload(entry)
            else:
                entry.state = State.LOADED
                self._changed.notify_all()

    def _book(self, entry: Entry, source: ModelSource) -> bool:
        """Count the model against the capacity and mark it begun; False when it was given up meanwhile."""
        with self._changed:
            if entry.given_up.is_set():
                return False
            taken = sum(other.booked for other in self._entries.values())
            if taken + source.weight_bytes > self._capacity:
                raise Refused(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f"{named(entry.model_id)} needs at least {source.weight_bytes} bytes, and {taken} of the capacity of "
                    f"{self._capacity} are taken. Unload other models or raise the capacity.",
                )
            entry.began = True
            entry.booked = source.weight_bytes
            return True

    def _run_unload(self, entry: Entry) -> None:
        try:
            self._backend.unload(entry.model_id)
        except Exception as error:
            detail = error.detail if isinstance(error, BackendError) else repr(error)
            if not isinstance(error, BackendError):
                _LOG.exception("Unloading %s failed", named(entry.model_id))
            with self._changed:
                entry.state = State.STUCK
                entry.unload_failure = f"{named(entry.model_id)} could not be unloaded: {detail}"
                self._changed.notify_all()
            return
        with self._changed:
            self._remove(entry)
