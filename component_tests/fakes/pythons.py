"""The Python interpreters of this machine, by version."""

from __future__ import annotations

import functools
import glob
import os
import pathlib
import subprocess
import sys

VERSIONS = ("3.10", "3.11", "3.12", "3.13")


@functools.cache
def python_of(version: str) -> str | None:
    """An interpreter of this version that really runs (a pyenv shim may not); None if there is none."""
    home = pathlib.Path.home()
    name = f"python{version}"
    places = [os.path.join(folder, name) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    for pattern in (
        f"{os.environ.get('PYENV_ROOT') or home / '.pyenv'}/versions/{version}.*/bin/{name}",
        f"{home}/.local/share/uv/python/cpython-{version}*/bin/{name}",
        f"/usr/bin/{name}",
        f"/usr/local/bin/{name}",
    ):
        places += sorted(glob.glob(pattern), reverse=True)
    question = "import sys; print('%d.%d' % sys.version_info[:2])"
    for place in [*places, sys.executable]:
        try:
            done = subprocess.run([place, "-c", question], capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.stdout.strip() == version:
            return place
    return None
