"""exec and port-forward of the fake cluster, over WebSocket channels and SPDY streams, into real processes and ports."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import subprocess
import threading
from collections.abc import Callable
from email.message import Message
from typing import IO, TYPE_CHECKING, Any, Protocol

from component_tests.fakes.kubernetes_api.cluster import Refused
from component_tests.fakes.kubernetes_api.spdy import FORWARD_PROTOCOL, TUNNEL, UPGRADE, Session, Stream
from component_tests.fakes.kubernetes_api.websocket_frames import BINARY, CLOSE, Frames, accept_key

if TYPE_CHECKING:
    from component_tests.fakes.kubernetes_api.cluster import FakeCluster
    from component_tests.fakes.kubernetes_api.kubelet import PodProcess

EXEC_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
FORWARD_PROTOCOLS = (TUNNEL, "v4.channel.k8s.io")
STDIN, STDOUT, STDERR, ERROR, CLOSE_CHANNEL = 0, 1, 2, 3, 255


def protocols(cluster: FakeCluster, kind: str) -> tuple[str, ...]:
    """What a WebSocket for exec or port-forward may carry: v5 of exec came with 1.30, the tunnel of SPDY with 1.31."""
    known, since = (EXEC_PROTOCOLS, 30) if kind == "exec" else (FORWARD_PROTOCOLS, 31)
    return known if cluster.minor >= since else known[1:]


def spdy_headers(asked: Message, kind: str) -> dict[str, str]:
    """The headers of the answer that switches to SPDY. Of exec's protocols v4 is the newest there."""
    known = EXEC_PROTOCOLS[1] if kind == "exec" else FORWARD_PROTOCOL
    offered = {one.strip() for line in asked.get_all("X-Stream-Protocol-Version") or () for one in line.split(",")}
    if known not in offered:
        raise Refused(403, "Forbidden", "unable to upgrade: unable to negotiate protocol")
    return {"Upgrade": UPGRADE, "X-Stream-Protocol-Version": known}


def websocket_headers(asked: Message, known: tuple[str, ...]) -> dict[str, str]:
    """The headers of the answer that switches to a WebSocket with the first of ``known`` that the client speaks too."""
    key = asked.get("Sec-WebSocket-Key")
    if "websocket" not in asked.get("Upgrade", "").lower() or not key:
        raise Refused(400, "BadRequest", "Upgrade request required")
    if asked.get("Sec-WebSocket-Version") != "13" or "upgrade" not in asked.get("Connection", "").lower():
        words = "websocket: unsupported version: 13 not found in 'Sec-Websocket-Version' header"
        raise Refused(400, "BadRequest", words)
    offered = [one.strip() for one in asked.get("Sec-WebSocket-Protocol", "").split(",")]
    protocol = next((one for one in known if one in offered), "")
    if not protocol:
        raise Refused(403, "Forbidden", "unable to upgrade: unable to negotiate protocol")
    return {"Upgrade": "websocket", "Sec-WebSocket-Accept": accept_key(key), "Sec-WebSocket-Protocol": protocol}


def check(cluster: FakeCluster, pod: dict[str, Any], kind: str, query: dict[str, list[str]], *, spdy: bool) -> None:
    """Raise the API server's refusal of a stream that makes no sense. Over SPDY each stream names its port."""
    name = pod["metadata"]["name"]
    if kind == "portforward":
        if not query.get("ports") and not spdy:
            raise Refused(400, "BadRequest", "you must specify at least 1 port")
        if pod["status"].get("phase") != "Running":
            words = f"unable to forward port because pod is not running. Current status={pod['status'].get('phase')}"
            raise Refused(400, "BadRequest", words)
        return
    container = query.get("container", [""])[0]
    statuses = [*(pod["status"].get("initContainerStatuses") or ()), *(pod["status"].get("containerStatuses") or ())]
    if not any(one["name"] == container and "running" in one["state"] for one in statuses):
        raise Refused(500, "InternalError", f'container not found ("{container}") in pod {name}')
    if not query.get("command"):
        raise Refused(400, "BadRequest", "you must specify at least 1 command to execute")


