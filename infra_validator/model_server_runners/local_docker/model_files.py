"""The model's files on their way into a container: can they be read there, do they hang together, the archive for an upload."""

from __future__ import annotations

import dataclasses
import os
import posixpath
import stat
import tarfile
from collections.abc import Iterator, Sequence

from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode

_CHUNK = 1 << 20
_BLOCK = 512


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
      size: bytes of all files.
      owners: who owns what not everybody can read: ``(user id, group id)``; empty if everybody can read everything.
      private: one of the paths that not everybody can read, for messages.
      witness: the file to look for.
    """

    path: str
    size: int
    owners: frozenset[tuple[int, int]]
    private: str
    witness: Witness | None


def survey(path: str) -> ModelFiles:
    """Look at every file of a model once.

    Raises:
      InfrastructureError: something cannot be read by the validator itself (MODEL_NOT_READABLE), is not there, or a symbolic link
        leads out of the directory (MODEL_LINKS_OUTSIDE): a container would not find what it points to.
    """
    top = os.path.realpath(path)
    size = 0
    owners: set[tuple[int, int]] = set()
    private = ""
    witness: Witness | None = None
    for entry in _walk(top):
        if entry.is_link:
            _check_link(top, entry.path)
            continue
        wanted = stat.S_IROTH | (stat.S_IXOTH if entry.is_directory else 0)
        if entry.status.st_mode & wanted != wanted:
            owners.add((entry.status.st_uid, entry.status.st_gid))
            private = private or entry.path
        if not entry.is_directory:
            size += entry.status.st_size
            if witness is None or os.path.basename(entry.path).startswith("saved_model."):
                relative = os.path.relpath(entry.path, top).replace(os.sep, "/")
                witness = Witness(relative, entry.status.st_size, int(entry.status.st_mtime))
    return ModelFiles(top, size, frozenset(owners), private, witness)


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


def archive(files: ModelFiles, directory: str, more: dict[str, str]) -> Iterator[bytes]:
    """A tar archive in pieces of at most a mebibyte, never whole in memory; everybody can read what is unpacked from it.

    Args:
      directory: where the model stands in the archive.
      more: small text files by their path in the archive.
    """
    yield _header(directory, tarfile.DIRTYPE)
    for entry in _walk(files.path):
        name = posixpath.join(directory, os.path.relpath(entry.path, files.path).replace(os.sep, "/"))
        if entry.is_link:
            yield _header(name, tarfile.SYMTYPE, link=os.readlink(entry.path))
        elif entry.is_directory:
            if entry.path != files.path:
                yield _header(name, tarfile.DIRTYPE)
        else:
            yield _header(name, tarfile.REGTYPE, entry.status.st_size, entry.status.st_mtime)
            yield from _content(entry.path, entry.status.st_size)
    for name, text in more.items():
        data = text.encode()
        yield _header(name, tarfile.REGTYPE, len(data))
        yield data + b"\0" * (-len(data) % _BLOCK)
    yield b"\0" * (2 * _BLOCK)


@dataclasses.dataclass(frozen=True)
class _Entry:
    path: str
    status: os.stat_result
    is_directory: bool = False
    is_link: bool = False


def _walk(top: str) -> Iterator[_Entry]:
    """The directory itself and everything below it, directories before what is in them; links are not followed."""
    waiting = [top]
    while waiting:
        directory = waiting.pop()
        try:
            yield _Entry(directory, os.stat(directory), is_directory=True)
            with os.scandir(directory) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
            for entry in found:
                if entry.is_symlink():
                    yield _Entry(entry.path, entry.stat(follow_symlinks=False), is_link=True)
                elif entry.is_dir():
                    waiting.append(entry.path)
                else:
                    yield _Entry(entry.path, entry.stat())
        except FileNotFoundError as error:
            raise InfrastructureError(ReasonCode.MODEL_NOT_FOUND, f"{error.filename} is not there.") from error
        except NotADirectoryError as error:
            raise InfrastructureError(ReasonCode.MODEL_NOT_FOUND, f"{error.filename} is no directory.") from error
        except OSError as error:
            raise InfrastructureError(
                ReasonCode.MODEL_NOT_READABLE,
                f"The validator (user {os.geteuid()}): {error.filename}: {error.strerror}.",
            ) from error


def _check_link(top: str, path: str) -> None:
    target = os.readlink(path)
    inside = os.path.realpath(path)
    if os.path.isabs(target) or os.path.commonpath([top, inside]) != top:
        raise InfrastructureError(ReasonCode.MODEL_LINKS_OUTSIDE, f"{path} -> {target}")


def _header(name: str, kind: bytes, size: int = 0, modified: float = 0, link: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = size
    info.mtime = int(modified)
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    info.linkname = link
    return info.tobuf(tarfile.PAX_FORMAT)


def _content(path: str, size: int) -> Iterator[bytes]:
    """Exactly ``size`` bytes of a file, padded to whole blocks."""
    left = size
    try:
        with open(path, "rb") as file:
            while left:
                piece = file.read(min(_CHUNK, left))
                if not piece:
                    raise InfrastructureError(
                        ReasonCode.MODEL_NOT_READABLE, f"{path} became shorter while it was copied."
                    )
                left -= len(piece)
                yield piece
    except OSError as error:
        raise InfrastructureError(ReasonCode.MODEL_NOT_READABLE, f"{path}: {error.strerror}.") from error
    if size % _BLOCK:
        yield b"\0" * (-size % _BLOCK)
