"""Removes everything of one run from a daemon behind a Unix socket: ``python -I -S removal.py SOCKET RUN_LABEL``.

The watchdog runs it when the validator was killed. It needs the standard library only: on a busy machine importing the docker library
alone takes longer than the left-overs of a killed validator may live. Daemons reached in other ways are cleaned with that library
(``leftovers.remove_run``).
"""

from __future__ import annotations

import http.client
import json
import socket
import sys
import time
import urllib.parse
from typing import Any

SWEEP_SECONDS = 1.5  # a container that was just being created when its maker was killed shows up later
SWEEP_PAUSE = 0.05
_CALL_SECONDS = 8.0


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_CALL_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(path: str, method: str, target: str, **query: str) -> Any:
    """One call of the daemon's API; its answer as JSON, None if it has none."""
    connection = _UnixConnection(path)
    try:
        connection.request(method, f"{target}?{urllib.parse.urlencode(query)}")
        body = connection.getresponse().read()
        return json.loads(body) if body else None
    finally:
        connection.close()


def remove_labelled(path: str, label: str) -> None:
    """Remove what bears ``label`` now: containers, then volumes."""
    filters = json.dumps({"label": [label]})
    for container in ask(path, "GET", "/containers/json", all="1", filters=filters):
        ask(path, "DELETE", f"/containers/{container['Id']}", force="1", v="1")
    for volume in ask(path, "GET", "/volumes", filters=filters)["Volumes"] or []:
        ask(path, "DELETE", f"/volumes/{volume['Name']}", force="1")


def main() -> None:
    path, label = sys.argv[1:]
    end = time.monotonic() + SWEEP_SECONDS
    while True:
        try:
            remove_labelled(path, label)
        except (OSError, ValueError, http.client.HTTPException):
            pass  # nobody is left to be told; the next sweep tries again
        if time.monotonic() > end:
            return
        time.sleep(SWEEP_PAUSE)


if __name__ == "__main__":
    main()
