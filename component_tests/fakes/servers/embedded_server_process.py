"""Starts the embedded model server as a process and talks to it as a client that knows nothing of our classes would."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import grpc

from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

ROOT = pathlib.Path(__file__).parents[3]
_STARTS_WITHIN = 240  # seconds; a start takes one, but the machine of a test may be busy
_CALLS_WITHIN = 60
_PROGRAM = "infra_validator.embedded_server"


class EmbeddedServerProcess:
    """One process of the embedded model server.

    Args:
      arguments: after ``python -m`` and the program's words.
      directory: for the port file and the output.
      env: the environment; the tests' own if None.
      program: what is run.
    """

    def __init__(
        self,
        arguments: list[str],
        directory: pathlib.Path,
        env: dict[str, str] | None = None,
        program: Sequence[str] = (_PROGRAM,),
    ) -> None:
        self.port_file = directory / "ports.json"
        self.stdout_path, self.stderr_path = directory / "stdout", directory / "stderr"
        command = [sys.executable, "-W", "error", "-m", *program, *arguments]
        with self.stdout_path.open("wb") as stdout, self.stderr_path.open("wb") as stderr:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=stdout, stderr=stderr, env=env)
        self._channel: grpc.Channel | None = None

    @property
    def stdout(self) -> str:
        return self.stdout_path.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        return self.stderr_path.read_text(errors="replace")

    def wait_for_exit(self) -> int:
        """Its exit code; negative for a signal."""
        return self.process.wait(_STARTS_WITHIN)

    def ports(self) -> dict[str, int]:
        """The port file's content, once it is there."""
        self.wait_until(self.port_file.exists, "the port file")
        ports: dict[str, int] = json.loads(self.port_file.read_text())
        return ports

    def wait_until_serving(self) -> None:
        """Return once the ports are open."""
        self.wait_until(lambda: " Running gRPC ModelServer at" in self.stderr, "the gRPC port")
        if self.port_file.exists():  # then there is a REST port, too
            self.wait_until(lambda: " Exporting HTTP/REST API at" in self.stderr, "the REST port")

    def wait_until(self, question: Any, what: str, within: float = _STARTS_WITHIN) -> None:
        """Return once ``question`` answers true; fail if the process ends before or it takes too long."""
        end = time.monotonic() + within
        while not question():
            log = f"stdout:\n{self.stdout[-2000:]}\nstderr:\n{self.stderr[-4000:]}"
            assert self.process.poll() is None, f"exit code {self.process.returncode} instead of {what}\n{log}"
            assert time.monotonic() < end, f"no {what} in {within} s\n{log}"
            time.sleep(0.01)

    @property
    def channel(self) -> grpc.Channel:
        if self._channel is None:
            unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
            self._channel = grpc.insecure_channel(f"127.0.0.1:{self.ports()['grpc']}", options=unlimited)
        return self._channel

    def call(self, path: str, request: Any, response: Any = None, timeout: float = _CALLS_WITHIN) -> Any:
        """Call a method by its path; bytes in, bytes out unless messages are given.

        Raises:
          grpc.RpcError: with the server's code and text.
        """
        data = request if isinstance(request, bytes) else request.SerializeToString()
        answer = self.channel.unary_unary(path, bytes, bytes)(data, timeout=timeout, wait_for_ready=True)
        return answer if response is None else response.FromString(answer)

    def predict(
        self, request: serving_pb2.PredictRequest, timeout: float = _CALLS_WITHIN
    ) -> serving_pb2.PredictResponse:
        answer: serving_pb2.PredictResponse = self.call(
            "/tensorflow.serving.PredictionService/Predict", request, serving_pb2.PredictResponse, timeout
        )
        return answer

    def stop(self) -> None:
        if self._channel is not None:
            self._channel.close()
        measured = "COVERAGE_PROCESS_START" in os.environ
        if measured and self.process.poll() is None:  # what was measured has to be written
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_STARTS_WITHIN)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(_STARTS_WITHIN)


@contextlib.contextmanager
def embedded_server(
    *arguments: str, env: dict[str, str] | None = None, wait: bool = True, program: Sequence[str] = (_PROGRAM,)
) -> Iterator[EmbeddedServerProcess]:
    """A running server on free ports of 127.0.0.1 with these further arguments; killed at the end.

    Args:
      env: its environment.
      wait: whether to wait until it serves.
      program: what is run, after ``python -m``.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory)
        own = [f"--port_file={path / 'ports.json'}", "--bind_address=127.0.0.1", "--max_num_load_retries=0"]
        server = EmbeddedServerProcess([*own, *arguments], path, env, program)
        try:
            if wait:
                server.wait_until_serving()
            yield server
        finally:
            server.stop()
