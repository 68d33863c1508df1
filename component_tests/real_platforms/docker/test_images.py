"""Tags, digests, pulls and refusals, against a real registry on 127.0.0.1 that asks for a password."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import socket
from collections.abc import Iterator

import pytest

from component_tests.fakes.planners import ContainerPlanner
from component_tests.real_platforms.docker.daemons import Registry
from component_tests.real_platforms.docker.validations import left
from component_tests.real_platforms.docker_images import build
from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.signals.interruption import Interruption
from infra_validator.model_server_runners.local_docker.daemon import DockerDaemon
from infra_validator.model_server_runners.local_docker.images import Image, pull_if_missing, resolve
from infra_validator.model_server_runners.local_docker.runner import LocalDockerRunner, resolve_digest
from infra_validator.specs import LocalDockerConfig, ServingSpec

pytestmark = pytest.mark.docker

NO_IMAGE = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    registry = Registry(tmp_path_factory.mktemp("registry"))
    try:
        registry.start()
        yield registry
    finally:
        registry.stop()


@pytest.fixture
def logged_in(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("DOCKER_CONFIG", str(registry.docker_config))
    return registry


@pytest.fixture
def daemon() -> Iterator[DockerDaemon]:
    with contextlib.closing(DockerDaemon(LocalDockerConfig(), soon())) as daemon:
        yield daemon


def soon() -> Deadline:
    return Deadline.after(60)


def sleeper(name: str, registry: Registry, *, megabytes: int = 0) -> tuple[str, str]:
    """Push a small image that sleeps; returns its name with the tag, and its digest. It is not on the daemon afterwards."""
    lines = [f"LABEL name={name}"]
    base = build.busybox()
    if megabytes:
        lines.append(f'RUN ["/bin/busybox", "dd", "if=/dev/urandom", "of=/filler", "bs=1000000", "count={megabytes}"]')
    image = build.variant("sleeper", base, *lines)
    digest = registry.push(image, f"{name}:1")
    build.docker("rmi", image)
    return f"{registry.host}/{name}:1", digest


def pull(daemon: DockerDaemon, image: Image, told: list[str], deadline: Deadline | None = None) -> None:
    pull_if_missing(image, "auto", daemon, deadline or soon(), told.append, lambda: None)


def test_a_tag_is_run_by_its_digest(logged_in: Registry, tmp_path: pathlib.Path) -> None:
    name, digest = sleeper("run", logged_in)
    spec = ServingSpec.of({"tensorflow_serving": {"tags": ["1"]}, "local_docker": {}})
    runner = LocalDockerRunner(str(tmp_path), ContainerPlanner(name, args=("sleep", "60")), spec)
    try:
        runner.Start()
        assert runner.WaitUntilRunning(soon())
        assert runner.image == Image(name, digest, f"{logged_in.host}/run@{digest}", "registry")
        assert build.docker("inspect", "-f", "{{.Config.Image}}", runner.name).strip() == runner.image.reference
    finally:
        runner.Stop()
        logged_in.forget(f"{logged_in.host}/run@{digest}")
    assert left([runner.name]) == []


def test_a_pull_tells_its_progress(logged_in: Registry, daemon: DockerDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra_validator.model_server_runners.local_docker.images._TELL_EVERY", 0.0)
    name, _ = sleeper("progress", logged_in, megabytes=20)
    told: list[str] = []
    image = resolve(name, "auto", daemon, soon())
    pull(daemon, image, told)
    assert daemon.image(image.reference, soon()) is not None
    assert any("of 2" in line and "MB" in line for line in told), told
    logged_in.forget(image.reference)


def test_a_moved_tag_is_another_digest(logged_in: Registry, daemon: DockerDaemon) -> None:
    name, first = sleeper("moved", logged_in)
    pulled = resolve(name, "auto", daemon, soon())
    pull(daemon, pulled, [])
    build.docker("tag", pulled.reference, name)
    _, second = _push_again(logged_in)
    build.docker("tag", pulled.reference, name)  # the old image, as one has it after a pull long ago
    assert first != second
    assert pulled.digest == first
    assert resolve(name, "auto", daemon, soon()).digest == second
    assert resolve(name, "always", daemon, soon()).digest == second
    assert resolve(name, "missing", daemon, soon()).digest == first
    assert resolve(name, "never", daemon, soon()).digest == first
    assert resolve_digest(name, LocalDockerConfig(), soon()) == second
    logged_in.forget(name, pulled.reference)


def _push_again(registry: Registry) -> tuple[str, str]:
    image = build.variant("sleeper", build.busybox(), "LABEL name=another")
    digest = registry.push(image, "moved:1")
    build.docker("rmi", image)
    return f"{registry.host}/moved:1", digest


def test_a_registry_that_is_away_does_not_matter_for_a_local_copy(daemon: DockerDaemon) -> None:
    name = "127.0.0.1:1/away"
    build.docker("tag", build.busybox(), f"{name}:1")
    try:
        assert resolve(f"{name}:1", "auto", daemon, soon()).source == "local build"
        with pytest.raises(InfrastructureError) as caught:
            resolve(f"{name}:1", "always", daemon, soon())
        assert caught.value.reason is ReasonCode.IMAGE_PULL_FAILED
        with pytest.raises(InfrastructureError) as caught:
            resolve(f"{name}:2", "auto", daemon, soon())
        assert caught.value.reason is ReasonCode.IMAGE_PULL_FAILED
    finally:
        build.docker("rmi", f"{name}:1")


def test_a_local_build_is_known_by_its_id(daemon: DockerDaemon) -> None:
    image = build.busybox()
    resolved = resolve(image, "auto", daemon, soon())
    assert resolved.digest == build.docker("image", "inspect", "-f", "{{.Id}}", image).strip()
    assert resolved.source == "local build"
    for asked in (f"{image}@{resolved.digest}", f"{build.PREFIX}/busybox@{resolved.digest}"):
        assert resolve(asked, "auto", daemon, soon()).reference == resolved.digest


def test_pinned_is_a_tag_with_its_digest() -> None:
    build.docker("tag", build.busybox(), "pinned:1")
    spec = ServingSpec.of(
        {
            "tensorflow_serving": {"image_name": "pinned", "tags": ["1", "no-such-tag"]},
            "local_docker": {"pull_policy": "never"},
        }
    )
    try:
        pinned = LocalDockerRunner.Pin(spec)
        assert pinned.tensorflow_serving is not None
        identity = build.docker("image", "inspect", "-f", "{{.Id}}", "pinned:1").strip()
        assert pinned.tensorflow_serving.tags == (f"1@{identity}", "no-such-tag")
        assert ServingSpec.of(pinned.to_dict()) == pinned
        assert LocalDockerRunner.Pin(pinned) == pinned
    finally:
        build.docker("rmi", "pinned:1")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no-such-image:1", ReasonCode.IMAGE_NOT_FOUND),
        (f"no-such-image@{NO_IMAGE}", ReasonCode.IMAGE_NOT_FOUND),
    ],
)
def test_an_image_that_the_registry_does_not_have(
    logged_in: Registry, daemon: DockerDaemon, name: str, reason: ReasonCode
) -> None:
    with pytest.raises(InfrastructureError) as caught:
        pull(daemon, resolve(f"{logged_in.host}/{name}", "auto", daemon, soon()), [])
    assert caught.value.reason is reason
    assert name.partition("@")[0] in str(caught.value)


@pytest.mark.parametrize("name", ["denied:1", f"denied@{NO_IMAGE}"])
def test_a_registry_that_refuses(
    registry: Registry, daemon: DockerDaemon, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with contextlib.closing(DockerDaemon(LocalDockerConfig(), soon())) as stranger:
        with pytest.raises(InfrastructureError) as caught:
            pull(stranger, resolve(f"{registry.host}/{name}", "auto", stranger, soon()), [])
    assert caught.value.reason is ReasonCode.IMAGE_PULL_DENIED
    assert "docker login" in caught.value.next_step


def test_never_pulls_nothing(daemon: DockerDaemon) -> None:
    for name in ("no-such-image:1", f"no-such-image@{NO_IMAGE}"):
        with pytest.raises(InfrastructureError) as caught:
            resolve(name, "never", daemon, soon())
        assert caught.value.reason is ReasonCode.IMAGE_NOT_FOUND
        assert "pull_policy" in caught.value.next_step


def test_a_pull_that_stalls_ends_in_time_and_at_an_interruption(daemon: DockerDaemon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        image = Image("a:1", NO_IMAGE, f"127.0.0.1:{silent.getsockname()[1]}/a@{NO_IMAGE}", "registry")
        with pytest.raises(InfrastructureError) as caught:
            pull(daemon, image, [], Deadline.after(0.5))
        assert caught.value.reason is ReasonCode.IMAGE_PULL_TIMEOUT
        assert "pull_timeout_seconds" in caught.value.next_step
        interruption = Interruption()
        interruption.set("SIGTERM")
        with pytest.raises(InfrastructureError) as caught:
            pull_if_missing(image, "auto", daemon, soon(), lambda _: None, interruption.check)
        assert caught.value.reason is ReasonCode.INTERRUPTED


def test_credentials_come_from_a_helper(
    registry: Registry, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker's credential helpers are programs called docker-credential-NAME."""
    name, digest = sleeper("helper", registry)
    helper = tmp_path / "docker-credential-tests"
    helper.write_text('#!/bin/sh\necho \'{"ServerURL":"","Username":"tester","Secret":"correct horse"}\'\n')
    helper.chmod(0o755)
    (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {registry.host: "tests"}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert resolve_digest(name, LocalDockerConfig(), soon()) == digest


def test_registry_stops(registry: Registry) -> None:
    """The registry of these tests is ours to stop: a pull while it is away is the infrastructure's fault."""
    registry.stop()
    try:
        with pytest.raises(InfrastructureError) as caught:
            resolve_digest(f"{registry.host}/run:1", LocalDockerConfig(), soon())
        assert caught.value.reason is ReasonCode.IMAGE_PULL_FAILED
    finally:
        registry.start()
