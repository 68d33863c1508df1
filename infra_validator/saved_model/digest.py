"""A name for a model's content, so that a blessing can be held against a directory later."""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping

from infra_validator.core.errors import AttemptFailed, InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.saved_model.find import unreadable

_CHUNK = 1 << 20  # bytes read at once
_SIDE_BY_SIDE = 4  # files read at once: one reader leaves a fast disk and most processors idle
_WORTH_THREADS = 8 << 20  # bytes; below that the threads cost more than they save
_DEEPEST = 100  # directories within one another
_SHOWN = 100  # characters of a long one, in messages
_NO_FILES = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}

#: The execution property in which TFX's driver tells the content of the files that the specs name: field -> digest, as JSON.
FILE_DIGESTS = "file_digests"


def model_digest(path: str) -> str:
    """``sha256:<hex>`` of every file under ``path``: relative name and content; nothing else (no times, modes, empty directories).

    Symbolic links count as what they point at. Reads every byte once, a chunk at a time, several files at once.

    Raises:
      InfrastructureError: something cannot be read (MODEL_NOT_FOUND, MODEL_NOT_READABLE), or links lead in a circle.
      AttemptFailed: something in it is no file of a model's, as in model_files.
    """
    return digest_of(contents(model_files(path)))


def model_files(path: str) -> dict[str, str]:
    """Name relative to the model -> path, of every file under ``path``. Nothing is opened.

    Raises:
      InfrastructureError: as for model_digest.
      AttemptFailed: something is neither file nor directory, so that reading it might never end, or lies deeper than any model's file
        (MODEL_NOT_A_SAVED_MODEL).
    """
    return dict(_files(path, "", ()))


def model_size(path: str) -> int:
    """Bytes of every file under ``path`` together; links count as what they point at.

    Raises:
      InfrastructureError: as for model_digest.
    """
    return _size(model_files(path).values())


def contents(files: Mapping[str, str], read: Callable[[str], bytes] | None = None) -> dict[str, bytes]:
    """Name -> sha256 of each file's content, as bytes.

    Args:
      files: name -> path.
      read: hashes one file; content_of unless something else is to be done at the same time.

    Raises:
      InfrastructureError: one cannot be read.
    """
    read = read or content_of
    if len(files) == 1 or _size(files.values()) < _WORTH_THREADS:
        return {name: read(path) for name, path in files.items()}
    with concurrent.futures.ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="digest") as pool:
        return dict(zip(files, pool.map(read, files.values()), strict=True))


def file_digests(files: Mapping[str, str]) -> dict[str, str]:
    """Name -> ``sha256:<hex>`` of each file's content; a file that cannot be read is left to whoever needs it."""
    digests = {}
    for name, path in sorted(files.items()):
        with contextlib.suppress(InfrastructureError, AttemptFailed):
            digests[name] = f"sha256:{content_of(path).hex()}"
    return digests


def content_of(file: str, go_on: Callable[[], None] = lambda: None) -> bytes:
    """The sha256 of a file's content.

    Args:
      file: its path.
      go_on: called between two chunks; raises to end it early.

    Raises:
      InfrastructureError: it cannot be read.
    """
    content = hashlib.sha256()
    try:
        with open(file, "rb", buffering=0) as opened:
            while chunk := opened.read(_CHUNK):
                content.update(chunk)
                go_on()
    except OSError as error:
        raise unreadable(file, error) from error
    return content.digest()


def digest_of(content: Mapping[str, bytes]) -> str:
    """``sha256:<hex>`` of names and what ``contents`` says of them."""
    whole = hashlib.sha256()
    for name, digest in sorted(content.items()):
        encoded = os.fsencode(name)
        whole.update(len(encoded).to_bytes(8, "big") + encoded + digest)
    return f"sha256:{whole.hexdigest()}"


def _size(files: Iterable[str]) -> int:
    total = 0
    for file in files:
        try:
            total += os.stat(file).st_size
        except OSError:
            continue  # whoever reads it says so
    return total


def _refuse_what_is_no_file(entry: os.DirEntry[str]) -> None:
    """Raises AttemptFailed for what is neither a file nor a directory."""
    with contextlib.suppress(OSError):  # whoever reads it says so
        mode = entry.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            kind = _NO_FILES.get(stat.S_IFMT(mode), "a device")
            raise _not_of_a_model(f"{entry.path} is {kind}, not a file.")


def _not_of_a_model(detail: str) -> AttemptFailed:
    return AttemptFailed(ReasonCode.MODEL_NOT_A_SAVED_MODEL, detail, next_step="Remove it, or export the model again.")


def _files(folder: str, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[str, str]]:
    """(name relative to the model, path) of every file; ``above`` are the directories that lead here, to see circles."""
    if len(above) > _DEEPEST:
        raise _not_of_a_model(f"More than {_DEEPEST} directories lie within one another, {prefix[:_SHOWN]}...")
    try:
        here = os.stat(folder)
        me = (here.st_dev, here.st_ino)
        if me in above:
            raise OSError(errno.ELOOP, "symbolic links lead in a circle")
        with os.scandir(folder) as listed:
            entries = list(listed)
        for entry in entries:
            _refuse_what_is_no_file(entry)
        found = [(entry.name, entry.path, entry.is_dir()) for entry in entries]
    except (OSError, ValueError) as error:
        raise unreadable(folder, error) from error
    for name, path, is_directory in found:
        if is_directory:
            yield from _files(path, f"{prefix}{name}/", (*above, me))
        else:
            yield f"{prefix}{name}", path
