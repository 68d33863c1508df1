"""The copy of a model that holds its warm-up file: made in a new directory, and taken back where the model is not blessed after all."""

from __future__ import annotations

import abc
import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable

from infra_validator.core.errors import InfrastructureError, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.saved_model.digest import content_of, contents, digest_of, model_files
from infra_validator.saved_model.find import GRAPH_FILES, WARMUP_FILE

_CHUNK = 1 << 20  # bytes copied at once


class WarmedCopy(abc.ABC):
    """Where the model with its warm-up file is to lie. A context manager: on leaving, what was written is taken back unless it is kept.

    Attributes:
      path: the copy's SavedModel directory.
    """

    path: str
    _kept = False

    @abc.abstractmethod
    def write(self, model: str, write_requests: Callable[[str], None], go_on: Callable[[], None]) -> str:
        """Copy the model and put a warm-up file into the copy, in place of one that it has.

        Args:
          model: the SavedModel directory.
          write_requests: writes the warm-up file to the local path that it is called with.
          go_on: called now and then; raises to end it early.

        Returns:
          The copy's digest (saved_model/digest.py); empty where it is not on this machine.

        Raises:
          InfrastructureError: it cannot be read or written.
        """

    @abc.abstractmethod
    def digest(self, go_on: Callable[[], None]) -> str:
        """The digest of what lies there now; empty where it is not on this machine."""

    @abc.abstractmethod
    def remove(self) -> None:
        """Take back what was written; never raises, and may be called twice."""

    def keep(self) -> None:
        """Take nothing back: the model with its warm-up file is blessed."""
        self._kept = True

    def __enter__(self) -> WarmedCopy:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._kept:
            self.remove()


class LocalWarmedCopy(WarmedCopy):
    """A copy in a directory of this machine, which is made, and tried, now.

    Args:
      directory: must not exist, or be empty.
      model: the model's path, which the directory must not lie in.
      called: what the user calls the directory, for messages.

    Raises:
      UsageError: it holds something, or lies in the model.
      InfrastructureError: it cannot be written to (OUTPUT_NOT_WRITABLE).
    """

    def __init__(self, directory: str, model: str, called: str = "warmup_directory") -> None:
        self.path = os.path.abspath(directory)
        self._called = f"{called} {directory}"
        self._written: list[str] = []  # in the order in which they were made
        if "://" in model:
            raise UsageError(
                f"{self._called}: the model {model} is not on this machine, so it cannot be copied here.",
                next_step="Copy the model to a local directory first.",
            )
        inside, around = os.path.realpath(directory), os.path.realpath(model)
        if model and os.path.isdir(around) and os.path.commonpath([inside, around]) == around:
            raise UsageError(
                f"{self._called} lies in the model {model}, which must not change while it is validated.",
                next_step="Name a directory outside the model.",
            )
        try:
            self._make_with_parents()
            there = sorted(os.listdir(self.path))
            if there:
                raise UsageError(
                    f"{self._called} holds {there[0]} already.", next_step="Name a new or an empty directory."
                )
            trial = os.path.join(self.path, f".trial-{os.getpid()}")
            with open(trial, "wb") as file:
                self._written.append(trial)
                file.write(b"x")
            os.unlink(trial)
        except OSError as error:
            self.remove()
            raise self._not_writable(error) from error

    def write(self, model: str, write_requests: Callable[[str], None], go_on: Callable[[], None]) -> str:
        content = {}
        try:
            for folder, folders, files in os.walk(model, followlinks=True, onerror=_raise):
                inside = os.path.relpath(folder, model)
                here = os.path.normpath(os.path.join(self.path, inside))
                self._make_directory(here, folder)
                folders.sort()
                for name in sorted(files):
                    relative = os.path.normpath(os.path.join(inside, name))
                    if relative != WARMUP_FILE:
                        content[relative] = self._copy(os.path.join(folder, name), os.path.join(here, name), go_on)
            file = self._at(WARMUP_FILE)
            self._make_directory(os.path.dirname(file), model)
        except OSError as error:
            raise self._not_writable(error) from error
        self._written.append(file)
        write_requests(file)
        graph = next((self._at(name) for name in GRAPH_FILES if name in content), "")
        if graph:
            os.chmod(file, stat.S_IMODE(os.stat(graph).st_mode))  # who may read the model must be able to read it, too
        content[WARMUP_FILE] = content_of(file, go_on)
        return digest_of(content)

    def digest(self, go_on: Callable[[], None]) -> str:
        return digest_of(contents(model_files(self.path), lambda path: content_of(path, go_on)))

    def remove(self) -> None:
        while self._written:
            path = self._written.pop()
            with contextlib.suppress(OSError):
                if os.path.isdir(path):
                    os.rmdir(path)
                else:
                    os.unlink(path)

    def _at(self, name: str) -> str:
        return os.path.join(self.path, name)

    def _make_with_parents(self) -> None:
        missing = [self.path]
        while not os.path.lexists(missing[-1]):
            missing.append(os.path.dirname(missing[-1]))
        for path in reversed(missing[:-1]):
            os.mkdir(path)
            self._written.append(path)

    def _make_directory(self, path: str, like: str) -> None:
        """A directory that those may enter who may enter ``like``, and we may write to."""
        if not os.path.isdir(path):
            os.mkdir(path)
            self._written.append(path)
        elif path != self.path or self.path not in self._written:
            return
        os.chmod(path, stat.S_IMODE(os.stat(like).st_mode) | stat.S_IRWXU)

    def _copy(self, source: str, target: str, go_on: Callable[[], None]) -> bytes:
        """Copy one file; returns the sha256 of its content."""
        content = hashlib.sha256()
        with open(source, "rb", buffering=0) as opened, open(target, "xb") as written:
            self._written.append(target)
            while chunk := opened.read(_CHUNK):
                go_on()
                content.update(chunk)
                written.write(chunk)
        os.chmod(target, stat.S_IMODE(os.stat(source).st_mode) | stat.S_IRUSR | stat.S_IWUSR)
        return content.digest()

    def _not_writable(self, error: OSError) -> InfrastructureError:
        reason = ReasonCode.NO_SPACE if error.errno == errno.ENOSPC else ReasonCode.OUTPUT_NOT_WRITABLE
        return InfrastructureError(reason, f"{self._called}: {error.strerror or error}.")


def _raise(error: OSError) -> None:
    raise error
