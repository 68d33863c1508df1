"""A fake Kubernetes cluster of one node: a strict API server on the loopback interface whose pods are local processes.

Tests set its fields (images, secrets, claims, quotas, rights ...) and switch its faults on; clients reach it by HTTP only::

    with FakeCluster(images={"tensorflow/serving:2.19.0": Image(...)}) as cluster:
        spec = {..., "kubernetes": {"kubeconfig": cluster.kubeconfig(tmp_path)}}
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import itertools
import pathlib
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

from component_tests.fakes.kubernetes_api.kubelet import Image, Latencies, PodProcess, timestamp
from component_tests.fakes.kubernetes_api.store import Json, Store

ADMIN_TOKEN = "admin-token"
_EVENTS = itertools.count(1)


@dataclasses.dataclass
class Claim:
    """A PersistentVolumeClaim that is bound to a local directory."""

    directory: str
    access_modes: tuple[str, ...] = ("ReadWriteMany",)


@dataclasses.dataclass
class Account:
    """Somebody who may call.

    Attributes:
      name: as messages call it.
      rules: RBAC rules (apiGroups, resources, verbs), in every namespace; None means everything.
      expired: whether the token is refused.
    """

    name: str
    rules: list[Json] | None = None
    expired: bool = False


@dataclasses.dataclass
class Fault:
    """Something that goes wrong ``times`` times for requests that match.

    Attributes:
      method, path: regular expressions for the whole method and a part of path and query.
      status: answered instead of carrying the request out; 0 breaks the connection without an answer.
      after: whether the request is carried out before the answer is replaced (a reply that was lost).
      body: the whole answer, for what is no Status object.
      headers: of the answer.
      hang: seconds to say nothing for.
    """

    method: str
    path: str
    status: int = 500
    times: int = 1
    message: str = "etcdserver: leader changed"
    reason: str = "InternalError"
    after: bool = False
    body: bytes = b""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    hang: float = 0.0

    def takes(self, method: str, path: str) -> bool:
        """Whether this request goes wrong; counts it."""
        if self.times > 0 and re.fullmatch(self.method, method) and re.search(self.path, path):
            self.times -= 1
            return True
        return False


class Refused(Exception):
    """The API server's refusal of a request, as a Status object."""

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}


