"""The serving binary model_runtime: what is started on each platform, and what its spec refuses."""

from __future__ import annotations

import pathlib
import sys
from typing import Any

import pytest

from infra_validator.core.errors import InfrastructureError, SpecError, UsageError
from infra_validator.core.launch_plan import LaunchPlan
from infra_validator.model_runtime.backends.base_backend import Backend, BackendSettings
from infra_validator.model_runtime.backends.registry import make_backend
from infra_validator.serving_binaries.model_runtime import binaries_of
from infra_validator.specs import ServingSpec


def plan(
    config: dict[str, Any], platform: str = "local_process", model: str = "/store/m", **settings: Any
) -> LaunchPlan:
    spec = ServingSpec.of({"model_runtime": config, platform: settings, "model_name": "gate"})
    (binary,) = binaries_of(spec)
    return binary.MakeLaunchPlan(model, platform)


def test_our_own_runtime_reads_the_model_where_it_is(tmp_path: pathlib.Path) -> None:
    made = plan({"capacity": "2g"}, model=str(tmp_path / "m"))
    assert made.command[:3] == (sys.executable, "-m", "infra_validator")
    assert made.args == (
        *("--port=0", "--port-file=${port_file}", "--host=${bind_address}"),
        *(f"--model-root={tmp_path}", "--capacity=2g"),
    )
    assert made.client_arguments["model_path"] == str(tmp_path / "m")


def test_a_fixed_port_and_a_socket_are_handed_over() -> None:
    assert "--port=${grpc_port}" in plan({}, grpc_port=8085).args
    socket = plan({"unix_socket": "/run/my$socket"})
    assert "--unix-socket=/run/my$$socket" in socket.args
    assert socket.client_arguments["address"] == "unix:/run/my$socket"


@pytest.mark.parametrize("platform", ["local_docker", "kubernetes"])
def test_an_image_sees_the_model_below_its_root(platform: str) -> None:
    made = plan({"image": "my/runtime:1", "port": 9000, "model_root": "/data", "model_key": "{}"}, platform)
    assert (made.image, dict(made.ports), made.command) == ("my/runtime:1", {"grpc": 9000}, ())
    assert made.model.target == made.client_arguments["model_path"] == "/data/gate/1"
    assert made.client_arguments["model_key"] == "{}"


@pytest.mark.parametrize(
    ("config", "platform", "field"),
    [
        ({}, "local_docker", "image"),
        ({"image": "i"}, "local_process", "image"),
        ({"image": "i", "unix_socket": "/s"}, "kubernetes", "unix_socket"),
        ({"image": "i", "port": 0}, "kubernetes", "port"),
        ({"command": ["r"], "extra_args": ["${grpc_port}"], "capacity": "2g"}, "local_process", "capacity"),
        ({"model_key": "[1]"}, "local_process", "model_key"),
        ({"model_key": "no json"}, "local_process", "model_key"),
        ({"method": "Predict"}, "local_process", "method"),
        ({"load_timeout_seconds": -1}, "local_process", "load_timeout_seconds"),
        ({"capacity": "much"}, "local_process", "capacity"),
        ({"extra_args": ["--x=${port_file}"], "image": "i"}, "local_docker", r"extra_args\[0\]"),
        ({"extra_args": ["--x=$y"]}, "local_process", r"extra_args\[0\]"),
        ({"command": ["r"]}, "local_process", "extra_args: do not tell the command on which port to listen"),
        ({"command": ["r"], "extra_args": ["$${grpc_port}"]}, "local_process", "extra_args: do not tell"),
    ],
)
def test_what_makes_no_sense_is_named(config: dict[str, Any], platform: str, field: str) -> None:
    with pytest.raises(SpecError, match=rf"model_runtime\.{field}"):
        plan(config, platform)


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        ({"extra_args": ["--port=${grpc_port}"]}, {}),
        ({"extra_args": ["--tell=${port_file}"]}, {}),
        ({"unix_socket": "/run/s"}, {}),
        ({}, {"grpc_port": 8085}),
    ],
)
def test_a_command_is_told_its_port_in_one_of_these_ways(config: dict[str, Any], settings: dict[str, Any]) -> None:
    assert plan({"command": [sys.executable], **config}, **settings).command == (sys.executable,)


def test_the_default_key_is_one_that_real_adapters_take() -> None:
    assert plan({}).client_arguments["model_key"] == "{}"


def test_a_program_that_is_not_there_is_said() -> None:
    with pytest.raises(InfrastructureError, match="no-such-runtime is not on the PATH"):
        plan({"command": ["no-such-runtime"]}, grpc_port=1)


# ---------------------------------------------------------------- backends of others


def test_a_backend_may_come_from_a_plug_in(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = tmp_path / "plugin-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1\n")
    where = "component_tests.fakes.model_runtime.backend:from_settings"
    (metadata / "entry_points.txt").write_text(f"[infra_validator.model_runtime_backends]\nledger = {where}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    backend = make_backend("ledger", BackendSettings("/models"))
    assert isinstance(backend, Backend)
    assert backend.name == "ledger"
    with pytest.raises(UsageError, match="there are embedded, tensorflow_serving, ledger"):
        make_backend("nobody", BackendSettings("/models"))
