"""How the embedded model server is started as a process. Importing this file is cheap."""

from __future__ import annotations

import os
import sys

COMMAND = (sys.executable, "-m", "infra_validator.embedded_server")


def environment() -> dict[str, str]:
    """What its environment has besides what every local server's has."""
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return {
        "TF_CPP_MIN_LOG_LEVEL": "0",
        "PYTHONPATH": search_path(package, os.environ.get("PYTHONPATH", "")),
        "PYTHONSAFEPATH": "1",  # a numpy.py in the directory we were called from is not meant
    }


def search_path(package: str, own: str) -> str:
    """``own`` (a PYTHONPATH) with the directory that holds this package: before it, unless all that is installed lies there, too."""
    places = [package, own]
    if os.path.basename(package) in ("site-packages", "dist-packages"):
        places.reverse()
    return os.pathsep.join(filter(None, places))
