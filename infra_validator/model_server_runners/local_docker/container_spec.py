"""The body of the Docker API's request that creates a model server's container: pure, no docker library.

Safe by default, since the model under test is untrusted code: all capabilities dropped, no new privileges, the root file system and
the model read-only, a limit on processes, ports published on one address only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from infra_validator.core.errors import SpecError
from infra_validator.core.launch_plan import LaunchPlan
from infra_validator.model_server_runners.local_docker.address import Address
from infra_validator.specs import LocalDockerConfig
from infra_validator.specs.local_docker import Mount, hides
from infra_validator.specs.local_process import parse_size

#: Where small files of the launch plan stand when they are not in the model's volume.
FILES_DIRECTORY = "/infra-validator-files"

_LOG_SIZE = "10m"  # of each of two files; a chatty server must not fill the daemon's disk


@dataclasses.dataclass(frozen=True)
class Delivery:
    """How the model, and the plan's small files, get into the container.

    Attributes:
      mounts: mounts in the API's form.
      files_directory: where the container finds the small files.
    """

    mounts: tuple[dict[str, Any], ...]
    files_directory: str = FILES_DIRECTORY


def bind(plan: LaunchPlan, source: str, brought: str = "") -> Delivery:
    """By bind mounts, without a copy. A mount that is no string: colons and commas in a path mean nothing.

    Args:
      source: the model's directory.
      brought: the directory with the plan's small files, in ``files/`` and ``model_files/``.
    """
    mounts = [_mount("bind", source, plan.model.target)]
    if plan.files:
        mounts.append(_mount("bind", f"{brought}/files", FILES_DIRECTORY))
    for name in plan.model_files:
        mounts.append(_mount("bind", f"{brought}/model_files/{name}", f"{plan.model.model_base_path}/{name}"))
    return Delivery(tuple(mounts))


def volume(plan: LaunchPlan, name: str) -> Delivery:
    """By a volume that holds ``<version>/``, what stands beside it, and ``files/``; model servers skip what is no number."""
    return Delivery((_mount("volume", name, plan.model.model_base_path),), f"{plan.model.model_base_path}/files")


def check_mounts(plan: LaunchPlan, mounts: tuple[Mount, ...]) -> None:
    """Refuse mounts that would hide the model. Raises SpecError."""
    for index, mount in enumerate(mounts):
        if hides(mount.target, plan.model.model_base_path) or hides(mount.target, FILES_DIRECTORY):
            raise SpecError(
                f"serving_spec.local_docker.mounts[{index}].target",
                f"{mount.target!r} would hide the model in {plan.model.model_base_path}",
            )


def server(
    plan: LaunchPlan,
    config: LocalDockerConfig,
    image: str,
    delivery: Delivery,
    address: Address,
    user: str,
    labels: Mapping[str, str],
) -> dict[str, Any]:
    """The container of a model server.

    Args:
      image: what names the image for good.
      user: ``user:group``, or empty for the image's own.
    """
    body: dict[str, Any] = {
        "Image": image,
        "Cmd": plan.arguments(**placeholders(plan, delivery.files_directory)),
        "Env": [f"{name}={value}" for name, value in {**plan.env, **config.env}.items()],
        "Labels": dict(labels),
        "ExposedPorts": {f"{port}/tcp": {} for port in plan.ports.values()},
        "HostConfig": _host_config(plan, config, delivery, address),
    }
    if plan.command:
        body["Entrypoint"] = list(plan.command)
    if user:
        body["User"] = user
    return body


def placeholders(plan: LaunchPlan, files_directory: str) -> dict[str, str | int]:
    """What is filled into the plan's arguments and small files."""
    return {
        "grpc_port": plan.ports["grpc"],
        "rest_port": plan.ports.get("rest", 0),
        "bind_address": "0.0.0.0",  # inside the container; outside, only what is published is reached
        "model_base_path": plan.model.model_base_path,
        "files_dir": files_directory,
    }


def carrier(image: str, volume_name: str, target: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """A container that never runs: an archive can be unpacked through it into a volume."""
    return {
        "Image": image,
        "Entrypoint": ["never-run"],
        "Labels": dict(labels),
        "HostConfig": {"Mounts": [_mount("volume", volume_name, target, read_only=False)], "NetworkMode": "none"},
    }


def _host_config(plan: LaunchPlan, config: LocalDockerConfig, delivery: Delivery, address: Address) -> dict[str, Any]:
    memory = parse_size(config.memory_limit) or 0
    extra = [_mount(m.type, m.source, m.target, read_only=m.read_only and m.type != "tmpfs") for m in config.mounts]
    hardened = config.hardening != "image"
    host: dict[str, Any] = {
        "Init": True,  # the first process passes signals on and collects orphans; the stock image's bash does neither
        "CapDrop": ["ALL"] if hardened else [],
        "SecurityOpt": ["no-new-privileges"] if hardened else [],
        "ReadonlyRootfs": hardened and config.read_only_root,
        "PidsLimit": config.pids_limit,
        "Memory": memory,
        "MemorySwap": memory,
        "NanoCpus": int(config.cpus * 1e9),
        "Mounts": [*delivery.mounts, *extra],
        "LogConfig": {"Type": "json-file", "Config": {"max-size": _LOG_SIZE, "max-file": "2"}},
        "NetworkMode": address.network or "default",
        "AutoRemove": False,  # exit code, OOM flag and log are read first
        "RestartPolicy": {"Name": "no"},
    }
    if host["ReadonlyRootfs"] and not any(mount.target == "/tmp" for mount in config.mounts):
        host["Tmpfs"] = {"/tmp": ""}
    if address.publish_on:
        host["PortBindings"] = {
            f"{port}/tcp": [{"HostIp": address.publish_on, "HostPort": ""}] for port in plan.ports.values()
        }
    if config.gpus:
        host["DeviceRequests"] = [_device_request(config.gpus)]
    return host


def _mount(kind: str, source: str, target: str, *, read_only: bool = True) -> dict[str, Any]:
    mount: dict[str, Any] = {"Type": kind, "Target": target, "ReadOnly": read_only}
    if source:
        mount["Source"] = source
    return mount


def _device_request(gpus: str) -> dict[str, Any]:
    request: dict[str, Any] = {"Driver": "", "Capabilities": [["gpu"]]}
    if gpus.startswith("device="):
        request["DeviceIDs"] = gpus.removeprefix("device=").split(",")
    else:
        request["Count"] = -1 if gpus == "all" else int(gpus)
    return request
