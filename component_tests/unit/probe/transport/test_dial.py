"""The dial over real sockets: several addresses of one name, dead ones among them, lookups that hang."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from component_tests.fakes.servers.raw_http2_server import RawHttp2Server
from component_tests.fakes.without_threads import without_threads
from infra_validator.probe import command
from infra_validator.probe.settings import Settings
from infra_validator.probe.transport import dial
from infra_validator.probe.transport.address import parse_address

LOOPBACK = "127.0.0.1"


@contextlib.contextmanager
def refused() -> Iterator[int]:
    """A port that is bound and does not listen."""
    with socket.socket() as held:
        held.bind((LOOPBACK, 0))
        yield held.getsockname()[1]


@contextlib.contextmanager
def deaf() -> Iterator[int]:
    """A port that does not answer to connection requests: its queue of connections is full."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind((LOOPBACK, 0))
        listener.listen(0)
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(listener.getsockname())
        yield listener.getsockname()[1]


def names(monkeypatch: pytest.MonkeyPatch, *ports: int) -> None:
    """Every name stands for these ports of the loopback address, in this order."""

    def getaddrinfo(*_: Any, flags: int = 0, **__: Any) -> list[Any]:
        if flags:
            raise socket.gaierror("not a number")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (LOOPBACK, port)) for port in ports]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def connect(seconds: float = 30) -> None:
    dial.dial(parse_address("several:1"), Settings(), time.monotonic() + seconds).close()


def test_a_dead_first_address_does_not_hide_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    with deaf() as dead, RawHttp2Server("good") as server:
        names(monkeypatch, dead, server.port)
        connect()


def test_a_refused_first_address_does_not_hide_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    with refused() as first, RawHttp2Server("good") as server:
        names(monkeypatch, first, server.port)
        connect()


@pytest.mark.parametrize("mode", ["closes_at_once", "http1"])
def test_a_first_address_that_is_something_else_does_not_hide_the_second(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawHttp2Server(mode) as other, RawHttp2Server("good") as server:
        names(monkeypatch, other.port, server.port)
        connect()


def test_all_dead_ends_by_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    with deaf() as first, deaf() as second:
        names(monkeypatch, first, second)
        with pytest.raises(
            dial.DialError, match=r"context deadline exceeded .last try: several:1: no answer to the connection request"
        ):
            connect(0.5)


def test_all_refused_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with refused() as first, refused() as second:
        names(monkeypatch, first, second)
        with pytest.raises(dial.DialError, match="several:1: Connection refused"):
            connect(0.3)


def test_a_lookup_that_hangs_ends_by_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def getaddrinfo(*_: Any, flags: int = 0, **__: Any) -> list[Any]:
        if not flags:
            over.wait(60)
        raise socket.gaierror("no answer")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(dial.DialError, match="looking up several takes too long"):
        connect(0.2)
    over.set()


@pytest.mark.parametrize(
    ("transport", "words"),
    [
        ("own", "no thread could be started to look up name.invalid (can't start new thread)"),
        ("grpcio", "no thread can be started (can't start new thread)"),
    ],
)
def test_no_thread_to_be_had_is_no_connection(transport: str, words: str) -> None:
    command = [sys.executable, "-m", "infra_validator.probe", "-addr=name.invalid:1", "-connect-timeout=200ms"]
    command.append(f"-transport={transport}")
    done = subprocess.run(without_threads(command), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["no-such-host.invalid", "ex\u00e4mple.invalid", "x" * 70, "a..b", "\udcff"])
def test_names_that_do_not_resolve(name: str) -> None:
    with pytest.raises(dial.DialError, match=r"context deadline exceeded .last try: "):
        dial.dial(parse_address(f"{name}:1"), Settings(), time.monotonic() + 0.3)


def test_a_unix_socket_that_is_no_socket(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "none", tmp_path):
        with pytest.raises(dial.DialError, match="last try"):
            dial.dial(parse_address(f"unix:{path}"), Settings(), time.monotonic() + 0.1)


def test_the_console_script_is_declared() -> None:
    declared = (pathlib.Path(__file__).parents[4] / "pyproject.toml").read_text()
    assert 'tfs_model_status_probe = "infra_validator.probe.command:entry"' in declared
    assert callable(command.entry)
