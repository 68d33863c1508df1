"""Runs a model server as a pod of a Kubernetes cluster, from inside the cluster or from anywhere with a kubeconfig.

Prepare creates the pod, since scheduling, pulling the image and getting the model to it are the pod's own business and have a limit of
their own (``start_timeout_seconds``); it returns when the server's process runs. Start called alone creates the pod and returns at once.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections.abc import Mapping
from typing import Any

from infra_validator.core.deadline import SYSTEM_CLOCK, Deadline, wait_until
from infra_validator.core.errors import DeadlineExceeded, InfrastructureError, InfraValidatorError
from infra_validator.core.launch_plan import LaunchPlanner
from infra_validator.core.reason_codes import Blames, ReasonCode
from infra_validator.core.states import JobState, Life, MemoryReading, Observation
from infra_validator.model_server_runners.base_runner import BaseModelServerRunner, failure_of
from infra_validator.model_server_runners.cleanup.watchdog import Watchdog
from infra_validator.model_server_runners.kubernetes.api import client as kubernetes_api
from infra_validator.model_server_runners.kubernetes.api.errors import (
    RETRIED,
    ApiError,
    ApiUnreachable,
    meaning_for_stream,
    meaning_of,
)
from infra_validator.model_server_runners.kubernetes.api.stream import WebSocket
from infra_validator.model_server_runners.kubernetes.causes import SERVER_CONTAINER, UPLOAD_CONTAINER, Judge, is_running
from infra_validator.model_server_runners.kubernetes.connection.backoff import Backoff
from infra_validator.model_server_runners.kubernetes.connection.endpoint import choose_endpoint, port_of, rest_address
from infra_validator.model_server_runners.kubernetes.connection.pod_memory import PodMemory
from infra_validator.model_server_runners.kubernetes.connection.port_forward import PROTOCOLS, PortForward, Problem
from infra_validator.model_server_runners.kubernetes.connection.upload import upload
from infra_validator.model_server_runners.kubernetes.heartbeat import EVERY_SECONDS, GIVEN_UP_SECONDS, Heartbeat
from infra_validator.model_server_runners.kubernetes.identity import (
    Surroundings,
    choose_namespace,
    claim_of_path,
    owner_reference,
    service_account_namespace,
    who_for_people,
)
from infra_validator.model_server_runners.kubernetes.leftovers import (
    GOES_ON_SECONDS,
    close_watchdog,
    delete_pod,
    pod_path,
    undo_command,
)
from infra_validator.model_server_runners.kubernetes.log_follower import LogFollower
from infra_validator.model_server_runners.kubernetes.logs import read_logs
from infra_validator.model_server_runners.kubernetes.pod.liveness import ANNOTATION
from infra_validator.model_server_runners.kubernetes.pod.manifest import (
    LABEL_RUN,
    PodContext,
    active_deadline_seconds,
    build_pod,
    check_created,
)
from infra_validator.model_server_runners.kubernetes.pod.model_source import (
    RECEIVING_DIRECTORY,
    UPLOAD_MARKER,
    Delivery,
    choose,
    make_delivery,
)
from infra_validator.model_server_runners.kubernetes.preflight import (
    check_rights,
    find_own_pod,
    may_renew_heartbeat,
    node_for_claim,
)
from infra_validator.model_server_runners.kubernetes.rights import may_forward, rights_for, role_yaml
from infra_validator.model_server_runners.kubernetes.watch import NODE_SECONDS, PodWatcher
from infra_validator.saved_model.archive import Archive, list_files
from infra_validator.specs import KubernetesConfig, ServingSpec
from infra_validator.specs.local_process import parse_size

_USUAL_TOTAL_SECONDS = 7200.0  # ValidationSpec's total_time_seconds; where nobody called Prepare
_SPARE_SECONDS = 600  # for clocks that disagree; only for the label that gc reads
_LOG_SECONDS = 10.0
_PREFLIGHT_SECONDS = 60.0
_ADDRESS_SECONDS = 5.0


class KubernetesRunner(BaseModelServerRunner):
    """A model server as a pod.

    Attributes:
      surroundings: what this process sees of the place it runs in.
      namespace, pod_name: the pod; empty before it is created.
      api: the API server; None before Prepare.
      node_seconds: how often the node of a pod that does not start is looked at.
      heartbeat_limits: ``every_seconds`` and ``given_up_seconds`` of the heartbeat.
    """

    platform = "kubernetes"

    def __init__(self, model_path: str, serving_binary: LaunchPlanner, serving_spec: ServingSpec) -> None:
        super().__init__(model_path, serving_binary, serving_spec)
        self.config = serving_spec.kubernetes or KubernetesConfig()
        self.surroundings = Surroundings.here()
        self.namespace = ""
        self.pod_name = ""
        self.node_seconds = NODE_SECONDS
        self.heartbeat_limits = (EVERY_SECONDS, GIVEN_UP_SECONDS)
        self.api: kubernetes_api.KubernetesApi | None = None
        self._run_id = os.urandom(8).hex()
        self._delivery: Delivery | None = None
        self._archive: Archive | None = None
        self._uploading: threading.Thread | None = None
        self._watcher: PodWatcher | None = None
        self._forward: PortForward | None = None
        self._log_follower: LogFollower | None = None
        self._memory: PodMemory | None = None
        self._endpoint = ""

    # ---------------------------------------------------------------- what the base class calls

    def _prepare(self, deadline: Deadline) -> None:
        waits = self.state is JobState.INITIAL
        total = deadline.remaining() if waits and deadline.remaining() < math.inf else _USUAL_TOTAL_SECONDS
        try:
            self._create(total, deadline.capped(_PREFLIGHT_SECONDS))
        except (ApiError, ApiUnreachable) as error:
            raise meaning_of(error, role_yaml(self.config, self.namespace)) from error
        if waits:
            self._wait_until_it_ran(deadline.capped(self.config.start_timeout_seconds))

    def _launch(self) -> None:
        """The pod was created by Prepare."""

    def _look(self) -> Observation:
        watcher = self._watcher
        return watcher.observe() if watcher is not None else Observation.pending("the pod is being created")

    def _find_endpoint(self) -> str:
        if not self._endpoint:
            assert self._watcher is not None
            if self.config.endpoint != "port_forward":
                self._watcher.wait_for_address(Deadline.after(_ADDRESS_SECONDS))
            chosen = choose_endpoint(self.config.endpoint, self._watcher.pod, self.plan, self._in_cluster)
            if chosen.forwards:
                self._forward = self._open_forward(chosen.port)
                self._endpoint = self._forward.endpoint
                self.detour = "a port-forward through the API server"
            else:
                self._endpoint = chosen.address
            self.on_progress(f"Kubernetes: {chosen.says}")
        return self._endpoint

    def _find_rest_endpoint(self) -> str:
        assert self._watcher is not None
        self._find_endpoint()
        if self._forward is None:
            return rest_address(self._watcher.pod, self.plan)
        port = port_of(self._watcher.pod, self.plan, "rest")
        return self._open_forward(port, holds=False).endpoint if port else ""  # it opens with the gRPC port, or never

    def ExplainSilence(self) -> None:
        if self._watcher is not None:
            self._watcher.explain_silence()

    def _read_memory(self, deadline: Deadline) -> MemoryReading:
        assert self.api is not None
        self._memory = self._memory or PodMemory(self.api, self._pod_path)
        return self._memory.read(deadline)

    def _tail_logs(self) -> str:
        if self.api is None or self._watcher is None:
            return ""
        runs, follower = self._look().life is Life.RUNNING, self._log_follower
        if runs and follower is not None and follower.follows and follower.spoke_at is not None:
            return follower.tail
        events = [] if runs else self._watcher.events
        return read_logs(self.api, self._watcher.pod, events, Deadline.after(_LOG_SECONDS))

    # ---------------------------------------------------------------- creating the pod

    @property
    def _pod_path(self) -> str:
        return pod_path(self.namespace, self.pod_name)

    @property
    def _in_cluster(self) -> bool:
        return self.api is not None and self.api.in_cluster

    def _create(self, total_seconds: float, deadline: Deadline) -> None:
        api = self.api = kubernetes_api.connect(self.config, self.surroundings, deadline)
        api.interruption = self.interruption
        self.register_cleanup("close the connections to the API server", lambda _: api.close())
        here = service_account_namespace(self.surroundings.service_account_directory) if api.in_cluster else ""
        namespace = choose_namespace(self.config.namespace, api.context_namespace, here)
        self.namespace = namespace.value
        self.on_progress(f"Kubernetes: {api.says}; namespace {namespace.value} ({namespace.says}).")
        own_pod = find_own_pod(api, self.surroundings, deadline) if api.in_cluster else None
        delivery, node = self._choose_delivery(api, own_pod, deadline)
        rights = rights_for(uploads=delivery.uploads, forwards=may_forward(self.config) and not api.in_cluster)
        check_rights(api, self.config, self.namespace, rights, deadline)
        heartbeat = api.in_cluster and may_renew_heartbeat(api, self.namespace, deadline)
        context = self._context(own_pod, node, total_seconds, heartbeat)
        pod = build_pod(self.plan, self.config, delivery, context)
        self._register_deletion(api, context)
        created = self._post(api, pod, deadline)
        self._uid = str(created["metadata"]["uid"])
        judge = Judge(self.config, SYSTEM_CLOCK.monotonic)
        self._watcher = watcher = PodWatcher(
            api, created, judge, self.news, self._on_pod, node_seconds=self.node_seconds
        )
        self.register_cleanup("stop watching the pod", lambda _: watcher.close())
        watcher.start()
        check_created(pod, created)
        if ANNOTATION in pod["metadata"]["annotations"]:
            beat = Heartbeat(
                api, self._pod_path, lambda words: watcher.end(judge.aborted(words)), *self.heartbeat_limits
            )
            self.register_cleanup("end the heartbeat", lambda _: beat.close())
            beat.start()

    def _choose_delivery(
        self, api: kubernetes_api.KubernetesApi, own_pod: Mapping[str, Any] | None, deadline: Deadline
    ) -> tuple[Delivery, str]:
        model = self.plan.model
        own_claim = None
        if own_pod is not None and own_pod["metadata"]["namespace"] == self.namespace:
            own_claim = claim_of_path(own_pod, os.path.abspath(model.source))
        way = choose(self.config, model, own_claim)
        if way.upload is not None:
            archive = self._archive = Archive(list_files(model.source))
            limit = parse_size(way.upload.max_size) or 0
            if limit and archive.model_bytes > limit:
                raise InfrastructureError(
                    ReasonCode.MODEL_NOT_DELIVERED,
                    f"The model has {archive.model_bytes} bytes, more than kubernetes.model.upload.max_size "
                    f"({way.upload.max_size}).",
                    heals=False,
                    next_step="Raise the limit, or name another way for the model in kubernetes.model.",
                )
        model_bytes = self._archive.model_bytes if self._archive else 0
        delivery = make_delivery(way, model, self.plan.image, model_bytes, self.config.look_before_start)
        self._delivery = delivery
        self.on_progress(f"Kubernetes: {delivery.says}")
        node = ""
        if way.pvc is not None:
            node, why = node_for_claim(api, self.namespace, way.pvc.claim_name, own_pod, deadline)
            if node:
                self.on_progress(f"Kubernetes: {why}; the pod is sent to that node.")
        return delivery, node

    def _context(
        self, own_pod: Mapping[str, Any] | None, node: str, total_seconds: float, heartbeat: bool
    ) -> PodContext:
        lifetime = active_deadline_seconds(self.config, total_seconds)
        self.pod_name = f"infra-validator-{self._run_id}"
        return PodContext(
            name=self.pod_name,
            namespace=self.namespace,
            run_id=self._run_id,
            owner=who_for_people(str(own_pod["metadata"]["name"]) if own_pod is not None else ""),
            owner_reference=owner_reference(own_pod, self.namespace) if own_pod is not None else None,
            node=node,
            total_seconds=total_seconds,
            deadline_utc=int(SYSTEM_CLOCK.utc()) + lifetime + _SPARE_SECONDS,
            stop_grace_seconds=self.stop_grace_seconds,
            heartbeat=heartbeat,
            validation=self.run_id,
        )

    def _register_deletion(self, api: kubernetes_api.KubernetesApi, context: PodContext) -> None:
        """Before the pod exists. What is not deleted here, or not by us, a watchdog deletes; see leftovers.py."""
        self._uid = ""
        self._may_exist = True
        try:
            watchdog = Watchdog()
        except OSError as error:
            raise InfrastructureError(ReasonCode.SERVER_NOT_STARTED, f"No watchdog can be started: {error}.") from error
        self.register_cleanup("end the watchdog", lambda deadline: close_watchdog(watchdog, deadline))
        told = watchdog.run(*undo_command(api.access, self.config, self.namespace, self.pod_name, self.surroundings))

        def delete(deadline: Deadline) -> None:
            if self._may_exist:
                grace = math.ceil(min(self.stop_grace_seconds, deadline.remaining()))
                try:
                    delete_pod(api, self.namespace, context.name, self._uid, grace, deadline)
                except (ApiError, ApiUnreachable) as error:
                    if isinstance(error, ApiError) and error.status not in RETRIED:
                        raise
                    words = error.message if isinstance(error, ApiError) else error.problem
                    more = f"a process of its own goes on trying for {GOES_ON_SECONDS / 60:g} minutes"
                    raise ApiUnreachable(error.call, f"{words}; {more}") from error
            watchdog.forget(told)

        self.register_cleanup(f"delete pod {self.namespace}/{context.name}", delete)

    def _post(self, api: kubernetes_api.KubernetesApi, pod: dict[str, Any], deadline: Deadline) -> dict[str, Any]:
        """Create the pod. A reply that was lost is no loss: the second try finds the pod there, and it bears our run's label."""
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        what = f"create pods in {self.namespace}"
        try:
            # Strict: a field that the server does not know is an error and is not dropped in silence.
            return api.call("POST", path, deadline, what, query={"fieldValidation": "Strict"}, body=pod)
        except ApiError as error:
            if error.status != 409 or error.reason != "AlreadyExists":
                self._may_exist = (
                    error.status >= 500
                )  # a refusal is final; who broke down may have created it all the same
                raise
            there = api.call("GET", f"{path}/{self.pod_name}", deadline, f"get pod {self.namespace}/{self.pod_name}")
            if (there["metadata"].get("labels") or {}).get(LABEL_RUN) != self._run_id:
                raise
            return there

    # ---------------------------------------------------------------- waiting

    def _wait_until_it_ran(self, deadline: Deadline) -> None:
        """Until the server's process runs or never will. That it ran and ended is for WaitUntilRunning to tell."""

        def settled() -> Observation | None:
            self.interruption.check()
            seen = self._look()
            return None if seen.life is Life.PENDING else seen

        try:
            seen = wait_until(settled, deadline, news=self.news)
        except DeadlineExceeded:
            last = self._look()
            seen = Observation.gone(
                last.reason or ReasonCode.SERVER_NOT_STARTED,
                f"The pod did not start within kubernetes.start_timeout_seconds or the total time: {last.detail}.",
            )
        if seen.life is Life.GONE and seen.reason is not None and seen.reason.blames is not Blames.MODEL:
            self._final_logs = self._logs_of_a_failed_start()
            raise failure_of(seen)

    def _logs_of_a_failed_start(self) -> str:
        try:
            return self._tail_logs()
        except InfraValidatorError as error:
            return f"(the pod's log could not be read: {error})"

    def _on_pod(self, pod: Mapping[str, Any]) -> None:
        """Called by the watcher with every state of the pod."""
        if self._archive is None or self._uploading is not None or not is_running(pod, UPLOAD_CONTAINER):
            return
        self._uploading = threading.Thread(target=self._upload, name=f"upload to {self.pod_name}", daemon=True)
        self._uploading.start()

    def _upload(self) -> None:
        assert self.api is not None
        assert self._archive is not None
        assert self._watcher is not None
        deadline = Deadline.after(self.config.start_timeout_seconds)
        target, marker = f"{RECEIVING_DIRECTORY}/model", f"{RECEIVING_DIRECTORY}/{UPLOAD_MARKER}"
        check, say, moved = self._check_wanted, self.on_progress, self.on_bytes
        try:
            upload(self.api, self._pod_path, self._archive, target, marker, deadline, check, say, moved)
        except (ApiError, ApiUnreachable, InfrastructureError) as error:
            self._end_for(error, ReasonCode.MODEL_NOT_DELIVERED)

    def _end_for(self, problem: Problem, otherwise: ReasonCode) -> None:
        """There is no way to the pod: no fault of the model. Unless the pod has ended meanwhile: then that is the cause."""
        assert self._watcher is not None
        with contextlib.suppress(ApiError, ApiUnreachable, InfrastructureError):
            self._watcher.look_again()
        refusal = meaning_for_stream(problem, otherwise, role_yaml(self.config, self.namespace))
        self._watcher.end(Observation.gone(refusal.reason, refusal.detail, heals=refusal.heals))

    def _check_wanted(self) -> None:
        self.interruption.check()
        if self.state is JobState.END:
            raise InfrastructureError(ReasonCode.INTERRUPTED, "The runner was stopped during the upload.")

    # ---------------------------------------------------------------- talking

    def _open_forward(self, port: int, holds: bool = True) -> PortForward:
        api, watcher = self.api, self._watcher
        assert api is not None
        assert watcher is not None
        path = f"{self._pod_path}/portforward"
        what = f"port-forward to pod {self.pod_name}"

        def open_stream() -> WebSocket:
            return api.websocket(path, f"ports={port}", PROTOCOLS, Deadline.after(_LOG_SECONDS), what)

        log = self._log_follower
        if log is None:
            says = f"follow the log of pod {self.pod_name}"
            self._log_follower = log = LogFollower(api, self._pod_path, SERVER_CONTAINER, says)
            self.register_cleanup("let the log go", lambda _: log.close())

        def lost(problem: Problem) -> None:
            self._end_for(problem, ReasonCode.SERVER_NOT_REACHABLE)

        forward = PortForward(open_stream, lost, Backoff(log), watcher.lives, holds=holds)
        self.register_cleanup("close the port-forward", lambda _: forward.close())
        return forward
