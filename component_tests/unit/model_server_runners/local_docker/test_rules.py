"""The pure rules of the Docker platform: specs, addresses, refusals, ends, what a container is created with. No daemon."""

from __future__ import annotations

import contextlib
import errno
import pathlib
import socket
from typing import Any

import pytest

from component_tests.fakes.planners import ContainerPlanner
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.errors import InfrastructureError, SpecError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.states import Life
from infra_validator.model_server_runners.local_docker import container_spec as docker_container_spec
from infra_validator.model_server_runners.local_docker.address import (
    Address,
    Door,
    Whereabouts,
    choose,
    endpoint,
    shares_our_network,
)
from infra_validator.model_server_runners.local_docker.errors import Ending, no_connection, refusal
from infra_validator.model_server_runners.local_docker.images import repository
from infra_validator.model_server_runners.local_docker.model_files import container_user, survey
from infra_validator.specs import LocalDockerConfig, ServingSpec

UNIX = "unix:///var/run/docker.sock"
DIGEST = "sha256:" + "a" * 64


def read(**fields: Any) -> LocalDockerConfig:
    spec = ServingSpec.of({"tensorflow_serving": {"tags": ["1"]}, "local_docker": fields})
    assert spec.local_docker is not None
    return spec.local_docker


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"client_timeout_seconds": -1}, "client_timeout_seconds"),
        ({"client_timeout_seconds": 0}, "client_timeout_seconds"),
        ({"client_base_url": "/var/run/docker.sock"}, "client_base_url"),
        ({"client_base_url": "ftp://host"}, "client_base_url"),
        ({"client_api_version": "one"}, "client_api_version"),
        ({"host_ip_address": "a b"}, "host_ip_address"),
        ({"publish_address": "localhost"}, "publish_address"),
        ({"network_mode": "none"}, "network_mode"),
        ({"pull_policy": "sometimes"}, "pull_policy"),
        ({"pull_timeout_seconds": 0}, "pull_timeout_seconds"),
        ({"model_delivery": "pigeon"}, "model_delivery"),
        ({"memory_limit": "lots"}, "memory_limit"),
        ({"cpus": -1}, "cpus"),
        ({"pids_limit": 0}, "pids_limit"),
        ({"gpus": "some"}, "gpus"),
        ({"user": "a b"}, "user"),
        ({"env": {"": "x"}}, "env"),
        ({"env": {"A=B": "x"}}, "env"),
        ({"mounts": [{"source": "/a", "target": "relative"}]}, "mounts[0].target"),
        ({"mounts": [{"source": "/a", "target": "/models"}]}, "mounts[0].target"),
        ({"mounts": [{"source": "/a", "target": "/models/m/1/variables"}]}, "mounts[0].target"),
        ({"mounts": [{"source": "/a", "target": "/"}]}, "mounts[0].target"),
        ({"mounts": [{"source": "/a", "target": "/x/../models/m"}]}, "mounts[0].target"),
        ({"mounts": [{"source": "a", "target": "/x"}]}, "mounts[0].source"),
        ({"mounts": [{"source": "/a", "target": "/x", "type": "volume"}]}, "mounts[0].source"),
        ({"mounts": [{"source": "/a", "target": "/x", "type": "tmpfs"}]}, "mounts[0].source"),
        ({"mounts": [{"source": "/a", "target": "/x", "type": "nfs"}]}, "mounts[0].type"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(**fields)
    assert f"local_docker.{field}" in str(caught.value)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ({"tags": ["1"], "advisory": ["2"]}, "advisory[0]"),
        ({"tags": ["1"], "advisory": ["1"]}, "at least one must decide"),
        ({"tags": [f"1@{DIGEST[:-1]}"]}, "tags[0]"),
        ({"tags": ["1"], "image_name": "two words"}, "image_name"),
        ({"digests": ["sha256:abc"]}, "digests[0]"),
    ],
)
def test_a_wrong_image_is_named(images: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as caught:
        ServingSpec.of({"tensorflow_serving": images, "local_docker": {}})
    assert words in str(caught.value)


def test_pinned_tags_and_advisory_images_are_read() -> None:
    images = {"tags": [f"1@{DIGEST}", "2"], "digests": [DIGEST], "advisory": ["1", DIGEST]}
    spec = ServingSpec.of({"tensorflow_serving": images, "local_docker": {}})
    assert ServingSpec.of(spec.to_dict()) == spec


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", "a"),
        ("a:1", "a"),
        ("localhost:5000/a", "localhost:5000/a"),
        ("localhost:5000/a/b:1.2", "localhost:5000/a/b"),
    ],
)
def test_the_name_without_its_tag(name: str, expected: str) -> None:
    assert repository(name) == expected


