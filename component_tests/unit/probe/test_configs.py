"""The Dockerfile and the pod manifests in configs/probe: what they name exists, and their limits fit together."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import yaml

from infra_validator.embedded_server import flags as serving_flags
from infra_validator.probe.go.flags import parse
from infra_validator.probe.settings import Settings, read_settings
from infra_validator.probe.sidecar.server import Flags

ROOT = pathlib.Path(__file__).parents[3]
CONFIGS = ROOT / "configs" / "probe"
MANIFESTS = ("exec-probes.yaml", "native-probes.yaml", "sidecar.yaml")


def spec_of(name: str) -> dict[str, Any]:
    manifest = yaml.safe_load((CONFIGS / name).read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == ("v1", "Pod")
    spec: dict[str, Any] = manifest["spec"]
    return spec


def containers(name: str) -> list[dict[str, Any]]:
    spec = spec_of(name)
    return [*spec.get("initContainers", []), *spec["containers"]]


def probes(container: dict[str, Any]) -> list[dict[str, Any]]:
    return [container[kind] for kind in ("startupProbe", "readinessProbe", "livenessProbe") if kind in container]


def model_of(name: str) -> str:
    """The model that the manifest's server serves."""
    server = next(container for container in containers(name) if container["name"] == "server")
    return next(str(arg).partition("=")[2] for arg in server["args"] if arg.startswith("--model_name="))


def test_every_manifest_is_looked_at() -> None:
    assert sorted(path.name for path in CONFIGS.glob("*.yaml")) == list(MANIFESTS)


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_server_knows_its_flags(name: str) -> None:
    server = next(container for container in containers(name) if container["name"] == "server")
    result = serving_flags.parse(server["args"])
    assert not result.unknown


@pytest.mark.parametrize("name", MANIFESTS)
def test_ports_and_volumes_are_there(name: str) -> None:
    spec = spec_of(name)
    volumes = {volume["name"] for volume in spec["volumes"]}
    for container in containers(name):
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes
        for probe in probes(container):
            for action in ("grpc", "httpGet", "tcpSocket"):
                if action in probe:
                    assert probe[action]["port"] in {*ports, *ports.values()}


def test_exec_probes_run_the_probe_with_flags_that_it_has() -> None:
    ran = 0
    for container in containers("exec-probes.yaml"):
        for probe in probes(container):
            if "exec" not in probe:
                continue
            command, *arguments = probe["exec"]["command"]
            settings: Settings = read_settings(arguments)
            assert command == "tfs_model_status_probe"
            assert (settings.ignored, str(settings.address)) == ([], "localhost:8500")
            assert settings.models[0].name == model_of("exec-probes.yaml")
            # The probe says why before the kubelet kills it.
            assert settings.connect_timeout + settings.rpc_timeout < probe["timeoutSeconds"]
            ran += 1
    assert ran == 2


def test_the_sidecar_has_the_flags_and_answers_for_the_model() -> None:
    sidecar = next(container for container in containers("sidecar.yaml") if container["name"] == "probe")
    assert sidecar["command"] == ["infra-validator", "probe-sidecar"]
    flags = Flags()
    assert parse(flags.all(), sidecar["args"]) == []
    settings = flags.settings()
    assert [model.name for model in settings.models] == [model_of("sidecar.yaml")]
    ports = {port["name"]: port["containerPort"] for port in sidecar["ports"]}
    assert (flags.grpc_listen.value, flags.http_listen.value) == (f":{ports['health']}", f":{ports['metrics']}")
    assert sidecar["readinessProbe"]["grpc"] == {"port": ports["health"], "service": settings.models[0].name}


def test_the_dockerfile_takes_what_is_built() -> None:
    text = (CONFIGS / "Dockerfile").read_text()
    build = (ROOT / "tools" / "build_probe_pyz.py").read_text()
    assert "COPY tfs_model_status_probe.pyz /usr/bin/tfs_model_status_probe" in text
    assert '"dist" / "tfs_model_status_probe.pyz"' in build
    assert "probe-pyz:" in (ROOT / "Makefile").read_text()
