"""A process that cannot start a thread, as in a container whose limit of processes is reached."""

from __future__ import annotations

import sys

# A thread's stack is as large as the limit of the main one, and that is more than the process may have.
_LIMITS = (
    "import os, resource, sys; resource.setrlimit(resource.RLIMIT_STACK, (1 << 45, resource.RLIM_INFINITY)); "
    "resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40)); os.execv(sys.argv[1], sys.argv[1:])"
)


def without_threads(command: list[str]) -> list[str]:
    """The command line that runs ``command`` so."""
    return [sys.executable, "-c", _LIMITS, *command]