# ---------------------------------------------------------------- addresses

OUTSIDE = Whereabouts()
INSIDE = Whereabouts(True, "c" * 64, "172.18.0.1")


def own(*networks: str, mode: str = "") -> dict[str, Any]:
    return {
        "NetworkSettings": {"Networks": {name: {} for name in networks}},
        "HostConfig": {"NetworkMode": mode or (networks[0] if networks else "")},
    }


@pytest.mark.parametrize(
    ("fields", "url", "whereabouts", "container", "expected"),
    [
        ({}, UNIX, OUTSIDE, None, ("", "127.0.0.1", "127.0.0.1")),
        ({"host_ip_address": "192.0.2.7"}, UNIX, OUTSIDE, None, ("", "192.0.2.7", "192.0.2.7")),
        (
            {"host_ip_address": "192.0.2.7", "publish_address": "0.0.0.0"},
            UNIX,
            OUTSIDE,
            None,
            ("", "0.0.0.0", "192.0.2.7"),
        ),
        ({}, "tcp://192.0.2.9:2376", OUTSIDE, None, ("", "192.0.2.9", "192.0.2.9")),
        ({}, "ssh://me@192.0.2.9", OUTSIDE, None, ("", "192.0.2.9", "192.0.2.9")),
        ({}, "tcp://[2001:db8::9]:2376", OUTSIDE, None, ("", "2001:db8::9", "2001:db8::9")),
        ({"network_mode": "host"}, UNIX, OUTSIDE, None, ("host", "", "127.0.0.1")),
        ({"network_mode": "mine"}, UNIX, OUTSIDE, None, ("mine", "127.0.0.1", "127.0.0.1")),
        ({}, UNIX, INSIDE, own("pipelines", "bridge"), ("pipelines", "", "")),
        ({}, UNIX, INSIDE, own("bridge"), ("bridge", "", "")),
        ({"network_mode": "bridge"}, UNIX, INSIDE, own("pipelines"), ("bridge", "172.18.0.1", "172.18.0.1")),
        ({}, UNIX, INSIDE, own("host", mode="host"), ("", "127.0.0.1", "127.0.0.1")),
        ({}, UNIX, INSIDE, None, ("", "172.18.0.1", "172.18.0.1")),
        ({"network_mode": "host"}, UNIX, INSIDE, own("bridge"), ("host", "", "172.18.0.1")),
        ({"host_ip_address": "192.0.2.7"}, UNIX, INSIDE, own("bridge"), ("", "192.0.2.7", "192.0.2.7")),
        ({"publish_address": "127.0.0.1"}, UNIX, INSIDE, None, ("", "127.0.0.1", "127.0.0.1")),
        ({"publish_address": "0.0.0.0"}, UNIX, INSIDE, None, ("", "0.0.0.0", "172.18.0.1")),
        ({"publish_address": "10.0.0.5"}, "tcp://192.0.2.9:2376", OUTSIDE, None, ("", "10.0.0.5", "192.0.2.9")),
    ],
)
def test_where_a_server_is_reached(
    fields: dict[str, Any],
    url: str,
    whereabouts: Whereabouts,
    container: dict[str, Any] | None,
    expected: tuple[str, str, str],
) -> None:
    address = choose(read(**fields), url, whereabouts, container)
    assert (address.network, address.publish_on, address.reach_at) == expected
    assert address.why


def test_a_container_without_a_way_out() -> None:
    with pytest.raises(InfrastructureError, match="default route"):
        choose(read(), UNIX, Whereabouts(True, "c", ""), None)


@pytest.mark.parametrize(
    ("address", "settings", "expected"),
    [
        (
            Address("", "127.0.0.1", "127.0.0.1", ""),
            {"Ports": {"8500/tcp": [{"HostPort": "32768"}]}},
            "127.0.0.1:32768",
        ),
        (Address("", "::1", "::1", ""), {"Ports": {"8500/tcp": [{"HostPort": "32768"}]}}, "[::1]:32768"),
        (Address("", "127.0.0.1", "127.0.0.1", ""), {"Ports": {"8500/tcp": None}}, ""),
        (Address("host", "", "127.0.0.1", ""), {}, "127.0.0.1:8500"),
        (Address("n", "", "", ""), {"Networks": {"n": {"IPAddress": "172.18.0.3"}}}, "172.18.0.3:8500"),
        (Address("n", "", "", ""), {"Networks": {}}, ""),
    ],
)
def test_the_port_is_read_from_the_daemon(address: Address, settings: dict[str, Any], expected: str) -> None:
    assert endpoint(address, {"NetworkSettings": settings}, 8500) == expected


