"""From what a cluster says about a pod to what it means for the validation: one table of causes, no client needed.

The line between the model's fault and the infrastructure's is the base runner's: while the server's process has not run, every cause
blames the infrastructure; once it has run, its own end blames the model, and an end that the platform brought about (eviction,
a lost node, a deletion by somebody else) is JOB_ABORTED.

Pods and events are the API's own JSON objects. Sources: the Kubernetes documentation's "Pod Lifecycle" and "Debug Pods", and the
reasons of the kubelet (``pkg/kubelet/images/types.go``, ``pkg/kubelet/container/sync_result.go``).
"""

from __future__ import annotations

import dataclasses
import enum
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.states import Observation
from infra_validator.model_server_runners.shaped import shaped
from infra_validator.specs import KubernetesConfig

Json = Mapping[str, Any]

_END = {"reason": str, "message": str, "exitCode": int, "signal": int}
_STATE = {"waiting": {"reason": str, "message": str}, "running": {}, "terminated": _END}
_CONTAINER = {"name": str, "image": str, "state": _STATE, "lastState": _STATE}
_CONDITION = {"type": str, "status": str, "reason": str, "message": str}
_METADATA = {"name": str, "deletionTimestamp": str}
_EVENT = {"type": str, "reason": str, "message": str}

#: What is read of a pod and of a node.
_POD = {
    "metadata": _METADATA,
    "spec": {"nodeName": str, "initContainers": [{"name": str, "restartPolicy": str}]},
    "status": {
        "phase": str,
        "reason": str,
        "message": str,
        "conditions": [_CONDITION],
        "initContainerStatuses": [_CONTAINER],
        "containerStatuses": [_CONTAINER],
    },
}
_NODE = {"metadata": _METADATA, "status": {"conditions": [_CONDITION]}}

SERVER_CONTAINER = "model-server"
FETCH_CONTAINER = "model-fetch"
UPLOAD_CONTAINER = "model-upload"
LOOK_CONTAINER = "model-look"
DELIVERY_CONTAINERS = (FETCH_CONTAINER, UPLOAD_CONTAINER)

#: Exit codes of the container that looks at the model before the server starts (those of sysexits.h for no input, no permission).
LOOK_NOT_FOUND, LOOK_NOT_READABLE = 66, 77

#: Words after which another pull, or another mount, cannot change anything.
FINAL_PULL = re.compile(
    r"not found|manifest unknown|does not exist|denied|unauthorized|forbidden|Never|InvalidImageName"
)
FINAL_MOUNT = re.compile(r"not found|does not exist|is not a directory")


class Grace(enum.Enum):
    """How long a cause may last before it is taken as final. The value is the field of KubernetesConfig."""

    NONE = ""
    PULL = "pull_grace_seconds"
    SCHEDULE = "unschedulable_grace_seconds"
    MOUNT = "mount_grace_seconds"


#: Reasons of a waiting container. What is not here (ContainerCreating, PodInitializing) is on its way.
WAITING: dict[str, tuple[ReasonCode, Grace]] = {
    "ErrImagePull": (ReasonCode.POD_IMAGE_NOT_PULLED, Grace.PULL),
    "ImagePullBackOff": (ReasonCode.POD_IMAGE_NOT_PULLED, Grace.PULL),
    "RegistryUnavailable": (ReasonCode.POD_IMAGE_NOT_PULLED, Grace.PULL),
    "ImageInspectError": (ReasonCode.POD_IMAGE_NOT_PULLED, Grace.PULL),
    "SignatureValidationFailed": (ReasonCode.POD_IMAGE_NOT_PULLED, Grace.NONE),
    "ErrImageNeverPull": (ReasonCode.POD_IMAGE_NOT_PULLED, Grace.NONE),
    "InvalidImageName": (ReasonCode.POD_IMAGE_NOT_PULLED, Grace.NONE),
    "CreateContainerConfigError": (ReasonCode.CONTAINER_NOT_STARTED, Grace.NONE),
    "CreateContainerError": (ReasonCode.CONTAINER_NOT_STARTED, Grace.MOUNT),  # a runtime that is busy is tried again
    "RunContainerError": (ReasonCode.CONTAINER_NOT_STARTED, Grace.NONE),
    "PreCreateHookError": (ReasonCode.CONTAINER_NOT_STARTED, Grace.NONE),
    "PreStartHookError": (ReasonCode.CONTAINER_NOT_STARTED, Grace.NONE),
}

