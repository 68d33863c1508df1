"""Networks of their own for validators, links of containers, and small disks: what can be cut or filled. Needs root and iproute2."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import pathlib
import re
import subprocess
from collections.abc import Iterator

from component_tests.real_platforms.docker_images import build
from infra_validator.core.deadline import Deadline, wait_until

_SECONDS = 60.0


class Network:
    """A network namespace with a loopback interface, which is up. A context manager.

    Attributes:
      within: a command that starts another one in it.
    """

    def __init__(self) -> None:
        # Whoever holds it ends with us, however we end.
        self._holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE)
        self._path = f"/proc/{self._holder.pid}/ns/net"
        self.within = ("nsenter", f"--net={self._path}")

    def __enter__(self) -> Network:
        wait_until(
            lambda: os.readlink(self._path) != os.readlink("/proc/self/ns/net") or None, Deadline.after(_SECONDS)
        )
        _run(*self.within, "ip", "link", "set", "lo", "up")
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """It ends with the last process in it."""
        self._holder.communicate()

    def set(self, state: str) -> None:
        """``down``: nothing reaches anybody in it any more, and what is connected stays so. ``up``."""
        subprocess.run([*self.within, "ip", "link", "set", "lo", state], check=True)


class CabledNetwork(Network):
    """A network namespace that reaches this one over a cable. A context manager.

    Attributes:
      here: our address at the end of the cable.
    """

    def __init__(self) -> None:
        super().__init__()
        self._cable = f"iv{os.getpid()}"
        # Of the addresses for benchmarks four for each process.
        first = ipaddress.IPv4Address("198.18.0.0") + 4 * (os.getpid() % 2**15)
        self.here, self._there = str(first + 1), str(first + 2)

    def __enter__(self) -> CabledNetwork:
        super().__enter__()
        _run("ip", "link", "add", self._cable, "type", "veth", "peer", "name", "iv0", "netns", str(self._holder.pid))
        for within, address, end in (((), self.here, self._cable), (self.within, self._there, "iv0")):
            _run(*within, "ip", "address", "add", f"{address}/30", "dev", end)
            _run(*within, "ip", "link", "set", end, "up")
        return self

    def close(self) -> None:
        subprocess.run(["ip", "link", "delete", self._cable], check=True)
        super().close()

    def set(self, state: str) -> None:
        """``down``: the cable is out at our end, which the other end does not see. ``up``."""
        _run("ip", "link", "set", self._cable, state)


def link_of(container: str) -> str:
    """The host's end of a container's link to the bridge."""
    pid = build.docker("inspect", "-f", "{{.State.Pid}}", container).strip()
    inside = _run("nsenter", f"--net=/proc/{pid}/ns/net", "ip", "-o", "link", "show", "eth0")
    number = re.search(r"eth0@if(\d+)", inside)
    assert number, inside
    found = re.search(rf"^{number[1]}: ([^@:]+)", _run("ip", "-o", "link"), re.MULTILINE)
    assert found, f"the daemon's network is not ours: no link {number[1]}"
    return found[1]


@contextlib.contextmanager
def small_disk(directory: pathlib.Path, *options: str) -> Iterator[pathlib.Path]:
    """A disk of 4 MiB in the new ``directory``."""
    directory.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", ",".join(("size=4m", "mode=1777", *options)), "tmpfs", str(directory)],
        check=True,
    )
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def fill(directory: pathlib.Path) -> None:
    """Fill the disk of ``directory`` by its file ``filler``."""
    with open(directory / "filler", "wb", buffering=0) as filler, contextlib.suppress(OSError):
        while filler.write(b"x" * 65536):
            pass


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
