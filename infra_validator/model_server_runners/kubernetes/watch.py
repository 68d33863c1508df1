"""Follows one pod: a watch that survives what watches do not, and, once the pod is slow to start, the events about it.

The pod is not polled: the API server tells. A watch ends after some minutes, breaks, or is told that its resource version is too old (410
Gone); it goes on from the last version seen, or from a fresh list. Selectors keep the rest of the namespace away.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from infra_validator.core.deadline import SYSTEM_CLOCK, Clock, Deadline, News, wait_until
from infra_validator.core.errors import DeadlineExceeded, InfrastructureError, naming_exhaustion
from infra_validator.core.states import Life, Observation
from infra_validator.model_server_runners.base_runner import failure_of
from infra_validator.model_server_runners.kubernetes.api.errors import ApiError, ApiUnreachable, meaning_of
from infra_validator.model_server_runners.kubernetes.causes import Judge, why_not_ready

_LOG = logging.getLogger(__name__)

_WATCH_SECONDS = 300  # then the server ends the watch, and a new one goes on where it ended
_SILENCE_SECONDS = 90.0  # bookmarks come about once a minute
_LIST_SECONDS = 30.0
_LONGEST_PAUSE = 2.0
_EVENTS_AFTER_SECONDS = 1.0  # a pod that runs by then needs no explanation
NODE_SECONDS = (
    20.0  # how often the node of a pod that does not start is looked at; a cluster misses a node after 40 s or more
)


class Stream(Protocol):
    """A stream of objects, as api.stream.JsonStream is."""

    bytes_read: int

    def __iter__(self) -> Iterator[dict[str, Any]]: ...

    def break_off(self) -> None: ...


class WatchingApi(Protocol):
    """What is needed of api.client.KubernetesApi."""

    def call(
        self, method: str, path: str, deadline: Deadline, what: str, *, query: Mapping[str, str] | None = None
    ) -> dict[str, Any]: ...

    def stream(
        self, path: str, query: Mapping[str, str], what: str, silence_seconds: float
    ) -> contextlib.AbstractContextManager[Stream]: ...


class PodWatcher:
    """Follows one pod in threads of its own, from ``start`` to ``close``.

    Args:
      api: the API server.
      pod: the pod as its creation was answered.
      judge: says what a pod's status means.
      news: announced whenever ``observe`` may answer otherwise.
      on_pod: called with every state of the pod, in the watching thread.
      clock: where time is read.
      node_seconds: how often the node is looked at until the pod runs.

    Attributes:
      pod: the last state seen.
      events: the events about it, in the order they came.
      bytes_read: how much the watch has read.
    """

    def __init__(
        self,
        api: WatchingApi,
        pod: Mapping[str, Any],
        judge: Judge,
        news: News,
        on_pod: Callable[[Mapping[str, Any]], None],
        clock: Clock = SYSTEM_CLOCK,
        node_seconds: float = NODE_SECONDS,
    ) -> None:
        self.pod: Mapping[str, Any] = pod
        self._node_seconds = node_seconds
        self.events: list[Mapping[str, Any]] = []
        self.bytes_read = 0
        metadata = pod["metadata"]
        self._api = api
        self._judge = judge
        self._news = news
        self._on_pod = on_pod
        self._clock = clock
        self._name = str(metadata["name"])
        self._uid = str(metadata["uid"])
        self._namespace = str(metadata["namespace"])
        self._version = str(metadata["resourceVersion"])
        self._lock = threading.Lock()
        self._final: Observation | None = None
        self._closed = threading.Event()
        self._started_running = threading.Event()
        self._streams: list[Stream] = []
        self._threads = [
            threading.Thread(target=self._follow_pod, name=f"watch {self._name}", daemon=True),
            threading.Thread(target=self._follow_events, name=f"events of {self._name}", daemon=True),
            threading.Thread(target=self._look_at_node, name=f"node of {self._name}", daemon=True),
        ]

    def start(self) -> None:
        """Begin to follow."""
        for thread in self._threads:
            thread.start()

    def observe(self) -> Observation:
        """What is known of the pod now. Judged anew each time, since a grace may have ended meanwhile."""
        with self._lock:
            if self._final is None:
                seen = self._judge.judge(self.pod, self.events)
                if seen.life is not Life.GONE:
                    return seen
                self._final = seen
            return self._final

    def end(self, seen: Observation) -> None:
        """Somebody else knows how it ended (an upload that failed)."""
        with self._lock:
            self._final = self._final or seen
        self._news.announce()

    def lives(self) -> bool:
        """Whether the pod is not gone, as far as is known."""
        return self.observe().life is not Life.GONE

    def wait_for_address(self, deadline: Deadline) -> None:
        """The node may tell of a running container a moment before it tells the pod's address; it need not."""

        def told() -> bool | None:
            gone = self.observe().life is not Life.RUNNING
            return True if gone or (self.pod.get("status") or {}).get("podIP") else None

        with contextlib.suppress(DeadlineExceeded):
            wait_until(told, deadline, news=self._news)

    def look_again(self) -> None:
        """Ask for the pod once more: its end may be known to the API server and not yet to the watch.

        Raises:
          ApiError, ApiUnreachable: it cannot be asked.
        """
        self._take_listed(self._listed())

    def explain_silence(self) -> None:
        """See BaseModelServerRunner.ExplainSilence."""
        try:
            self.look_again()
        except (ApiError, ApiUnreachable) as error:
            raise meaning_of(error) from error
        seen = self.observe()
        if seen.life is Life.GONE:
            raise failure_of(seen)

    def close(self) -> None:
        """Stop following. May be called twice."""
        self._closed.set()
        self._started_running.set()
        for stream in list(self._streams):
            stream.break_off()
        for thread in self._threads:
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(2.0)

    # ---------------------------------------------------------------- the pod

    @property
    def _pods(self) -> str:
        return f"/api/v1/namespaces/{self._namespace}/pods"

    def _follow_pod(self) -> None:
        pause = 0.0
        while not self._closed.wait(pause):
            try:
                with naming_exhaustion():
                    self._watch_pod()
                pause = 0.0
            except (ApiError, ApiUnreachable) as error:
                if isinstance(error, ApiError) and error.status in (401, 403):
                    refusal = meaning_of(error)
                    return self.end(Observation.gone(refusal.reason, refusal.detail))
                _LOG.debug("The watch of pod %s: %s", self._name, error)
                if isinstance(error, ApiError) and error.status == 410:
                    self._version = ""
                pause = min(max(0.05, pause * 2), _LONGEST_PAUSE)
            except InfrastructureError as error:
                return self.end(Observation.gone(error.reason, error.detail))
            if self._final is not None:
                return None
        return None

    def _watch_pod(self) -> None:
        """One watch, from the last version seen to its end; returns when the server ends it."""
        if not self._version:
            self._list_pod()
        query = {
            "watch": "true",
            "fieldSelector": f"metadata.name={self._name}",
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        with self._opened(self._pods, query, f"watch pod {self._namespace}/{self._name}") as stream:
            for event in stream:
                self.bytes_read = stream.bytes_read
                self._take(event)
                if self._closed.is_set() or self._final is not None:
                    return

    def _list_pod(self) -> None:
        """What happened while nobody watched."""
        listed = self._listed()
        self._version = str(listed["metadata"]["resourceVersion"])
        self._take_listed(listed)

    def _listed(self) -> dict[str, Any]:
        query = {"fieldSelector": f"metadata.name={self._name}"}
        deadline = Deadline.after(_LIST_SECONDS, self._clock)
        return self._api.call("GET", self._pods, deadline, f"list pods in {self._namespace}", query=query)

    def _take_listed(self, listed: Mapping[str, Any]) -> None:
        mine = [pod for pod in listed.get("items") or () if pod["metadata"]["uid"] == self._uid]
        if mine:
            self._see(mine[0])
        else:
            self._deleted()

    def _take(self, event: Mapping[str, Any]) -> None:
        kind, thing = event.get("type"), event.get("object") or {}
        if kind == "ERROR":
            words = str(thing.get("message") or thing)
            raise ApiError(int(thing.get("code") or 500), str(thing.get("reason") or ""), words, "watch")
        metadata = thing.get("metadata") or {}
        self._version = str(metadata.get("resourceVersion") or self._version)
        if kind == "BOOKMARK":
            return
        if metadata.get("uid") != self._uid:
            return  # another pod of the same name: ours is gone, and its own event says so
        if kind == "DELETED":
            self._see(thing)
            self._deleted()
        else:
            self._see(thing)

    def _see(self, pod: Mapping[str, Any]) -> None:
        with self._lock:
            self.pod = pod
            if self._final is None:
                seen = self._judge.judge(pod, self.events)
                if seen.life is Life.GONE:
                    self._final = seen
                if seen.life is not Life.PENDING:
                    self._started_running.set()
        self._on_pod(pod)
        self._news.announce()

    def _deleted(self) -> None:
        self.end(self._judge.aborted(f"The pod {self._namespace}/{self._name} was deleted by somebody else."))

    # ---------------------------------------------------------------- its events

    def _follow_events(self) -> None:
        """Events are only asked for once the pod is slow to start; that they cannot be had is no reason to fail."""
        if self._started_running.wait(_EVENTS_AFTER_SECONDS):
            return
        query = {
            "watch": "true",
            "fieldSelector": f"involvedObject.uid={self._uid}",
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        what = f"watch events in {self._namespace}"
        while not self._started_running.is_set():
            try:
                with self._opened(f"/api/v1/namespaces/{self._namespace}/events", query, what) as stream:
                    for event in stream:
                        if event.get("type") in ("ADDED", "MODIFIED"):
                            self.events.append(event["object"])
                            self._news.announce()
                        if self._started_running.is_set():
                            return
            except ApiUnreachable as error:
                _LOG.debug("The events of pod %s: %s", self._name, error)
            except (ApiError, InfrastructureError) as error:
                _LOG.info("The events of pod %s cannot be read: %s", self._name, error)
                return
            self._started_running.wait(_LONGEST_PAUSE)

    # ---------------------------------------------------------------- its node

    def _look_at_node(self) -> None:
        """A node that is lost while the pod starts says nothing in the pod until the cluster gives the pod up after minutes.

        The right to get nodes is a cluster's; without it this is no reason to fail.
        """
        while not self._started_running.wait(self._node_seconds) and self._final is None:
            name = str((self.pod.get("spec") or {}).get("nodeName") or "")
            if not name:
                continue
            deadline = Deadline.after(self._node_seconds, self._clock)
            try:
                node = self._api.call("GET", f"/api/v1/nodes/{name}", deadline, f"get node {name}")
            except ApiUnreachable as error:
                _LOG.debug("The node of pod %s: %s", self._name, error)
                continue
            except (ApiError, InfrastructureError) as error:
                _LOG.info("The node of pod %s cannot be looked at: %s", self._name, error)
                return
            problem = why_not_ready(node)
            if problem:
                self.end(self._judge.aborted(problem))
                return

    @contextlib.contextmanager
    def _opened(self, path: str, query: Mapping[str, str], what: str) -> Iterator[Stream]:
        with self._api.stream(path, query, what, _SILENCE_SECONDS) as stream:
            self._streams.append(stream)
            try:
                if not self._closed.is_set():
                    yield stream
                else:
                    yield _NOTHING
            finally:
                self._streams.remove(stream)


class _Nothing:
    bytes_read = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(())

    def break_off(self) -> None:
        pass


_NOTHING = _Nothing()
