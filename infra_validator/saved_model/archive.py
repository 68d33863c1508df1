"""The files of a model on their way to another machine: which they are, and the one tar archive that carries them.

One policy for symbolic links, for every platform: nothing outside the model's directory is ever sent. A link that stays inside is sent
as a link, written so that it leads there wherever it is unpacked; one that leads out is refused before anything is sent. A file that
was replaced after it was listed (by a link, say) is refused when it is opened.
"""

from __future__ import annotations

import dataclasses
import os
import posixpath
import stat
import tarfile
from collections.abc import Iterator, Mapping

from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.saved_model.find import unreadable

_CHUNK = 256 * 1024
_BLOCK = 512


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """A file, a directory or a symbolic link of a model.

    Attributes:
      name: relative to the model, with slashes; empty for the model's directory itself.
      path: where it is.
      status: what the kernel tells of it; of a link itself, not of what it points to.
      link: what a symbolic link points to, by a relative way inside the model; empty for everything else.
    """

    name: str
    path: str
    status: os.stat_result
    link: str = ""

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory, which has no content of its own."""
        return stat.S_ISDIR(self.status.st_mode)


def list_files(directory: str) -> list[ModelFile]:
    """The directory itself and everything below it, each directory before what is in it, in the order of names; no link is followed.

    Raises:
      InfrastructureError: something is not there or cannot be read (MODEL_NOT_FOUND, MODEL_NOT_READABLE), or a symbolic link leads
        out of the directory (MODEL_LINKS_OUTSIDE).
      AttemptFailed: it is no directory (MODEL_NOT_A_SAVED_MODEL).
    """
    top = os.path.realpath(directory)
    found: list[ModelFile] = []
    waiting = [("", top)]
    while waiting:
        name, path = waiting.pop()
        try:
            found.append(ModelFile(name, path, os.stat(path)))
            with os.scandir(path) as scanned:
                entries = sorted(scanned, key=lambda entry: entry.name)
            for entry in entries:
                inside = posixpath.join(name, entry.name)
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    waiting.append((inside, entry.path))
                else:
                    link = _inner_link(top, entry.path) if stat.S_ISLNK(status.st_mode) else ""
                    found.append(ModelFile(inside, entry.path, status, link))
        except (OSError, ValueError) as error:
            raise unreadable(getattr(error, "filename", None) or path, error) from error
    return found


def _inner_link(top: str, path: str) -> str:
    """What the link at ``path`` points to, by a way that never leaves ``top``. Raises where it leads out in the end."""
    target = os.readlink(path)
    real = os.path.realpath(path)
    if os.path.commonpath([top, real]) != top:
        raise InfrastructureError(ReasonCode.MODEL_LINKS_OUTSIDE, f"{path} -> {target}")
    folder = os.path.dirname(path)
    stays = os.path.commonpath([top, os.path.normpath(os.path.join(folder, target))]) == top
    return target if stays and not os.path.isabs(target) else os.path.relpath(real, folder)


class Archive:
    """A tar archive of a model, made while it is sent and never whole in memory. Everybody can read what is unpacked from it.

    Args:
      files: what ``list_files`` found.
      directory: where the model stands in the archive; empty: at its top.
      more: small text files by their path in the archive.

    Attributes:
      model_bytes: the size of the model's files.
      length: the length of the archive in bytes.
    """

    def __init__(self, files: list[ModelFile], directory: str = "", more: Mapping[str, str] | None = None) -> None:
        named = [(posixpath.join(directory, file.name).rstrip("/"), file) for file in files]
        self._files = [(_header(name, file), file) for name, file in named if name]
        self._more = [_whole(name, text.encode()) for name, text in (more or {}).items()]
        self.model_bytes = sum(_size(file) for file in files)
        self.length = sum(len(header) + _padded(_size(file)) for header, file in self._files)
        self.length += sum(map(len, self._more)) + 2 * _BLOCK

    def chunks(self) -> Iterator[bytes]:
        """The archive's bytes in pieces of at most 256 KiB.

        Raises:
          InfrastructureError: a file is not the one that was listed any more (MODEL_CHANGED), or cannot be read.
        """
        for header, file in self._files:
            yield header
            if _size(file):
                yield from _content(file)
        yield from self._more
        yield bytes(2 * _BLOCK)


def _size(file: ModelFile) -> int:
    return 0 if file.link or file.is_directory else file.status.st_size


def _padded(size: int) -> int:
    return (size + _BLOCK - 1) // _BLOCK * _BLOCK


def _header(name: str, file: ModelFile) -> bytes:
    if file.link:
        return _written(name, tarfile.SYMTYPE, link=file.link)
    if file.is_directory:
        return _written(name, tarfile.DIRTYPE)
    if not stat.S_ISREG(file.status.st_mode):
        raise InfrastructureError(
            ReasonCode.MODEL_NOT_READABLE,
            f"{file.path} is a device, a pipe or a socket.",
            next_step="Remove it from the model's directory: only files can be sent.",
        )
    return _written(name, tarfile.REGTYPE, file.status.st_size, int(file.status.st_mtime))


def _whole(name: str, data: bytes) -> bytes:
    return _written(name, tarfile.REGTYPE, len(data)) + data + bytes(_padded(len(data)) - len(data))


def _written(name: str, kind: bytes, size: int = 0, modified: int = 0, link: str = "") -> bytes:
    """A header in GNU's form, which BusyBox reads as well."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mtime, info.linkname = kind, size, max(0, modified), link
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _content(file: ModelFile) -> Iterator[bytes]:
    """The bytes of a file, padded to whole blocks."""
    left = file.status.st_size
    try:
        opened = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(opened, "rb", buffering=0) as reader:
            if _identity(os.fstat(opened)) != _identity(file.status):
                raise _changed(file)
            while left:
                data = reader.read(min(_CHUNK, left))
                if not data:
                    raise _changed(file)
                left -= len(data)
                yield data
            if _identity(os.fstat(opened)) != _identity(file.status):
                raise _changed(file)
    except FileNotFoundError as error:
        raise _changed(file) from error
    except OSError as error:
        if os.path.islink(file.path):
            raise _changed(file) from error
        raise unreadable(file.path, error) from error
    padding = _padded(file.status.st_size) - file.status.st_size
    if padding:
        yield bytes(padding)


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    """What tells a file, with its content, from every other. Whatever replaces it is another inode."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _changed(file: ModelFile) -> InfrastructureError:
    return InfrastructureError(ReasonCode.MODEL_CHANGED, f"{file.path} changed while it was copied.")
