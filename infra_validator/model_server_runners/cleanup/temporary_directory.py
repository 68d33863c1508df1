"""Temporary directories that nobody forgets: labelled for ``infra-validator gc``, and removed by a watchdog if their maker is killed.

<tmp>/infra-validator-<run id>/
  owner.json     whose it is
  ...
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator, Mapping

from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_runners.cleanup.labels import Label
from infra_validator.model_server_runners.cleanup.watchdog import Watchdog, remove_tree

PREFIX = "infra-validator-"


def path_for(run_id: str) -> str:
    """Where the directory of a run will be; nothing is made.

    Raises:
      InfrastructureError: no directory for temporary files can be written.
    """
    try:
        return os.path.join(tempfile.gettempdir(), PREFIX + run_id)
    except OSError as error:
        raise not_made("", error) from error


def make(run_id: str) -> str:
    """Make and label the directory of a run; returns its path. Register its removal before.

    Raises:
      InfrastructureError: NO_SPACE, or SERVER_NOT_STARTED where it cannot be made for another reason.
    """
    path = path_for(run_id)
    try:
        os.mkdir(path, 0o700)
        Label.of_this_process(run_id).write(path)
    except OSError as error:
        raise not_made(path, error) from error
    return path


def write_files(directory: str, texts: Mapping[str, str]) -> None:
    """Write small text files, by name, to a directory, which is made where it is missing.

    Raises:
      InfrastructureError: as for ``make``.
    """
    try:
        os.makedirs(directory, exist_ok=True)
        for name, text in texts.items():
            with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise not_made(directory, error) from error


def not_made(path: str, error: OSError) -> InfrastructureError:
    """Our error for the system's, met while something was written to the directory ``path``."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InfrastructureError(ReasonCode.NO_SPACE, f"{path}: {error.strerror}.")
    return InfrastructureError(
        ReasonCode.SERVER_NOT_STARTED,
        f"No temporary directory can be made{f' at {path}' if path else ''}: {error.strerror}.",
        next_step="Set TMPDIR to a directory that can be written.",
    )


@contextlib.contextmanager
def temporary_directory() -> Iterator[str]:
    """A directory on a local disk for the time of the block; removed whatever becomes of this process.

    Raises:
      InfrastructureError: it cannot be made, or no watchdog be started.
    """
    run_id = os.urandom(8).hex()
    try:
        watchdog = Watchdog()
    except OSError as error:
        raise InfrastructureError(ReasonCode.SERVER_NOT_STARTED, f"No watchdog can be started: {error}.") from error
    path = path_for(run_id)
    told = watchdog.remove_tree(path)
    try:
        yield make(run_id)
    finally:
        with contextlib.suppress(OSError):
            remove_tree(path)
        if not os.path.lexists(path):
            watchdog.forget(told)
        watchdog.close()
