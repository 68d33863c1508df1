"""What stands around a Docker daemon in the tests: another daemon, a registry with a password, a TCP way to a daemon's socket."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import urllib.parse
from collections.abc import Iterator

import pytest

from component_tests.real_platforms.docker_images.build import docker
from infra_validator.core.deadline import Deadline, wait_until

USER, PASSWORD = "tester", "correct horse"


class OwnDaemon:
    """A second dockerd, for what nobody may do to the one that the other tests use.

    It lives in a network namespace of its own (two daemons in one take each other's bridge away), so its servers run but are
    not reached from here. Where it is to be restarted with what it runs, that is one that outlives it.

    Args:
      directory: where its log goes.
      data: the data root; a temporary directory unless it is named.
      arguments: more arguments of dockerd.
      within: a command that starts it in a network namespace.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        *,
        data: pathlib.Path | None = None,
        arguments: tuple[str, ...] = (),
        within: tuple[str, ...] = ("unshare", "--net"),
    ) -> None:
        # A socket's path is at most 107 bytes, and pytest's directories are long.
        self._run = pathlib.Path(tempfile.mkdtemp(prefix="iv-dockerd-", dir="/tmp"))
        self.url = f"unix://{self._run}/docker.sock"
        self._data = data or self._run / "data"
        self._arguments = arguments
        self._within = within
        self._log = directory / "dockerd.log"
        self._before = _mounts()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [
            *(*self._within, "dockerd", "--host", self.url, "--data-root", str(self._data)),
            *("--exec-root", f"{self._run}/exec", "--pidfile", f"{self._run}/docker.pid"),
            *self._arguments,
        ]
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_until(self._answers, Deadline.after(60))

    def stop(self) -> None:
        """SIGTERM; dockerd ends its containers first."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """SIGKILL; containers live on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            # Its containerd dies with it; where nobody collects the dead, the next dockerd would wait for it.
            (self._run / "exec/containerd/containerd.pid").unlink(missing_ok=True)

    def close(self) -> None:
        """Stop it with all that it runs, and remove its files."""
        if self._process is None or self._process.poll() not in (None, 0):
            self.start()  # it was killed: only a daemon can end what it had started
        for container in self.docker("ps", "-aq").split():
            self.docker("rm", "-f", container)
        self.stop()
        for place in reversed(_mounts()):  # after a kill the data root is one
            if place.startswith((str(self._run), str(self._data))) and place not in self._before:
                subprocess.run(["umount", "-l", place], check=False)
        shutil.rmtree(self._run, ignore_errors=True)

    def docker(self, *arguments: str) -> str:
        return docker("--host", self.url, *arguments)

    def take(self, image: str) -> None:
        """Copy an image from the daemon of the other tests."""
        with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as save:
            docker("--host", self.url, "load", stdin=save.stdout)

    def _answers(self) -> bool | None:
        if self._process is not None and self._process.poll() is not None:
            raise AssertionError(f"dockerd ended: {self._log.read_text()[-2000:]}")
        command = ["docker", "--host", self.url, "version"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0 or None


def _mounts() -> list[str]:
    """Where something is mounted, in the order in which it was."""
    return [line.split()[1] for line in pathlib.Path("/proc/self/mounts").read_text().splitlines()]


class Registry:
    """Debian's docker-registry on 127.0.0.1, with one user and a password.

    Attributes:
      host: ``127.0.0.1:PORT``.
      docker_config: a DOCKER_CONFIG directory that holds the password.
    """

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:  # docker-registry cannot say which port it chose
            free.bind(("127.0.0.1", 0))
            self.host = f"127.0.0.1:{free.getsockname()[1]}"
        self.docker_config = directory / "docker-config"

    def start(self) -> None:
        for program, package in (("docker-registry", "docker-registry"), ("htpasswd", "apache2-utils")):
            if shutil.which(program) is None:
                pytest.fail(f"{program} is not installed: apt-get install {package}", pytrace=False)
        self._directory.mkdir(parents=True, exist_ok=True)
        passwords = subprocess.run(["htpasswd", "-Bbn", USER, PASSWORD], capture_output=True, text=True, check=True)
        (self._directory / "htpasswd").write_text(passwords.stdout)
        (self._directory / "config.yml").write_text(
            f"""version: 0.1
log: {{level: error}}
storage:
  filesystem: {{rootdirectory: {self._directory}/storage}}
  delete: {{enabled: true}}
http: {{addr: {self.host}}}
auth:
  htpasswd: {{realm: tests, path: {self._directory}/htpasswd}}
"""
        )
        with open(self._directory / "registry.log", "ab") as log:
            command = ["docker-registry", "serve", str(self._directory / "config.yml")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_until(self._listens, Deadline.after(20))
        docker("--config", str(self.docker_config), "login", "-u", USER, "-p", PASSWORD, self.host)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def push(self, image: str, name: str) -> str:
        """Push a local image as ``HOST/name``; returns its digest. The local name is gone afterwards."""
        full = f"{self.host}/{name}"
        docker("tag", image, full)
        docker("--config", str(self.docker_config), "push", full)
        digests = docker("image", "inspect", "-f", '{{join .RepoDigests "\\n"}}', full).split()
        digest = next(d for d in digests if d.startswith(full.rpartition(":")[0] + "@")).partition("@")[2]
        self.forget(full, f"{full.rpartition(':')[0]}@{digest}")
        return digest

    @staticmethod
    def forget(*names: str) -> None:
        """Remove names of local images, if there are such."""
        for name in names:
            subprocess.run(["docker", "rmi", name], capture_output=True, check=False)

    def _listens(self) -> bool | None:
        host, _, port = self.host.partition(":")
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            return True
        return None


@contextlib.contextmanager
def over_tcp(url: str, certificates: pathlib.Path | None = None, longest_upload: int | None = None) -> Iterator[str]:
    """A TCP address on 127.0.0.1 behind which the daemon of a Unix socket answers.

    Args:
      url: the daemon's.
      certificates: a directory as DOCKER_CERT_PATH names it; then TLS is spoken, and clients must show a certificate.
      longest_upload: bytes of one connection that go on from a client to the daemon; what comes after them gets lost.
    """
    path = urllib.parse.urlsplit(url).path
    tls = None
    if certificates is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates / "ca.pem"))
        tls.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
        tls.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_serve, args=(server, path, tls, longest_upload), daemon=True).start()
        try:
            yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)


