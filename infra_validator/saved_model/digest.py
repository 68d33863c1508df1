"""A name for a model's content, so that a blessing can be held against a directory later."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator

from infra_validator.saved_model.find import unreadable

_CHUNK = 1 << 20  # bytes read at once


def model_digest(path: str) -> str:
    """``sha256:<hex>`` of every file under ``path``: relative name and content; nothing else (no times, modes, empty directories).

    Symbolic links count as what they point at. Reads every byte once, a chunk at a time.

    Raises:
      InfrastructureError: something cannot be read (MODEL_NOT_FOUND, MODEL_NOT_READABLE), or links lead in a circle.
    """
    whole = hashlib.sha256()
    for name, file in sorted(_files(path, "", ())):
        content = hashlib.sha256()
        try:
            with open(file, "rb") as opened:
                while chunk := opened.read(_CHUNK):
                    content.update(chunk)
        except OSError as error:
            raise unreadable(file, error) from error
        encoded = os.fsencode(name)
        whole.update(len(encoded).to_bytes(8, "big") + encoded + content.digest())
    return f"sha256:{whole.hexdigest()}"


def _files(folder: str, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[str, str]]:
    """(name relative to the model, path) of every file; ``above`` are the directories that lead here, to see circles."""
    try:
        here = os.stat(folder)
        me = (here.st_dev, here.st_ino)
        if me in above:
            raise OSError(errno.ELOOP, "symbolic links lead in a circle")
        entries = [(entry.name, entry.path, entry.is_dir()) for entry in os.scandir(folder)]
    except (OSError, ValueError) as error:
        raise unreadable(folder, error) from error
    for name, path, is_directory in entries:
        if is_directory:
            yield from _files(path, f"{prefix}{name}/", (*above, me))
        else:
            yield f"{prefix}{name}", path
