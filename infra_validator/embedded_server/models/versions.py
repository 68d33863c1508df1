"""Which children of a base path are versions, and which of them a policy asks for (contract 2.1, 2.2)."""

from __future__ import annotations

import os
from collections.abc import Mapping

from infra_validator.embedded_server import log
from infra_validator.embedded_server.status import StatusError, invalid_argument
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2
from infra_validator.saved_model.versions import version_of

_SOURCE = "file_system_storage_path_source.cc"


def aspired_versions(model: serving_pb2.ModelConfig) -> dict[int, str]:
    """version -> directory of what the model's policy asks for among what is on disk now.

    Raises:
      StatusError: INVALID_ARGUMENT: there is no such base path.
    """
    policy = model.model_version_policy
    if policy.WhichOneof("policy_choice") == "specific":
        wanted = _specific(model, list(policy.specific.versions))
    else:
        found = _on_disk(model)
        newest_first = sorted(found, reverse=True)
        if policy.WhichOneof("policy_choice") == "all":
            wanted = found
        else:
            wanted = {version: found[version] for version in newest_first[: policy.latest.num_versions or 1]}
        if not wanted:
            log.warning(
                _SOURCE,
                f"No versions of servable {model.name} found under base path {model.base_path}. "
                "Did you forget to name your leaf directory as a number (eg. '/1/')?",
            )
    return wanted


def _specific(model: serving_pb2.ModelConfig, versions: list[int]) -> dict[int, str]:
    if not versions:
        log.warning(_SOURCE, f"No specific versions requested for servable {model.name}.")
        return {}
    direct = {version: os.path.join(model.base_path, str(version)) for version in versions}
    if all(os.path.exists(directory) for directory in direct.values()):
        return direct
    found = _on_disk(model)
    for version in versions:
        if version not in found:
            log.warning(
                _SOURCE,
                f"Version {version} of servable {model.name}, which was requested to be served as a 'specific' version "
                "in the servable's version policy, was not found in the file system",
            )
    return {version: found[version] for version in versions if version in found}


def _on_disk(model: serving_pb2.ModelConfig) -> dict[int, str]:
    base_path = model.base_path
    try:
        names = sorted(os.listdir(base_path))
    except OSError as error:
        raise invalid_argument(
            f"Could not find base path {base_path} for servable {model.name} with error NOT_FOUND: {base_path} not found"
        ) from error
    found: dict[int, str] = {}
    for name in names:
        version = version_of(name)
        if version is None:
            continue
        if version in found:
            log.warning(
                _SOURCE,
                f"Duplicate version directories detected. Version {version} will be loaded from "
                f"{os.path.join(base_path, name)}, {found[version]} will be ignored.",
            )
        found[version] = os.path.join(base_path, name)
    return found


def poll(models: Mapping[str, serving_pb2.ModelConfig]) -> dict[str, dict[int, str]] | None:
    """One look at all base paths, in the order of the configuration: model -> version -> directory.

    None if one of them fails: then nothing changes for any model, as with the real server.
    """
    found = {}
    try:
        for name, model in models.items():
            found[name] = aspired_versions(model)
    except StatusError as error:
        log.error(_SOURCE, f"FileSystemStoragePathSource encountered a filesystem access error: {error.message}")
        return None
    return found