class FakeCluster:
    """The cluster. A context manager; at its end every process is gone.

    Attributes:
      minor: the minor version of the API server, 28 to 36.
      image_volumes: whether the feature gate ImageVolume is on; by default from 1.35.
      pod_security: namespace -> level that is enforced ("restricted").
      quotas: namespace -> how many pods it may hold.
      probe_seconds: how often liveness probes are made, whatever the pod says.
      compute_quotas: namespace -> the compute resources (``limits.cpu``) that a quota counts there.
      webhooks: called with each new pod, in order; may change it, or raise Refused.
      unschedulable: the scheduler's words; empty: there is room.
      faults: what goes wrong.
      api_latency: seconds before each answer.
      bookmark_seconds: how often a watch gets a bookmark.
      break_watch_after: the next watches break after this many events; one number is used up by each.
      skew: how far the cluster's clock is ahead, in seconds.
      requests: (method, path with query) of every request, in order.
      watched_bytes: how many bytes watches have sent.
    """

    def __init__(
        self,
        *,
        images: Mapping[str, Image] | None = None,
        minor: int = 36,
        tls: bool = False,
        namespaces: tuple[str, ...] = ("default",),
    ) -> None:
        from component_tests.fakes.kubernetes_api.server import ApiServer

        self.minor = minor
        self.image_volumes = minor >= 35
        self.images = dict(images or {})
        self.store = Store()
        self.node = "node-1"
        self.node_labels: dict[str, str] = {}
        self.node_is_silent = False
        self.namespaces: dict[str, str] = dict.fromkeys(namespaces, "Active")
        self.roles: dict[tuple[str, str], list[Json]] = {}
        self._accounts_by_name: dict[tuple[str, str], Account] = {}
        self.service_accounts: set[tuple[str, str]] = set()
        self.accounts: dict[str, Account] = {ADMIN_TOKEN: Account("kubernetes-admin")}
        self.secrets: dict[tuple[str, str], dict[str, str]] = {}
        self.claims: dict[tuple[str, str], Claim] = {}
        self.pod_security: dict[str, str] = {}
        self.quotas: dict[str, int] = {}
        self.probe_seconds = 0.1
        self.compute_quotas: dict[str, tuple[str, ...]] = {}
        self.webhooks: list[Callable[[Json], None]] = []
        self.unschedulable = ""
        self.faults: list[Fault] = []
        self.latencies = Latencies()
        self.api_latency = 0.0
        self.bookmark_seconds = 30.0
        self.break_watch_after: list[int] = []
        self.rules_review_incomplete = False
        self.skew = 0.0
        self.requests: list[tuple[str, str]] = []
        self.watched_bytes = 0
        self._pods: dict[str, PodProcess] = {}
        self._lock = threading.Lock()
        self.closing = threading.Event()
        self._server = ApiServer(self, tls=tls)

    # ---------------------------------------------------------------- using it

    def __enter__(self) -> FakeCluster:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        for pod in list(self._pods.values()):
            pod.deletion = pod.deletion or (time.monotonic(), 0)
        for pod in list(self._pods.values()):
            pod.join(10.0)
        self._server.stop()

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def ca_file(self) -> str:
        return self._server.ca_file

    def kubeconfig(
        self,
        directory: pathlib.Path,
        *,
        token: str = ADMIN_TOKEN,
        namespace: str = "",
        name: str = "config",
        **user: Any,
    ) -> str:
        """Write a kubeconfig and return its path. ``user`` replaces the token (``exec=...``)."""
        cluster: Json = {"server": self.url}
        if self.ca_file:
            cluster["certificate-authority"] = self.ca_file
        context = {"cluster": "fake", "user": "me", **({"namespace": namespace} if namespace else {})}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": cluster}],
            "contexts": [{"name": "fake", "context": context}],
            "users": [{"name": "me", "user": user or {"token": token}}],
        }
        path = directory / name
        path.write_text(yaml.safe_dump(config))
        return str(path)

    def pods(self, namespace: str = "") -> list[Json]:
        return self.store.all("pods", namespace)

    def wait_for(self, question: Callable[[], Any], seconds: float = 20.0) -> Any:
        """Ask after every change until the answer is true; AssertionError if it never is."""
        limit = time.monotonic() + seconds
        while True:
            version = self.store.version
            answer = question()
            if answer:
                return answer
            assert time.monotonic() < limit, "it did not come to be in time"
            self.store.wait(version, 0.05)

    def process_of(self, name: str) -> PodProcess:
        """The node's side of a pod."""
        return self._pods[self._uid(name)]

    def _uid(self, name: str) -> str:
        return str(next(pod["metadata"]["uid"] for pod in self.pods() if pod["metadata"]["name"] == name))

    # ---------------------------------------------------------------- what befalls the API server

    def cut(self) -> None:
        """Cut every connection that there is now: calls, watches, port-forwards."""
        self._server.cut()

    @contextlib.contextmanager
    def away(self, fault: Fault) -> Iterator[None]:
        """Meanwhile whatever is called goes wrong as ``fault`` says; what was connected is cut, as when an API server restarts."""
        self.faults.append(fault)
        self.cut()
        try:
            yield
        finally:
            self.faults.remove(fault)

    # ---------------------------------------------------------------- what befalls pods

    def evict(self, name: str, reason: str = "Evicted", message: str = "The node was low on resource: memory.") -> None:
        """The node ends the pod (also: Preempting, NodeShutdown, NodeLost, Terminated ...)."""
        self.process_of(name).platform_end = (reason, message)

    def disrupt(self, name: str, reason: str = "DeletionByTaintManager") -> None:
        """The control plane marks the pod as a target of disruption and deletes it."""
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": reason,
            "message": "Taint manager: deleting",
        }
        namespace = self.process_of(name).namespace
        self.store.update("pods", namespace, name, lambda pod: pod["status"]["conditions"].append(condition))
        self.delete(namespace, name, grace=0)

    def kill_container(self, name: str, container: str, number: int, reason: str = "") -> None:
        """A signal for a container's process; ``reason`` as the kernel would have it (OOMKilled)."""
        pod = self.process_of(name)
        if reason:
            pod.end_reasons[container] = reason
        process = pod.containers[container].process
        assert process is not None
        process.send_signal(number)

    def lose_node(self, name: str) -> None:
        """The node is lost with its containers."""
        pod = self.process_of(name)
        for container in pod.spec["containers"]:
            pod.end_reasons[container["name"]] = "ContainerStatusUnknown"
            process = pod.containers[container["name"]].process
            assert process is not None
            process.kill()

    def annotate(self, namespace: str, name: str, patch: Json) -> Json:
        """A merge patch of annotations, which the node writes into the pod's files. Raises Refused for any other patch."""
        if set(patch) != {"metadata"} or set(patch["metadata"]) != {"annotations"}:
            raise Refused(501, "NotImplemented", "this cluster only patches annotations")

        def change(pod: Json) -> None:
            kept = {**(pod["metadata"].get("annotations") or {}), **patch["metadata"]["annotations"]}
            pod["metadata"]["annotations"] = {key: value for key, value in kept.items() if value is not None}

        patched = self.store.update("pods", namespace, name, change)
        assert patched is not None
        running = self._pods.get(patched["metadata"]["uid"])
        if running is not None:
            running.annotations = patched["metadata"]["annotations"]
            running.write_annotations()
        return patched

    def silence_node(self) -> None:
        """The node is cut off: nothing is heard of its pods any more, and after a while the cluster says so of the node only."""
        self.node_is_silent = True

    def node_object(self) -> Json:
        """The node as the API has it."""
        ready: Json = {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "message": "kubelet is posting ready status",
        }
        if self.node_is_silent:
            ready = {
                "type": "Ready",
                "status": "Unknown",
                "reason": "NodeStatusUnknown",
                "message": "Kubelet stopped posting node status.",
            }
        return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.node}, "status": {"conditions": [ready]}}

    def delete(self, namespace: str, name: str, *, uid: str = "", grace: int | None = None) -> Json:
        """What DELETE does. Raises Refused."""
        pod = self.store.get("pods", namespace, name)
        if pod is None:
            raise Refused(404, "NotFound", f'pods "{name}" not found', {"name": name, "kind": "pods"})
        if uid and pod["metadata"]["uid"] != uid:
            words = f"the UID in the precondition ({uid}) does not match the UID in record ({pod['metadata']['uid']})"
            raise Refused(
                409, "Conflict", f'Operation cannot be fulfilled on pods "{name}": Precondition failed: {words}'
            )
        seconds = pod["spec"].get("terminationGracePeriodSeconds", 30) if grace is None else grace

        def mark(thing: Json) -> None:
            thing["metadata"]["deletionTimestamp"] = timestamp(self.skew + seconds)
            thing["metadata"]["deletionGracePeriodSeconds"] = seconds

        marked = self.store.update("pods", namespace, name, mark) or pod
        running = self._pods.get(pod["metadata"]["uid"])
        if running is None:
            self.store.delete("pods", namespace, name)
        else:
            running.deletion = (time.monotonic(), seconds)
        self._collect_dependants(pod["metadata"]["uid"])
        return marked

    def _collect_dependants(self, uid: str) -> None:
        """The garbage collector: what is owned by a deleted object goes with it."""
        for pod in self.pods():
            owners = pod["metadata"].get("ownerReferences") or ()
            if owners and all(owner["uid"] == uid for owner in owners):
                self.delete(pod["metadata"]["namespace"], pod["metadata"]["name"])

    # ---------------------------------------------------------------- for the server and the node

    def start_pod(self, pod: Json) -> None:
        """Hand a created pod to the node."""
        process = PodProcess(self, copy.deepcopy(pod), _free_address())
        with self._lock:
            self._pods[pod["metadata"]["uid"]] = process
        process.start()

    def add_pod_object(self, pod: Json) -> Json:
        """A pod that only exists as an object (our own one, say, or a neighbour)."""
        return self.store.create("pods", pod)

    def pod_is_gone(self, process: PodProcess) -> None:
        with self._lock:
            self._pods.pop(process.uid, None)

    def account_of(self, namespace: str, name: str) -> Account:
        """A service account as a caller; without rights until a Role is bound to it."""
        made = Account(f"system:serviceaccount:{namespace}:{name}", [])
        return self._accounts_by_name.setdefault((namespace, name), made)

    def why_not_scheduled(self, spec: Json) -> str:
        """The scheduler's words; empty if the pod fits."""
        terms = (
            ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
                "requiredDuringSchedulingIgnoredDuringExecution"
            )
            or {}
        ).get("nodeSelectorTerms") or ()
        named = [value for term in terms for field in term.get("matchFields") or () for value in field["values"]]
        if named and self.node not in named:
            return "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
        if not (spec.get("nodeSelector") or {}).items() <= self.node_labels.items():
            return "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
        return self.unschedulable

    def record_event(self, namespace: str, pod: str, uid: str, reason: str, message: str, type_: str) -> None:
        """An event about a pod."""
        number = next(_EVENTS)
        self.store.create(
            "events",
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": f"{pod}.{number:x}", "namespace": namespace},
                "involvedObject": {"kind": "Pod", "namespace": namespace, "name": pod, "uid": uid},
                "reason": reason,
                "message": message,
                "type": type_,
            },
        )


def _free_address() -> str:
    """An address of this machine's own that no other pod has, also not one of another test run."""
    numbers = random.SystemRandom()
    return f"127.{numbers.randint(64, 254)}.{numbers.randint(1, 254)}.{numbers.randint(1, 254)}"
