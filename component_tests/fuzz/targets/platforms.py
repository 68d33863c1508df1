"""What a Docker daemon and a Kubernetes API server answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from component_tests.fuzz.target import Target, varied
from infra_validator.core.deadline import Deadline, News
from infra_validator.core.errors import InfrastructureError
from infra_validator.core.states import Observation
from infra_validator.model_server_runners.kubernetes.api.errors import ApiUnreachable, error_of, meaning_of, with_reason
from infra_validator.model_server_runners.kubernetes.api.stream import JsonStream
from infra_validator.model_server_runners.kubernetes.causes import Judge
from infra_validator.model_server_runners.kubernetes.identity import claim_of_path, confirms, owner_reference
from infra_validator.model_server_runners.local_docker.address import Address, endpoint
from infra_validator.model_server_runners.local_docker.images import resolve
from infra_validator.model_server_runners.local_docker.watcher import ContainerWatcher
from infra_validator.specs.kubernetes.config import KubernetesConfig

_WHEN = "2026-01-01T00:00:00Z"
_CONDITION = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/3 nodes",
    "lastTransitionTime": _WHEN,
}
_STATUS = {
    "name": "model-server",
    "image": "tensorflow/serving",
    "ready": False,
    "restartCount": 0,
    "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off"}},
    "lastState": {"terminated": {"reason": "Error", "exitCode": 1, "message": "m", "signal": 9}},
}
_POD: Mapping[str, Any] = {
    "kind": "Pod",
    "metadata": {"name": "infra-validator-1", "namespace": "ml", "uid": "1", "deletionTimestamp": _WHEN, "ownerReferences": []},
    "spec": {
        "nodeName": "node-1",
        "containers": [{"name": "model-server", "volumeMounts": [{"name": "v", "mountPath": "/models", "subPath": "s"}]}],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c", "readOnly": True}}],
    },
    "status": {
        "phase": "Pending",
        "reason": "Evicted",
        "message": "low on memory",
        "podIP": "10.0.0.1",
        "podIPs": [{"ip": "10.0.0.1"}],
        "conditions": [_CONDITION],
        "containerStatuses": [_STATUS],
        "initContainerStatuses": [{**_STATUS, "name": "fetch", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}],
    },
    "events": [{"reason": "FailedMount", "type": "Warning", "message": "m", "count": 3, "lastTimestamp": _WHEN}],
}  # fmt: skip
_REFUSAL: Mapping[str, Any] = {
    "kind": "Status",
    "status": "Failure",
    "code": 403,
    "reason": "Forbidden",
    "message": 'pods "p" is forbidden: ',
    "details": {"kind": "pods", "retryAfterSeconds": 1, "causes": [{"reason": "FieldValueInvalid", "message": "m", "field": "spec"}]},
}  # fmt: skip
_CONTAINER: Mapping[str, Any] = {
    "Id": "c0",
    "Image": "sha256:00",
    "State": {
        "Status": "exited",
        "Running": False,
        "ExitCode": 139,
        "OOMKilled": False,
        "Error": "",
        "Health": {"Log": [{"ExitCode": 1, "Output": "no"}]},
    },
    "HostConfig": {"ReadonlyRootfs": True},
    "NetworkSettings": {
        "Ports": {"8500/tcp": [{"HostIp": "127.0.0.1", "HostPort": "49153"}]},
        "Networks": {"bridge": {"IPAddress": "172.17.0.2"}},
    },
    "event": {"Action": "die", "Actor": {"Attributes": {"exitCode": "1", "signal": "9"}}},
}
_IMAGE: Mapping[str, Any] = {
    "Id": "sha256:00",
    "RepoDigests": ["tensorflow/serving@sha256:00"],
    "Os": "linux",
    "Architecture": "amd64",
    "Config": {"Entrypoint": ["/bin/server"], "Cmd": None, "User": "1000"},
}
_ACTIONS = ("start", "oom", "kill", "die", "destroy", "health_status: unhealthy")


def _pod(data: bytes) -> None:
    pod = varied(_POD, data)
    if not isinstance(pod, dict):
        return
    events = pod.get("events")
    judge = Judge(KubernetesConfig(), lambda: 0.0)
    seen = judge.judge(pod, [event for event in events if isinstance(event, dict)] if isinstance(events, list) else ())
    assert isinstance(seen, Observation)
    confirms(pod, frozenset({"1"}), frozenset({"10.0.0.1"}))
    owner_reference(pod, "ml")
    claim_of_path(pod, "/models/m")


def _refusal(data: bytes) -> None:
    """The first byte says whether the rest is the body, or varies one."""
    body = data[1:] if data[:1] > b"\x7f" else json.dumps(varied(_REFUSAL, data[1:])).encode()
    for status in (403, 422, 500):
        headers = {"Retry-After": data[:8].decode("latin-1")}
        meaning_of(with_reason(error_of(status, body, headers, "create a pod"), "/api/v1/pods/p/exec"))


class _Response:
    chunked = False
    connection = None

    def __init__(self, data: bytes) -> None:
        self._data = data

    def stream(self, _size: int | None) -> Iterator[bytes]:
        for at in range(0, len(self._data), 5):
            yield self._data[at : at + 5]


def _stream(data: bytes) -> None:
    for given in JsonStream(_Response(data), "watch"):
        assert isinstance(given, dict)


class _Daemon:
    def __init__(self, told: Mapping[str, Any]) -> None:
        self._told = told

    def container(self, name: str, deadline: Deadline) -> Any:
        return self._told

    def image(self, reference: str, deadline: Deadline) -> Any:
        return self._told

    def registry_digest(self, reference: str, deadline: Deadline) -> str:
        return "sha256:00"

    def pull(self, reference: str, deadline: Deadline) -> Any:
        raise AssertionError("nothing is pulled")

    def logs(self, name: str, lines: int, deadline: Deadline) -> str:
        return "read-only file system"

    def events(self, filters: Mapping[str, Sequence[str]], deadline: Deadline) -> Any:
        return iter(())

    def close(self) -> None:
        pass


def _container(data: bytes) -> None:
    container = varied(_CONTAINER, data[1:])
    if not isinstance(container, dict):
        return
    daemon: Any = _Daemon(container)
    watcher = ContainerWatcher("c", lambda: daemon, News())
    event = container.pop("event", None)
    if isinstance(event, dict):
        watcher._hear(daemon, event)
    watcher._hear(daemon, {"Action": _ACTIONS[data[0] % len(_ACTIONS)] if data else "die"})
    assert isinstance(watcher.observation(), Observation)
    for address in (Address("", "127.0.0.1", "127.0.0.1", ""), Address("bridge", "", "", "")):
        endpoint(address, container, 8500)


def _image(data: bytes) -> None:
    image = varied(_IMAGE, data)
    if isinstance(image, dict):
        resolve("tensorflow/serving:1", "never", _Daemon(image), Deadline.after(1))


TARGETS = (
    Target("kubernetes_pod", _pod),
    Target("kubernetes_refusal", _refusal),
    Target("kubernetes_stream", _stream, (ApiUnreachable,)),
    Target("docker_container", _container, (InfrastructureError,)),
    Target("docker_image", _image, (InfrastructureError,)),
)
