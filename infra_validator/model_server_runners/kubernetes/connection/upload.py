"""Sends a model through the API server: a tar archive over ``exec`` into an init container that waits for it.

The archive is made while it is sent; nothing is written to this machine's disk. Its length is known beforehand and told to the other side,
because the older exec protocol (``v4.channel.k8s.io``) cannot close the standard input, and tar would wait for its end for good.
"""

from __future__ import annotations

import json
import select
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Protocol

from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_runners.kubernetes.api.stream import WebSocket
from infra_validator.model_server_runners.kubernetes.causes import UPLOAD_CONTAINER
from infra_validator.saved_model.archive import Archive

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_STDIN, _STDOUT, _STDERR, _ERROR = 0, 1, 2, 3
_BINARY, _CLOSE = 2, 8  # WebSocket opcodes
_CHUNK = 256 * 1024
_SILENCE_SECONDS = 60.0  # a peer that takes nothing for this long is gone
_PROGRESS_SECONDS = 5.0

#: $0 directory, $1 length, $2 marker. As the container's own user: the owners in the archive mean nothing there.
_RECEIVE = 'set -e; mkdir -p "$0"; head -c "$1" | tar -xof - -C "$0"; : > "$2"'


def exec_query(length: int, directory: str, marker: str) -> str:
    """The query of the exec call.

    Args:
      length: the archive's length in bytes.
      directory: where it is unpacked in the container.
      marker: the file that is made when it is unpacked.
    """
    command = ["sh", "-c", _RECEIVE, directory, str(length), marker]
    streams = {"container": UPLOAD_CONTAINER, "stdin": "true", "stdout": "true", "stderr": "true", "tty": "false"}
    return urllib.parse.urlencode([*streams.items(), *(("command", part) for part in command)])


class StreamingApi(Protocol):
    """What is needed of api.client.KubernetesApi."""

    def websocket(
        self, path: str, query: str, protocols: tuple[str, ...], deadline: Deadline, what: str
    ) -> WebSocket: ...


def upload(
    api: StreamingApi,
    pod_path: str,
    archive: Archive,
    directory: str,
    marker: str,
    deadline: Deadline,
    check: Callable[[], None],
    on_progress: Callable[[str], None],
    on_bytes: Callable[[str, int, int], None],
) -> None:
    """Bring the archive into the init container of the pod that waits for it, and tell how long it took.

    Args:
      api: the API server.
      pod_path: the pod's path.
      archive, deadline, check, on_progress, on_bytes: as in ``send``.
      directory, marker: as in ``exec_query``.

    Raises:
      ApiError, ApiUnreachable: the stream could not be had.
      InfrastructureError: MODEL_NOT_DELIVERED, with the other side's words.
    """
    query = exec_query(archive.length, directory, marker)
    what = f"exec in pod {pod_path.rpartition('/')[2]}"
    stream = api.websocket(f"{pod_path}/exec", query, PROTOCOLS, deadline, what)
    try:
        seconds = send(archive, stream, deadline, check, on_progress, on_bytes)
    finally:
        stream.shutdown()
    rate = archive.model_bytes / 2**20 / max(seconds, 0.001)
    on_progress(f"Kubernetes: the model is there ({seconds:.1f} s, {rate:.0f} MiB/s).")


def send(
    archive: Archive,
    stream: WebSocket,
    deadline: Deadline,
    check: Callable[[], None],
    on_progress: Callable[[str], None],
    on_bytes: Callable[[str, int, int], None],
) -> float:
    """Send the archive and wait for the other side's word that it is unpacked.

    Args:
      archive: what is sent.
      stream: an open WebSocket with one of PROTOCOLS.
      deadline: bounds it all.
      check: called between chunks; raises to give up.
      on_progress: told how far it is, every few seconds.
      on_bytes: gets ``upload``, the bytes so far and in all, as they go.

    Returns:
      Seconds that it took.

    Raises:
      InfrastructureError: MODEL_NOT_DELIVERED, with the other side's words.
    """
    began = told = time.monotonic()
    answer = _Answer(stream)
    sent = 0
    try:
        for chunk in _whole_chunks(archive.chunks()):
            check()
            if deadline.expired():
                raise _failed(f"the time was over after {sent / 2**20:.0f} MiB")
            stream.settimeout(min(_SILENCE_SECONDS, max(0.001, deadline.remaining())))
            stream.send(b"\0" + chunk, _BINARY)
            sent += len(chunk)
            on_bytes("upload", sent, archive.length)
            answer.look(0.0)
            if answer.over:
                break
            now = time.monotonic()
            if now - told >= _PROGRESS_SECONDS:
                told = now
                on_progress(f"uploading the model: {sent / 2**20:.0f} of {archive.length / 2**20:.0f} MiB")
        while not answer.over:
            check()
            if deadline.expired():
                raise _failed("the pod did not say that it is unpacked")
            answer.look(min(0.2, deadline.remaining()))
    except InfrastructureError:
        raise
    except Exception as error:  # the library's, the socket's
        raise _failed(f"the stream broke after {sent / 2**20:.1f} MiB: {type(error).__name__}: {error}") from error
    answer.check()
    return time.monotonic() - began


def _whole_chunks(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Many small parts as few large ones: every WebSocket frame costs."""
    held: list[bytes] = []
    size = 0
    for part in parts:
        held.append(part)
        size += len(part)
        if size >= _CHUNK:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


class _Answer:
    """What comes back from the command in the pod.

    Attributes:
      over: whether the command has ended or the stream was closed.
    """

    def __init__(self, stream: WebSocket) -> None:
        self._stream = stream
        self._said = b""
        self._status = b""
        self.over = False

    def look(self, seconds: float) -> None:
        """Take what has come, waiting for at most ``seconds`` if nothing has."""
        pending = getattr(self._stream.sock, "pending", None)
        while not self.over and ((pending and pending()) or select.select([self._stream.sock], [], [], seconds)[0]):
            opcode, data = self._stream.recv_data()
            seconds = 0.0
            if opcode == _CLOSE:
                self.over = True
            elif data and data[0] in (_STDOUT, _STDERR):
                self._said = (self._said + data[1:])[-2000:]
            elif data and data[0] == _ERROR and len(data) > 1:
                self._status, self.over = data[1:], True

    def check(self) -> None:
        """Raise unless the command said that it succeeded."""
        try:
            status = json.loads(self._status or b"{}")
        except ValueError:
            status = {}
        if status.get("status") == "Success":
            return
        said = " ".join(self._said.decode("utf-8", "replace").split())
        words = status.get("message") or "the stream was closed before the pod had the model"
        raise _failed(f"{words}{': ' + said if said else ''}")


def _failed(detail: str) -> InfrastructureError:
    return InfrastructureError(ReasonCode.MODEL_NOT_DELIVERED, f"The upload failed: {detail}.")