#: Reasons of a terminated container whose process never ran.
NEVER_RAN = ("ContainerCannotRun", "StartError")

#: The node was lost with the container: nobody knows what it did.
UNKNOWN_END = "ContainerStatusUnknown"

#: Reasons of a failed pod that the node refused before anything of it ran.
REFUSED_BY_NODE = ("NodeAffinity", "NodeSelectorMismatching", "UnexpectedAdmissionError", "NodePorts")

#: Reasons of events that tell why a pod does not start and that its status does not tell.
EVENTS: dict[str, tuple[ReasonCode, Grace]] = {
    "FailedMount": (ReasonCode.VOLUME_NOT_MOUNTED, Grace.MOUNT),
    "FailedAttachVolume": (ReasonCode.VOLUME_NOT_MOUNTED, Grace.MOUNT),
    "FailedMapVolume": (ReasonCode.VOLUME_NOT_MOUNTED, Grace.MOUNT),
    "FailedCreatePodSandBox": (ReasonCode.CONTAINER_NOT_STARTED, Grace.MOUNT),
}


@dataclasses.dataclass(frozen=True)
class Trouble:
    """Why a pod does not start, as far as can be seen; final once its grace is over."""

    reason: ReasonCode
    grace: Grace
    detail: str
    container: str = ""


class Judge:
    """Remembers what cannot be read from a pod's present status: that its server ran, and since when a trouble lasts.

    Args:
      config: for the graces.
      monotonic: the clock, in seconds.
    """

    def __init__(self, config: KubernetesConfig, monotonic: Callable[[], float]) -> None:
        self._config = config
        self._monotonic = monotonic
        self._since: dict[ReasonCode, float] = {}
        self._pull_failed = ""  # the registry's words, which a node that waits for its next try may no longer repeat
        self.ran = False

    def judge(self, pod: Json, events: Sequence[Json] = ()) -> Observation:
        """What the pod's status means."""
        pod, events = shaped(pod, _POD), shaped(list(events), [_EVENT])
        server = container_status(pod, SERVER_CONTAINER)
        self.ran = self.ran or process_ran(server)
        ended = _ended_by_platform(pod)
        if ended:
            return self.aborted(ended)
        end = _terminated(server)
        if end is not None:
            return _end_of_server(end)
        phase = _status(pod).get("phase")
        if phase in ("Failed", "Succeeded"):
            return self._end_of_pod(pod)
        if "running" in (server.get("state") or {}):
            return Observation.running(f"pod {_name(pod)} on node {_spec(pod).get('nodeName', '?')}")
        failed = _failed_init_container(pod)
        if failed is not None:
            return failed
        trouble = trouble_of(pod, events)
        if trouble is None:
            self._since.clear()
            return Observation.pending(_pending_words(pod))
        return self._wait_or_give_up(self._with_pull_words(trouble))

    def aborted(self, words: str) -> Observation:
        """The platform ended the pod: JOB_ABORTED once the server's process ran, POD_LOST before."""
        return Observation.gone(ReasonCode.JOB_ABORTED if self.ran else ReasonCode.POD_LOST, words)

    def _wait_or_give_up(self, trouble: Trouble) -> Observation:
        now = self._monotonic()
        since = self._since.setdefault(trouble.reason, now)
        grace = float(getattr(self._config, trouble.grace.value)) if trouble.grace is not Grace.NONE else 0.0
        if now - since < grace:
            return Observation.pending(trouble.detail, trouble.reason)
        waited = f" (for {grace:g} s, kubernetes.{trouble.grace.value})" if grace else ""
        final = {ReasonCode.POD_IMAGE_NOT_PULLED: FINAL_PULL, ReasonCode.VOLUME_NOT_MOUNTED: FINAL_MOUNT}.get(
            trouble.reason
        )
        heals = False if final is not None and final.search(trouble.detail) else None
        return Observation.gone(trouble.reason, f"{trouble.detail}{waited}", heals=heals)

    def _with_pull_words(self, trouble: Trouble) -> Trouble:
        if trouble.detail.startswith("ErrImagePull"):
            self._pull_failed = trouble.detail
        elif trouble.detail.startswith("ImagePullBackOff") and self._pull_failed not in trouble.detail:
            return dataclasses.replace(trouble, detail=f"{trouble.detail}; before: {self._pull_failed}")
        return trouble

    def _end_of_pod(self, pod: Json) -> Observation:
        """A pod that is over while the server's own status does not say how."""
        failed = _failed_init_container(pod)
        if failed is not None:
            return failed
        words = _pod_words(pod)
        reason = str(_status(pod).get("reason", ""))
        if not self.ran and (reason in REFUSED_BY_NODE or reason.startswith("OutOf")):
            return Observation.gone(ReasonCode.POD_UNSCHEDULABLE, words)
        return self.aborted(words)


