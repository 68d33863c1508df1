"""The model's files on their way into a container: who can read them there, and by which file one tells that they are the same."""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Sequence

from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.saved_model.archive import ModelFile, list_files


@dataclasses.dataclass(frozen=True)
class Witness:
    """A file by which one can tell whether somebody else sees the same directory.

    Attributes:
      path: relative to the model.
      size: bytes.
      modified: whole seconds since 1970.
    """

    path: str
    size: int
    modified: int


@dataclasses.dataclass(frozen=True)
class ModelFiles:
    """What stands in a model's directory.

    Attributes:
      path: the directory, without symbolic links in it.
      files: everything in it.
      owners: who owns what not everybody can read: ``(user id, group id)``; empty if everybody can read everything.
      private: one of the paths that not everybody can read, for messages.
      witness: the file to look for.
    """

    path: str
    files: list[ModelFile]
    owners: frozenset[tuple[int, int]]
    private: str
    witness: Witness | None


def survey(path: str) -> ModelFiles:
    """Look at every file of a model once.

    Raises:
      InfrastructureError: as ``saved_model.archive.list_files``; a link that is not written as a relative way inside the model
        is MODEL_LINKS_OUTSIDE as well: where the model is mounted it would lead elsewhere.
      AttemptFailed: it is no directory.
    """
    files = list_files(path)
    owners: set[tuple[int, int]] = set()
    private = ""
    witness: Witness | None = None
    for file in files:
        if file.link:
            if file.link != os.readlink(file.path):
                raise InfrastructureError(ReasonCode.MODEL_LINKS_OUTSIDE, f"{file.path} -> {os.readlink(file.path)}")
            continue
        wanted = stat.S_IROTH | (stat.S_IXOTH if file.is_directory else 0)
        if file.status.st_mode & wanted != wanted:
            owners.add((file.status.st_uid, file.status.st_gid))
            private = private or file.path
        if not file.is_directory and (witness is None or os.path.basename(file.name).startswith("saved_model.")):
            witness = Witness(file.name, file.status.st_size, int(file.status.st_mtime))
    return ModelFiles(files[0].path, files, frozenset(owners), private, witness)


def container_user(asked: str, files: ModelFiles, security_options: Sequence[str] = ()) -> str:
    """The container's user, empty for the image's own.

    Without capabilities, root in a container reads only what its owner lets it read. So a model that only its owner can read is
    served by a server that runs as the owner.

    Args:
      asked: the spec's ``user``.
      security_options: the daemon's; they say whether a user in a container is the same user outside.

    Raises:
      InfrastructureError: MODEL_NOT_READABLE, since no user could read all of it, or not the one asked for.
    """
    if not files.owners:
        return asked
    if len({user for user, _ in files.owners}) > 1:
        raise InfrastructureError(
            ReasonCode.MODEL_NOT_READABLE,
            f"The files in {files.path} belong to several users, who keep them to themselves (such as {files.private}).",
            next_step="Give everybody read permission: chmod -R a+rX.",
        )
    owner = next(iter(sorted(files.owners)))
    options = " ".join(security_options)
    if "name=rootless" in options:
        return asked or "0:0"  # there, root in a container is the user who runs the daemon
    if "name=userns" in options:
        raise InfrastructureError(
            ReasonCode.MODEL_NOT_READABLE,
            f"Only user {owner[0]} can read {files.private}, and no user of a container is him: the daemon remaps users.",
            next_step="Give everybody read permission (chmod -R a+rX), or set local_docker.model_delivery to upload.",
        )
    name = "0" if asked.partition(":")[0] == "root" else asked.partition(":")[0]
    if name.isdigit() and int(name) != owner[0]:
        raise InfrastructureError(
            ReasonCode.MODEL_NOT_READABLE,
            f"Only user {owner[0]} can read {files.private}, and serving_spec.local_docker.user is {asked}.",
            next_step=f"Give everybody read permission (chmod -R a+rX), or set the user to {owner[0]}.",
        )
    return asked or f"{owner[0]}:{owner[1]}"
