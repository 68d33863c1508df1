"""Loads what is wanted and unloads what is not (contract 2.3), and hands out what is loaded. Knows nothing of TensorFlow.

Wanted ("aspired") versions come in as a whole per model; one thread decides on one action at a time, unloads before loads. A load
runs in that thread, or in the load threads while there are any: that one failing version can hold up all others by its retries is
the real server's way.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import enum
import threading
from collections.abc import Callable, Mapping
from typing import TypeVar

from infra_validator.embedded_server import log
from infra_validator.embedded_server.models.servable import Servable, check_readable
from infra_validator.embedded_server.models.state_monitor import State, StateMonitor
from infra_validator.embedded_server.status import Code, StatusError, not_found

T = TypeVar("T")

#: (model, version, directory) -> the loaded version; raises StatusError.
Loader = Callable[[str, int, str], Servable]


@dataclasses.dataclass(frozen=True)
class RetryPolicy:
    """How often a load is tried.

    Attributes:
      max_retries: tries after the first.
      interval_seconds: the pause between two tries; none if negative.
    """

    max_retries: int = 5
    interval_seconds: float = 60.0


class _Phase(enum.Enum):
    NEW = "new"
    LOADING = "loading"
    READY = "ready"
    UNLOADING = "unloading"
    GONE = "gone"  # unloaded, or failed to load; kept while aspired, so that a failed one is not tried again


@dataclasses.dataclass
class _Version:
    name: str
    version: int
    directory: str
    phase: _Phase = _Phase.NEW
    aspired: bool = True
    servable: Servable | None = None

    def __str__(self) -> str:
        return f"{{name: {self.name} version: {self.version}}}"


def _is_postponed(versions: Mapping[int, _Version], wanted: Mapping[int, str]) -> bool:
    """Whether a request for ``wanted`` has to wait, as a whole (2.3, item 5).

    It does while it asks for a version that is still there and no longer aspired: one that is being unloaded is loaded again only
    once it is gone, and one that goes on serving because its successor failed or is being loaded is left alone.
    """
    return any(number in wanted and not version.aspired for number, version in versions.items())


class Manager:
    """The loaded versions of all models.

    Args:
      loader: loads one version.
      monitor: hears of every change of state.
      retries: how often a load is tried.
      reserve: what is done before a load, likewise tried; raises StatusError.
      initial_load_threads: how many loads may run at once until ``end_initial_load``.
      load_threads: how many afterwards; 0: one, and nothing else happens meanwhile.
    """

    def __init__(
        self,
        loader: Loader,
        monitor: StateMonitor,
        retries: RetryPolicy = RetryPolicy(),
        reserve: Callable[[str, int, str], object] = check_readable,
        initial_load_threads: int = 4,
        load_threads: int = 0,
    ) -> None:
        self._loader = loader
        self._reserve = reserve
        self._monitor = monitor
        self._retries = retries
        self._load_threads = load_threads
        self._lock = threading.Condition()
        self._versions: dict[str, dict[int, _Version]] = {}
        self._requested: dict[str, Mapping[int, str]] = {}  # aspired sets that are not taken over yet
        self._serving: dict[str, dict[int, Servable]] = {}
        self._stopping = threading.Event()
        self._initial_load_ended = False
        self._pool: concurrent.futures.ThreadPoolExecutor | None = concurrent.futures.ThreadPoolExecutor(
            initial_load_threads, "initial-load"
        )
        self._thread = threading.Thread(target=self._work, name="manager", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------------------------------------- from outside

    def aspire(self, name: str, versions: Mapping[int, str]) -> None:
        """Want exactly these versions (version -> directory) of a model."""
        with self._lock:
            self._requested[name] = dict(versions)
            known = self._versions.get(name, {})
            if not _is_postponed(known, versions):
                for number, version in known.items():
                    if version.phase is _Phase.LOADING and number not in versions:
                        version.aspired = False  # at once: the manager's thread may be the one that retries this load
            self._lock.notify_all()

    def forget_ended(self, name: str) -> None:
        """Forget the versions of a model that failed to load: they are tried again when they are wanted again."""
        with self._lock:
            versions = self._versions.get(name, {})
            for number in [number for number, version in versions.items() if version.phase is _Phase.GONE]:
                del versions[number]

    def find(self, name: str, version: int | None = None) -> Servable:
        """The loaded version of a model, or its highest, held for the caller, who must ``release`` it.

        Raises:
          StatusError: NOT_FOUND.
        """
        serving = self._serving.get(name)  # replaced as a whole, never changed: no lock needed
        if serving:
            servable = serving.get(max(serving) if version is None else version)
            if servable is not None and servable.try_hold():
                return servable
        request = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        raise not_found(f"Servable not found for request: {request}")

    def is_available(self, name: str, version: int) -> bool:
        return version in self._serving.get(name, {})

    def end_initial_load(self) -> None:
        """From now on loads run in the ordinary load threads. Waits for the loads that are under way; later calls do nothing."""
        with self._lock:
            if self._initial_load_ended:
                return
            self._initial_load_ended = True
            pool = self._pool
            self._pool = (
                concurrent.futures.ThreadPoolExecutor(self._load_threads, "load") if self._load_threads > 0 else None
            )
        if pool is not None:
            pool.shutdown(wait=True)

    def close(self) -> None:
        """Load nothing more and unload everything, waiting for requests that are under way. Any number of times."""
        log.info("basic_manager.cc", "Unload all remaining servables in the manager.")
        self._stopping.set()
        with self._lock:
            pool, self._pool = self._pool, None
            self._lock.notify_all()
        if pool is not None:
            pool.shutdown(wait=True)
        self._thread.join()
        for versions in list(self._versions.values()):
            for version in list(versions.values()):
                if version.phase is _Phase.READY:
                    self._unload(version)

    # ---------------------------------------------------------------------------------------- the manager's thread

    def _work(self) -> None:
        while not self._stopping.is_set():
            with self._lock:
                self._take_over_requests()
                version = self._next_action()
                if version is None:
                    self._lock.wait()
                    continue
                loads = version.phase is _Phase.NEW
                version.phase = _Phase.LOADING if loads else _Phase.UNLOADING
                pool = self._pool
            if not loads:
                self._unload(version)
            elif pool is None:
                self._load(version)
            else:
                pool.submit(self._load, version)

    def _take_over_requests(self) -> None:
        for name, wanted in list(self._requested.items()):
            versions = self._versions.setdefault(name, {})
            if _is_postponed(versions, wanted):
                continue
            for number, version in list(versions.items()):
                if number not in wanted:
                    version.aspired = False
                    if version.phase in (_Phase.NEW, _Phase.GONE):
                        if version.phase is _Phase.NEW:
                            self._monitor.publish(name, number, State.END)
                        del versions[number]
            for number in wanted.keys() - versions.keys():
                versions[number] = _Version(name, number, wanted[number])
                self._monitor.publish(name, number, State.START)
            del self._requested[name]

    def _next_action(self) -> _Version | None:
        """The version to unload or load next; unloads of any model go before loads."""
        loads = []
        for versions in self._versions.values():
            aspired = [version for version in versions.values() if version.aspired]
            leaving = [v for v in versions.values() if not v.aspired and v.phase is _Phase.READY]
            replaced = not aspired or any(version.phase is _Phase.READY for version in aspired) or len(leaving) > 1
            if leaving and replaced:
                return min(leaving, key=lambda version: version.version)
            new = [version for version in aspired if version.phase is _Phase.NEW]
            if new:
                loads.append(max(new, key=lambda version: version.version))
        return loads[0] if loads else None

    def _load(self, version: _Version) -> None:
        try:
            servable = self._try_to_load(version)
        except StatusError as error:
            log.info("loader_harness.cc", f"Encountered an error for servable version {version}: {error}")
            log.error("aspired_versions_manager.cc", f"Servable {version} cannot be loaded: {error}")
            self._end(version, error)
            return
        with self._lock:
            version.servable = servable
            self._prefer_what_serves(version)
            cancelled = not version.aspired
            if not cancelled:
                self._serve(version.name, {**self._serving.get(version.name, {}), version.version: servable})
                version.phase = _Phase.READY
        if cancelled:
            servable.unload()
            self._end(version, StatusError(Code.CANCELLED, "Loading of servable cancelled"))
            return
        log.info("loader_harness.cc", f"Successfully loaded servable version {version}")
        self._monitor.publish(version.name, version.version, State.AVAILABLE)
        self._wake()

    def _prefer_what_serves(self, loaded: _Version) -> None:
        """Give up a version that has just been loaded where other versions are wanted by now, and these serve already."""
        wanted = self._requested.get(loaded.name, {})
        serving = [v for v in self._versions[loaded.name].values() if v.phase is _Phase.READY and v.version in wanted]
        if serving and loaded.version not in wanted:
            loaded.aspired = False
            for version in serving:
                version.aspired = True

    def _try_to_load(self, version: _Version) -> Servable:
        def reserve() -> None:
            self._reserve(version.name, version.version, version.directory)

        def load() -> Servable:
            return self._loader(version.name, version.version, version.directory)

        self._retried(f"Reserving resources for servable: {version}", version, reserve)
        log.info("basic_manager.cc", f"Successfully reserved resources to load servable {version}")
        log.info("loader_harness.cc", f"Approving load for servable version {version}")
        self._monitor.publish(version.name, version.version, State.LOADING)
        log.info("loader_harness.cc", f"Loading servable version {version}")
        return self._retried(f"Loading servable: {version}", version, load)

    def _retried(self, what: str, version: _Version, step: Callable[[], T]) -> T:
        """The result of ``step``, tried as often as the policy says and the version is wanted; raises its last error."""
        for attempt in range(self._retries.max_retries + 1):
            if attempt:
                if self._retries.interval_seconds > 0:
                    self._stopping.wait(self._retries.interval_seconds)
                if not version.aspired or self._stopping.is_set():
                    log.info("retrier.cc", f"Retrying of {what} was cancelled.")
                    break
                log.info("retrier.cc", f"Retrying of {what} retry: {attempt}")
            try:
                result = step()
            except StatusError as error:
                log.error("retrier.cc", f"{what} failed: {error}")
                failure = error
            else:
                if attempt == self._retries.max_retries:
                    log.info("retrier.cc", f"Retrying of {what} exhausted max_num_retries: {self._retries.max_retries}")
                return result
        else:
            log.info("retrier.cc", f"Retrying of {what} exhausted max_num_retries: {self._retries.max_retries}")
        raise failure

    def _unload(self, version: _Version) -> None:
        assert version.servable is not None, "only what was loaded is unloaded"
        with self._lock:
            version.phase = _Phase.UNLOADING
            left = {v: s for v, s in self._serving.get(version.name, {}).items() if v != version.version}
            self._serve(version.name, left)
        self._monitor.publish(version.name, version.version, State.UNLOADING)
        log.info("loader_harness.cc", f"Quiescing servable version {version}")
        version.servable.unload()
        log.info("loader_harness.cc", f"Done quiescing servable version {version}")
        log.info("loader_harness.cc", f"Unloading just-loaded servable version {version}")
        log.info("loader_harness.cc", f"Done unloading servable version {version}")
        version.servable = None
        self._end(version, None)

    def _serve(self, name: str, servables: dict[int, Servable]) -> None:
        if servables:
            self._serving[name] = servables
        else:
            self._serving.pop(name, None)

    def _end(self, version: _Version, error: StatusError | None) -> None:
        with self._lock:
            version.phase = _Phase.GONE
            if not version.aspired:
                self._versions[version.name].pop(version.version, None)
            self._lock.notify_all()
        self._monitor.publish(version.name, version.version, State.END, error)

    def _wake(self) -> None:
        with self._lock:
            self._lock.notify_all()