def container_status(pod: Json, name: str) -> Json:
    """The status of a container or init container; empty while there is none."""
    status = _status(shaped(pod, _POD))
    for part in ("containerStatuses", "initContainerStatuses"):
        for one in status.get(part) or ():
            if one.get("name") == name:
                return dict(one)
    return {}


def process_ran(status: Json) -> bool:
    """Whether a container's process has ever run."""
    state = status.get("state") or {}
    ends = [end for end in (state.get("terminated"), (status.get("lastState") or {}).get("terminated")) if end]
    return "running" in state or any(end.get("reason") not in (*NEVER_RAN, UNKNOWN_END) for end in ends)


def is_running(pod: Json, name: str) -> bool:
    """Whether a container or init container runs now."""
    return "running" in (container_status(pod, name).get("state") or {})


def trouble_of(pod: Json, events: Sequence[Json] = ()) -> Trouble | None:
    """Why a pending pod does not start, in the cluster's words; None if it is on its way."""
    status = _status(pod)
    for part in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(part) or ():
            found = _waiting(container)
            if found is not None:
                return found
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            words = _words(condition.get("reason"), condition.get("message"))
            return Trouble(ReasonCode.POD_UNSCHEDULABLE, Grace.SCHEDULE, words)
    for event in reversed(events):
        if event.get("type", "Warning") == "Warning" and event.get("reason") in EVENTS:
            reason, grace = EVENTS[str(event["reason"])]
            return Trouble(reason, grace, _words(event["reason"], event.get("message")))
    return None


def _waiting(container: Json) -> Trouble | None:
    waiting = (container.get("state") or {}).get("waiting") or {}
    known = WAITING.get(str(waiting.get("reason", "")))
    if known is None:
        return None
    reason, grace = known
    message = str(waiting.get("message") or "")
    if waiting["reason"] == "CreateContainerConfigError" and "failed to sync" in message:
        grace = Grace.MOUNT  # the node has only not heard of the secret or config map yet
    words = f"{_words(waiting['reason'], message)}, container {container.get('name')}, image {container.get('image')}"
    return Trouble(reason, grace, words, str(container.get("name", "")))


def _ended_by_platform(pod: Json) -> str:
    """The cluster's words if the pod was ended, or is being ended, by somebody other than its own process; else empty."""
    for condition in _status(pod).get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return _words(condition.get("reason"), condition.get("message"))
    if _node_is_silent(pod):
        return f"The node {_spec(pod).get('nodeName', '?')} of pod {_name(pod)} does not report any more."
    if (pod.get("metadata") or {}).get("deletionTimestamp"):
        return f"The pod {_name(pod)} was deleted by somebody else."
    end = _terminated(container_status(pod, SERVER_CONTAINER)) or {}
    if end.get("reason") == UNKNOWN_END:
        return _words(UNKNOWN_END, end.get("message"))
    reason = _status(pod).get("reason")
    if _status(pod).get("phase") == "Failed" and reason and not str(reason).startswith("OutOf"):
        return "" if reason in REFUSED_BY_NODE else _pod_words(pod)
    return ""


def _node_is_silent(pod: Json) -> bool:
    """Whether the cluster lost the node: minutes before it gives the pod up, it takes the kubelet's last word, that all is ready, back.

    The node controller changes the status of Ready and nothing else; a kubelet would give a reason.
    """
    told = {one.get("type"): one for one in _status(pod).get("conditions") or ()}
    ready, containers = told.get("Ready") or {}, told.get("ContainersReady") or {}
    return ready.get("status") == "False" and not ready.get("reason") and containers.get("status") == "True"


