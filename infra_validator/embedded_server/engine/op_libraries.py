"""Operations that TensorFlow's wheel lacks: those of packages whose operations the real server links in, and those of the user's own files.

The packages' Python is never imported: their shared libraries are found beside it and loaded through the C API.
"""

from __future__ import annotations

import contextlib
import glob
import importlib.util
import os
import struct
import threading
from collections.abc import Iterator

from infra_validator.embedded_server import log
from infra_validator.embedded_server.engine.c_api import Status, functions
from infra_validator.embedded_server.status import Code, StatusError

#: What TensorFlow Serving's binary links in besides TensorFlow (its BUILD file's SUPPORTED_TENSORFLOW_OPS): package -> its libraries.
_PACKAGES = {
    "tensorflow_text": ("python/ops/*.so", "python/metrics/*.so"),
    "tensorflow_decision_forests": ("tensorflow/ops/inference/inference.so",),
}

_LONGEST_WAIT = 10.0  # seconds that sessions at work may hold up a library; one that hangs holds it up no longer

_loaded: set[str] = set()
_loading = threading.Lock()


class SessionsAtWork:
    """Keeps sessions and the loading of libraries apart: a library registers its kernels while sessions look for theirs, and
    TensorFlow's registry can then wait for itself for good (its readers read again while a writer waits).

    A context manager around what a session does; any number of threads at once.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._count = 0
        self._library = False

    def __enter__(self) -> None:
        with self._changed:
            while self._library:
                self._changed.wait()
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._count -= 1
            if self._library:
                self._changed.notify_all()

    @contextlib.contextmanager
    def none(self, longest_wait: float = _LONGEST_WAIT) -> Iterator[None]:
        """Around the loading of a library: waits until nobody is at work, ``longest_wait`` seconds at most; who comes meanwhile waits."""
        with self._changed:
            self._library = True
            self._changed.wait_for(lambda: not self._count, longest_wait)
        try:
            yield
        finally:
            with self._changed:
                self._library = False
                self._changed.notify_all()


sessions_at_work = SessionsAtWork()


def load(path: str) -> None:
    """Load the operations and kernels of one shared library.

    Raises:
      StatusError: TensorFlow's code and text: there is no such file, or it was built for another TensorFlow; DATA_LOSS: it is cut off.
    """
    _check_whole(path)
    with Status() as status:
        functions().LoadLibrary(os.fsencode(path), status.pointer)


def _check_whole(path: str) -> None:
    """Refuse a library that lacks its end (half copied): the system's loader would kill the process with SIGBUS."""
    try:
        with open(path, "rb") as file:
            header = file.read(64)
            size = os.fstat(file.fileno()).st_size
    except OSError:
        return  # TensorFlow says what is the matter
    if len(header) < 64 or not header.startswith(b"\x7fELF\x02\x01"):
        return
    (sections,) = struct.unpack_from("<Q", header, 40)  # the table at the end: e_shoff, e_shentsize, e_shnum
    entry, count = struct.unpack_from("<HH", header, 58)
    if size < sections + entry * count:
        raise StatusError(Code.DATA_LOSS, f"{path}: the file is cut off: {size} bytes of {sections + entry * count}")


def loaded_packages() -> int:
    """How many libraries of packages were loaded so far, or tried in vain."""
    return len(_loaded)


def load_packages_for(error: StatusError, had: int) -> bool:
    """Load the libraries of the packages that are installed, if an operation was missing; only then, since they take their time.

    Args:
      error: why a model could not be loaded.
      had: ``loaded_packages()`` when its loading began.

    Returns:
      Whether there is anything now that was not there then: another try may succeed.
    """
    if "Op type not registered" not in error.message:
        return False
    with _loading:
        missing = [path for path in _installed() if path not in _loaded]
        if missing:
            with sessions_at_work.none():
                for path in missing:
                    _load_package(path)
        return len(_loaded) > had


def _load_package(path: str) -> None:
    try:
        load(path)
    except StatusError as problem:
        log.warning("load_library.cc", f"{path} cannot be loaded: {problem.message}")
    _loaded.add(path)


def _installed() -> list[str]:
    """The libraries of the packages that are there."""
    found = []
    for package, patterns in _PACKAGES.items():
        spec = importlib.util.find_spec(package)
        for directory in (spec.submodule_search_locations or []) if spec else []:
            for pattern in patterns:
                found += sorted(glob.glob(os.path.join(glob.escape(directory), pattern)))
    return found