def make_certificates(directory: pathlib.Path) -> pathlib.Path:
    """A certificate for 127.0.0.1 that is its own authority, for both ends, laid out as DOCKER_CERT_PATH wants it."""
    directory.mkdir(parents=True, exist_ok=True)
    files = ("-keyout", str(directory / "key.pem"), "-out", str(directory / "cert.pem"))
    what = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *what, *files]
    subprocess.run(command, check=True, capture_output=True)
    shutil.copy(directory / "cert.pem", directory / "ca.pem")
    return directory


def _serve(server: socket.socket, path: str, tls: ssl.SSLContext | None, longest: int | None) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_relay, args=(client, path, tls, longest), daemon=True).start()


def _relay(client: socket.socket, path: str, tls: ssl.SSLContext | None, longest: int | None) -> None:
    if tls is not None:
        try:
            client = tls.wrap_socket(client, server_side=True)
        except OSError:
            client.close()
            return
    daemon = socket.socket(socket.AF_UNIX)
    daemon.connect(path)
    threading.Thread(target=_copy, args=(client, daemon, longest), daemon=True).start()
    _copy(daemon, client)


def _copy(source: socket.socket, target: socket.socket, longest: int | None = None) -> None:
    copied = 0
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            copied += len(data)
            if longest is None or copied <= longest:
                target.sendall(data)
    for end in (source, target):  # HTTP is over when one side is
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


def daemon_url() -> str:
    """The daemon that the tests use."""
    return os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
