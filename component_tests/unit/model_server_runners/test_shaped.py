"""What daemons and API servers answer, where it is of another form than it should be: found by the fuzzer, target by target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from infra_validator.core.deadline import Deadline, News
from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_runners.kubernetes.api.errors import error_of
from infra_validator.model_server_runners.kubernetes.causes import Judge, container_status, why_not_ready
from infra_validator.model_server_runners.kubernetes.identity import claim_of_path, confirms, owner_reference
from infra_validator.model_server_runners.local_docker.address import Address, endpoint
from infra_validator.model_server_runners.local_docker.images import resolve
from infra_validator.model_server_runners.local_docker.watcher import ContainerWatcher
from infra_validator.model_server_runners.shaped import seconds, shaped, whole
from infra_validator.specs.kubernetes.config import KubernetesConfig


@pytest.mark.parametrize(
    ("given", "shape", "read"),
    [
        ({"a": 1, "b": "x"}, {"a": int, "b": int}, {"a": 1}),
        ({"a": True, "b": 10**30}, {"a": int, "b": int}, {}),
        ("text", {"a": int}, {}),
        (None, {"a": int}, {}),
        ({"a": None}, {"a": {"b": int}}, {}),
        ({"a": [1, "x", None]}, {"a": [str]}, {"a": ["x"]}),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": int}}}, {"a": {"b": {"c": 1}}}),
        ({"a": {"any": 1}}, {"a": Mapping}, {"a": {"any": 1}}),
        ([{"a": 1}, 2], [{"a": int}], [{"a": 1}]),
        (3, [int], []),
        ("x", int, None),
    ],
)
def test_what_is_of_another_type_is_as_if_it_had_not_been_sent(given: Any, shape: Any, read: Any) -> None:
    assert shaped(given, shape) == read


@pytest.mark.parametrize(
    ("given", "number"),
    [("7", 7), (7, 7), (-1, -1), ("x", 5), (None, 5), ([], 5), (float("inf"), 5), (10**40, 5), ("9" * 30, 5)],
)
def test_whole_numbers(given: object, number: int) -> None:
    assert whole(given, 5) == number


@pytest.mark.parametrize(
    ("given", "number"),
    [("1.5", 1.5), (2, 2.0), ("nan", 0.0), (float("inf"), 0.0), (-1, 0.0), ([], 0.0), (10**400, 0.0)],
)
def test_seconds(given: object, number: float) -> None:
    assert seconds(given) == number


def judged(pod: Any, events: Any = ()) -> Any:
    return Judge(KubernetesConfig(), lambda: 0.0).judge(pod, events)


def test_a_pod_of_another_form_is_one_of_which_nothing_is_known() -> None:
    forms: tuple[Any, ...] = (
        "x",
        [],
        {"containerStatuses": 1},
        {"conditions": [None]},
        {"containerStatuses": [{"state": "x"}]},
    )
    for status in forms:
        assert judged({"status": status}).reason is None
        assert container_status({"status": status}, "model-server") == {}
    assert judged({}, [{"type": "Warning", "reason": ["FailedMount"]}, 1]).reason is None
    ended = {"name": "model-server", "state": {"terminated": {"exitCode": "1", "reason": 7}}}
    assert judged({"status": {"containerStatuses": [ended]}}).reason in (None, ReasonCode.SERVER_EXITED)
    assert why_not_ready({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}).startswith("The node ? is")


def test_our_own_pod_of_another_form_is_not_taken_for_it() -> None:
    assert not confirms({"metadata": 1}, frozenset({"1"}), frozenset())
    assert not confirms({"status": {"phase": "Running", "podIPs": [{"ip": {}}]}}, frozenset(), frozenset({"1.1.1.1"}))
    assert owner_reference({"metadata": {"namespace": "ml"}}, "ml") is None
    volumes = [{"name": "v", "persistentVolumeClaim": {}}, {"persistentVolumeClaim": {"claimName": 3}}]
    mounts = [{"name": "v", "mountPath": 3}, {"name": ["v"], "mountPath": "/m"}]
    assert claim_of_path({"spec": {"volumes": volumes, "containers": [{"volumeMounts": mounts}]}}, "/m/1") is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"kind":"Status","details":"x"}',
        b'{"kind":"Status","details":{"retryAfterSeconds":[1],"causes":3}}',
        b'{"kind":"Status","code":"a/b","reason":[],"message":{}}',
        b'{"kind":"Status","code":Infinity,"details":{"retryAfterSeconds":Infinity}}',
        b"[" * 100_000,
    ],
)
def test_a_refusal_of_another_form_is_the_http_status(body: bytes) -> None:
    error = error_of(403, body, {"Retry-After": "inf"}, "create a pod")
    assert (error.status, error.retry_after, error.causes) == (403, 0.0, ())


class Daemon:
    def __init__(self, told: Any) -> None:
        self._told = told

    def container(self, name: str, deadline: Deadline) -> Any:
        return self._told

    image = container

    def logs(self, name: str, lines: int, deadline: Deadline) -> str:
        return ""


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"State": "x", "HostConfig": 1},
        {"State": {"ExitCode": "x", "Error": []}},
        {"State": {"ExitCode": float("inf"), "Health": {"Log": [1]}}},
    ],
)
@pytest.mark.parametrize("action", ["die", "health_status: unhealthy"])
def test_a_container_of_another_form_ended_all_the_same(told: Any, action: str) -> None:
    daemon: Any = Daemon(told)
    watcher = ContainerWatcher("c", lambda: daemon, News())
    watcher._hear(daemon, {"Action": action, "Actor": {"Attributes": {"exitCode": "x"}}})
    watcher._hear(daemon, {"Action": ["die"], "Actor": 3})
    assert watcher.observation().reason in (ReasonCode.SERVER_EXITED, ReasonCode.SERVER_UNHEALTHY)


@pytest.mark.parametrize("ports", ["x", {"8500/tcp": 1}, {"8500/tcp": [{"HostPort": "x"}, {}, None]}])
def test_a_port_of_another_form_is_not_published_yet(ports: Any) -> None:
    container = {"NetworkSettings": {"Ports": ports, "Networks": {"n": 1}}}
    assert endpoint(Address("", "127.0.0.1", "127.0.0.1", ""), container, 8500) == ""
    assert endpoint(Address("n", "", "", ""), container, 8500) == ""


def test_an_image_without_an_id_is_none() -> None:
    store: Any = Daemon({"RepoDigests": 3})
    with pytest.raises(InfrastructureError) as caught:
        resolve("a:1", "never", store, Deadline.after(1))
    assert caught.value.reason is ReasonCode.IMAGE_NOT_FOUND