def test_the_listener_of_a_socket_tells_whether_the_daemon_shares_our_network(tmp_path: pathlib.Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        assert shares_our_network(f"unix://{tmp_path}/socket", "", "")


def test_where_the_listener_is_not_seen_the_bridge_tells(tmp_path: pathlib.Path) -> None:
    nobody = f"unix://{tmp_path}/socket"
    (interface,) = [name for _, name in socket.if_nameindex() if name == "lo"]
    assert shares_our_network(nobody, interface, "")
    assert shares_our_network(nobody, "", "127.0.0.1")
    assert not shares_our_network(nobody, "docker-of-somebody", "192.0.2.200")


def outcome(door: Door) -> bool:
    """Whether it is open, once the loopback has answered."""

    def answer() -> bool | None:
        is_open = door.is_open()
        return None if door.problem == "no answer" else is_open

    return wait_until(answer, Deadline.after(30))


def test_a_port_that_takes_connections_is_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        door = Door(f"127.0.0.1:{server.getsockname()[1]}", sure=False)
        assert outcome(door)


@pytest.mark.parametrize("sure", [True, False])
def test_a_refusal_means_something_only_where_nobody_else_can_have_refused(sure: bool) -> None:
    with socket.socket() as bound:  # not listening
        bound.bind(("127.0.0.1", 0))
        door = Door(f"127.0.0.1:{bound.getsockname()[1]}", sure=sure)
        assert outcome(door) is sure
        assert door.refused
        assert door.problem == "Connection refused"


def test_a_full_queue_is_no_answer_and_nobody_waits_for_it() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, contextlib.ExitStack() as clients:
        where = server.getsockname()
        for _ in range(4):  # nobody accepts them
            client = clients.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(where)
        door = Door(f"127.0.0.1:{where[1]}", sure=True)
        assert not door.is_open()
        assert door.problem == "no answer"
        door.close()


def test_surroundings_are_seen(tmp_path: pathlib.Path) -> None:
    assert Whereabouts.here(str(tmp_path)) == OUTSIDE
    (tmp_path / ".dockerenv").touch()
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/net").mkdir()
    (tmp_path / "proc/self/mountinfo").write_text(
        f"1 2 3 /var/lib/docker/containers/{'c' * 64}/hostname /etc/hostname rw\n"
    )
    (tmp_path / "proc/net/route").write_text("Iface Destination Gateway\neth0 00000000 010012AC 0003\n")
    assert Whereabouts.here(str(tmp_path)) == INSIDE.__class__(True, "c" * 64, "172.18.0.1")


# ---------------------------------------------------------------- words of the daemon


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("write /var/lib/docker/tmp: no space left on device", ReasonCode.NO_SPACE),
        ("Bind for 127.0.0.1:8500 failed: port is already allocated", ReasonCode.PORT_NOT_AVAILABLE),
        (
            "pull access denied for a, repository does not exist or may require 'docker login': denied",
            "IMAGE_PULL_DENIED",
        ),
        ("manifest for a:1 not found: manifest unknown: manifest unknown", ReasonCode.IMAGE_NOT_FOUND),
        ("No such image: a:1", ReasonCode.IMAGE_NOT_FOUND),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", ReasonCode.IMAGE_WRONG_ARCHITECTURE),
        ('could not select device driver "" with capabilities: [[gpu]]', ReasonCode.GPU_NOT_AVAILABLE),
        ('exec: "x": executable file not found in $PATH: unknown', ReasonCode.IMAGE_COMMAND_NOT_FOUND),
        ("client version 1.24 is too old. Minimum supported API version is 1.44", ReasonCode.DOCKER_API_VERSION),
        ('Get "https://r/v2/": dial tcp: lookup r: no such host', ReasonCode.IMAGE_PULL_FAILED),
        ("the moon is full", ReasonCode.SERVER_NOT_STARTED),
    ],
)
def test_refusals(words: str, reason: ReasonCode | str) -> None:
    error = refusal("do it", words)
    assert error.reason.name == getattr(reason, "name", reason)
    assert words in error.detail


def test_connections_that_fail() -> None:
    inner = PermissionError(errno.EACCES, "Permission denied")
    assert no_connection(UNIX, ValueError("aborted", inner)).reason is ReasonCode.DOCKER_PERMISSION_DENIED
    assert no_connection(UNIX, FileNotFoundError(errno.ENOENT, "No such file")).reason is ReasonCode.DOCKER_NOT_RUNNING
    assert no_connection(UNIX, TimeoutError("timed out")).reason is ReasonCode.DOCKER_NOT_ANSWERING
    assert no_connection("tcp://h:1", ValueError("what is that?")).reason is ReasonCode.DOCKER_NOT_RUNNING


