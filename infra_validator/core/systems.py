"""Which operating systems the package is for, and the sentence that a user of another one gets.

Linux: everything. macOS: what needs neither ``/proc`` nor TensorFlow's C library for Linux, that is specs, reports, the probe, clients,
and validation in containers and pods. Docker Desktop's Linux machine runs the servers there. Windows: nothing; use WSL 2.
"""

from __future__ import annotations

import sys

LINUX = ("linux",)
LINUX_AND_MACOS = ("linux", "darwin")

_NAMES = {"linux": "Linux", "darwin": "macOS", "win32": "Windows"}


def why_not_here(what: str, systems: tuple[str, ...], system: str = sys.platform) -> str:
    """One sentence that says where ``what`` runs; empty if it runs here.

    Args:
      what: begins the sentence, e.g. ``The platform local_process``.
      systems: names as ``sys.platform`` has them.
      system: the name of this system.
    """
    if system in systems:
        return ""
    places = " and ".join(_NAMES[name] for name in systems)
    return f"{what} runs on {places}; this is {_NAMES.get(system, system)}."
