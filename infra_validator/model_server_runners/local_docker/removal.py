"""Removes everything of one run from a daemon behind a Unix socket: ``python -I -S removal.py SOCKET RUN_LABEL``, in the background.

The watchdog runs it when the validator was killed. It needs the standard library only: on a busy machine importing the docker library
alone takes longer than the left-overs of a killed validator may live. Daemons reached in other ways are cleaned with that library
(``leftovers.remove_run``).
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import time
import urllib.parse
from typing import Any

SWEEP_SECONDS = 1.5  # a container that was just being created when its maker was killed shows up later
SWEEP_PAUSE = 0.05
GOES_ON_SECONDS = 120.0  # a busy daemon, or one that is being restarted, takes its time
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


def remove_labelled(path: str, label: str) -> int:
    """Remove what bears ``label`` now: containers, then volumes. Returns how many there were."""
    filters = json.dumps({"label": [label]})
    containers = ask(path, "GET", "/containers/json", all="1", filters=filters)
    for container in containers:
        ask(path, "DELETE", f"/containers/{container['Id']}", force="1", v="1")
    volumes = ask(path, "GET", "/volumes", filters=filters)["Volumes"] or []
    for volume in volumes:
        ask(path, "DELETE", f"/volumes/{volume['Name']}", force="1")
    return len(containers) + len(volumes)


def main() -> None:
    path, label = sys.argv[1:]
    if os.fork():  # a watchdog gives a command ten seconds
        os._exit(0)
    os.setsid()
    give_up = time.monotonic() + GOES_ON_SECONDS
    end = time.monotonic() + SWEEP_SECONDS
    while time.monotonic() < min(end, give_up):
        try:
            found = remove_labelled(path, label)
        except (OSError, ValueError, http.client.HTTPException):
            found = 1  # nobody is left to be told; the next sweep tries again
        if found:
            end = time.monotonic() + SWEEP_SECONDS
        time.sleep(SWEEP_PAUSE)


if __name__ == "__main__":
    main()