def why_not_ready(node: Json) -> str:
    """The cluster's words if a node is not ready; empty if it is, or says nothing of it."""
    node = shaped(node, _NODE)
    for condition in (node.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Ready" and condition.get("status") != "True":
            words = _words(condition.get("reason"), condition.get("message"))
            return f"The node {_name(node)} is not ready: {words}"
    return ""


def _end_of_server(end: Json) -> Observation:
    code = int(end.get("exitCode", 0))
    reason = str(end.get("reason", ""))
    if reason in NEVER_RAN:
        return Observation.gone(ReasonCode.CONTAINER_NOT_STARTED, _words(reason, end.get("message")))
    if reason == "OOMKilled":
        return Observation.gone(ReasonCode.SERVER_OUT_OF_MEMORY, f"OOMKilled (exit code {code})", "OOMKilled")
    killer = _signal_name(int(end.get("signal") or code - 128))
    if killer:
        name = f"signal {killer}"
        return Observation.gone(ReasonCode.SERVER_KILLED, name, name)
    return Observation.gone(ReasonCode.SERVER_EXITED, f"exit code {code}", f"exit code {code}")


def _failed_init_container(pod: Json) -> Observation | None:
    restarted = {
        container.get("name")
        for container in _spec(pod).get("initContainers") or ()
        if container.get("restartPolicy") == "Always"
    }
    for container in _status(pod).get("initContainerStatuses") or ():
        end = _terminated(container)
        if end is None or not end.get("exitCode") or container.get("name") in restarted:
            continue
        name = container.get("name")
        if name == LOOK_CONTAINER:
            return _end_of_look(end)
        reason = ReasonCode.MODEL_NOT_DELIVERED if name in DELIVERY_CONTAINERS else ReasonCode.CONTAINER_NOT_STARTED
        words = _words(end.get("reason"), _last_line(end))
        return Observation.gone(reason, f"The init container {name} failed with exit code {end['exitCode']}: {words}")
    return None


def _end_of_look(end: Json) -> Observation:
    """The container that looks at the model before the server starts has found that the server could not read it."""
    told = _last_line(end)
    if end["exitCode"] == LOOK_NOT_FOUND:
        return Observation.gone(ReasonCode.MODEL_NOT_FOUND, f"{told}.")
    if end["exitCode"] == LOOK_NOT_READABLE:
        return Observation.gone(ReasonCode.MODEL_NOT_READABLE, f"{told}.")
    words = _words(end.get("reason"), told)
    return Observation.gone(
        ReasonCode.CONTAINER_NOT_STARTED,
        f"The init container {LOOK_CONTAINER}, which looks whether the model can be read, failed with exit code"
        f" {end['exitCode']}: {words}. For an image without sh and find set kubernetes.look_before_start to false.",
    )


def _terminated(status: Json) -> Json | None:
    return (status.get("state") or {}).get("terminated") or None


def _last_line(end: Json) -> str:
    """The last line of a termination message, which is the tail of the container's log (FallbackToLogsOnError)."""
    lines = [line.strip() for line in str(end.get("message") or "").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _signal_name(number: int) -> str:
    """Empty if there is no such signal: an exit code above 128 may be the program's own (255)."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""


def _words(reason: object, message: object) -> str:
    """``Reason: message``, as the cluster says it."""
    said = " ".join(str(message or "").split())
    return f"{reason}: {said}" if said else f"{reason}"


def _pod_words(pod: Json) -> str:
    status = _status(pod)
    return _words(status.get("reason") or f"phase {status.get('phase')}", status.get("message"))


def _pending_words(pod: Json) -> str:
    waiting = [
        f"{one.get('name')}: {((one.get('state') or {}).get('waiting') or {}).get('reason', 'starting')}"
        for part in ("initContainerStatuses", "containerStatuses")
        for one in _status(pod).get(part) or ()
        if _terminated(one) is None
    ]
    return f"pod {_name(pod)} is {_status(pod).get('phase', 'new')} ({'; '.join(waiting) or 'no node yet'})"


def _name(pod: Json) -> str:
    return str((pod.get("metadata") or {}).get("name", "?"))


def _status(pod: Json) -> Json:
    return pod.get("status") or {}


def _spec(pod: Json) -> Json:
    return pod.get("spec") or {}
