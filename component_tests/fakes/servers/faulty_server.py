"""A model server that is good (y = x / 2 + 2) until it reaches a phase, and then has a fault: the same program for every platform.

    python -m component_tests.fakes.servers.faulty_server --port=8500 --model_base_path=PATH [other flags of a real server]

The environment variable FAULTS names a directory. Its file ``plan`` holds ``PHASE FAULT``; when it gets to a phase, the server makes the
file ``PHASE.reached`` in it. The public port belongs to a relay, so faults of the wire are made of bytes, whatever gRPC would do.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from typing import Any

from component_tests.fakes.servers.half_plus_two import metadata, predict

#: In the order in which a server reaches them; a fault strikes before the call that shows the phase is answered.
PHASES = ("starting", "loading", "loaded", "querying", "answered", "stopping")

FAULTS = {
    "none": "it is good",
    "hold": "it stands still until the file go is there, then is good",
    "exit_0": "it exits with 0",
    "exit_1": "it exits with 1",
    "segv": "it dies by SIGSEGV",
    "oom": "it takes memory without end",
    "hang": "no call is answered any more",
    "slow": "each call takes a quarter of a second more",
    "garbage": "each connection gets random bytes and is closed",
    "half_open": "no connection carries anything any more, and none is closed",
    "cut_and_healed": "every connection is reset; the next ones are good",
    "log_flood": "32 MiB without a newline",
    "fd_exhaustion": "it has no descriptor left",
    "stop_and_continue": "SIGSTOP, and SIGCONT after half a second",
    "fork": "children that ignore SIGTERM, one in a session of its own",
}

_LONGEST_HOLD_SECONDS = 600.0

REQUESTS = 3  # after so many answers the next question is the last look


def say(text: str) -> None:
    with contextlib.suppress(OSError):  # a log that cannot be written ends no server
        print(text, file=sys.stderr, flush=True)


class Relay:
    """Takes connections on the public port and carries them to the server behind it, or does something else with them."""

    def __init__(self, port: int) -> None:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._address = next((a.partition("=")[2] for a in sys.argv if a.startswith("--bind_address=")), "0.0.0.0")
        self._listener.bind((self._address, port))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.mode = "good"
        self.behind = 0

    def start(self, behind: int) -> None:
        self.behind = behind
        self._listener.listen(64)
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # no descriptor left
                time.sleep(0.05)
                continue
            try:
                self._carry(client)
            except OSError:
                client.close()

    def _carry(self, client: socket.socket) -> None:
        if self.mode == "garbage":
            self._spoil(client)
            return
        with self._lock:
            self._open.add(client)
        if self.mode == "half_open":
            return
        server = socket.create_connection(("127.0.0.1", self.behind))
        with self._lock:
            self._open.add(server)
        for source, target in ((client, server), (server, client)):
            threading.Thread(target=self._copy, args=(source, target), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                while self.mode == "half_open":
                    time.sleep(3600)
                if self.mode == "garbage":
                    break
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _spoil(self, client: socket.socket) -> None:
        try:
            client.sendall(os.urandom(4096))
        except OSError:
            pass
        client.close()

    def spoil_all(self) -> None:
        self.mode = "garbage"
        self._each(self._spoil)

    def reset_all(self) -> None:
        def reset(connection: socket.socket) -> None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.shutdown(socket.SHUT_RDWR)  # wakes who reads it, and would hold it open
            connection.close()

        self._each(reset)

    def _each(self, what: Any) -> None:
        with self._lock:
            connections, self._open = list(self._open), set()
        for connection in connections:
            try:
                what(connection)
            except OSError:
                pass


class FaultyServer:
    """Counts what it is asked, and has its fault at its phase."""

    def __init__(self, directory: pathlib.Path, model_base_path: str, port: int) -> None:
        self._directory = directory
        self._phase, self._fault = (directory / "plan").read_text().split()
        self._metadata = metadata(model_base_path, "m")
        self._relay = Relay(port)
        self._struck = False
        self._hung = threading.Event()
        self._pause = 0.0
        self._available = False
        self._answered = 0
        self._lock = threading.Lock()
        self._kept: list[Any] = []

    def at(self, phase: str) -> None:
        """A phase is reached: its fault strikes, once."""
        with self._lock:
            with contextlib.suppress(OSError):  # no descriptor left
                (self._directory / f"{phase}.reached").touch()
            if phase == self._phase and not self._struck:
                self._struck = True
                getattr(self, self._fault)()
        if self._hung.is_set():
            time.sleep(3600)
        time.sleep(self._pause)

    # ------------------------------------------------------------ the faults

    def none(self) -> None:
        pass

    def hold(self) -> None:
        given_up = time.monotonic() + _LONGEST_HOLD_SECONDS
        while not (self._directory / "go").exists():
            if time.monotonic() > given_up:  # whoever ran the test is dead
                os._exit(3)
            time.sleep(0.01)

    def exit_0(self) -> None:
        os._exit(0)

    def exit_1(self) -> None:
        say("cannot go on: the moon is full")
        os._exit(1)

    def segv(self) -> None:
        ctypes.string_at(0)  # a real one: a signal that it sends itself would not end the first process of a container

    def oom(self) -> None:
        while True:
            self._kept.append(bytearray(b"x" * 2**24))
            time.sleep(0.005)

    def hang(self) -> None:
        self._hung.set()

    def slow(self) -> None:
        self._pause = 0.25

    def garbage(self) -> None:
        self._relay.spoil_all()

    def half_open(self) -> None:
        self._relay.mode = "half_open"

    def cut_and_healed(self) -> None:
        self._relay.reset_all()

    def log_flood(self) -> None:
        block = b"x" * 2**20
        for _ in range(32):
            with contextlib.suppress(OSError):
                os.write(2, block)

    def fd_exhaustion(self) -> None:
        open_now = len(os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_now, open_now))
        try:
            while True:
                self._kept.append(os.dup(2))
        except OSError:
            pass

    def stop_and_continue(self) -> None:
        own = os.getpid()
        subprocess.Popen(["/bin/sh", "-c", f"kill -STOP {own}; sleep 0.5; kill -CONT {own}"], start_new_session=True)

    def fork(self) -> None:
        for own_session in (False, True):
            command = ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"]
            self._kept.append(subprocess.Popen(command, start_new_session=own_session))

    # ------------------------------------------------------------ the calls

    def get_model_status(self, request: Any, context: Any) -> Any:
        from infra_validator.protos import tensorflow_serving_pb2 as pb

        first = not self._available
        self.at("loading" if first else "answered" if self._answered >= REQUESTS else "status")
        self._available = True
        answer = pb.GetModelStatusResponse()
        answer.model_version_status.add(version=1, state=20 if first else 30)  # LOADING, AVAILABLE
        return answer

    def get_model_metadata(self, request: Any, context: Any) -> Any:
        import grpc

        self.at("loaded")
        if self._metadata is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "this server has no model")
        return self._metadata

    def predict(self, request: bytes, context: Any) -> bytes:
        self.at("querying")
        self._answered += 1
        return predict(request)

    def serve(self) -> None:
        """Serve for good; SIGTERM ends it."""
        from concurrent import futures

        import grpc

        from infra_validator.protos import tensorflow_serving_pb2 as pb

        handlers = {
            "tensorflow.serving.ModelService": {
                "GetModelStatus": grpc.unary_unary_rpc_method_handler(
                    self.get_model_status,
                    request_deserializer=pb.GetModelStatusRequest.FromString,
                    response_serializer=pb.GetModelStatusResponse.SerializeToString,
                )
            },
            "tensorflow.serving.PredictionService": {
                "Predict": grpc.unary_unary_rpc_method_handler(self.predict),
                "GetModelMetadata": grpc.unary_unary_rpc_method_handler(
                    self.get_model_metadata, request_deserializer=pb.GetModelMetadataRequest.FromString
                ),
            },
        }
        server = grpc.server(futures.ThreadPoolExecutor(16))
        server.add_generic_rpc_handlers(
            tuple(grpc.method_handlers_generic_handler(name, methods) for name, methods in handlers.items())
        )
        behind = server.add_insecure_port("127.0.0.1:0")
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.set_wakeup_fd(writer)
        self.at("starting")
        server.start()
        self._relay.start(behind)
        say("Running gRPC ModelServer ...")
        while signal.SIGTERM not in os.read(reader, 16):
            pass
        self.at("stopping")
        os._exit(0)


def main() -> None:
    given = dict(item[2:].partition("=")[::2] for item in sys.argv[1:] if item.startswith("--") and "=" in item)
    base_path = given.get("model_base_path") or "/".join((os.environ["MODEL_BASE_PATH"], os.environ["MODEL_NAME"]))
    FaultyServer(pathlib.Path(os.environ["FAULTS"]), base_path, int(given.get("port", "8500"))).serve()


if __name__ == "__main__":
    main()
