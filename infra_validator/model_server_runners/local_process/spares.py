"""The spare of this process: an embedded model server that has done its imports and waits for what it is to serve.

Importing this file is cheap: ``infra-validator validate`` does it before anything else.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from infra_validator.core.errors import InfrastructureError

if TYPE_CHECKING:  # few processes have one
    from infra_validator.model_server_runners.local_process.spare_process import SpareProcess

_EMBEDDED = (sys.executable, "-m", "infra_validator.embedded_server")
_WAITING = (sys.executable, "-m", "infra_validator.embedded_server.spare")

_lock = threading.Lock()
_spare: SpareProcess | None = None
_owner = 0  # the process that has started it; a forked child has nothing to do with it


def can_be(command: Sequence[str]) -> bool:
    """Whether a spare can be what this command starts."""
    return tuple(command) == _EMBEDDED


def take(environment: Mapping[str, str]) -> SpareProcess | None:
    """The spare, if there is one that is what would be started in this environment; else it is ended. It is the caller's."""
    global _spare
    with _lock:
        if _spare is None or _owner != os.getpid():
            return None
        spare, _spare = _spare, None
    if spare.fits(environment):
        return spare
    spare.close()
    return None


def start(environment: Mapping[str, str]) -> bool:
    """Start a spare in the background, unless there is one; returns whether it was.

    Args:
      environment: what the runner that is to have it will give its server.
    """
    global _spare, _owner
    from infra_validator.model_server_runners.local_process.spare_process import SpareProcess

    with _lock, contextlib.suppress(InfrastructureError):  # then the next one is started from nothing
        if _spare is not None and _owner == os.getpid():
            return False
        if not _owner:
            atexit.register(end)
        _spare, _owner = SpareProcess(_WAITING, environment), os.getpid()
        return True
    return False


def current() -> int:
    """The process id of the spare; 0 where there is none."""
    return _spare.process.pid if _spare is not None and _owner == os.getpid() else 0


def end() -> None:
    """End the spare. Called when the process ends."""
    global _spare
    with _lock:
        spare, _spare = _spare, None
    if spare is not None and _owner == os.getpid():
        spare.close()