@pytest.mark.parametrize(
    ("ending", "log", "reason"),
    [
        (Ending(0), "", ReasonCode.SERVER_EXITED),
        (Ending(255), "", ReasonCode.SERVER_EXITED),
        (Ending(139), "", ReasonCode.SERVER_KILLED),
        (Ending(137, out_of_memory=True), "", ReasonCode.SERVER_OUT_OF_MEMORY),
        (Ending(0, out_of_memory=True), "", ReasonCode.SERVER_EXITED),
        (Ending(137, by_somebody="was killed"), "", ReasonCode.JOB_ABORTED),
        (Ending(127), "sh: 1: tensorflow_model_server: not found", ReasonCode.IMAGE_COMMAND_NOT_FOUND),
        (Ending(127), "a server may exit so", ReasonCode.SERVER_EXITED),
        (Ending(1), "exec /server: exec format error", ReasonCode.IMAGE_WRONG_ARCHITECTURE),
        (Ending(1), "/x: permission denied", ReasonCode.SERVER_EXITED),
        (Ending(1, read_only_root=True), "open /x: Read-only file system", ReasonCode.IMAGE_NEEDS_WRITABLE_ROOT),
        (Ending(1), "open /x: Read-only file system", ReasonCode.SERVER_EXITED),
    ],
)
def test_ends(ending: Ending, log: str, reason: ReasonCode) -> None:
    seen = ending.observation(log)
    assert (seen.life, seen.reason) == (Life.GONE, reason)


# ---------------------------------------------------------------- what is created


def body(**fields: Any) -> dict[str, Any]:
    planner = ContainerPlanner("a:1", args=("--x=${grpc_port}", "--y=$$HOME"), env={"A": "plan", "B": "plan"})
    plan = planner.MakeLaunchPlan("/model", "local_docker")
    address = Address("", "127.0.0.1", "127.0.0.1", "")
    delivery = docker_container_spec.bind(plan, "/a:b,c")
    return docker_container_spec.server(plan, read(**fields), "a@sha256:1", delivery, address, "1:1", {"l": "1"})


def test_a_container_is_safe_by_default() -> None:
    made = body()
    host = made["HostConfig"]
    assert (made["Image"], made["User"], made["Labels"]) == ("a@sha256:1", "1:1", {"l": "1"})
    assert made["Cmd"] == ["--x=8500", "--y=$HOME"]
    assert "Entrypoint" not in made
    assert host["Mounts"] == [{"Type": "bind", "Target": "/models/m/1", "ReadOnly": True, "Source": "/a:b,c"}]
    assert (host["CapDrop"], host["SecurityOpt"]) == (["ALL"], ["no-new-privileges"])
    assert (host["Init"], host["ReadonlyRootfs"], host["Tmpfs"], host["PidsLimit"]) == (True, True, {"/tmp": ""}, 4096)
    assert host["PortBindings"] == {f"{p}/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}] for p in (8500, 8501)}
    assert "DeviceRequests" not in host


def test_what_the_spec_adds() -> None:
    made = body(env={"B": "spec"}, gpus="device=0,1", read_only_root=False)
    assert made["Env"] == ["A=plan", "B=spec"]
    assert made["HostConfig"]["DeviceRequests"] == [{"Driver": "", "Capabilities": [["gpu"]], "DeviceIDs": ["0", "1"]}]
    assert "Tmpfs" not in made["HostConfig"]
    assert body(gpus="all")["HostConfig"]["DeviceRequests"][0]["Count"] == -1
    assert body(gpus="2")["HostConfig"]["DeviceRequests"][0]["Count"] == 2


def test_who_serves_a_private_model(tmp_path: pathlib.Path) -> None:
    (tmp_path / "saved_model.pb").touch(0o600)
    files = survey(str(tmp_path))
    owner = (tmp_path / "saved_model.pb").stat()
    assert container_user("", files) == f"{owner.st_uid}:{owner.st_gid}"
    with pytest.raises(InfrastructureError, match="chmod"):
        container_user(str(owner.st_uid + 1), files)
    assert container_user("", files, ["name=seccomp,profile=default", "name=rootless"]) == "0:0"
    with pytest.raises(InfrastructureError, match="remaps"):
        container_user("", files, ["name=userns"])
