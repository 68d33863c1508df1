"""Through a proxy the probe goes with grpcio: a real HTTP CONNECT proxy on a socket, asked in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from component_tests.fakes.servers.model_status_server import AVAILABLE, ModelStatusServer, version


class ConnectProxy:
    """Takes CONNECT for any name to the same port of 127.0.0.1.

    Attributes:
      asked: the first line of every request.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.asked: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += client.recv(4096)
        self.asked.append(request.split(b"\r\n")[0].decode())
        port = int(self.asked[-1].split()[1].rpartition(":")[2])
        with client, socket.create_connection(("127.0.0.1", port)) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while octets := source.recv(65536):
            target.sendall(octets)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # one side went away


@pytest.fixture
def proxy() -> Iterator[ConnectProxy]:
    proxy = ConnectProxy()
    yield proxy
    proxy.close()


def probe(address: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    others = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    return subprocess.run(
        [sys.executable, "-m", "infra_validator.probe", f"-addr={address}", "-model-name=m", "-connect-timeout=20s"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**others, **environment},
        check=False,
    )


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "grpc_proxy"])
def test_a_name_is_asked_through_the_proxy(proxy: ConnectProxy, variable: str) -> None:
    with ModelStatusServer() as server:
        server.models["m"] = [version(1, AVAILABLE)]
        done = probe(f"tfs.invalid:{server.port}", {variable: f"http://127.0.0.1:{proxy.port}"})
        assert done.returncode == 0, done.stderr
        assert proxy.asked == [f"CONNECT tfs.invalid:{server.port} HTTP/1.1"]


def test_this_machine_is_never_asked_through_it(proxy: ConnectProxy) -> None:
    with ModelStatusServer() as server:
        server.models["m"] = [version(1, AVAILABLE)]
        assert probe(f":{server.port}", {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}"}).returncode == 0
        assert proxy.asked == []