class Channels(Protocol):
    """What carries an exec: numbered channels, as in WebSocket frames."""

    def send(self, payload: bytes, opcode: int = BINARY) -> None: ...

    def receive(self) -> tuple[int, bytes]: ...


def run_exec(pod: PodProcess, query: dict[str, list[str]], frames: Channels, protocol: str) -> None:
    """Run a command in a container, its standard streams on the channels."""
    container = pod.containers[query["container"][0]]
    program = query["command"][0]
    command = container.command(query["command"], pod.ip)
    if command is None:
        words = f'exec failed: unable to start container process: exec: "{program}": executable file not found in $PATH: unknown'
        _send_status(frames, "Failure", f"error executing command in container: {words}", 126)
        with contextlib.suppress(OSError, ValueError):
            frames.send(b"\x03\xe8", CLOSE)
        return
    try:
        process = subprocess.Popen(
            [container.moved(part, pod.ip) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=container.root,
            start_new_session=True,
        )
    except OSError as error:
        _send_status(frames, "Failure", f"error executing command in container: {error}", 126)
        return
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    readers = [
        threading.Thread(target=_copy_out, args=(process.stdout, frames, STDOUT), daemon=True),
        threading.Thread(target=_copy_out, args=(process.stderr, frames, STDERR), daemon=True),
        threading.Thread(target=_copy_in, args=(process.stdin, frames, protocol, process), daemon=True),
    ]
    for reader in readers:
        reader.start()
    code = process.wait()
    for reader in readers[:2]:
        reader.join(5.0)
    process.stdout.close()
    process.stderr.close()
    with contextlib.suppress(OSError):
        process.stdin.close()
    with contextlib.suppress(OSError, ValueError):
        if code == 0:
            _send_status(frames, "Success", "", 0)
        else:
            _send_status(frames, "Failure", f"command terminated with non-zero exit code: exit status {code}", code)
        frames.send(b"\x03\xe8", CLOSE)


def _copy_out(source: IO[bytes], frames: Channels, channel: int) -> None:
    with contextlib.suppress(OSError, ValueError):
        frames.send(bytes([channel]))  # the real server opens each channel with an empty frame
        while data := source.read1(65536):  # type: ignore[attr-defined]
            frames.send(bytes([channel]) + data)


def _copy_in(target: IO[bytes], frames: Channels, protocol: str, process: subprocess.Popen[bytes]) -> None:
    """Standard input; only v5 can close it. A client that is gone ends the command."""
    with contextlib.suppress(OSError, ValueError):
        while True:
            opcode, data = frames.receive()
            if opcode == CLOSE:
                target.close()
                return
            if data and data[0] == CLOSE_CHANNEL and protocol.startswith("v5") and data[1:2] == bytes([STDIN]):
                target.close()
            elif data and data[0] == STDIN and not target.closed:
                target.write(data[1:])
                target.flush()


def _send_status(frames: Channels, status: str, message: str, code: int) -> None:
    body: dict[str, Any] = {"metadata": {}, "status": status}
    if status == "Failure":
        body.update(message=message, reason="NonZeroExitCode")
        body["details"] = {"causes": [{"reason": "ExitCode", "message": str(code)}]}
    frames.send(bytes([ERROR]) + json.dumps(body).encode())


class SpdyExec:
    """The channels of an exec as SPDY streams; the command runs once the client has opened all that it asked for."""

    def __init__(
        self,
        pod: PodProcess,
        query: dict[str, list[str]],
        read: Callable[[int], bytes],
        write: Callable[[bytes], object],
    ) -> None:
        self._pod = pod
        self._query = query
        self._session = Session(read, write, self._opened)
        kinds = {"stdin": STDIN, "stdout": STDOUT, "stderr": STDERR}
        asked = {kind: number for kind, number in kinds.items() if query.get(kind, [""])[0] in ("1", "true")}
        self._numbers = {"error": ERROR, **asked}
        self._channels: dict[int, Stream] = {}

    def run(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._session.run()

    def send(self, payload: bytes, opcode: int = BINARY) -> None:
        if opcode == CLOSE:
            for stream in self._channels.values():
                stream.close()
        elif payload[1:] and payload[0] in self._channels:
            self._channels[payload[0]].write(payload[1:])

    def receive(self) -> tuple[int, bytes]:
        stdin = self._channels.get(STDIN)
        data = stdin.received.get() if stdin is not None else b""
        return (BINARY, bytes([STDIN]) + data) if data else (CLOSE, b"")

    def _opened(self, stream: Stream) -> Callable[[], object]:
        number = self._numbers.get(stream.headers.get("streamtype", ""))
        if number is None or number in self._channels:
            raise ValueError("a stream that was not asked for, or is there")
        self._channels[number] = stream
        if len(self._channels) < len(self._numbers):
            return lambda: None
        return threading.Thread(target=self._execute, daemon=True).start

    def _execute(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            run_exec(self._pod, self._query, self, EXEC_PROTOCOLS[1])
            self.send(b"", CLOSE)


def run_forward(pod: PodProcess, port: int, frames: Frames, connection: socket.socket) -> None:
    """Carry bytes to a port of the pod; a port that is closed is told on the error channel."""
    for channel in (0, 1):
        frames.send(bytes([channel]) + port.to_bytes(2, "little"))
    try:
        target = socket.create_connection((pod.ip, pod.port(port)), timeout=5.0)
    except OSError as error:
        frames.send(b"\x01" + _unreachable(pod, port, error).encode())
        frames.send(b"\x03\xe8", CLOSE)
        return
    target.settimeout(None)
    with target:
        back = threading.Thread(target=_carry_back, args=(target, frames, connection), daemon=True)
        back.start()
        with contextlib.suppress(OSError):
            while True:
                opcode, data = frames.receive()
                if opcode == CLOSE:
                    break
                if data and data[0] == 0:
                    target.sendall(data[1:])
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)
        back.join(5.0)


def _carry_back(target: socket.socket, frames: Frames, connection: socket.socket) -> None:
    with contextlib.suppress(OSError, ValueError):
        while data := target.recv(65536):
            frames.send(b"\x00" + data)
        frames.send(b"\x03\xe8", CLOSE)
        select.select([connection], [], [], 1.0)
        connection.shutdown(socket.SHUT_RDWR)


def _unreachable(pod: PodProcess, port: int, error: OSError) -> str:
    return f"error forwarding port {port} to pod {pod.pod_name}, uid {pod.uid}: dial tcp4 127.0.0.1:{port}: {error}"


class SpdyForward:
    """Pairs the streams of one session by their request ID and carries each pair's bytes to the pod's port, as a node does."""

    def __init__(self, pod: PodProcess, read: Callable[[int], bytes], write: Callable[[bytes], object]) -> None:
        self._pod = pod
        self._session = Session(read, write, self._opened)
        self._waiting: dict[str, dict[str, Stream]] = {}

    def run(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._session.run()

    def _opened(self, stream: Stream) -> Callable[[], object]:
        port, kind = stream.headers.get("port", ""), stream.headers.get("streamtype", "")
        request = stream.headers.get("requestid", "")
        if not port.isdecimal() or not 0 < int(port) < 65536 or kind not in ("error", "data") or not request:
            raise ValueError("a stream that is no part of a port-forward")
        pair = self._waiting.setdefault(request, {})
        if kind in pair:
            raise ValueError(f"{kind} stream already assigned")
        pair[kind] = stream
        if len(pair) < 2:
            return lambda: None
        del self._waiting[request]
        return threading.Thread(target=self._carry, args=(pair["error"], pair["data"]), daemon=True).start

    def _carry(self, error: Stream, data: Stream) -> None:
        port = int(data.headers["port"])
        with contextlib.suppress(OSError, ValueError):
            try:
                target = socket.create_connection((self._pod.ip, self._pod.port(port)), timeout=5.0)
            except OSError as problem:
                error.write(_unreachable(self._pod, port, problem).encode())
            else:
                with target:
                    target.settimeout(None)
                    threading.Thread(target=_carry_in, args=(data, target), daemon=True).start()
                    with contextlib.suppress(ConnectionResetError):
                        while received := target.recv(65536):
                            data.write(received)
                    data.end()
            error.close()
            data.close()


def _carry_in(data: Stream, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while received := data.received.get():
            target.sendall(received)
        target.shutdown(socket.SHUT_RDWR if data.was_reset else socket.SHUT_WR)
