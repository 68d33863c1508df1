"""Servers that misbehave on purpose, each in one way, for the contract tests of runners. The standard library only.

    python misbehaving_server.py MODE [--port=8500] [--bind_address=127.0.0.1] [--port_file=PATH]

Other ``--flags`` are ignored. ``MODES`` says what each mode does. With ``--port_file`` a free port is taken and written there. For
platforms that have images, copy the file into one with Python.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NoReturn

MODES = {
    "good": "listens, and takes connections",
    "exits_0": "exits with 0 at once",
    "exits_1": "says why and exits with 1",
    "segfault": "dies by SIGSEGV",
    "mute": "runs, never listens and tells no port",
    "ignores_sigterm": "is good, and ignores SIGTERM",
    "forks": "is good, with children that ignore SIGTERM: one in its group, one in a session of its own",
    "leaves_children": "starts such children and exits with 0",
}

#: What a server says once it answers, and what exits_1 and segfault say.
ANSWERS, COMPLAINS, CRASHES = "Running gRPC ModelServer", "cannot go on: the moon is full", "about to crash"


class Flags:
    """The flags that mean something here."""

    def __init__(self, arguments: list[str]) -> None:
        given = dict(item[2:].partition("=")[::2] for item in arguments if item.startswith("--") and "=" in item)
        self.address = given.get("bind_address", "0.0.0.0")
        self.port = int(given.get("port", "0" if "port_file" in given else "8500"))
        self.rest_port = int(given.get("rest_api_port", "8501"))
        self.port_file = given.get("port_file", "")
        self.model_base_path = given.get("model_base_path", "")

    def tell_port(self, port: int) -> None:
        """Write the port to the port file, if one is named."""
        if not self.port_file:
            return
        with open(f"{self.port_file}.new", "w") as file:
            json.dump({"grpc": port, "rest": 0, "pid": os.getpid()}, file)
        os.replace(f"{self.port_file}.new", self.port_file)


def say(text: str) -> None:
    """Write a line to the error output."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def sleep_for_good() -> NoReturn:
    while True:
        time.sleep(3600)


def listen(flags: Flags) -> socket.socket:
    """A listening socket, whose port is told."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((flags.address, flags.port))
    server.listen(64)
    flags.tell_port(server.getsockname()[1])
    return server


def good(flags: Flags) -> None:
    with listen(flags) as server:
        say(f"{ANSWERS} at {flags.address}:{server.getsockname()[1]} ...")
        while True:
            server.accept()[0].close()


def exits_0(flags: Flags) -> None:
    sys.exit(0)


def exits_1(flags: Flags) -> None:
    say(COMPLAINS)
    sys.exit(1)


def segfault(flags: Flags) -> None:
    say(CRASHES)
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGSEGV)


def mute(flags: Flags) -> None:
    sleep_for_good()


def ignores_sigterm(flags: Flags) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    good(flags)


def start_children() -> None:
    """Children that ignore SIGTERM: one in this process group, one in a session of its own."""
    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(120)"
    for own_session in (False, True):
        child = subprocess.Popen([sys.executable, "-c", program], start_new_session=own_session)
        say(f"child {child.pid}")


def forks(flags: Flags) -> None:
    start_children()
    good(flags)


def leaves_children(flags: Flags) -> None:
    start_children()
    os._exit(0)


def main() -> None:
    mode = sys.argv[1] if len(sys.argv) > 1 else ""
    if mode not in MODES:
        sys.exit(f"usage: misbehaving_server.py MODE [--flag=value ...]; modes: {', '.join(MODES)}")
    behave: Callable[[Flags], None] = globals()[mode]
    behave(Flags(sys.argv[2:]))


if __name__ == "__main__":
    main()
