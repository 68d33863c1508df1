"""Whether files are at the end of a validation what they were at its beginning, and the digests of models, read meanwhile.

What the operating system tells of a file (identity, size, times of change) is taken before the server starts; the content is read
beside the start. At the end a file of which all that is the same is the same; one that was touched is read again. Times have a
granularity: a file that was written just before the beginning is read again in any case, as git does with its index.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping

from infra_validator.core.errors import AttemptFailed, InfrastructureError
from infra_validator.saved_model.digest import content_of, contents, digest_of, model_files

_GRANULARITY = 2_000_000_000  # nanoseconds; the coarsest time stamps of common file systems

_Stamp = tuple[int, int, int, int, int]


_NICENESS = 10  # added for the threads that read, so that the server that starts beside them has the processors first


class _Stopped(Exception):
    """The content is not needed any more."""


class Unchanged:
    """Looks at a model and other files twice.

    Args:
      model: the SavedModel directory; empty if it is not on this machine.
      others: what messages call another file -> its path; only regular files that exist count.
      baseline: the SavedModel directory of the model that it is compared with; empty if there is none on this machine.

    Raises:
      InfrastructureError: a model cannot be read.
    """

    def __init__(self, model: str, others: Mapping[str, str], baseline: str = "") -> None:
        self._model = model
        self._baseline = baseline
        self._others = dict(others)
        self._taken_at = time.time_ns()
        self._of_models = self._in_models()
        self._files = self._called(self._of_models)
        self._before = {path: _stamp(path) for path in self._files.values()}
        self._content: dict[str, bytes] = {}
        self._problem: InfrastructureError | AttemptFailed | None = None
        self._moved: list[str] = []
        self._stopping = threading.Event()
        self._read = threading.Event()
        self._on_read: Callable[[], None] = lambda: None
        threading.Thread(target=self._read_all, name="digest", daemon=True).start()

    def when_read(self, call: Callable[[], None]) -> None:
        """Have ``call`` called, in another thread or now, once everything is read."""
        self._on_read = call
        if self._read.is_set():
            call()

    @property
    def read(self) -> bool:
        """Whether everything is read."""
        return self._read.is_set()

    def close(self) -> None:
        """Read no more."""
        self._stopping.set()

    def __enter__(self) -> Unchanged:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def digest(self) -> str:
        """The model's digest (saved_model/digest.py). Called once everything is read.

        Raises:
          InfrastructureError: a model could not be read.
        """
        return self._digest(self._model)

    def baseline_digest(self) -> str:
        """The baseline's, likewise; empty if there is none."""
        return self._digest(self._baseline) if self._baseline else ""

    def _digest(self, model: str) -> str:
        if self._problem is not None:
            raise self._problem
        return digest_of({name: self._content[path] for name, path in self._of_models.get(model, {}).items()})

    def what_changed(self) -> str:
        """Which file is not what it was; empty if none is. May be called before everything is read, and is then a little stricter."""
        try:
            now = self._called(self._in_models())
        except (InfrastructureError, AttemptFailed) as error:
            return f"{self._model or 'a file'}: {error.detail}"
        for name in sorted(self._files.keys() ^ now.keys()):
            return f"{name} {'is gone' if name in self._files else 'is new'}"
        for name, path in sorted(now.items()):
            if path in self._moved or self._is_another(path):
                return f"{name} has another content"
        return ""

    def _is_another(self, path: str) -> bool:
        before = self._before[path]
        if _stamp(path) == before and self._taken_at - max(before[3:]) > _GRANULARITY:
            return False
        known = self._content.get(path)
        if known is None:  # never read: its stamp is all that is known of it
            return _stamp(path) != before
        try:
            return content_of(path) != known
        except (InfrastructureError, AttemptFailed):
            return True

    def _in_models(self) -> dict[str, dict[str, str]]:
        """Model -> name -> path of each of its files, now."""
        return {model: model_files(model) for model in (self._model, self._baseline) if model}

    def _called(self, of_models: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
        """What messages call each file -> its path."""
        files = {f"{model}/{name}": path for model, of_model in of_models.items() for name, path in of_model.items()}
        return files | {f"{name} ({path})": path for name, path in self._others.items() if os.path.isfile(path)}

    def _read_all(self) -> None:
        _stand_back()
        try:
            self._content = contents({path: path for path in self._files.values()}, self._read_one)
        except (InfrastructureError, AttemptFailed) as error:
            self._problem = error
        except _Stopped:
            return
        finally:
            self._read.set()
            self._on_read()

    def _read_one(self, path: str) -> bytes:
        content = content_of(path, self._go_on)
        if _stamp(path) != self._before[path]:
            self._moved.append(path)  # nobody knows which of its contents the server read
        return content

    def _go_on(self) -> None:
        if self._stopping.is_set():
            raise _Stopped()


def _stamp(path: str) -> _Stamp:
    """What tells one content of a file from another without reading it; zeros if there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # opening has network file systems ask their server
        try:
            found = os.fstat(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        return (0, 0, 0, 0, 0)
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _stand_back() -> None:
    """Lower the priority of this thread and of those that it starts; only Linux has that for threads."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            thread = threading.get_native_id()
            niceness = os.getpriority(os.PRIO_PROCESS, thread) + _NICENESS
            os.setpriority(os.PRIO_PROCESS, thread, min(19, niceness))
